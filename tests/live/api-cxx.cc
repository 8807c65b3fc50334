// SPDX-License-Identifier: MIT
// The header in C++, linked with -lanonname: the guard, an exception through it, a heap.
#include <anonname.h>

#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <sys/mman.h>

static int wrong;

static void mapped_with(const char *label)
{
	void *p = mmap(nullptr, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char name[100] = "";

	anonname_get(p, name, sizeof(name));
	if ((std::strstr(name, label) != nullptr) != (*label != '\0' && *label != '!')) {
		std::printf("wrong: %s for %s\n", name, label);
		wrong = 1;
	}
	munmap(p, 65536);
}

static void throws()
{
	anonname::scope guard("thrown");

	mapped_with(":thrown");
	throw std::runtime_error("out");
}

int main()
{
	struct anonname_stats stats;

	if (anonname_stats(&stats, sizeof(stats)) || !(stats.kernel || stats.registry))
		return 77;
	{
		anonname::scope outer("outer");

		try {
			throws();
		} catch (const std::runtime_error &) {
		}
		mapped_with(":outer");
	}
	mapped_with("!outer");

	anonname_heap *heap = anonname_heap_create_any("cxx");
	char *p = static_cast<char *>(anonname_heap_malloc(heap, 100));

	std::strcpy(p, "x");
	anonname_heap_free(heap, p);
	anonname_heap_destroy(heap);
	return wrong;
}
