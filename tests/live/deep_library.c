/* SPDX-License-Identifier: MIT */
/* Named like an allocator, and calls libc's malloc from as deep as it is told, or maps. For owners.c. */
#include <stdlib.h>
#include <sys/mman.h>

void *deep_map(size_t size);
void *deep_malloc(int depth, size_t size);

__attribute__((noinline)) void *deep_malloc(int depth, size_t size)
{
	void *volatile p = depth > 1 ? deep_malloc(depth - 1, size) : malloc(size);

	return p;
}

void *deep_map(size_t size)
{
	void *volatile p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p;
}
