/* SPDX-License-Identifier: MIT */
/*
 * A multi-threaded malloc benchmark: small, mixed or large sizes. It prints the
 * seconds of its own processor time. bench/hooks-cost runs it.
 *   malloc-mix small|mixed|large THREADS ROUNDS [hooks]
 * hooks: every arena gets a copy of jemalloc's own hooks. They do nothing new,
 * so this is what jemalloc takes for having hooks at all, whatever they do.
 */
#include <jemalloc/jemalloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SLOTS = 1000 };

static size_t low, span;
static long rounds;

static void *work(void *seed)
{
	static __thread void *slot[SLOTS];
	uint64_t x = (uint64_t)(uintptr_t)seed * 0x9e3779b97f4a7c15ULL + 1;

	for (long i = 0; i < rounds; i++) {
		void **s;

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		s = &slot[x % SLOTS];
		free(*s);
		*s = malloc(low + (x >> 20) % span);
		*(char *)*s = 1;
	}
	for (int i = 0; i < SLOTS; i++)
		free(slot[i]);
	return NULL;
}

static int copy_hooks(void)
{
	static extent_hooks_t copy;
	extent_hooks_t *own = NULL, *ours = &copy;
	unsigned arenas = 0;
	size_t len = sizeof(own);
	char name[64];

	if (mallctl("arena.0.extent_hooks", &own, &len, NULL, 0) ||
	    mallctl("opt.narenas", &arenas, &(size_t){ sizeof(arenas) }, NULL, 0))
		return 1;
	copy = *own;
	for (unsigned i = 0; i < arenas; i++) {
		snprintf(name, sizeof(name), "arena.%u.extent_hooks", i);
		if (mallctl(name, NULL, NULL, &ours, sizeof(ours)))
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	pthread_t t[64];
	struct timespec used;
	int threads = argc > 2 ? atoi(argv[2]) : 2;

	if (argc < 4 || threads < 1 || threads > 64)
		return 2;
	if (argc > 4 && copy_hooks())
		return 1;
	low = !strcmp(argv[1], "large") ? 64 << 10 : 8;
	span = !strcmp(argv[1], "small") ? 500 : !strcmp(argv[1], "mixed") ? 30000 : 1 << 20;
	rounds = atol(argv[3]);
	for (long i = 0; i < threads; i++)
		pthread_create(&t[i], NULL, work, (void *)(i + 1));
	for (int i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
	printf("%.6f\n", (double)used.tv_sec + (double)used.tv_nsec / 1e9);
	return 0;
}
