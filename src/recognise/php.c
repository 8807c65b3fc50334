/* SPDX-License-Identifier: MIT */
/*
 * PHP's memory: Zend's chunks of 2 MiB, aligned to that, in a ring; each says
 * which heap it is of, and that heap is a part of the first chunk:
 *
 *   chunk ---> heap, next, previous, ...
 *                |       each next points back
 *                +--> ..., list of huge blocks, first chunk, ...
 *
 * (Zend/zend_alloc.c.) A huge block has no header; the list says where it lies and how long it is.
 */
#include "recognise.h"

#include "object.h"

#define CHUNK      (2ULL << 20)
#define CHUNKS_MAX 65536
#define HEAP_WORDS 64               /* of struct zend_mm_heap that are looked at */

struct chunk {
	uint64_t heap, next, previous;
};

static bool is_chunk(struct target *target, uint64_t at, uint64_t heap, struct chunk *chunk)
{
	return at && at % CHUNK == 0 && !memory_get(target, at, chunk, sizeof(*chunk)) && chunk->heap == heap;
}

/* The whole ring of the first chunk: nothing is named unless it closes. */
static bool name_ring(struct target *target, struct findings *findings, uint64_t first, uint64_t heap)
{
	struct chunk chunk;

	for (unsigned round = 0; round < 2; round++) {
		uint64_t at = first, before = 0;
		unsigned steps = 0;

		do {
			if (++steps > CHUNKS_MAX || !is_chunk(target, at, heap, &chunk) || (before && chunk.previous != before))
				return false;
			if (round)
				found_add(findings, at, at + CHUNK, "php:heap");
			before = at;
			at = chunk.next;
		} while (at != first);
	}
	return true;
}

/* Each block: where, how long, and the next in the list; such entries lie in chunks. */
static void name_huge(struct target *target, struct findings *findings, uint64_t heap, uint64_t first)
{
	uint64_t word[HEAP_WORDS], block[3];
	size_t i = 1;

	if (memory_get(target, heap, word, sizeof(word)))
		return;
	while (i < HEAP_WORDS && word[i] != first)
		i++;
	if (i == HEAP_WORDS)
		return;
	block[2] = word[i - 1];
	for (unsigned steps = 0; block[2] && steps < CHUNKS_MAX && !memory_get(target, block[2], block, sizeof(block)); steps++)
		if (block[0] % CHUNK == 0 && block[1] % target->own.page == 0 && block[1] < UINT64_MAX - block[0])
			found_add(findings, block[0], block[0] + block[1], "php:heap");
}

void recognise_php(struct target *target, struct findings *findings)
{
	if (!object_named(target, "php") && !object_named(target, "libphp"))
		return;
	for (size_t i = 0; i < target->areas; i++) {
		const struct area *area = &target->area[i];
		struct chunk chunk;

		for (uint64_t at = (area->start + CHUNK - 1) & ~(CHUNK - 1); at < area->end && area_is_anonymous(area) &&
		     area_is_writable(area) && area->class == VMA_UNNAMED && !target_is_spent(target); at += CHUNK)
			/* The first chunk is the one that the heap lies in. */
			if (!memory_get(target, at, &chunk, sizeof(chunk)) && at < chunk.heap && chunk.heap < at + target->own.page &&
			    chunk.heap % 8 == 0 && name_ring(target, findings, at, chunk.heap))
				name_huge(target, findings, chunk.heap, at);
	}
}
