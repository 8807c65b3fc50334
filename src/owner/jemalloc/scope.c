/* SPDX-License-Identifier: MIT */
/* Names what jemalloc maps: for which arena it does is told by a scope, or by the thread. See internal.h. */
#include "owner/jemalloc/internal.h"

THREAD_LOCAL struct je_thread je_thread;

void jemalloc_thread_bound(unsigned i) { je_thread.bound = i < je.automatic ? i + 1 : 0; }

void jemalloc_name_mapped(uintptr_t start, size_t len)
{
	struct extent_scope *s = je_thread.scope;

	if (config_choice[CHOICE_JEMALLOC] == JEMALLOC_OFF)
		return;
	if (s && s->count < ARRAY_SIZE(s->range)) {
		s->range[s->count].start = start;
		s->range[s->count++].len = len;
		if (s->arena == SCOPE_UNKNOWN)
			return;
	}
	if (s && s->arena != SCOPE_UNKNOWN) {
		arena_name_extent(s->arena, start, len);
		return;
	}
	/* Before they are told apart there is one arena: jemalloc makes the others later. */
	if (je_names_arenas() && !je.settled)
		arena_name_extent(0, start, len);
	else if (je_thread.bound && je_threads_tell())
		arena_name_extent(je_thread.bound - 1, start, len);
	/*
	 * jemalloc makes the arena for large allocations when the first one is
	 * asked for, where we cannot hook it in time. It is the only one that is
	 * that large and has no hooks of ours.
	 */
	else if (je.hook_every && je.oversize && len >= je.oversize)
		arena_name_extent(je.automatic, start, len);
	else
		label_range(KIND_HEAP, start, len, &(struct fields){ .allocator = "jemalloc",
								    .library = je.object ? je.object->name : NULL });
}

/* A program with jemalloc linked in maps for itself too: there only what a scope catches is jemalloc's. */
bool jemalloc_mapped(const struct mapping *m, const struct object *asker, enum kind *kind)
{
	(void)kind;
	if (asker->class != OBJECT_ALLOCATOR && !je_thread.scope)
		return false;
	jemalloc_name_mapped(m->start, m->len);
	return true;
}

void jemalloc_unmapped(uintptr_t start, size_t len)
{
	struct extent_scope *s = je_thread.scope;

	for (uint32_t i = 0; s && i < s->count; i++) {
		uintptr_t from = s->range[i].start, upto = from + s->range[i].len;

		if (start + len <= from || start >= upto)
			continue;
		if (start > from)
			upto = start;
		else
			from = MIN(start + len, upto);
		s->range[i].start = from;
		s->range[i].len = upto - from;
	}
}

void jemalloc_scope_begin(struct extent_scope *s, uint32_t arena)
{
	s->outer = je_thread.scope;
	s->arena = arena;
	s->count = 0;
	s->program_named = false;
	je_thread.scope = s;
}

void jemalloc_scope_end(struct extent_scope *s, uint32_t arena)
{
	je_thread.scope = s->outer;
	if (s->outer && s->program_named)
		s->outer->program_named = true;
	if (s->arena != SCOPE_UNKNOWN)
		return;
	for (uint32_t i = 0; i < s->count; i++) {
		if (arena == SCOPE_UNKNOWN)
			jemalloc_name_mapped(s->range[i].start, s->range[i].len);
		else
			arena_name_extent(arena, s->range[i].start, s->range[i].len);
	}
}

void jemalloc_scope_met(struct extent_scope *s, uint32_t arena)
{
	if (arena_meet(arena) && s->count) {
		s->count--;
		arena_name_extent(arena, s->range[s->count].start, s->range[s->count].len);
	}
	jemalloc_scope_end(s, arena == SCOPE_UNKNOWN ? SCOPE_UNKNOWN : 0);
}

void jemalloc_program_named(void)
{
	if (je_thread.scope)
		je_thread.scope->program_named = true;
}
