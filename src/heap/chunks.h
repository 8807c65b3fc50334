/* SPDX-License-Identifier: MIT */
/*
 * glibc's chunks: a heap is nothing but chunks, one behind the other, so that who
 * knows where the first begins can go from each to the next:
 *
 *   chunk ----> | size of the one before, if that is free | size and flags |
 *               | the program's bytes, or the links of a bin ...           |
 *   + size ---> | ...                                     | size and flags |
 *
 * A chunk is free where the flags of the *next* say so. Chunks in fastbins and
 * in a thread's cache look like live ones; lists.h has those.
 * malloc/malloc.c: struct malloc_chunk, mtrim().
 */
#ifndef ANONNAME_HEAP_CHUNKS_H
#define ANONNAME_HEAP_CHUNKS_H

#include "heap.h"
#include "../recognise/view.h"

#define CHUNK_FLAGS 7
#define CHUNK_MIN   32              /* bytes */
#define CHUNK_STEP  16

/* Sizes of their own up to here; above, a bucket has those up to a power of two. */
#define CHUNK_EXACT   1024          /* in steps: 16 KiB */
#define CHUNK_BUCKETS (CHUNK_EXACT + 64)

struct chunk_counts {
	uint64_t count[CHUNK_BUCKETS], bytes[CHUNK_BUCKETS];
};

/* Where a thread's cache may be: chunks of such sizes. See lists.h. */
struct chunk_suspects {
	uint64_t *at;
	size_t count, room;
};

struct chunks {
	struct chunk_counts live, free, pinning; /* bytes are counted of buckets with several sizes alone */
	uint64_t resident, trimmable, pinned, top, metadata;
	struct chunk_suspects suspects;
	/* The page that is walked on: the live chunks that begin there, and whether free bytes are there, too. */
	uint64_t page;
	unsigned short on_page[(64U << 10) / CHUNK_MIN + 1];
	size_t on_page_count;
	bool page_has_free;
};

/* A heap: its chunks begin at first and end at end; top is 0 where it has none. */
struct chunk_range {
	uint64_t start, first, end, top;
	bool is_main;
};

/* Adds what is in it; false: the chunks do not lead to its end. */
bool chunks_walk(struct chunks *chunks, struct view *view, const struct chunk_range *range);

unsigned chunk_bucket(uint64_t size);
/* The largest size of a bucket. */
uint64_t chunk_bucket_size(unsigned bucket);
uint64_t chunk_counts_bytes(const struct chunk_counts *counts, unsigned bucket);

#endif
