/* SPDX-License-Identifier: MIT */
/* Walks the chunks of one heap. See chunks.h. */
#include "chunks.h"

#include "lists.h"

#include "../read/list.h"

#include <stdlib.h>
#include <string.h>

#define PREV_IN_USE 1
#define IS_MAPPED   2
#define CHUNK_HEAD  16              /* what must be there of a chunk to go on behind it */
#define FENCE       16              /* a chunk of no use that stands at the end of a heap */

/* What mtrim() leaves of a free chunk in front of the pages that it gives back: sizeof(struct malloc_chunk). */
#define TRIM_HEAD   48

/* One million of such chunks, all of them something else's: enough. */
#define SUSPECTS_MAX (1U << 20)

unsigned chunk_bucket(uint64_t size)
{
	return size / CHUNK_STEP < CHUNK_EXACT ? (unsigned)(size / CHUNK_STEP) : CHUNK_EXACT + 63 - (unsigned)__builtin_clzll(size);
}

uint64_t chunk_bucket_size(unsigned bucket)
{
	if (bucket < CHUNK_EXACT)
		return bucket * (uint64_t)CHUNK_STEP;
	return bucket < CHUNK_BUCKETS - 1 ? (2ULL << (bucket - CHUNK_EXACT)) - CHUNK_STEP : UINT64_MAX;
}

uint64_t chunk_counts_bytes(const struct chunk_counts *counts, unsigned bucket)
{
	return bucket < CHUNK_EXACT ? counts->count[bucket] * bucket * CHUNK_STEP : counts->bytes[bucket];
}

static inline unsigned count(struct chunk_counts *counts, uint64_t size)
{
	unsigned bucket = (unsigned)(size / CHUNK_STEP);

	if (__builtin_expect(bucket >= CHUNK_EXACT, 0)) {
		bucket = chunk_bucket(size);
		counts->bytes[bucket] += size;
	}
	counts->count[bucket]++;
	return bucket;
}

static void suspect(struct chunk_suspects *suspects, uint64_t at)
{
	uint64_t *grown = list_grown(suspects->at, suspects->count, &suspects->room, sizeof(*grown), 64, SUSPECTS_MAX);

	if (!grown)
		return;
	suspects->at = grown;
	suspects->at[suspects->count++] = at;
}

static void leave_page(struct chunks *chunks)
{
	for (size_t i = 0; chunks->page_has_free && i < chunks->on_page_count; i++)
		chunks->pinning.count[chunks->on_page[i]]++;
	chunks->on_page_count = 0;
	chunks->page_has_free = false;
}

static inline void enter_page(struct chunks *chunks, uint64_t page)
{
	if (chunks->page == page)
		return;
	leave_page(chunks);
	chunks->page = page;
}

static inline void take_live(struct chunks *chunks, uint64_t at, uint64_t size, unsigned page_shift)
{
	enter_page(chunks, at >> page_shift);
	chunks->on_page[chunks->on_page_count++] = (unsigned short)count(&chunks->live, size);
}

/* Its whole pages could be given back; what is in front of them and behind shares pages with others. */
static void take_free(struct chunks *chunks, const struct view *view, uint64_t at, uint64_t size)
{
	uint64_t page = view->target->own.page, from = (at + TRIM_HEAD + page - 1) & ~(page - 1), to = (at + size) & ~(page - 1);
	uint64_t whole = from < to ? to - from : 0;

	count(&chunks->free, size);
	chunks->trimmable += whole ? view_there(view, from, to) : 0;
	chunks->pinned += size - whole;
	enter_page(chunks, at / page);
	chunks->page_has_free = true;
	if ((at + size - 1) / page != at / page && at + size != to) {
		enter_page(chunks, (at + size - 1) / page);
		chunks->page_has_free = true;
	}
}

/* The last one. malloc_trim gives back whole pages of main_arena's from its end on, and none of the others'. */
static void take_top(struct chunks *chunks, const struct view *view, const struct chunk_range *range)
{
	uint64_t page = view->target->own.page, size = range->end - range->top;

	chunks->top += size;
	if (range->is_main && size > CHUNK_MIN + 1)
		chunks->trimmable += view_there(view, range->end - ((size - CHUNK_MIN - 1) & ~(page - 1)), range->end);
}

/* A heap that is not its arena's last ends with two chunks of no use: one of 16 bytes, one of none. */
static bool is_fence(const struct chunk_range *range, uint64_t at, uint64_t size)
{
	return !range->top && ((size == FENCE && at == range->end - 2 * FENCE) || (!size && at == range->end - FENCE));
}

static bool walk(struct chunks *chunks, struct view *view, const struct chunk_range *range)
{
	const unsigned page_shift = (unsigned)__builtin_ctzll(view->target->own.page);
	uint64_t before = 0, size = 0, at = range->first, head;

	for (;; at += size) {
		if ((at < view->from || at + CHUNK_HEAD > view->to) && !view_move(view, at))
			return false;
		memcpy(&head, view->window + (at - view->from) + 8, sizeof(head));
		if (before && head & PREV_IN_USE)
			take_live(chunks, before, size, page_shift);
		else if (before)
			take_free(chunks, view, before, size);
		before = at;
		size = head & ~(uint64_t)CHUNK_FLAGS;
		if (at == range->top) {
			take_top(chunks, view, range);
			return size == range->end - at;
		}
		if (size < CHUNK_MIN || size > range->end - CHUNK_HEAD - at || head & IS_MAPPED || size % CHUNK_STEP) {
			if (!is_fence(range, at, size))
				return false;
			chunks->metadata += FENCE;
			if (!size)
				return true;
			before = 0;
		}
		if (__builtin_expect(lists_may_be_cache(size), 0) &&
		    (at + size > view->to || lists_look_like_cache(view->window + (at - view->from) + CHUNK_HEAD, size)))
			suspect(&chunks->suspects, at);
	}
}

bool chunks_walk(struct chunks *chunks, struct view *view, const struct chunk_range *range)
{
	bool whole;

	/* What is added to range->end must not wrap. */
	if (range->first < range->start || range->end > INT64_MAX || range->end - range->start < 2 * FENCE ||
	    range->first > range->end - 2 * FENCE || range->first % CHUNK_STEP || (range->top && (range->top < range->first || range->top >= range->end)))
		return false;
	chunks->resident += view_there(view, range->start, range->end);
	chunks->metadata += range->first - range->start;
	chunks->page = UINT64_MAX;
	whole = walk(chunks, view, range);
	leave_page(chunks);
	return whole;
}
