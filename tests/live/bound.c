/* SPDX-License-Identifier: MIT */
/*
 * A library's constructor that runs before ours starts threads: each thread's
 * memory still has its arena's name, the first thread's too. jemalloc itself is
 * asked which arena an address belongs to.
 */
#include <jemalloc/jemalloc.h>

#include "live.h"

extern void *early_at_once[4];

static unsigned check_arena(void *p)
{
	unsigned arena = UINT32_MAX;
	size_t len = sizeof(arena);
	char wanted[32];

	check(mallctl("arenas.lookup", &arena, &len, &p, sizeof(p)) == 0);
	snprintf(wanted, sizeof(wanted), "jemalloc:arena%u", arena);
	check_name(p, wanted);
	return arena;
}

int main(void)
{
	for (int i = 0; i < 4; i++)
		check_arena(early_at_once[i]);
	for (int i = 0; i < 60; i++)
		check(check_arena(malloc(MIB)) == 0);
	check_arena(malloc(20 * MIB));
	return live_status();
}
