/* SPDX-License-Identifier: MIT */
/*
 * The calls whose cost is measured, one a time in a loop. Prints nanoseconds
 * a call: the mean of the wall clock (instructions, where QEMU counts them),
 * the median of 50 blocks, and the mean of processor time.
 * usage: calls NAME COUNT
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

#define BLOCKS 50

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void name(void *start, size_t len, const char *text)
{
	if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, start, len, text) != 0)
		die("prctl(PR_SET_VMA)");
}

/* --- mmap and munmap of 64 KiB, untouched ------------------------------------------ */

#define PIECE 65536

static void *map(int prot)
{
	void *p = mmap(NULL, PIECE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("mmap");
	return p;
}

/*
 * The piece lies beside a mapping that it can merge with neither named nor
 * bare: what a merge costs is not what is asked.
 */
static void *map_piece(void)
{
	static void *neighbour;

	if (!neighbour)
		neighbour = map(PROT_NONE);
	return map(PROT_READ | PROT_WRITE);
}

static void mmap_bare(void)
{
	munmap(map_piece(), PIECE);
}

static void mmap_named(void)
{
	void *p = map_piece();

	name(p, PIECE, "calls:mmap");
	munmap(p, PIECE);
}

/* --- pthread_create and join ---------------------------------------------------------- */

static void *stack_start;
static size_t stack_len;

static void *nothing(void *arg)
{
	return arg;
}

/* Once, and before the clock runs: every thread gets the same cached stack. With its guard, as the library names it. */
static void *find_stack(void *arg)
{
	pthread_attr_t attr;
	size_t guard;

	if (pthread_getattr_np(pthread_self(), &attr) != 0 || pthread_attr_getguardsize(&attr, &guard) != 0 ||
	    pthread_attr_getstack(&attr, &stack_start, &stack_len) != 0)
		die("pthread_getattr_np");
	pthread_attr_destroy(&attr);
	stack_start = (char *)stack_start - guard;
	stack_len += guard;
	return arg;
}

static void *name_stack(void *arg)
{
	name(stack_start, stack_len, "stack:4711:calls");
	name(stack_start, stack_len, "stack:unused");
	return arg;
}

static void thread_run(void *(*function)(void *))
{
	pthread_t t;
	int error = pthread_create(&t, NULL, function, NULL);

	if (error) {
		errno = error;
		die("pthread_create");
	}
	pthread_join(t, NULL);
}

static void thread_bare(void)
{
	thread_run(nothing);
}

static void thread_named(void)
{
	if (!stack_start)
		thread_run(find_stack);
	thread_run(name_stack);
}

/* --- malloc and free --------------------------------------------------------------------- */

static void allocate(size_t size)
{
	char *volatile p = malloc(size);

	if (!p)
		die("malloc");
	free(p);
}

static void malloc_small(void)
{
	allocate(100);
}

/* Its own mapping every time: without this glibc raises the threshold at the first free. */
static void malloc_large(void)
{
	static int once;

	if (!once++)
		mallopt(M_MMAP_THRESHOLD, 128 << 10);
	allocate(1 << 20);
}

/* --- */

static const struct call {
	const char *name;
	void (*function)(void);
} calls[] = {
	{ "mmap", mmap_bare }, { "mmap-named", mmap_named },
	{ "thread", thread_bare }, { "thread-named", thread_named },
	{ "malloc-small", malloc_small }, { "malloc-large", malloc_large },
};

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(void (*function)(void), long count)
{
	double block[BLOCKS], wall, cpu;

	/* Caches, the stack and the registry have their first time behind them. */
	for (int i = 0; i < 20; i++)
		function();
	wall = now(CLOCK_MONOTONIC);
	cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	for (int b = 0; b < BLOCKS; b++) {
		double begin = now(CLOCK_MONOTONIC);

		for (long i = 0; i < count / BLOCKS; i++)
			function();
		block[b] = now(CLOCK_MONOTONIC) - begin;
	}
	cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	wall = now(CLOCK_MONOTONIC) - wall;
	qsort(block, BLOCKS, sizeof(block[0]), compare);
	printf("%.1f %.1f %.1f\n", wall / (double)count, block[BLOCKS / 2] / (double)(count / BLOCKS), cpu / (double)count);
}

int main(int argc, char **argv)
{
	long count = argc == 3 ? atol(argv[2]) / BLOCKS * BLOCKS : 0;

	for (size_t i = 0; count > 0 && i < sizeof(calls) / sizeof(calls[0]); i++)
		if (!strcmp(argv[1], calls[i].name)) {
			measure(calls[i].function, count);
			return 0;
		}
	fprintf(stderr, "usage: calls NAME COUNT, COUNT at least %d, NAME one of:", BLOCKS);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		fprintf(stderr, " %s", calls[i].name);
	fprintf(stderr, "\n");
	return 2;
}
