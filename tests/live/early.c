/* SPDX-License-Identifier: MIT */
/* Calls before our constructor (a library's own one) and after exit handlers. */
#include "live.h"

#include <pthread.h>

#include "format/registry_format.h"

extern void *unseen_mapping, *early_mapping, *early_chunk;
extern int early_errors;

static void at_exit(void)
{
	char *p = map(64 * KIB);

	check_name(p, "early:mmap");
	free(malloc(4 * MIB));
	munmap(p, 64 * KIB);
	if (live_status())
		_exit(1);
}

/* Destructors with no priority run after it. */
__attribute__((destructor(101))) static void last(void)
{
	char *p = map(64 * KIB);

	if (p == MAP_FAILED || munmap(p, 64 * KIB))
		_exit(1);
	free(malloc(4 * MIB));
}

int main(void)
{
	check(early_errors == 0, "%d calls failed in a constructor", early_errors);
	check_name(unseen_mapping, "ld.so:early");
	check_name((void *)pthread_self(), "ld.so:tls");
	if (live_root()->registry.top)
		check_name((void *)(uintptr_t)live_root()->registry.top, "anonname:registry");
	check_name(early_mapping, "libearly.so:mmap");
	check_name(early_chunk, "glibc:large:libearly.so");
	atexit(at_exit);
	return live_status();
}
