/* SPDX-License-Identifier: MIT */
/*
 * What sanitizers.sh builds with a search for leaks: memory of malloc's that the
 * library was told the address of is given to the kernel, to a thread, to a name,
 * and lost. The report must be the same as without the library.
 */
#define ANONNAME_WEAK
#include "anonname.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

enum { ALIGNMENT = 65536, SIZE = 2 * ALIGNMENT };

static void signal_stack(void)
{
	stack_t stack = { .ss_sp = memalign(ALIGNMENT, SIZE), .ss_size = SIZE };

	sigaltstack(&stack, NULL);
	stack.ss_flags = SS_DISABLE;
	sigaltstack(&stack, NULL);
}

static void *ends(void *arg)
{
	(void)arg;
	return NULL;
}

static void thread_argument(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, ends, malloc(SIZE)) == 0)
		pthread_join(t, NULL);
}

static void thread_stack(void)
{
	pthread_attr_t attr;
	pthread_t t;

	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, memalign(ALIGNMENT, SIZE), SIZE);
	if (pthread_create(&t, &attr, ends, NULL) == 0)
		pthread_join(t, NULL);
	pthread_attr_destroy(&attr);
}

static void no_thread(void)
{
	pthread_attr_t attr;
	pthread_t t;

	/* There is no such processor, so no thread. */
	cpu_set_t none;

	CPU_ZERO(&none);
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(none), &none);
	if (pthread_create(&t, &attr, ends, malloc(SIZE)) == 0)
		pthread_join(t, NULL);
	pthread_attr_destroy(&attr);
}

/* Names in a row, so that the registry has its leaves split, and one name in the middle of another. */
static void named(void)
{
	char *m = memalign(ALIGNMENT, 64 * SIZE), name[32];

	for (int i = 0; i < 64; i++) {
		snprintf(name, sizeof(name), "name-%d", i);
		prctl(PR_SET_VMA, 0, m + i * SIZE, SIZE, name);
		prctl(PR_SET_VMA, 0, m + i * SIZE + 4096, 4096, "inside");
	}
}

static void protected(void)
{
	char *m = memalign(ALIGNMENT, SIZE);

	madvise(m, SIZE, MADV_NORMAL);
	mprotect(m, SIZE, PROT_READ);
	mprotect(m, SIZE, PROT_READ | PROT_WRITE);
}

static void label(void)
{
	char *name = malloc(SIZE);

	strcpy(name, "label");
	if (!anonname_push)
		return;
	anonname_push(name);
	anonname_push(name);
	anonname_pop();
	anonname_pop_to(0);
}

#ifdef __x86_64__
static __attribute__((target("avx"))) void wipe_16_vectors(void)
{
	__asm__ volatile("vzeroall" : : : "memory");
}

/* AVX-512 has as many more, and libc's copies take those. */
static __attribute__((target("avx512f"))) void wipe_16_more(void)
{
#define WIPE(n) "vpxorq %%zmm" n ", %%zmm" n ", %%zmm" n "\n"
	__asm__ volatile(WIPE("16") WIPE("17") WIPE("18") WIPE("19") WIPE("20") WIPE("21") WIPE("22") WIPE("23") WIPE("24") WIPE("25") WIPE("26")
	                 WIPE("27") WIPE("28") WIPE("29") WIPE("30") WIPE("31") : : : "memory");
}

/* LeakSanitizer looks into vector registers too, which keep for long what a copy left in them. */
static void wipe_vectors(void)
{
	if (__builtin_cpu_supports("avx"))
		wipe_16_vectors();
	if (__builtin_cpu_supports("avx512f"))
		wipe_16_more();
}
#else
static void wipe_vectors(void)
{
}
#endif

/* Registers and the stack below hold no address any more. */
static __attribute__((noinline, no_sanitize("address"))) void wipe(void)
{
	char stack[65536];

	memset(stack, 0, sizeof(stack));
	__asm__ volatile("" : : "r"(stack) : "memory");
	wipe_vectors();
}

int main(int argc, char **argv)
{
	static const struct {
		const char *what;
		void (*lose)(void);
	} ways[] = {
		{ "signal-stack", signal_stack }, { "thread-argument", thread_argument }, { "thread-stack", thread_stack },
		{ "no-thread", no_thread }, { "named", named }, { "protected", protected }, { "label", label },
	};
	void (*volatile lose)(void);

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (argc > 1 && strcmp(argv[1], ways[i].what) != 0)
			continue;
		lose = ways[i].lose;
		if (argc > 1)
			lose();
		else
			puts(ways[i].what);
	}
	wipe();
	return 0;
}
