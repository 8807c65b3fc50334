/* SPDX-License-Identifier: MIT */
/* jemalloc's functions, found by their names, and what it is asked by mallctl. See internal.h. */
#include "owner/jemalloc/internal.h"

#include <errno.h>

#include "base/elf.h"
#include "base/text.h"
#include "owner/owner.h"

struct jemalloc jemalloc_functions;
struct je je;

const struct jemalloc *jemalloc_calls(void) { return load_acquire(&je.state) == 2 ? &jemalloc_functions : NULL; }
const char *jemalloc_mallctl_name(void) { return je.mallctl_name; }
const char *jemalloc_mallctlbymib_name(void) { return je.mallctlbymib_name; }

bool jemalloc_is(const struct object *o)
{
	return o == je.object;
}

/* --- finding it -------------------------------------------------------------------- */

static const char *const prefixes[] = { "", "je_", "_rjem_" };
static const struct wanted {
	const char *name;
	size_t offset;
} wanted[] = {
	{ "mallctl", offsetof(struct jemalloc, mallctl) },
	{ "mallctlnametomib", offsetof(struct jemalloc, mallctlnametomib) },
	{ "mallctlbymib", offsetof(struct jemalloc, mallctlbymib) },
	{ "mallocx", offsetof(struct jemalloc, mallocx) },
	{ "rallocx", offsetof(struct jemalloc, rallocx) },
	{ "sallocx", offsetof(struct jemalloc, sallocx) },
	{ "dallocx", offsetof(struct jemalloc, dallocx) },
};

/* An object that has all of it under one prefix. The first in the order of the search wins. */
static void try_object(const struct object *o)
{
	static char names[2][24];
	struct elf_symbols symbols;

	if (je.object || o->class == OBJECT_SELF || o->class == OBJECT_LOADER || !object_symbols(o, &symbols))
		return;
	for (size_t p = 0; p < ARRAY_SIZE(prefixes); p++) {
		struct jemalloc found = { .mallctl = NULL };
		size_t have = 0;

		for (; have < ARRAY_SIZE(wanted); have++) {
			char name[32];
			struct text_buffer t;
			const ElfW(Sym) *symbol;

			text_init(&t, name, sizeof(name));
			text_add(&t, prefixes[p]);
			text_add(&t, wanted[have].name);
			symbol = elf_find(&symbols, name);
			if (!symbol || ELF64_ST_TYPE(symbol->st_info) != STT_FUNC)
				break;
			if (have == 0)
				text_copy(names[0], sizeof(names[0]), name);
			else if (have == 2)
				text_copy(names[1], sizeof(names[1]), name);
			*(uintptr_t *)((char *)&found + wanted[have].offset) = o->base + symbol->st_value;
		}
		if (have < ARRAY_SIZE(wanted))
			continue;
		jemalloc_functions = found;
		je.object = o;
		object_give(o, OWNER_JEMALLOC);
		je.start = o->start;
		je.mallctl_name = names[0];
		je.mallctlbymib_name = names[1];
		return;
	}
}

void je_search(void)
{
	je.object = NULL;
	objects_each(try_object);
}

/* --- asking it --------------------------------------------------------------------- */

static struct mib {
	const char *name;
	size_t len;
	size_t at[4];
} mibs[MIBS] = {
	[OUR_HOOKS] = { .name = "arena.0.extent_hooks" },
	[OUR_INITIALIZED] = { .name = "arena.0.initialized" },
	[OUR_DESTROY] = { .name = "arena.0.destroy" },
	[OUR_PURGE] = { .name = "arena.0.purge" },
	[OUR_CREATE] = { .name = "arenas.create" },
	[OUR_NARENAS] = { .name = "arenas.narenas" },
	[OUR_THREAD_ARENA] = { .name = "thread.arena" },
	[OUR_FLUSH] = { .name = "thread.tcache.flush" },
	[OUR_LOOKUP] = { .name = "arenas.lookup" },
};

void je_number_names(void)
{
	for (unsigned m = 0; m < MIBS; m++) {
		mibs[m].len = ARRAY_SIZE(mibs[m].at);
		if (jemalloc_functions.mallctlnametomib(mibs[m].name, mibs[m].at, &mibs[m].len) != 0)
			mibs[m].len = 0;
	}
}

int je_control(unsigned what, unsigned i, void *old, size_t old_len, void *new, size_t new_len)
{
	const struct mib *m = &mibs[what];
	size_t mib[4];

	if (!m->len)
		return ENOENT;
	__builtin_memcpy(mib, m->at, sizeof(mib));
	/* Only arena.<i> names have an index; it is the second number. */
	if (what <= OUR_PURGE)
		mib[1] = i;
	return jemalloc_functions.mallctlbymib(mib, m->len, old, old ? &old_len : NULL, new, new_len);
}

unsigned je_narenas(void)
{
	unsigned n = 0;

	je_control(OUR_NARENAS, 0, &n, sizeof(n), NULL, 0);
	return n;
}

bool je_initialized(unsigned i)
{
	bool yes = false;

	je_control(OUR_INITIALIZED, i, &yes, sizeof(yes), NULL, 0);
	return yes;
}

enum jemalloc_control jemalloc_control(const size_t *mib, size_t len)
{
	static const struct {
		uint8_t what;
		enum jemalloc_control means;
	} table[] = {
		{ OUR_CREATE, CONTROL_CREATE },
		{ OUR_DESTROY, CONTROL_DESTROY },
		{ OUR_HOOKS, CONTROL_HOOKS },
		{ OUR_THREAD_ARENA, CONTROL_BIND },
	};

	for (size_t t = 0; t < ARRAY_SIZE(table); t++) {
		const struct mib *m = &mibs[table[t].what];

		if (len && len == m->len && mib[0] == m->at[0] && mib[len - 1] == m->at[len - 1])
			return table[t].means;
	}
	return CONTROL_OTHER;
}
