/* SPDX-License-Identifier: MIT */
/*
 * Large chunks of glibc's malloc, each a mapping of its own: its header says how
 * long it is, in whole pages, and has the bit of a mapped chunk. Two words prove
 * little; but libc counts these chunks and their bytes (mp_), and what is found
 * is named only where it is just that many.
 */
#include "recognise.h"

#include "glibc.h"

#include <stdlib.h>

#define IS_MMAPPED   2
#define FLAGS        7
#define MMAPS_MAX    65536          /* mp_.n_mmaps_max, unless the program changes it */
#define CANDIDATES   65536

/* So many pages without a chunk, and what is behind them is another's. */
#define GAP_PAGES    4096

/* What a chunk begins with: what is left in front of it, and its size. */
struct head {
	uint64_t front, size;
};

struct candidates {
	size_t count;
	uint64_t bytes;
	uint32_t counted;           /* by libc */
	uint64_t counted_bytes;
	struct found found[CANDIDATES];
};

/* How far the anonymous memory goes on; advice on a part of a chunk cuts its mapping. */
static uint64_t end_of_memory(struct target *target, uint64_t end)
{
	const struct area *area;

	while ((area = area_at(target, end)) && area->start == end && area->class == VMA_UNNAMED && area_is_anonymous(area) &&
	       area_is_writable(area) && !target_is_spent(target))
		end = area->end;
	return end;
}

static uint64_t chunk_size(struct target *target, struct head head, uint64_t address, uint64_t end)
{
	uint64_t size, page = target->own.page;

	/* In front of a chunk that had to be aligned some bytes are left, which the first word counts. */
	if ((head.size & FLAGS) != IS_MMAPPED || head.front)
		return 0;
	size = head.size & ~(uint64_t)FLAGS;
	/* From 2.43 on the head is not counted. */
	size += size % page == page - sizeof(head) ? sizeof(head) : 0;
	if (size < page || size % page || size > UINT64_MAX - address)
		return 0;
	return address + size <= end || address + size <= end_of_memory(target, end) ? size : 0;
}

uint64_t large_at(struct target *target, uint64_t address, uint64_t end)
{
	struct head head;

	return memory_get(target, address, &head, sizeof(head)) ? 0 : chunk_size(target, head, address, end);
}

/* What libc says of itself in mp_. */
struct counters {
	uint64_t count, bytes;      /* of large chunks */
	uint64_t heap;              /* where malloc's part of [heap] begins */
};

static const struct area *find_heap(const struct target *target)
{
	size_t i = 0;

	while (i < target->areas && target->area[i].class != VMA_HEAP)
		i++;
	return i < target->areas ? &target->area[i] : NULL;
}

/* mp_ ends with where malloc's part of [heap] begins; in front of that are the sums. glibc 2.35 put a flag before the numbers. */
static bool read_counters(const struct glibc_data *data, const struct area *heap, struct counters *counters)
{
	for (size_t i = 5; i < data->words; i++) {
		const uint64_t *sums = &data->word[i - 2];
		const uint32_t *before = (const uint32_t *)sums;

		if (data->word[i] < heap->start || data->word[i] >= heap->end || sums[0] > sums[1])
			continue;
		for (size_t back = 4; back <= 5; back++)
			if (before[1 - (int)back] == MMAPS_MAX && before[0 - (int)back] <= before[2 - (int)back]) {
				*counters = (struct counters){ before[0 - (int)back], sums[0], data->word[i] };
				return true;
			}
	}
	return false;
}

static bool find_counters(struct target *target, struct counters *counters)
{
	const struct area *heap = find_heap(target);
	struct glibc_data *data = heap ? glibc_data_read(target) : NULL;
	bool known = data && read_counters(data, heap, counters);

	free(data);
	return known;
}

bool glibc_large_count(struct target *target, uint64_t *count, uint64_t *bytes)
{
	struct counters counters = { 0 };
	bool known = find_counters(target, &counters);

	*count = counters.count;
	*bytes = counters.bytes;
	return known;
}

uint64_t glibc_heap(struct target *target)
{
	const struct area *heap = find_heap(target);
	struct counters counters;

	if (heap && object_static(target))
		return find_counters(target, &counters) ? counters.heap : 0;
	return heap ? heap->start : 0;
}

/* The first words of pages that follow each other. */
struct heads {
	uint64_t start, end;
	size_t next;                /* how many are read at the next time: behind a chunk one, then more and more */
	bool there[HEADS_MAX];
	struct head head[HEADS_MAX];
};

/* Reads from the first page on that is there; false: there is none. */
static bool read_heads(struct heads *heads, struct target *target, uint64_t from, uint64_t end)
{
	uint64_t page = target->own.page;
	size_t count;

	heads->start = heads->end = memory_next(target, from, end);
	if (heads->start >= end)
		return false;
	count = (size_t)((end - heads->start + page - 1) / page);
	count = count < heads->next ? count : heads->next;
	heads->next = 2 * count < HEADS_MAX ? 2 * count : HEADS_MAX;
	memory_heads(target, heads->start, count, page, heads->there, heads->head, sizeof(*heads->head));
	heads->end = heads->start + count * page;
	return true;
}

static bool search_is_over(const struct candidates *c)
{
	return c->count == CANDIDATES || c->count == c->counted;
}

/* Where it ended: the last chunk may go on behind what is searched. */
static uint64_t search(struct target *target, uint64_t start, uint64_t end, struct candidates *c)
{
	struct heads heads = { .next = 1 };
	uint64_t at = start, size;
	unsigned gap = 0;

	for (; at < end && gap < GAP_PAGES && !search_is_over(c); at += size) {
		if (at >= heads.end) {
			if (!read_heads(&heads, target, at, end))
				break;
			at = heads.start;
		}
		size_t i = (size_t)((at - heads.start) / target->own.page);

		size = heads.there[i] ? chunk_size(target, heads.head[i], at, end) : 0;
		if (size) {
			c->found[c->count++] = (struct found){ at, at + size, 0 };
			c->bytes += size;
			heads.next = 1;
			gap = 0;
		} else {
			size = target->own.page;
			gap += heads.there[i];
		}
	}
	return at > end ? at : end;
}

void recognise_large(struct target *target, struct findings *findings)
{
	uint64_t counted, bytes;
	/* Not cleared: of its pages most processes need one. */
	struct candidates *c = glibc_large_count(target, &counted, &bytes) && counted ? malloc(sizeof(*c)) : NULL;

	if (!c)
		return;
	c->count = c->bytes = 0;
	c->counted = (uint32_t)counted;
	c->counted_bytes = bytes;
	for (uint64_t start = 0, end; findings_left(target, findings, &start, &end);)
		start = search(target, start, end, c);
	bool all = c->count == c->counted && c->bytes == c->counted_bytes;

	for (size_t i = 0; all && i < c->count; i++)
		found_add(findings, c->found[i].start, c->found[i].end, "glibc:large");
	free(c);
}
