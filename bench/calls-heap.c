/* SPDX-License-Identifier: MIT */
/*
 * What a named heap costs against jemalloc's own calls with the same arena and
 * a cache, and what a label costs. Interleaved, so that a busy machine slows
 * both; the ratio is the median of the rounds'.
 *   calls-heap            times
 *   calls-heap WHAT N     N times WHAT and nothing else, for callgrind: heap, mallocx, push, none
 */
#include <anonname.h>

#include <jemalloc/jemalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 201, CALLS = 200000 };

static anonname_heap *heap;
static int flags;

static void use_heap(long n)
{
	for (long i = 0; i < n; i++) {
		void *volatile p = anonname_heap_malloc(heap, 64);

		anonname_heap_free(heap, p);
	}
}

static void use_mallocx(long n)
{
	for (long i = 0; i < n; i++) {
		void *volatile p = mallocx(64, flags);

		dallocx(p, flags);
	}
}

static void use_push(long n)
{
	for (long i = 0; i < n; i++) {
		anonname_push("label");
		anonname_pop();
	}
}

static double time_of(void (*use)(long))
{
	struct timespec a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	use(CALLS);
	clock_gettime(CLOCK_MONOTONIC, &b);
	return ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / CALLS;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static double of_heap[ROUNDS], of_mallocx[ROUNDS], of_push[ROUNDS], ratio[ROUNDS];
	unsigned arena, cache;
	size_t len = sizeof(arena);

	heap = anonname_heap_create("bench");
	if (!heap || mallctl("arenas.create", &arena, &len, NULL, 0) || mallctl("tcache.create", &cache, &len, NULL, 0)) {
		perror("calls-heap: no heap");
		return 77;
	}
	flags = MALLOCX_ARENA(arena) | MALLOCX_TCACHE(cache);
	if (argc == 3) {
		long n = atol(argv[2]);

		if (!strcmp(argv[1], "heap"))
			use_heap(n);
		else if (!strcmp(argv[1], "mallocx"))
			use_mallocx(n);
		else if (!strcmp(argv[1], "push"))
			use_push(n);
		return 0;
	}
	for (int i = 0; i < ROUNDS; i++) {
		of_mallocx[i] = time_of(use_mallocx);
		of_heap[i] = time_of(use_heap);
		of_push[i] = time_of(use_push);
		ratio[i] = of_heap[i] / of_mallocx[i];
	}
	qsort(ratio, ROUNDS, sizeof(*ratio), by_value);
	qsort(of_heap, ROUNDS, sizeof(*ratio), by_value);
	qsort(of_mallocx, ROUNDS, sizeof(*ratio), by_value);
	qsort(of_push, ROUNDS, sizeof(*ratio), by_value);
	printf("heap_malloc + heap_free of 64 bytes %.1f ns, mallocx + dallocx %.1f ns, ratio %.3f (to reach: at most 1.1)\n",
	       of_heap[ROUNDS / 2], of_mallocx[ROUNDS / 2], ratio[ROUNDS / 2]);
	printf("push + pop %.1f ns (to reach: at most 10)\n", of_push[ROUNDS / 2]);
	return 0;
}
