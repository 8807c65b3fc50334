/* SPDX-License-Identifier: MIT */
/*
 * Chunks that were freed and look live: those in fastbins, and in the caches that
 * each thread has (tcache). Both are lists, each of one size:
 *
 *   tcache:  how many of each size ... | the first of each size ...   (a chunk itself)
 *                                              |
 *                                              v
 *                         chunk -> chunk -> ... -> 0
 *
 * From glibc 2.32 on a link is xored with its own address, shifted by 12.
 * Caches are found by what they hold, in any chunk of their size: nothing that is
 * read from outside leads to them. Their counts and their lists must agree.
 */
#ifndef ANONNAME_HEAP_LISTS_H
#define ANONNAME_HEAP_LISTS_H

#include "../recognise/pages.h"
#include "chunks.h"

/* Memory of an arena: chunks of a list lie there. */
struct list_range {
	uint64_t start, end;
	size_t arena;
};

struct cached {
	uint64_t bytes;
	struct chunk_counts counts;
	bool unknown;               /* a list did not hold still */
};

struct lists {
	struct target *target;
	const struct list_range *range; /* sorted */
	size_t ranges;
	struct cached *cached;      /* of each arena */
	struct pages *pages;
};

/* Chunks of that size may hold a cache: struct tcache_perthread_struct up to 2.29, to 2.41, and from 2.42 on. */
static inline bool lists_may_be_cache(uint64_t chunk_size)
{
	return chunk_size == 0x250 || chunk_size == 0x290 || chunk_size == 0x300;
}

/* Whether what is in a chunk of that size, its bytes without the head, could be a cache that is not empty. */
bool lists_look_like_cache(const char *bytes, uint64_t chunk_size);

/* Adds what is in them to cached[] of the arenas where the chunks lie. */
void lists_read_cache(struct lists *lists, uint64_t chunk);
void lists_read_fastbins(struct lists *lists, size_t arena, uint64_t heads, unsigned count);

#endif
