/* SPDX-License-Identifier: MIT */
/*
 * What is live and what is free inside the arenas of a process's allocators,
 * read from outside: the process is not stopped or written to, and no page is
 * brought in. A figure is what the allocator's own structures add up to; where
 * they do not add up, it is unknown.
 */
#ifndef ANONNAME_HEAP_HEAP_H
#define ANONNAME_HEAP_HEAP_H

#include "../read/maps.h"
#include "../recognise/findings.h"
#include "../recognise/memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum heap_figure {
#define HEAP_FIGURE(id, word, header, is_bytes, keep, help) HEAP_##id,
#include "heap.def"
	HEAP_FIGURES
};

#define HEAP_UNKNOWN  UINT64_MAX
#define HEAP_NAME_MAX 80

/* Which allocator: what can be done about its free memory depends on it. */
enum heap_kind { HEAP_GLIBC_MAIN, HEAP_GLIBC_ARENA, HEAP_GLIBC_LARGE, HEAP_JEMALLOC, HEAP_MIMALLOC, HEAP_TCMALLOC, HEAP_PYTHON, HEAP_HOTSPOT, HEAP_GO, HEAP_V8,
                 HEAP_KINDS };

/* Chunks of one size, or of sizes above the one before and up to this. */
struct heap_size {
	uint64_t size;
	uint64_t live, live_bytes, free, free_bytes;
};

#define HEAP_SIZES_MAX 256

struct heap_arena {
	char name[HEAP_NAME_MAX];
	enum heap_kind kind;
	uint64_t address;           /* somewhere in it; 0: it lies in many places */
	char label[HEAP_NAME_MAX];  /* what the memory there is called in a report, and its class: heaps_label() */
	enum vma_class class;
	uint64_t figure[HEAP_FIGURES];
	uint64_t pinning;           /* how many chunks, live or cached, are on pages with free memory */
	uint64_t pinning_size[2];   /* the two sizes that most of them have; 0: none */
	size_t sizes;               /* in order of size; 0: not known */
	struct heap_size size[HEAP_SIZES_MAX];
};

struct heaps {
	struct heap_arena *arena;
	size_t count, room;
	bool cut;                   /* a limit was reached: arenas or figures may be missing */
};

/* The word of an allocator: "glibc". */
const char *heap_allocator(enum heap_kind kind);

/* A new arena, all unknown; NULL: no memory. */
struct heap_arena *heaps_add(struct heaps *heaps, enum heap_kind kind, const char *name);
void heaps_free(struct heaps *heaps);

/* Those of a kind that have one name become one. */
void heaps_merge(struct heaps *heaps, enum heap_kind kind);

/* Adds to a figure: what is unknown of one is unknown of the sum. */
void heap_figure_add(uint64_t *sum, uint64_t more);
/* The sum of a figure over all arenas. */
uint64_t heaps_sum(const struct heaps *heaps, enum heap_figure figure);

/* A row of the table in heap.c; each allocator has a file of its own. */
typedef void heap_reader(struct target *target, const struct findings *findings, struct heaps *heaps);

heap_reader heap_glibc;
heap_reader heap_jemalloc;
heap_reader heap_mimalloc;
heap_reader heap_tcmalloc;
heap_reader heap_python;
heap_reader heap_hotspot;
heap_reader heap_go;
heap_reader heap_v8;

/* All of the above, of an open target that was recognised. */
void heap_read(struct target *target, const struct findings *findings, struct heaps *heaps);

/* The same of a process, in a child that may be left behind. 0 or a negative errno, as process_read_apart(). */
int heap_read_apart(const struct proc *proc, pid_t pid, struct heaps *heaps);

/*
 * Finds the labels of arenas that were read. Those of jemalloc, which are numbers, and
 * mimalloc's segments get what the program calls them, and segments with one name become one.
 */
int heaps_label(const struct proc *proc, pid_t pid, struct heaps *heaps);

#endif
