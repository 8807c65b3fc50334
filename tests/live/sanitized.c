/* SPDX-License-Identifier: MIT */
/*
 * What sanitizers.sh builds with each sanitizer: memory, threads and a signal
 * stack, and the names that the library gave them. Without the library, and
 * with names off, there is no name to look at.
 */
#define ANONNAME_WEAK
#include "anonname.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char stack[65536];
static int wrong;

static void check_name(const char *what, const void *at, const char *wanted)
{
	char name[ANONNAME_MAX + 1] = "";

	if (!anonname_get || getenv("SANITIZED_OFF"))
		return;
	if (anonname_get(at, name, sizeof(name)) < 0 || !strstr(name, wanted)) {
		printf("%s is '%s', not '%s'\n", what, name, wanted);
		wrong = 1;
	}
}

static void *thread(void *arg)
{
	char *p = mmap(NULL, 1 << 18, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), wanted[40];

	check_name("a mapping", p, "sanitized:mmap");
	snprintf(wanted, sizeof(wanted), "stack:%d:", (int)gettid());
	check_name("a thread's stack", __builtin_frame_address(0), wanted);
	munmap(p, 1 << 18);
	free(malloc(300000));
	return arg;
}

int main(void)
{
	pthread_t t;

	for (int i = 0; i < 4; i++) {
		if (pthread_create(&t, NULL, thread, NULL) != 0 || pthread_join(t, NULL) != 0)
			return 2;
	}
	if (sigaltstack(&(stack_t){ .ss_sp = stack, .ss_size = sizeof(stack) }, NULL) != 0)
		return 3;
	puts("fine");
	return wrong;
}
