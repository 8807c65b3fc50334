/* SPDX-License-Identifier: MIT */
/*
 * mimalloc's segments, page by page (recognise/mimalloc.h). A segment is an arena of
 * its own here; those that the process calls alike become one (heaps_label).
 */
#include "heap.h"

#include "../recognise/mimalloc.h"
#include "../recognise/view.h"

#include <stdlib.h>

#define HUGE_BLOCK   (2ULL << 30)   /* a block with at least this size has its page for itself, however large */
#define TRIES        4
#define PAGES        16             /* of its entries */

struct reading {
	struct target *target;
	struct pages *pages;
	struct view view;           /* of the segment */
	uint64_t figure[HEAP_FIGURES];
};

/* Blocks that other threads have freed, and their page's has not taken back yet. false: the list is none. */
static bool count_freed(struct reading *reading, const struct mimalloc_slice *page, uint64_t start, uint64_t end, uint64_t *count)
{
	uint64_t block = page->thread_free & ~3ULL;

	for (*count = 0; block; ++*count)
		if (*count == page->used || block < start || block > end - sizeof(block) ||
		    !pages_get(reading->pages, block, &block, sizeof(block)))
			return false;
	return true;
}

static bool take_page(struct reading *reading, const struct mimalloc_slice *page, uint64_t start, uint64_t end)
{
	uint64_t size = page->block_size >= HUGE_BLOCK ? end - start : page->block_size, freed, live, there, *figure = reading->figure;

	if (page->used > page->capacity || page->capacity > page->reserved || page->reserved * size > end - start ||
	    !count_freed(reading, page, start, end, &freed))
		return false;
	live = (page->used - freed) * size;
	there = view_there(&reading->view, start, end);
	figure[HEAP_SYSTEM] += end - start;
	figure[HEAP_RESIDENT] += there;
	figure[HEAP_LIVE] += live;
	figure[HEAP_CHUNKS] += page->used - freed;
	figure[HEAP_FREE] += end - start - live;
	if (page->used > freed)
		figure[HEAP_PINNED] += there > live ? there - live : 0;
	else
		figure[HEAP_TRIMMABLE] += there;
	return true;
}

static void take_free(struct reading *reading, uint64_t start, uint64_t end)
{
	uint64_t there = view_there(&reading->view, start, end);

	/* What was given back are addresses. */
	reading->figure[HEAP_SYSTEM] += there;
	reading->figure[HEAP_RESIDENT] += there;
	reading->figure[HEAP_FREE] += there;
	reading->figure[HEAP_TRIMMABLE] += there;
}

static bool take_slice(void *context, const struct mimalloc_slice *slice, uint64_t start, uint64_t end)
{
	if (mimalloc_is_page(slice))
		return take_page(context, slice, start, end);
	take_free(context, start, end);
	return true;
}

static bool take_segment(struct reading *reading, const struct mimalloc_segment *head)
{
	uint64_t info = head->info * MIMALLOC_SLICE, there;
	bool whole;

	/* All of its addresses, in use or not: how many they are said to be is hostile. */
	if (!memory_is_anonymous(reading->target, head->start, head->start + head->slices * MIMALLOC_SLICE) ||
	    view_open(&reading->view, reading->target, head->start, head->start + head->slices * MIMALLOC_SLICE))
		return false;
	whole = mimalloc_each_slice(reading->pages, head, take_slice, reading);
	there = view_there(&reading->view, head->start, head->start + info);
	view_close(&reading->view);
	reading->figure[HEAP_SYSTEM] += info;
	reading->figure[HEAP_METADATA] += info;
	reading->figure[HEAP_RESIDENT] += there;
	return whole;
}

/* A thread may be in the middle of a change. */
static bool take_until_it_adds_up(struct reading *reading, struct mimalloc_segment *head)
{
	uint64_t cookie = head->cookie;
	bool whole = false;

	for (unsigned tries = 0; !whole && tries < TRIES; tries++) {
		for (unsigned i = 0; i < HEAP_FIGURES; i++)
			reading->figure[i] = 0;
		reading->pages = pages_new(reading->target, PAGES);
		whole = reading->pages && mimalloc_read(reading->target, head->start, head) && head->cookie == cookie && take_segment(reading, head);
		pages_free(reading->pages);
	}
	return whole;
}

/* One that does not add up is unknown where others have its cookie, and else none. */
static void show(struct target *target, struct mimalloc_segment *head, bool only, struct heaps *heaps)
{
	struct reading reading = { .target = target };
	bool whole = take_until_it_adds_up(&reading, head);
	struct heap_arena *arena = whole || !only ? heaps_add(heaps, HEAP_MIMALLOC, "mimalloc:heap") : NULL;

	if (!arena)
		return;
	arena->address = head->start;
	for (unsigned i = 0; whole && i < HEAP_FIGURES; i++)
		if (i != HEAP_TOP && i != HEAP_CACHED)
			arena->figure[i] = reading.figure[i];
}

void heap_mimalloc(struct target *target, const struct findings *findings, struct heaps *heaps)
{
	size_t count;
	struct mimalloc_segment *head = mimalloc_find(target, &count);

	(void)findings;
	for (size_t i = 0; i < count; i++)
		show(target, &head[i], count == 1, heaps);
	free(head);
}
