/* SPDX-License-Identifier: MIT */
/* The library's own pages. See own.h. */
#include "base/own.h"

#include <sys/mman.h>

#include "arch.h"
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

void *own_pages(size_t len)
{
	long r = -1;

	if (sandbox_allows(MAY_MAP))
		r = sys_mmap(NULL, page_up(len), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return sys_failed(r) ? NULL : (void *)r;
}

void *own_map(size_t len, const char *thing)
{
	void *pages = own_pages(len);

	if (pages)
		own_note(pages, page_up(len), thing);
	return pages;
}

void *own_bss_page(void)
{
	static char room[2 * ARCH_PAGE_MAX] COLD_BSS;

	return (void *)page_up((uintptr_t)room);
}

void own_start_naming(void (*name)(uintptr_t start, size_t len, const char *thing))
{
	name_piece = name;
	for (unsigned i = 0; i < early_count; i++)
		name(early[i].start, early[i].len, early[i].thing);
	early_count = 0;
}
