/* SPDX-License-Identifier: MIT */
/* Named like an allocator, and calls libc's malloc from as deep as it is told. For owners.c. */
#include <stdlib.h>

void *deep_malloc(int depth, size_t size);

__attribute__((noinline)) void *deep_malloc(int depth, size_t size)
{
	void *volatile p = depth > 1 ? deep_malloc(depth - 1, size) : malloc(size);

	return p;
}
