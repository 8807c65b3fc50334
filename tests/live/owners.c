/* SPDX-License-Identifier: MIT */
/*
 * The walk finds the library that asked libc for a large chunk: through each
 * function of malloc's family, through the C++ runtime, from two libraries by
 * the same path of libc; and where it cannot tell, it does no harm.
 */
#include <dlfcn.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <ucontext.h>

#include "live.h"

#include "format/registry_format.h"

typedef void *asker(int how, void *(*other)(size_t), size_t size);
typedef void *deep(int depth, size_t size);
typedef void *deep_mapper(size_t size);

enum { OTHER = 5 };
static const char *const how_names[] = { "malloc", "calloc", "realloc of none", "realloc", "posix_memalign", "operator new" };
static asker *ask;

static void *library(const char *file, const char *symbol)
{
	char path[4096 + 64];
	void *h, *function;

	path[readlink("/proc/self/exe", path, 4096)] = '\0';
	strcpy(strrchr(path, '/') + 1, file);
	h = dlopen(path, RTLD_NOW);
	if (!h)
		live_wrong(__FILE__, __LINE__, "%s", dlerror());
	function = h ? dlsym(h, symbol) : NULL;
	if (!function)
		_exit(1);
	return function;
}

static void asked(const char *name, asker *from, int how, void *(*other)(size_t))
{
	char wanted[64];
	char *p = from(how, other, 3 * MIB);

	check(p != NULL, "%s", how_names[how]);
	if (!p)
		return;
	memset(p, 1, 3 * MIB);
	snprintf(wanted, sizeof(wanted), "glibc:large:%s", name);
	if (strcmp(live_name(p + MIB), wanted))
		live_wrong(__FILE__, __LINE__, "%s by %s is named '%s'", how_names[how], name, live_name(p + MIB));
	free(p);
}

/* --- stacks that libunwind has little room on, or whose end nobody knows -------- */

static void *small_stack(void *done)
{
	char *p = ask(0, NULL, 2 * MIB);

	if (p) {
		p[MIB] = 1;
		free(p);
		*(bool *)done = true;
	}
	return NULL;
}

static ucontext_t back, there;
static bool coroutine_ran;

static void coroutine(void)
{
	for (int i = 0; i < 3; i++) {
		small_stack(&coroutine_ran);
		swapcontext(&there, &back);
	}
}

static void odd_stacks(void)
{
	const size_t size = 16 * KIB;
	pthread_attr_t attr;
	pthread_t t;
	bool ran = false;
	char *stack = map(size + 4096);

	pthread_attr_init(&attr);
	check(pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN) == 0);
	check(pthread_create(&t, &attr, small_stack, &ran) == 0, "pthread_create");
	pthread_join(t, NULL);
	check(ran, "the thread with the smallest stack");
	/* What a walk would run into if it took the stack below. */
	mprotect(stack, 4096, PROT_NONE);
	getcontext(&there);
	there.uc_stack.ss_sp = stack + 4096;
	there.uc_stack.ss_size = size;
	there.uc_link = &back;
	makecontext(&there, coroutine, 0);
	for (int i = 0; i < 3; i++) {
		coroutine_ran = false;
		swapcontext(&back, &there);
		check(coroutine_ran, "a coroutine, round %d", i);
	}
}

int main(void)
{
	asker *one = ask = library("libask1.so", "ask"), *two = library("libask2.so", "ask");
	deep *deep_malloc = library("libtcmalloc_deep.so", "deep_malloc");
	deep_mapper *deep_map = library("libtcmalloc_deep.so", "deep_map");
	void *cxx = dlopen("libstdc++.so.6", RTLD_NOW);
	void *(*operator_new)(size_t) = cxx ? (void *(*)(size_t))dlsym(cxx, "_Znwm") : NULL;
	char *p;

	check_name(deep_map(64 * KIB), "tcmalloc:heap");
	/* Fixed, else the first free makes the next chunk part of the heap. */
	mallopt(M_MMAP_THRESHOLD, 128 * KIB);
	odd_stacks();
	if (!live_active())
		live_skip("the library is not in this process");
	free(one(0, NULL, 2 * MIB));
	if (live_root()->part_state[PART_WALK] != PART_ACTIVE)
		live_skip("walking is not on here");
	/* By a walk, then by what is kept of it. */
	for (int round = 0; round < 3; round++) {
		for (int how = 0; how < OTHER; how++) {
			asked("libask1.so", one, how, NULL);
			asked("libask2.so", two, how, NULL);
		}
		if (operator_new) {
			asked("libask1.so", one, OTHER, operator_new);
			asked("libask2.so", two, OTHER, operator_new);
		}
	}
	for (int round = 0; round < 2; round++) {
		/* From 5 deep the one who called the allocator is found, from 40 only the allocator is known. */
		p = deep_malloc(5, 2 * MIB);
		check_name(p + MIB, "glibc:large:owners");
		free(p);
		p = deep_malloc(40, 2 * MIB);
		check_name(p + MIB, "glibc:large:libc.so.6");
		free(p);
	}
	odd_stacks();
	if (!operator_new)
		printf("no libstdc++ here: operator new was left out\n");
	return live_status();
}
