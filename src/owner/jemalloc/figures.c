/* SPDX-License-Identifier: MIT */
/* What jemalloc says of one of its arenas: live, free, and whose own. For a safe context, as internal.h has it. */
#include "owner/jemalloc/internal.h"

#include <errno.h>

#include "base/text.h"

/* "stats.arenas.I.WHAT", a number. */
static bool ask(unsigned arena, const char *what, size_t size, void *value)
{
	char name[64];
	struct text_buffer t;
	size_t len = size;

	text_init(&t, name, sizeof(name));
	text_add(&t, "stats.arenas.");
	text_add_number(&t, arena);
	text_add(&t, what);
	return jemalloc_functions.mallctl(name, value, &len, NULL, 0) == 0 && len == size;
}

static bool ask_size(unsigned arena, const char *what, size_t *value) { return ask(arena, what, sizeof(*value), value); }

/* Adds what was allocated and not freed. */
static bool add_live(unsigned arena, const char *const names[3], struct jemalloc_figures *figures)
{
	size_t bytes;
	uint64_t taken, freed;

	if (!ask_size(arena, names[0], &bytes) || !ask(arena, names[1], sizeof(taken), &taken) || !ask(arena, names[2], sizeof(freed), &freed))
		return false;
	figures->live += bytes;
	figures->blocks += taken - freed;
	return true;
}

/* Its figures are of the moment when this was last written. */
static bool take_stock(void)
{
	uint64_t epoch = 1;

	return jemalloc_functions.mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch)) == 0;
}

int jemalloc_arena_figures(unsigned arena, struct jemalloc_figures *figures)
{
	static const char *const small[] = { ".small.allocated", ".small.nmalloc", ".small.ndalloc" };
	static const char *const large[] = { ".large.allocated", ".large.nmalloc", ".large.ndalloc" };
	size_t page, len = sizeof(page), active, dirty, muzzy = 0, base, resident;

	*figures = (struct jemalloc_figures){ .live = 0 };
	if (jemalloc_functions.mallctl("arenas.page", &page, &len, NULL, 0) != 0 || !take_stock() || !add_live(arena, small, figures) ||
	    !add_live(arena, large, figures) || !ask_size(arena, ".pactive", &active) || !ask_size(arena, ".pdirty", &dirty) ||
	    !ask_size(arena, ".base", &base) || !ask_size(arena, ".resident", &resident))
		return -ENOTSUP;
	ask_size(arena, ".pmuzzy", &muzzy);
	figures->trimmable = (dirty + muzzy) * page;
	figures->pinned = active * page - figures->live;
	figures->metadata = base;
	figures->resident = resident;
	return 0;
}
