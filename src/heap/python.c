/* SPDX-License-Identifier: MIT */
/*
 * CPython's arenas, pool by pool. A pool has blocks of one size, and its head says
 * how many are in use. An arena goes back to the system as a whole: so nothing that
 * is free in one with a live block can be given back, and all of it is pinned.
 *
 *   arena  [pool of 64: 250 of 255][pool of 512: 0 of 31][not used yet ..........]
 *            live, free blocks       a free pool           top
 */
#include "heap.h"

#include "../recognise/python.h"
#include "../recognise/view.h"

#include <string.h>

struct python {
	struct heap_arena sum;
	struct heap_size size[PYTHON_CLASSES];
};

static void take_pool(struct python *python, const struct python_pool *pool, uint64_t pool_size)
{
	uint64_t size = python_block_size(pool), blocks = (pool_size - sizeof(*pool)) / size, *figure = python->sum.figure;
	struct heap_size *class = &python->size[pool->size_class];

	if (!pool->used)
		return;
	figure[HEAP_LIVE] += pool->used * size;
	figure[HEAP_CHUNKS] += pool->used;
	figure[HEAP_METADATA] += pool_size - blocks * size;
	class->live += pool->used;
	class->live_bytes += pool->used * size;
	class->free += blocks - pool->used;
	class->free_bytes += (blocks - pool->used) * size;
}

/* false: it is not what it was any more. */
static bool take_pools(struct python *python, struct target *target, uint64_t size, uint64_t first, uint64_t end)
{
	uint64_t top = first;

	for (uint64_t at = first; at < end; at += size) {
		struct python_pool pool;
		bool there = !memory_get(target, at, &pool, sizeof(pool));
		enum python_slot slot = python_look_at(&pool, there, size);

		if (slot == PYTHON_FOREIGN || (slot == PYTHON_POOL && pool.used > (size - sizeof(pool)) / python_block_size(&pool)))
			return false;
		if (slot == PYTHON_POOL) {
			take_pool(python, &pool, size);
			top = at + size;
		}
	}
	python->sum.figure[HEAP_TOP] += end - top;
	return true;
}

/* What is not aligned to a pool at either end of an arena is lost. */
static bool take_arena(struct python *python, struct target *target, const struct python_sizes *sizes, uint64_t start)
{
	uint64_t first = (start + sizes->pool - 1) & ~(sizes->pool - 1), pools = (start + sizes->arena - first) / sizes->pool * sizes->pool;
	uint64_t *figure = python->sum.figure;
	struct view view;

	if (view_open(&view, target, start, start + sizes->arena))
		return false;
	figure[HEAP_SYSTEM] += sizes->arena;
	figure[HEAP_RESIDENT] += view_there(&view, start, start + sizes->arena);
	figure[HEAP_METADATA] += sizes->arena - pools;
	view_close(&view);
	return take_pools(python, target, sizes->pool, first, first + pools);
}

static void show(struct python *python, struct heaps *heaps)
{
	struct heap_arena *arena = heaps_add(heaps, HEAP_PYTHON, PYTHON_ARENA);
	uint64_t *figure = python->sum.figure, away = figure[HEAP_SYSTEM] - figure[HEAP_RESIDENT];

	if (!arena)
		return;
	figure[HEAP_FREE] = figure[HEAP_SYSTEM] - figure[HEAP_LIVE] - figure[HEAP_METADATA];
	figure[HEAP_PINNED] = figure[HEAP_FREE] > away ? figure[HEAP_FREE] - away : 0;
	memcpy(arena->figure, figure, sizeof(arena->figure));
	arena->address = python->sum.address;
	for (unsigned i = 0; i < PYTHON_CLASSES; i++) {
		if (!python->size[i].live)
			continue;
		arena->size[arena->sizes] = python->size[i];
		arena->size[arena->sizes++].size = (i + 1) * 16ULL;
	}
}

void heap_python(struct target *target, const struct findings *findings, struct heaps *heaps)
{
	struct python python = { .sum.address = 0 };
	struct python_sizes sizes;
	bool whole = python_sizes(target, &sizes);

	for (size_t i = 0; whole && i < findings->settled; i++) {
		const struct found *range = &findings->found[i];

		if (strcmp(findings->names + range->name, PYTHON_ARENA))
			continue;
		python.sum.address = range->start;
		for (uint64_t at = range->start; whole && at + sizes.arena <= range->end; at += sizes.arena)
			whole = take_arena(&python, target, &sizes, at);
	}
	if (whole && python.sum.address)
		show(&python, heaps);
}
