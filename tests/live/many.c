/* SPDX-License-Identifier: MIT */
/*
 * vm.max_map_count is the program's, not ours: 65,000 separate mappings
 * succeed under the library. Two ways to get there: neighbours that the
 * kernel keeps apart anyway, and neighbours that only names keep apart.
 */
#include <dlfcn.h>
#include <fcntl.h>

#include "format/registry_format.h"
#include "live.h"

static long limit(void)
{
	FILE *f = fopen("/proc/sys/vm/max_map_count", "r");
	long n = 0;

	if (!f || fscanf(f, "%ld", &n) != 1)
		live_skip("cannot read vm.max_map_count");
	fclose(f);
	return n;
}

/* Stays reserved while it is filled: into a hole the kernel could put somebody else's memory. */
static char *reserve(size_t size)
{
	long r = live_raw(SYS_mmap, 0, (long)size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (r < 0 && r > -4096)
		live_skip("no %zu bytes of address space", size);
	return (char *)r;
}

/* Alternating protections, so that no two merge. */
static void kept_apart(long count)
{
	char *area = reserve((size_t)count * 4096);
	long made = 0;

	for (long i = 0; i < count; i++)
		made += mmap(area + i * 4096, 4096, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
	check(made == count, "%ld of %ld mappings", made, count);
	check(munmap(area, (size_t)count * 4096) == 0, "errno %d", errno);
}

/*
 * Two sizes by turns, whose names differ (the case's template has %z). Without
 * names all of these are one VMA, and the program may then have nearly all of
 * the limit for others.
 */
static void differently_named(long count, bool (*split)(char *page))
{
	long apart = 0, failed = 0, before, others;
	char *area = reserve((size_t)count * 2 * MIB), *at = area, *more;

	for (long i = 0; i < count; i++) {
		size_t size = (i % 2 ? 2 : 1) * MIB;

		failed += mmap(at, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED;
		at += size;
	}
	check(!failed, "%ld mappings failed", failed);
	if (live_kernel_names()) {
		const char *first = live_name(area), *second = live_name(area + MIB);

		check(strcmp(first, second), "the first two are both '%s': nothing was tested", first);
		check(live_counter(COUNT_COARSE) > 0, "no name became coarser at %ld VMAs", live_vmas());
		check(live_vmas() < limit(), "%ld VMAs", live_vmas());
	}
	/* What the program could have without us: the limit, less what it had before. */
	before = 64;
	others = limit() - before - 470;
	more = reserve((size_t)others * 4096);
	for (long i = 1; i < others; i += 2)
		apart += split(more + i * 4096);
	check(apart == others / 2, "only %ld of %ld splits", apart, others / 2);
	munmap(more, (size_t)others * 4096);
	munmap(area, (size_t)count * 2 * MIB);
}

static bool by_mprotect(char *page) { return mprotect(page, 4096, PROT_READ) == 0; }
static bool by_madvise(char *page) { return madvise(page, 4096, MADV_DONTFORK) == 0; }

/* libc's own, which its malloc calls, and not the one that stands in front of it. */
static bool by_libcs_mprotect(char *page)
{
	static int (*own)(void *, size_t, int);

	if (!own)
		own = (int (*)(void *, size_t, int))dlsym(dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD), "mprotect");
	return own(page, 4096, PROT_READ) == 0;
}

int main(int argc, char **argv)
{
	if (limit() != 65530)
		live_skip("vm.max_map_count is %ld, not 65530", limit());
	if (argc > 1)
		differently_named(65000, !strcmp(argv[1], "madvise") ? by_madvise : !strcmp(argv[1], "inside") ? by_libcs_mprotect : by_mprotect);
	else
		kept_apart(65000);
	return live_status();
}
