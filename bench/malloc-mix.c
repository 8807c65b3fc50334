/* SPDX-License-Identifier: MIT */
/*
 * A multi-threaded malloc benchmark: small, mixed or large sizes. It prints the
 * seconds of its own processor time. bench/hooks-cost runs it.
 *   malloc-mix small|mixed|large THREADS ROUNDS
 */
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

int main(int argc, char **argv)
{
	pthread_t t[64];
	struct timespec used;
	int threads = argc > 2 ? atoi(argv[2]) : 2;

	if (argc != 4 || threads < 1 || threads > 64)
		return 2;
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
