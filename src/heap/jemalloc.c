/* SPDX-License-Identifier: MIT */
/*
 * jemalloc's arenas, by its own tree of extents. Allocated is what jemalloc calls
 * so: what lies in the caches of threads is live here, too, as only the process
 * itself could say how much that is. Extents that were given back to the kernel
 * and are kept for later (retained) are addresses without memory, and not counted.
 */
#include "heap.h"

#include "../recognise/jemalloc.h"
#include "../recognise/view.h"

#include <stdio.h>
#include <stdlib.h>

#define ARENAS 4096

struct sums {
	bool is_there;
	uint64_t address;           /* of some extent */
	uint64_t figure[HEAP_FIGURES];
	struct heap_size size[HEAP_SIZES_MAX]; /* by class */
};

static uint64_t there(struct target *target, uint64_t start, uint64_t size)
{
	uint64_t bytes;

	return view_resident(target, start, start + size, &bytes) ? bytes : HEAP_UNKNOWN;
}

static void take_active(struct sums *sums, const struct jemalloc_extent *extent)
{
	uint64_t size = jemalloc_class_size(extent->size_class), regions = extent->slab ? extent->size / size : 1;
	uint64_t free = extent->slab ? extent->free : 0, live = (regions - free) * size;
	struct heap_size *class = &sums->size[extent->size_class];

	class->size = size;
	class->live += regions - free;
	class->live_bytes += live;
	class->free += free;
	class->free_bytes += free * size;
	sums->figure[HEAP_LIVE] += live;
	sums->figure[HEAP_CHUNKS] += regions - free;
	/* Beside free regions: what a large allocation is rounded up by. */
	sums->figure[HEAP_PINNED] += extent->size - live;
	sums->figure[HEAP_FREE] += extent->size - live;
}

/* false: it says of itself what cannot be. */
static bool take_extent(struct sums *sums, struct target *target, const struct jemalloc_extent *extent)
{
	uint64_t resident;

	if (extent->state == JEMALLOC_RETAINED)
		return true;
	resident = there(target, extent->start, extent->size);
	sums->is_there = true;
	sums->address = extent->start;
	sums->figure[HEAP_SYSTEM] += extent->size;
	heap_figure_add(&sums->figure[HEAP_RESIDENT], resident);
	if (extent->state == JEMALLOC_ACTIVE) {
		uint64_t size = jemalloc_class_size(extent->size_class);

		if (extent->size_class >= HEAP_SIZES_MAX || size > extent->size || (extent->slab && extent->free > extent->size / size))
			return false;
		take_active(sums, extent);
	} else {
		sums->figure[HEAP_FREE] += extent->size;
		heap_figure_add(&sums->figure[HEAP_TRIMMABLE], resident);
	}
	return true;
}

static void show(struct heaps *heaps, unsigned index, const struct sums *sums)
{
	char name[HEAP_NAME_MAX];
	struct heap_arena *arena;

	snprintf(name, sizeof(name), "jemalloc:arena%u", index);
	arena = heaps_add(heaps, HEAP_JEMALLOC, name);
	if (!arena)
		return;
	arena->address = sums->address;
	for (unsigned i = 0; i < HEAP_FIGURES; i++)
		if (i != HEAP_CACHED)
			arena->figure[i] = sums->figure[i];
	for (size_t i = 0; i < HEAP_SIZES_MAX; i++)
		if (sums->size[i].live || sums->size[i].free)
			arena->size[arena->sizes++] = sums->size[i];
}

void heap_jemalloc(struct target *target, const struct findings *findings, struct heaps *heaps)
{
	struct jemalloc *jemalloc = jemalloc_find(target);
	struct sums *sums = jemalloc ? calloc(ARENAS, sizeof(*sums)) : NULL;
	bool whole = sums != NULL;

	(void)findings;
	for (size_t i = 0; whole && i < jemalloc->extents; i++)
		whole = take_extent(&sums[jemalloc->extent[i].arena], target, &jemalloc->extent[i]);
	for (size_t i = 0; whole && i < jemalloc->bases; i++) {
		const struct jemalloc_base *base = &jemalloc->base[i];
		struct sums *of_arena = &sums[base->arena];

		of_arena->is_there = true;
		of_arena->figure[HEAP_SYSTEM] += base->size;
		of_arena->figure[HEAP_METADATA] += base->size;
		heap_figure_add(&of_arena->figure[HEAP_RESIDENT], there(target, base->start, base->size));
	}
	for (unsigned i = 0; whole && i < ARENAS; i++)
		if (sums[i].is_there)
			show(heaps, i, &sums[i]);
	free(sums);
	jemalloc_free(jemalloc);
}
