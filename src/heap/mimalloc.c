/* SPDX-License-Identifier: MIT */
/*
 * mimalloc's segments (2.0, as it is released): 32 MiB, aligned to that, in slices of
 * 64 KiB. What its head says must agree with the slices behind it, all of them:
 *
 *   ... pages in use | cookie | slices | slices of the head | kind | entries | thread |
 *   slice [1: this head] [1: page of 3072, 3 in use] [510: free] ...      80 bytes an entry
 *
 * The slices add up to the segment, as many of them are pages as are in use, and the
 * cookie is the same of all segments, but for their addresses. A segment is an arena
 * of its own here; those that the process calls alike become one (heaps_label).
 */
#include "heap.h"

#include "../recognise/pages.h"
#include "view.h"

#include <stdlib.h>

#define SEGMENT      (32ULL << 20)
#define SLICE        (64ULL << 10)
#define ENTRIES      512U           /* slices of a segment; one that is larger is a single page */
#define HEAD_WORDS   64
#define HEAD_FIRST   8              /* the word of slices is not before, */
#define HEAD_LAST    (HEAD_WORDS - 5) /* and not behind this */
#define SLICES_MAX   (1ULL << 24)
#define HUGE_BLOCK   (2ULL << 30)   /* a block with at least this size has its page for itself, however large */
#define TRIES        4
#define PAGES        16             /* of its entries */
#define SEGMENTS_MAX 4096

struct head {
	uint64_t start, used, cookie, slices, info, entries, first; /* first: where the entries begin */
};

struct slice {
	uint32_t count, offset;
	uint8_t flags[2];
	uint16_t capacity, reserved;
	uint8_t more_flags[2];
	uint64_t free;
	uint32_t used, block_size;
	uint64_t local_free, thread_free, heap, next, previous, padding;
};

struct reading {
	struct target *target;
	struct pages *pages;
	struct view view;           /* of the segment */
	uint64_t figure[HEAP_FIGURES];
};

static bool read_head(struct target *target, uint64_t start, struct head *head)
{
	uint64_t word[HEAD_WORDS];

	if (memory_get(target, start, word, sizeof(word)))
		return false;
	for (unsigned at = HEAD_FIRST; at < HEAD_LAST; at++) {
		*head = (struct head){ start, word[at - 2], word[at - 1] ^ start, word[at], word[at + 1], word[at + 3], start + (at + 5) * sizeof(*word) };
		if (head->slices > 1 && head->slices <= SLICES_MAX && head->info && head->info <= 16 && (uint32_t)word[at + 2] <= 1 &&
		    head->entries == (head->slices < ENTRIES ? head->slices : ENTRIES) && head->used < head->entries && word[at + 4] % 8 == 0)
			return true;
	}
	return false;
}

/* Blocks that other threads have freed, and their page's has not taken back yet. false: the list is none. */
static bool count_freed(struct reading *reading, const struct slice *page, uint64_t start, uint64_t end, uint64_t *count)
{
	uint64_t block = page->thread_free & ~3ULL;

	for (*count = 0; block; ++*count)
		if (*count == page->used || block < start || block > end - sizeof(block) ||
		    !pages_get(reading->pages, block, &block, sizeof(block)))
			return false;
	return true;
}

static bool take_page(struct reading *reading, const struct slice *page, uint64_t start, uint64_t end)
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

/* Of what is free it is 0, and 1 in a segment that is kept for later. */
static bool is_page(const struct slice *slice) { return slice->block_size > 1; }

static bool take_slices(struct reading *reading, const struct head *head)
{
	uint64_t used = 0, i = 0;

	while (i < head->slices) {
		uint64_t start = head->start + i * SLICE, end;
		struct slice slice;

		if (i >= head->entries || !pages_get(reading->pages, head->first + i * sizeof(slice), &slice, sizeof(slice)) || !slice.count ||
		    slice.offset || slice.count > head->slices - i)
			return false;
		end = start + slice.count * SLICE;
		if (!i && slice.count != head->info)
			return false;
		if (i && is_page(&slice) && !take_page(reading, &slice, start, end))
			return false;
		if (i && !is_page(&slice))
			take_free(reading, start, end);
		used += i && is_page(&slice);
		i += slice.count;
	}
	return used == head->used;
}

/* All of its addresses, in use or not: how many they are said to be is hostile. */
static bool is_mapped(const struct target *target, uint64_t start, uint64_t end)
{
	for (size_t i = area_seek(target, start); i < target->areas && target->area[i].start <= start; i++) {
		start = target->area[i].end;
		if (start >= end)
			return true;
	}
	return false;
}

static bool take_segment(struct reading *reading, const struct head *head)
{
	uint64_t info = head->info * SLICE, there;
	bool whole;

	if (!is_mapped(reading->target, head->start, head->start + head->slices * SLICE) ||
	    view_open(&reading->view, reading->target, head->start, head->start + head->slices * SLICE))
		return false;
	whole = take_slices(reading, head);
	there = view_there(&reading->view, head->start, head->start + info);
	view_close(&reading->view);
	reading->figure[HEAP_SYSTEM] += info;
	reading->figure[HEAP_METADATA] += info;
	reading->figure[HEAP_RESIDENT] += there;
	return whole;
}

/* A thread may be in the middle of a change. */
static bool take_until_it_adds_up(struct reading *reading, struct head *head)
{
	uint64_t cookie = head->cookie;
	bool whole = false;

	for (unsigned tries = 0; !whole && tries < TRIES; tries++) {
		for (unsigned i = 0; i < HEAP_FIGURES; i++)
			reading->figure[i] = 0;
		reading->pages = pages_new(reading->target, PAGES);
		whole = reading->pages && read_head(reading->target, head->start, head) && head->cookie == cookie && take_segment(reading, head);
		pages_free(reading->pages);
	}
	return whole;
}

/* One that does not add up is unknown where others have its cookie, and else none. */
static void show(struct target *target, struct head *head, bool only, struct heaps *heaps)
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

/* All of them have one cookie, which nothing else has. */
static size_t find_segments(struct target *target, struct head *found)
{
	size_t count = 0;

	for (size_t i = 0; i < target->areas && count < SEGMENTS_MAX; i++) {
		const struct area *area = &target->area[i];
		uint64_t at = (area->start + SEGMENT - 1) & ~(SEGMENT - 1);

		if (!area_is_anonymous(area) || !area_is_writable(area))
			continue;
		for (; at < area->end && count < SEGMENTS_MAX && !target_is_spent(target); at += SEGMENT)
			if (memory_next(target, at, at + 1) == at && read_head(target, at, &found[count]) &&
			    (!count || found[count].cookie == found[0].cookie))
				count++;
	}
	return count;
}

void heap_mimalloc(struct target *target, const struct findings *findings, struct heaps *heaps)
{
	struct head *head = malloc(SEGMENTS_MAX * sizeof(*head));
	size_t count = head ? find_segments(target, head) : 0;

	(void)findings;
	for (size_t i = 0; i < count; i++)
		show(target, &head[i], count == 1, heaps);
	free(head);
}
