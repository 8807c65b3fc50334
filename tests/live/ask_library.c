/* SPDX-License-Identifier: MIT */
/*
 * A library that asks libc for memory, through two functions of its own. It is
 * built under two names, for owners.c, which must tell the two apart.
 */
#include <stdlib.h>
#include <sys/mman.h>

void *ask(int how, void *(*other)(size_t), size_t size);

static __attribute__((noinline)) void *inner(int how, void *(*other)(size_t), size_t size)
{
	void *volatile p = NULL;
	void *q;

	switch (how) {
	case 0: p = malloc(size); break;
	case 1: p = calloc(1, size); break;
	case 2: p = realloc(NULL, size); break;
	case 3: q = malloc(size / 2); p = realloc(q, size); break;
	case 4: p = posix_memalign(&q, 65536, size) ? NULL : q; break;
	default: p = other(size); break;
	}
	return p;
}

__attribute__((noinline)) void *ask(int how, void *(*other)(size_t), size_t size)
{
	void *volatile p = inner(how, other, size);

	return p;
}

void *ask_map(size_t size);
void *ask_map(size_t size)
{
	void *volatile p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p;
}
