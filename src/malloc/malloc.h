/* SPDX-License-Identifier: MIT */
/*
 * Malloc by library: each library's memory lies in an arena of its own, so its
 * share of RSS, PSS and USS is what the kernel says of that arena. This room is
 * in the second libanonname.so alone, which `anonname run --by-library` loads;
 * it exports malloc and its relatives, and operators new and delete.
 *
 *   malloc(n) --> whose page is the return address? --> this thread's heap of that library --> mimalloc
 *   functions.c   callers.c                             heaps.c, libraries.c
 *
 * From the bottom: libraries.c has the libraries and their arenas, callers.c
 * says which of them a call is for, heaps.c has a thread's heaps, functions.c
 * what is exported, others.c the malloc of somebody else. A block says itself
 * (its address) which heap it is from, so free asks nobody.
 */
#ifndef ANONNAME_MALLOC_MALLOC_H
#define ANONNAME_MALLOC_MALLOC_H

#include <mimalloc.h>

#include "arch.h"
#include "base/compiler.h"
#include "label/objects.h"

/* --- libraries.c */

/*
 * mimalloc has 64 arenas. The last is for all libraries that came too late
 * (LIBRARY_OTHER). LIBRARY_NONE has no heap anywhere: a place for answers that
 * are none.
 */
enum { LIBRARY_OTHER = 63, LIBRARY_NONE = 64, LIBRARY_PLACES };

/* The number of the library of that name, which gets an arena if it has none. */
unsigned library_number(const char *name);

/*
 * A new heap in its arena, for the calling thread. NULL: it has no arena, or
 * mimalloc is out of memory. scarce: so many heaps share the arena that its
 * address space may run out, and whoever asks must look.
 */
mi_heap_t *library_heap(unsigned library, bool *scarce);

void libraries_fork_child(void);

/* A thread is about to use a part of some arena, which with ANONNAME_MALLOC=thread,library is called after both. */
void libraries_writable(uintptr_t start, size_t len);

/* --- callers.c */

/*
 * Which library is at a page of code: one word an entry. The low half is of the
 * address what makes a page, with some bits that its place says, too: so it is 0
 * of no address that can be mapped. The high half is how far from the thread's
 * control block the word lies that points to this thread's heap.
 */
#define PAGES 1024U
#define PAGE_SHIFT 12
#define TAG_SHIFT 15
extern uint64_t caller_pages[PAGES] OURS;

static inline unsigned caller_place(uintptr_t caller) { return (unsigned)(caller >> PAGE_SHIFT) % PAGES; }
static inline uint32_t caller_tag(uintptr_t caller) { return (uint32_t)(caller >> TAG_SHIFT); }
_Static_assert(1 << (TAG_SHIFT - PAGE_SHIFT) <= PAGES, "the place and the tag are all of a page's number");

/* For calls from a page that has none, or many: the library, where the steps to it are known; else LIBRARY_NONE. */
unsigned caller_climbed(uintptr_t caller, uintptr_t frame);

/* The library that a call is charged to. frame: the hook's own, as for walk_frames. */
unsigned caller_library(uintptr_t caller, uintptr_t frame);

/* Objects have come or gone: what was known of addresses is forgotten. */
void callers_look(void);

/* --- heaps.c: the calling thread's */

struct heaps {
	mi_heap_t *fast[LIBRARY_PLACES];        /* what malloc takes without a look at the result */
	mi_heap_t *heap[LIBRARY_PLACES];
	uintptr_t busy;                         /* the frame that makes one; 0: none */
	bool ended;                             /* the thread ends, and mimalloc's heaps with it */
};
extern THREAD_LOCAL struct heaps heaps_mine OURS;

/* The heap for a call from there, if that takes no more than two looks; else NULL. */
static inline mi_heap_t *heap_known(uintptr_t caller)
{
	uint64_t entry = load_relaxed(&caller_pages[caller_place(caller)]);

	return likely((uint32_t)entry == caller_tag(caller)) ? arch_thread_word((int64_t)entry >> 32) : NULL;
}

/* The same, however long it takes. NULL: mimalloc's default heap it is. */
mi_heap_t *heap_of(uintptr_t caller, uintptr_t frame);

/* There was no room in its arena, and elsewhere there is: mimalloc takes long to find that out each time. */
void heap_is_full(const mi_heap_t *heap);

/* --- others.c */

/* Somebody else's malloc, which gets all calls; all NULL: it is ours. */
struct others {
	void *(*malloc)(size_t);
	void *(*calloc)(size_t, size_t);
	void *(*realloc)(void *, size_t);
	void (*free)(void *);
	void *(*memalign)(size_t, size_t);
	void *(*aligned_alloc)(size_t, size_t);
	int (*posix_memalign)(void **, size_t, size_t);
	size_t (*malloc_usable_size)(void *);
};

/* Looked for at the first call of all; a process does not change its malloc later. */
const struct others *others_look(void);
extern bool others_looked OURS;
extern const struct others *others_found OURS;

static inline const struct others *others(void)
{
	return likely(load_relaxed(&others_looked)) ? others_found : others_look();
}

/* The next definition of a function behind us; NULL: none. */
void *others_function(const char *name);

#endif
