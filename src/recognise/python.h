/* SPDX-License-Identifier: MIT */
/* CPython's arenas and the pools in them: what the recogniser and whoever looks inside share. See python.c. */
#ifndef ANONNAME_RECOGNISE_PYTHON_H
#define ANONNAME_RECOGNISE_PYTHON_H

#include "memory.h"

#define PYTHON_CLASSES 64
#define PYTHON_ARENA   "python:arena"

struct python_pool {
	uint32_t used, unused;      /* blocks in use */
	uint64_t free_block, next, previous;
	uint32_t arena, size_class, next_offset, last_offset;
};

struct python_sizes {
	uint64_t arena, pool;
};

/* By the name of the program or library, which says its version; false: there is none. */
bool python_sizes(struct target *target, struct python_sizes *sizes);

/* What a slot for a pool holds: nothing that is there, something else, or a pool. */
enum python_slot { PYTHON_EMPTY, PYTHON_FOREIGN, PYTHON_POOL };

enum python_slot python_look_at(const struct python_pool *pool, bool there, uint64_t size);

static inline uint64_t python_block_size(const struct python_pool *pool) { return (pool->size_class + 1) * 16ULL; }

#endif
