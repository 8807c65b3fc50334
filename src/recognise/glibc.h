/* SPDX-License-Identifier: MIT */
/* What the recognisers of glibc's memory share: libc's variables, which carry no symbols, found by their contents. */
#ifndef ANONNAME_RECOGNISE_GLIBC_H
#define ANONNAME_RECOGNISE_GLIBC_H

#include "findings.h"
#include "memory.h"
#include "object.h"

/*
 * libc's writable data, copied; what is not there is 0. Its .bss, three times as
 * much, is left out: main_arena and mp_ do not begin as zeroes.
 */
struct glibc_data {
	uint64_t start;
	size_t words;
	uint64_t word[];
};

#define GLIBC_DATA_MAX (256U << 10) /* bytes: it has some 24 KiB */
#define PROGRAM_DATA_MAX (4U << 20) /* of a program that it is linked into, with what the program has */

/* libc's object; NULL: none. Up to 2.32 its file has the version in its name. */
struct object *glibc_object(struct target *target);

/* NULL: no libc, no memory. The caller frees it. */
struct glibc_data *glibc_data_read(struct target *target);

/* What libc tells debuggers in a constant of three numbers: bits, count, offset. false: nothing of that name. */
bool glibc_offset(struct target *target, struct object *libc, const char *name, uint32_t *offset);

/*
 * Where malloc's part of [heap] begins: at its beginning, unless a static program
 * has its first thread's variables in front. 0: there is none, or libc does not say.
 */
uint64_t glibc_heap(struct target *target);

/* How many chunks have a mapping of their own, and the bytes of these; false: libc does not say. */
bool glibc_large_count(struct target *target, uint64_t *count, uint64_t *bytes);

/* A thread's arena grows by heaps, each aligned to their size. */
#define GLIBC_HEAP_SIZE   (64ULL << 20)
#define GLIBC_ARENAS_MAX  4096

/* Where the parts of struct malloc_state are, in words; top lies two words in front of the bins. */
struct glibc_layout {
	unsigned fastbins, fastbins_count, bins, next, system, max, words;
};

struct glibc_arena {
	uint64_t address;
	pid_t tid;                  /* of the thread that uses it */
	unsigned threads;           /* that do */
};

struct glibc_arenas {
	const struct glibc_layout *layout;
	uint64_t main;              /* main_arena */
	struct glibc_arena arena[GLIBC_ARENAS_MAX]; /* the threads', oldest first */
	size_t count;
	bool made;                  /* whoever uses one made it, for all that is known; else nobody knows who did */
};

/* struct _heap_info, at the beginning of a heap. */
struct glibc_heap_head {
	uint64_t arena, previous, size, writable;
};

/* All arenas, and which threads use them; NULL: there is no ring that closes. The caller frees it. */
struct glibc_arenas *glibc_arenas_find(struct target *target, const struct findings *findings);

/* The next heap of a thread's arena at or above *at, in order of address; NULL: there is none. */
const struct glibc_arena *glibc_heap_next(struct target *target, const struct glibc_arenas *arenas, uint64_t *at,
                                          struct glibc_heap_head *head);

/* glibc:arena1:4711; the thread only where it is the only one. */
void glibc_arena_name(const struct glibc_arenas *arenas, const struct glibc_arena *arena, char *name, size_t size);

#endif
