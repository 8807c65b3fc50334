/* SPDX-License-Identifier: MIT */
/*
 * A program that others put probes on (probes.sh): for each line of its
 * standard input it makes the same calls of mmap, munmap, mremap and mprotect,
 * some itself and some inside libc, looks at the names, and prints a line.
 */
#include <malloc.h>
#include <pthread.h>

#include "live.h"

static void *body(void *arg)
{
	char here;

	if (live_active())
		check_name(&here, "stack:%t:probed");
	return arg;
}

static void by_the_program(void)
{
	char *p = map(64 * KIB);

	check(mprotect(p, 4 * KIB, PROT_READ) == 0, "errno %d", errno);
	check(mprotect(p, 4 * KIB, PROT_READ | PROT_WRITE) == 0, "errno %d", errno);
	if (live_active())
		check_name(p, "probed:mmap");
	p = mremap(p, 64 * KIB, 256 * KIB, MREMAP_MAYMOVE);
	check(p != MAP_FAILED, "errno %d", errno);
	if (live_active())
		check_name(p + 255 * KIB, "probed:mmap");
	check(munmap(p, 256 * KIB) == 0, "errno %d", errno);
	if (live_active())
		check_name(p, "");
}

/* A uretprobe hides the way to the program from the walk, but not that libc asked. */
static void check_large(const void *p)
{
	const char *name = live_name(p);

	if (live_active())
		check(!strncmp(name, "glibc:large:", 12), "it is \"%s\"", name);
}

static void inside_libc(void)
{
	char *p = malloc(MIB);
	pthread_attr_t attr;
	pthread_t t;

	check_large(p);
	p = realloc(p, 8 * MIB);
	check_large(p + 7 * MIB);
	free(p);
	/* More than libc keeps for the next thread, so each round maps it anew. */
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 64 * MIB);
	check(pthread_create(&t, &attr, body, NULL) == 0, "no thread");
	pthread_join(t, NULL);
}

int main(void)
{
	char line[16];

	mallopt(M_MMAP_THRESHOLD, 128 * KIB);
	/* What is mapped once only: the buffers of standard input and output, arenas. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (read(STDIN_FILENO, line, sizeof(line)) > 0) {
		for (int i = 0; i < 10; i++) {
			by_the_program();
			inside_libc();
		}
		puts("round");
	}
	return live_status();
}
