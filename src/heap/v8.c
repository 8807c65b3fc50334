/* SPDX-License-Identifier: MIT */
/*
 * V8's heap, by its chunks. Each says how many of its bytes are allocated, in which
 * the dead ones are that were not collected yet, and the rest of where its thread
 * allocates now. In the halves of the young generation only the isolate knows how
 * far that is, so what is live there is unknown. Every chunk must say its own
 * address and, twice, its size, or nothing is told.
 */
#include "heap.h"

#include "../recognise/v8.h"
#include "../recognise/view.h"

struct sums {
	uint64_t address, size, room, resident, allocated, chunks;
};

struct v8_heap {
	struct target *target;
	struct sums young, old;
	bool wrong;
};

static bool makes_sense(uint64_t at, const struct v8_chunk *chunk)
{
	return chunk->mapped == at && chunk->mapped_size == chunk->size && chunk->allocated <= chunk->end - chunk->start;
}

static void take_chunk(void *context, uint64_t at, const struct v8_chunk *chunk)
{
	struct v8_heap *heap = context;
	struct sums *sums = chunk->flags & V8_NEW_SPACE ? &heap->young : &heap->old;
	uint64_t resident;

	if (!makes_sense(at, chunk) || !view_resident(heap->target, at, at + chunk->size, &resident)) {
		heap->wrong = true;
		return;
	}
	sums->address = sums->address ? sums->address : at;
	sums->size += chunk->size;
	sums->room += chunk->end - chunk->start;
	sums->allocated += chunk->allocated;
	sums->resident += resident;
	sums->chunks++;
}

static struct heap_arena *show(struct heaps *heaps, const char *name, const struct sums *sums)
{
	struct heap_arena *arena = sums->chunks ? heaps_add(heaps, HEAP_V8, name) : NULL;

	if (!arena)
		return NULL;
	arena->address = sums->address;
	arena->figure[HEAP_SYSTEM] = sums->size;
	arena->figure[HEAP_RESIDENT] = sums->resident;
	arena->figure[HEAP_METADATA] = sums->size - sums->room;
	return arena;
}

void heap_v8(struct target *target, const struct findings *findings, struct heaps *heaps)
{
	struct v8_heap heap = { .target = target };
	struct heap_arena *old;

	(void)findings;
	if (!v8_chunks(target, take_chunk, &heap) || heap.wrong || target_is_spent(target))
		return;
	show(heaps, "v8:heap:young", &heap.young);
	old = show(heaps, "v8:heap:old", &heap.old);
	if (old) {
		old->figure[HEAP_LIVE] = heap.old.allocated;
		old->figure[HEAP_FREE] = heap.old.room - heap.old.allocated;
	}
}
