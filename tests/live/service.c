/* SPDX-License-Identifier: MIT */
/*
 * A small service for services.sh: memory of each kind that only a library
 * inside the process can name, then it waits. It uses none of live.c, for a
 * filter may kill it for anything that it does not need.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB (1UL << 20)

static void *thread(void *arg)
{
	for (int i = 0; i < 2000; i++)
		memset(malloc(1000), 1, 1000);
	pause();
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t t;
	char *large = malloc(4 * MIB), *mapped;

	(void)argv;
	/* With an argument: without threads, as the tightest filter allows none. */
	for (int i = 0; argc == 1 && i < 2; i++)
		pthread_create(&t, NULL, thread, NULL);
	free(malloc(8 * MIB));
	large = realloc(large, 16 * MIB);
	memset(large, 1, 16 * MIB);
	mapped = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(mapped, 1, 4 * MIB);
	pause();
	return 0;
}
