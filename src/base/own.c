/* SPDX-License-Identifier: MIT */
/* The library's own pages. See own.h. */
#include "base/own.h"

#include <sys/mman.h>

#include "base/sandbox.h"
#include "base/sys.h"

static struct piece {
	uintptr_t start;
	size_t len;
	const char *thing;
} early[8];
static unsigned early_count;
static void (*name_piece)(uintptr_t start, size_t len, const char *thing);

void own_note(void *start, size_t len, const char *thing)
{
	if (name_piece)
		name_piece((uintptr_t)start, len, thing);
	else if (early_count < ARRAY_SIZE(early))
		early[early_count++] = (struct piece){ (uintptr_t)start, len, thing };
}

void *own_map(size_t len, const char *thing)
{
	long r = -1;

	len = page_up(len);
	if (sandbox_allows(MAY_MAP))
		r = sys_mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (sys_failed(r))
		return NULL;
	own_note((void *)r, len, thing);
	return (void *)r;
}

void own_start_naming(void (*name)(uintptr_t start, size_t len, const char *thing))
{
	name_piece = name;
	for (unsigned i = 0; i < early_count; i++)
		name(early[i].start, early[i].len, early[i].thing);
	early_count = 0;
}
