/* SPDX-License-Identifier: MIT */
/*
 * A small table of places in memory by address: thread stacks by their end,
 * malloc arenas by their start. Lock-free, grows, never moves an entry, so a
 * pointer to one stays good (its key tells whether it is still that entry).
 */
#ifndef ANONNAME_BASE_TABLE_H
#define ANONNAME_BASE_TABLE_H

#include "base/compiler.h"

#define ROUTINE_SIZE 32

struct place {
	uintptr_t key;          /* 0: never used, 1: free again */
	uintptr_t start;
	uintptr_t end;
	uint32_t used;          /* a thread is on it */
	uint32_t tid;           /* 0: not known */
	union {                 /* what the table's user keeps with it */
		uint32_t arena; /* of a heap: its arena's number (owner/glibc.c) */
		uint32_t given; /* a stack by the program, not by libc: goes when its thread ends (owner/stack.c) */
		uint32_t rule;  /* that named it (label/rules.c) */
	};
	char comm[16];
	char early[16];         /* a name given before the thread began, */
	uint32_t early_tid;     /* and to which thread; 0: none */
	char routine[ROUTINE_SIZE];     /* what a thread without a name of its own runs */
};

/* What it covers; another thread that looks meanwhile sees nothing, the old or the new, not a mixture. */
static inline void place_cover(struct place *p, uintptr_t start, uintptr_t end)
{
	store_relaxed(&p->end, 0UL);
	store_release(&p->start, start);
	store_release(&p->end, end);
}

static inline bool place_holds(const struct place *p, uintptr_t addr)
{
	return addr < load_acquire(&p->end) && addr >= load_relaxed(&p->start);
}

#define TABLE_FIRST 64U
#define TABLE_LEVELS 8U

struct table {
	struct place first[TABLE_FIRST];
	struct place *level[TABLE_LEVELS];      /* level k has TABLE_FIRST << 2k places; 0 is `first` */
};

static inline uint32_t table_hash(uintptr_t key)
{
	return (uint32_t)((key >> 12) * 0x9e3779b97f4a7c15ULL >> 32);
}

/*
 * The entry of that key, or NULL. A key goes to the first place that is free, so
 * where the first one was never used the table does not have it: that is the
 * answer to nearly everything that is unmapped.
 */
struct place *table_search(struct table *t, uintptr_t key);
static inline struct place *table_find(struct table *t, uintptr_t key)
{
	return likely(!load_relaxed(&t->first[table_hash(key) % TABLE_FIRST].key)) ? NULL : table_search(t, key);
}

/* The entry of that key, new if need be. NULL when memory is out. */
struct place *table_add(struct table *t, uintptr_t key);

void table_remove(struct place *p);

/* Calls each(place, context) for every entry in use until it returns false. */
void table_each(struct table *t, bool (*each)(struct place *p, void *context), void *context);

#endif
