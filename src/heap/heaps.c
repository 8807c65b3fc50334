/* SPDX-License-Identifier: MIT */
/* The arenas that were found: a list that readers add to. See heap.h. */
#include "heap.h"

#include "../read/list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENAS_MAX 8192

const char *heap_allocator(enum heap_kind kind)
{
	static const char *const words[HEAP_KINDS] = {
		[HEAP_GLIBC_MAIN] = "glibc", [HEAP_GLIBC_ARENA] = "glibc", [HEAP_GLIBC_LARGE] = "glibc",
		[HEAP_JEMALLOC] = "jemalloc", [HEAP_MIMALLOC] = "mimalloc", [HEAP_TCMALLOC] = "tcmalloc",
		[HEAP_PYTHON] = "python", [HEAP_HOTSPOT] = "jvm", [HEAP_GO] = "go", [HEAP_V8] = "v8",
	};

	return words[kind];
}

struct heap_arena *heaps_add(struct heaps *heaps, enum heap_kind kind, const char *name)
{
	struct heap_arena *arena = list_grown(heaps->arena, heaps->count, &heaps->room, sizeof(*arena), 16, ARENAS_MAX);

	if (!arena)
		return NULL;
	heaps->arena = arena;
	arena = &heaps->arena[heaps->count++];
	memset(arena, 0, sizeof(*arena));
	arena->kind = kind;
	arena->class = kind == HEAP_GLIBC_MAIN ? VMA_HEAP : VMA_NAMED;
	snprintf(arena->name, sizeof(arena->name), "%s", name);
	snprintf(arena->label, sizeof(arena->label), "%s", name);
	for (size_t i = 0; i < HEAP_FIGURES; i++)
		arena->figure[i] = HEAP_UNKNOWN;
	return arena;
}

void heaps_free(struct heaps *heaps)
{
	free(heaps->arena);
	*heaps = (struct heaps){ 0 };
}

void heap_figure_add(uint64_t *sum, uint64_t more)
{
	if (*sum == HEAP_UNKNOWN || more == HEAP_UNKNOWN || __builtin_add_overflow(*sum, more, sum))
		*sum = HEAP_UNKNOWN;
}

uint64_t heaps_sum(const struct heaps *heaps, enum heap_figure figure)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < heaps->count; i++)
		heap_figure_add(&sum, heaps->arena[i].figure[figure]);
	return sum;
}

static struct heap_arena *same_before(struct heaps *heaps, size_t count, const struct heap_arena *arena)
{
	for (size_t i = 0; i < count; i++)
		if (heaps->arena[i].kind == arena->kind && !strcmp(heaps->arena[i].name, arena->name))
			return &heaps->arena[i];
	return NULL;
}

void heaps_merge(struct heaps *heaps, enum heap_kind kind)
{
	size_t kept = 0;

	for (size_t i = 0; i < heaps->count; i++) {
		const struct heap_arena *arena = &heaps->arena[i];
		struct heap_arena *same = arena->kind == kind ? same_before(heaps, kept, arena) : NULL;

		for (unsigned k = 0; same && k < HEAP_FIGURES; k++)
			heap_figure_add(&same->figure[k], arena->figure[k]);
		if (!same)
			heaps->arena[kept++] = *arena;
	}
	heaps->count = kept;
}
