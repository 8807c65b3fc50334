/* SPDX-License-Identifier: MIT */
/*
 * Go's heap and the stacks in it, by the spans of its arenas:
 *
 *   arena   | span, in use | free | span, in use | stacks | free |  reserved
 *           |------------------ writable -----------------------|
 *
 * A span in use has objects of one size, and counts those that are allocated. Live
 * is what the runtime calls HeapAlloc, and system HeapSys: what is writable but no
 * stack. Each span must hold what it says is allocated, or all is unknown.
 */
#include "heap.h"

#include "../recognise/go.h"
#include "../recognise/view.h"

struct sums {
	uint64_t size, resident;
};

struct go_heap {
	struct target *target;
	struct view view;           /* of the arena */
	uint64_t viewed;            /* which it is; 0: none */
	struct sums writable, used, stacks, runtime;
	uint64_t live, objects;
	uint64_t first;             /* address of the first arena */
	bool wrong;
};

static bool view_arena(struct go_heap *heap, uint64_t arena)
{
	if (heap->viewed == arena)
		return true;
	if (heap->viewed)
		view_close(&heap->view);
	heap->viewed = 0;
	if (view_open(&heap->view, heap->target, arena, arena + GO_ARENA))
		return false;
	heap->viewed = arena;
	return true;
}

/* A span may go on in the arenas behind its first. */
static void add(struct go_heap *heap, struct sums *sums, uint64_t start, uint64_t end)
{
	sums->size += end - start;
	for (uint64_t at = start, next; at < end; at = next) {
		uint64_t arena = at & ~(GO_ARENA - 1);

		next = arena + GO_ARENA < end ? arena + GO_ARENA : end;
		if (target_is_spent(heap->target) || !view_arena(heap, arena)) {
			heap->wrong = true;
			return;
		}
		sums->resident += view_there(&heap->view, at, next);
	}
}

static bool makes_sense(const struct go_span *span)
{
	return span->element && span->limit > span->start && span->limit - span->start <= span->size &&
	       span->allocated <= (span->limit - span->start) / span->element;
}

static void take_span(void *context, const struct go_span *span)
{
	struct go_heap *heap = context;

	if (span->kind == GO_HEAP && !makes_sense(span)) {
		heap->wrong = true;
		return;
	}
	add(heap, span->kind == GO_HEAP ? &heap->used : span->kind == GO_STACK ? &heap->stacks : &heap->runtime, span->start,
	    span->start + span->size);
	if (span->kind == GO_HEAP) {
		heap->live += span->allocated * span->element;
		heap->objects += span->allocated;
	}
}

/* What of it can be used: the rest is reserved. */
static void take_arena(void *context, uint64_t arena)
{
	struct go_heap *heap = context;
	const struct target *target = heap->target;

	heap->first = heap->first ? heap->first : arena;
	for (size_t i = area_seek(target, arena); i < target->areas && target->area[i].start < arena + GO_ARENA; i++) {
		const struct area *area = &target->area[i];

		if (area_is_anonymous(area) && area_is_writable(area))
			add(heap, &heap->writable, area->start > arena ? area->start : arena, area->end < arena + GO_ARENA ? area->end : arena + GO_ARENA);
	}
}

static void show_heap(const struct go_heap *heap, struct heaps *heaps)
{
	uint64_t others = heap->stacks.size + heap->runtime.size, there = heap->stacks.resident + heap->runtime.resident;
	struct heap_arena *arena = heaps_add(heaps, HEAP_GO, "go:heap");

	if (!arena)
		return;
	arena->address = heap->first;
	arena->figure[HEAP_SYSTEM] = heap->writable.size - others;
	arena->figure[HEAP_RESIDENT] = heap->writable.resident - there;
	arena->figure[HEAP_LIVE] = heap->live;
	arena->figure[HEAP_FREE] = heap->writable.size - others - heap->live;
	arena->figure[HEAP_PINNED] = heap->used.size - heap->live;
	arena->figure[HEAP_TRIMMABLE] = heap->writable.resident - there - heap->used.resident;
	arena->figure[HEAP_METADATA] = 0;
	arena->figure[HEAP_CHUNKS] = heap->objects;
}

static void show_stacks(const struct go_heap *heap, struct heaps *heaps)
{
	struct heap_arena *arena = heap->stacks.size ? heaps_add(heaps, HEAP_GO, "go:stack") : NULL;

	if (arena) {
		arena->figure[HEAP_SYSTEM] = heap->stacks.size;
		arena->figure[HEAP_RESIDENT] = heap->stacks.resident;
	}
}

/* All that is there adds up to no more than what is writable, or the program has changed it meanwhile. */
static bool adds_up(const struct go_heap *heap)
{
	uint64_t size = heap->used.size + heap->stacks.size + heap->runtime.size;
	uint64_t resident = heap->used.resident + heap->stacks.resident + heap->runtime.resident;

	return !heap->wrong && heap->used.size && size <= heap->writable.size && resident <= heap->writable.resident && heap->live <= heap->used.size;
}

void heap_go(struct target *target, const struct findings *findings, struct heaps *heaps)
{
	struct go_heap heap = { .target = target };

	(void)findings;
	if (go_spans(target, take_span, take_arena, &heap) && adds_up(&heap)) {
		show_heap(&heap, heaps);
		show_stacks(&heap, heaps);
	}
	if (heap.viewed)
		view_close(&heap.view);
}
