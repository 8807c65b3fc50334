/* SPDX-License-Identifier: MIT */
/*
 * mimalloc's segments (2.0, as it is released): 32 MiB, aligned to that, in slices of
 * 64 KiB. What its head says must agree with the slices behind it, all of them:
 *
 *   ... pages in use | cookie | slices | slices of the head | kind | entries | thread |
 *   slice [1: this head] [1: page of 3072, 3 in use] [510: free] ...      80 bytes an entry
 *
 * The slices add up to the segment, as many of them are pages as are in use, and the
 * cookie is the same of all segments, but for their addresses.
 */
#ifndef ANONNAME_RECOGNISE_MIMALLOC_H
#define ANONNAME_RECOGNISE_MIMALLOC_H

#include "memory.h"
#include "pages.h"

#define MIMALLOC_SLICE (64ULL << 10)

struct mimalloc_segment {
	uint64_t start, used, cookie, slices, info, entries, first; /* info: slices of the head; first: where the entries begin */
};

struct mimalloc_slice {
	uint32_t count, offset;
	uint8_t flags[2];
	uint16_t capacity, reserved;
	uint8_t more_flags[2];
	uint64_t free;
	uint32_t used, block_size;
	uint64_t local_free, thread_free, heap, next, previous, padding;
};

/* Those whose heads have the cookie of the first, in order of address: to be freed, NULL: there is none. */
struct mimalloc_segment *mimalloc_find(struct target *target, size_t *count);

/* Reads a head anew; false: there is none at its start any more. */
bool mimalloc_read(struct target *target, uint64_t start, struct mimalloc_segment *segment);

/* Of what is free block_size is 0, and 1 in a segment that is kept for later. */
static inline bool mimalloc_is_page(const struct mimalloc_slice *slice) { return slice->block_size > 1; }

/*
 * Calls each with every slice behind the head: a page of blocks, or free. false: each
 * said so, or they do not add up to what the head says.
 */
bool mimalloc_each_slice(struct pages *pages, const struct mimalloc_segment *segment,
                         bool (*each)(void *context, const struct mimalloc_slice *slice, uint64_t start, uint64_t end), void *context);

#endif
