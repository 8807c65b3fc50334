/* SPDX-License-Identifier: MIT */
/*
 * Somebody else's malloc. A program that brings its own (a sanitizer, a profiler,
 * jemalloc for its mallctl) may free by one of its names what it got by another,
 * so it gets all calls, and we serve none.
 */
#include "malloc/malloc.h"

#include "base/elf.h"
#include "base/root.h"
#include "base/text.h"

bool others_looked;
const struct others *others_found;

static const struct {
	char name[20];
	uint16_t at;
} functions[] = {
#define FUNCTION(name) { #name, offsetof(struct others, name) }
	FUNCTION(malloc), FUNCTION(calloc), FUNCTION(realloc), FUNCTION(free), FUNCTION(memalign), FUNCTION(aligned_alloc),
	FUNCTION(posix_memalign), FUNCTION(malloc_usable_size),
#undef FUNCTION
};

static void *function_of(const struct link_map *object, const char *name)
{
	const struct elf_object elf = elf_object_of(object);
	struct elf_symbols symbols;
	const ElfW(Sym) *symbol = elf_symbols(&elf, &symbols) ? elf_find(&symbols, name) : NULL;

	return symbol ? (void *)(symbols.base + symbol->st_value) : NULL;
}

/* libc's is what we stand in for, ours is mimalloc's, and the dynamic linker's serves its own start alone. */
static bool is_no_other(const struct link_map *object)
{
	static const char *const known[] = { "libc.so", "ld-linux", "ld.so", "libmimalloc.so", "linux-vdso" };
	const char *name = text_last_part(object->l_name);

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (text_begins(name, known[i]))
			return true;
	return false;
}

/* What it lacks is libc's way to say the same: a malloc that has no memalign is not asked for one. */
static const struct others *take(const struct link_map *object)
{
	static struct others found;

	for (size_t i = 0; i < ARRAY_SIZE(functions); i++)
		*(void **)((char *)&found + functions[i].at) = function_of(object, functions[i].name);
	if (!found.free || !found.calloc || !found.realloc)
		return NULL;
	return &found;
}

/*
 * Who stands behind us gets what comes to us. Who stands before us hears of the
 * program's calls first, and may pass them on to us (a profiler) or not.
 */
const struct others *others_look(void)
{
	const struct link_map *o = elf_objects();
	bool before = false;

	for (; o && o->l_ld != _DYNAMIC; o = o->l_next)
		before = before || (!is_no_other(o) && function_of(o, "malloc"));
	for (o = o ? o->l_next : NULL; o && !others_found; o = o->l_next)
		if (!is_no_other(o) && function_of(o, "malloc"))
			others_found = take(o);
	if (before || others_found)
		part_set(PART_BY_LIBRARY, PART_DECLINED, REASON_OTHER_MALLOC);
	store_release(&others_looked, true);
	return others_found;
}

void *others_function(const char *name)
{
	const struct link_map *o = elf_objects();
	void *f = NULL;

	while (o && o->l_ld != _DYNAMIC)
		o = o->l_next;
	for (o = o ? o->l_next : NULL; o && !f; o = o->l_next)
		f = function_of(o, name);
	return f;
}
