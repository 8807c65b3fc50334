/* SPDX-License-Identifier: MIT */
/*
 * What a jemalloc 5 has, by its own tree of extents. It is found without symbols,
 * in a stripped library or linked into a program:
 *
 *   root (2 MiB of .bss), a word for each GiB of addresses
 *     +--> leaf (2 MiB), a word for each page: the extent that it belongs to
 *            +--> extent: its own address and size, its arena, state and size class
 *
 * It proves itself: an extent says the address that it was found by, and all
 * leaves agree about where the root is.
 */
#ifndef ANONNAME_RECOGNISE_JEMALLOC_H
#define ANONNAME_RECOGNISE_JEMALLOC_H

#include "memory.h"

enum jemalloc_state { JEMALLOC_ACTIVE, JEMALLOC_DIRTY, JEMALLOC_MUZZY, JEMALLOC_RETAINED, JEMALLOC_STATES };

struct jemalloc_extent {
	uint64_t start, size;
	unsigned arena;
	enum jemalloc_state state;
	bool slab;                  /* of small regions; else one large allocation where it is active */
	unsigned size_class, free;  /* free: regions of a slab */
};

/* Memory that an arena has for jemalloc's own structures. */
struct jemalloc_base {
	uint64_t start, size;
	unsigned arena;
};

struct jemalloc {
	struct jemalloc_extent *extent; /* in order of address, not overlapping */
	size_t extents;
	struct jemalloc_base *base;
	size_t bases, room;
};

/* NULL: there is none, or it does not prove itself. */
struct jemalloc *jemalloc_find(struct target *target);
void jemalloc_free(struct jemalloc *jemalloc);

/* The bytes of an allocation of a class. */
uint64_t jemalloc_class_size(unsigned size_class);

#endif
