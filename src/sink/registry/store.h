/* SPDX-License-Identifier: MIT */
/*
 * The registry's ground floor: where blocks, tops and names lie, taken and given
 * back. Only who holds the registry (queue.h) changes anything here; what the
 * inline functions look up may be looked up by anybody. edit.c builds on it.
 */
#ifndef ANONNAME_SINK_REGISTRY_STORE_H
#define ANONNAME_SINK_REGISTRY_STORE_H

#include <string.h>

#include "base/root.h"

#define registry root.registry

/* The first mapping. Idempotent; false: no memory. */
bool store_start(void);

/* A block, or -1. */
int64_t block_get(void);
/* Oldest first: a reader in another process has the longest time to copy it. */
void block_put(uint32_t block);

/*
 * Twice what is asked for, so that tops are outgrown seldom. An outgrown one is
 * left where it is: a lookup without the lock may still be in it. NULL: no memory.
 */
struct registry_top *top_get(uint32_t slots);
void top_publish(struct registry_top *top);

/* The name's granule with one more reference, or -1. */
static inline int64_t name_get(const char *text, size_t len, bool code);
void name_put(uint32_t granule);

/* --- */

extern uint32_t store_generation OURS;
extern uint32_t name_last OURS;         /* granule + 1 of the last one asked for, which this refers to; 0: none */
int64_t name_find(const char *text, size_t len, bool code);

/* For a handler of this thread, which may jump out here. The processor needs no word. */
static inline void written_before(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/*
 * Memory is about to be written that a reader may still be copying. It takes the
 * copy for good if the slot (or the top) refers to the same leaf after it, so
 * whoever sees a byte of what comes must see that the old reference is gone. On
 * aarch64 a later store may be seen before an earlier store-release; only a
 * fence between them prevents that. It pairs with the reader's acquire fence
 * behind its copy. tests/model/block.pml tries every order.
 *
 *     writer                        reader
 *     slot.ref = new                ref = slot.ref
 *     fence (release)               copy of the block
 *     block = ...                   fence (acquire)
 *                                   slot.ref == ref ?
 */
static inline void fence_before_reuse(void)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

/* One holder at a time writes COUNT_RANGES and COUNT_NAMES, so they need no atomic addition, the most of what a count costs. */
static inline void count_held(enum root_counter c, int64_t n)
{
	store_relaxed(&root.counter[c], load_relaxed(&root.counter[c]) + (uint64_t)n);
}

static inline uint32_t segment_of(uint64_t offset, uint64_t *inside)
{
	uint32_t k = 0;

	if (offset >= REGISTRY_SEGMENT0_SIZE)
		k = 64 - (uint32_t)__builtin_clzll(offset / REGISTRY_SEGMENT0_SIZE);
	*inside = offset - registry_segment_start(k);
	return k;
}

static inline void *at_offset(const uint64_t segments[], uint64_t offset)
{
	uint64_t inside;
	uint32_t k = segment_of(offset, &inside);

	return (char *)(uintptr_t)segments[k] + inside;
}

static inline struct registry_leaf *block_at(uint32_t block)
{
	return at_offset(registry.blocks, (uint64_t)block * REGISTRY_BLOCK_SIZE);
}

static inline struct registry_name *name_at(uint32_t granule)
{
	return at_offset(registry.names, (uint64_t)granule * REGISTRY_NAME_GRANULE);
}

static inline struct registry_top *top_now(void)
{
	return (struct registry_top *)(uintptr_t)registry.top;
}

static inline uint32_t new_generation(void)
{
	if (++store_generation == 0)
		store_generation = 1;
	return store_generation;
}

static inline uint32_t slot_block(uint64_t ref) { return (uint32_t)(ref >> 32); }

static inline struct registry_leaf *leaf_at(const struct registry_top *top, uint32_t i)
{
	return block_at(slot_block(top->slot[i].ref));
}

/* The last slot whose low is not above addr. Slot 0 has low 0. */
static inline uint32_t slot_find(const struct registry_top *top, uintptr_t addr)
{
	uint32_t low = 0, high = top->count;

	while (high - low > 1) {
		uint32_t mid = (low + high) / 2;

		if (top->slot[mid].low <= addr)
			low = mid;
		else
			high = mid;
	}
	return low;
}

static inline bool name_is_code(const struct registry_name *name)
{
	return name->hash & 1;
}

static inline bool name_is(const struct registry_name *name, const char *text, size_t len, bool code)
{
	return name->length == len && name_is_code(name) == code && !memcmp(name->text, text, len);
}

static inline int64_t name_get(const char *text, size_t len, bool code)
{
	/* Often the one that was asked for last, which is kept for that. */
	if (name_last && name_is(name_at(name_last - 1), text, len, code)) {
		name_at(name_last - 1)->refs++;
		return name_last - 1;
	}
	return name_find(text, len, code);
}

#endif
