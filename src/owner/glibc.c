/* SPDX-License-Identifier: MIT */
/*
 * A thread's arena lives in heaps: reservations of 64 MiB, aligned to their
 * size, grown by mprotect. When one is mapped, glibc has not yet written whose
 * it is (malloc/arena.c: new_heap, heap_info.ar_ptr). A thread's first heap is
 * nearly always that of its new arena, and a later one belongs to the same; a
 * thread that shares an arena is the exception. So a heap is named by that
 * rule at once, and set right at the thread's next call if its header says
 * otherwise.
 */
#include "owner/glibc.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/maps.h"
#include "base/peek.h"
#include "base/table.h"
#include "label/label.h"
#include "label/thread.h"
#include "owner/stack.h"

/* malloc/arena.c: HEAP_MAX_SIZE, twice the largest mmap threshold. A reservation is that, or twice that, to align it. */
#define HEAP_SIZE (64UL << 20)

/* sizeof(heap_info): 32 bytes, 48 from glibc 2.35 on. */
#define HEADER_MIN 16
#define HEADER_MAX 128

static struct table heaps COLD_BSS;     /* by start; tid is the arena's */
static uint32_t arenas_made;
static THREAD_LOCAL uint32_t my_arena;          /* the arena that this thread made; 0: none */
static THREAD_LOCAL uintptr_t new_heap;         /* whose arena it is in is not certain yet; 0: none */

static void name_heap(const struct place *p)
{
	label_range(KIND_ARENA, p->start, p->end - p->start,
		    &(struct fields){ .allocator = "glibc", .index = p->arena, .has_index = true, .tid = p->tid });
}

static void settle(void);

static void settled(void)
{
	new_heap = 0;
	thread_self()->later = NULL;
}

static void heap_mapped(uintptr_t start, size_t len)
{
	uintptr_t heap = (start + HEAP_SIZE - 1) & ~(HEAP_SIZE - 1);

	/* Another heap size (huge pages by tunable): no header where we expect it. */
	if (len != HEAP_SIZE && len != 2 * HEAP_SIZE)
		heap = start;
	struct place *p = table_add(&heaps, heap);
	struct place unknown = { .start = start, .end = start + len };

	if (!my_arena)
		my_arena = __atomic_add_fetch(&arenas_made, 1, __ATOMIC_RELAXED);
	if (!p)
		p = &unknown;
	place_cover(p, start, start + len);
	p->arena = my_arena;
	p->tid = thread_tid();
	name_heap(p);
	if (p == &unknown)
		return;
	new_heap = heap;
	thread_self()->later = settle;
}

/* The heap's header begins with its arena, which lies right behind the header of the arena's first heap. */
static uintptr_t arena_of(uintptr_t heap)
{
	uintptr_t arena = 0, own = 0, first;

	if (heap & (HEAP_SIZE - 1) || peek(&arena, (const void *)heap, sizeof(arena)) < 0)
		return 0;
	first = arena & ~(HEAP_SIZE - 1);
	if (!first || arena - first < HEADER_MIN || arena - first > HEADER_MAX)
		return 0;
	return peek(&own, (const void *)first, sizeof(own)) == 0 && own == arena ? first : 0;
}

/*
 * Mapped before we came: if it is a heap of an arena, as its header says. Whose
 * arena that is cannot be known. The arena's first heap is in the table with its
 * number, whichever heap was found first.
 */
bool glibc_found(uintptr_t vma, uintptr_t start)
{
	uintptr_t first = arena_of(vma);
	struct place *p, *owner;

	(void)start;
	if (!first)
		return false;
	owner = table_find(&heaps, first);
	if (!owner) {
		owner = table_add(&heaps, first);
		if (!owner)
			return false;
		owner->arena = __atomic_add_fetch(&arenas_made, 1, __ATOMIC_RELAXED);
		owner->tid = TID_UNKNOWN;
	}
	p = table_add(&heaps, vma);
	if (!p)
		return false;
	place_cover(p, vma, vma + HEAP_SIZE);
	p->arena = owner->arena;
	p->tid = owner->tid;
	name_heap(p);
	return true;
}

void glibc_unmapped(uintptr_t start, size_t len)
{
	struct place *p = table_find(&heaps, start);

	(void)len;
	if (likely(!p))
		return;
	table_remove(p);
	if (new_heap == start)
		settled();
}

bool glibc_heap_holds(uintptr_t addr)
{
	return table_find(&heaps, addr & ~(HEAP_SIZE - 1)) != NULL;
}

/* The heap's header says whose it is. */
static void set_right(uintptr_t heap, uintptr_t arena)
{
	struct place *p = table_find(&heaps, heap), *owner;

	if (!p || (heap & (HEAP_SIZE - 1)))
		return;
	/* What was cut off is gone. */
	place_cover(p, heap, heap + HEAP_SIZE);
	arena &= ~(HEAP_SIZE - 1);
	owner = arena == heap ? NULL : table_find(&heaps, arena);
	if (!owner || (owner->arena == p->arena && owner->tid == p->tid))
		return;
	/* It grows an arena that another thread made: the thread has none of its own yet. */
	if (my_arena == p->arena)
		my_arena = 0;
	p->arena = owner->arena;
	p->tid = owner->tid;
	name_heap(p);
}

/* The heap is the calling thread's, or one that is known. */
void glibc_chunk_in_heap(uintptr_t chunk)
{
	static THREAD_LOCAL uintptr_t last;
	uintptr_t heap = chunk & ~(HEAP_SIZE - 1), arena;
	struct maps_line line;

	if (likely(heap == last))
		return;
	last = heap;
	/* With huge pages by tunable heaps have another size, and no header is here. */
	if (table_find(&heaps, heap) || !maps_find(heap, &line) || !line.anonymous || line.perms[1] != 'w')
		return;
	arena = *(const uintptr_t *)heap;
	if ((arena & ~(HEAP_SIZE - 1)) != heap && !table_find(&heaps, arena & ~(HEAP_SIZE - 1)))
		return;
	heap_mapped(heap, HEAP_SIZE);
	settled();
	set_right(heap, arena);
}

/* Later, in the same thread: the heap's header is written by now, and tells. */
static void settle(void)
{
	uintptr_t heap = new_heap, arena = 0;

	switch (peek(&arena, (const void *)heap, sizeof(arena))) {
	case 0: break;
	case -EPERM: settled(); return;
	default: return;
	}
	/* Still being set up: the two cut-offs of an aligned reservation come first. */
	if (!arena)
		return;
	settled();
	set_right(heap, arena);
}

/* --- what libc maps ---------------------------------------------------------------- */

/* Linux 6.11: a type beside shared and private, of memory that is private. */
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif

/* nptl/allocatestack.c, malloc/arena.c (MAP_NORESERVE until 2.40), malloc/malloc.c; in this order. */
bool glibc_mapped(const struct mapping *m, const struct object *asker, enum kind *kind)
{
	(void)asker;
	if (*kind == KIND_SHM)
		return false;
	/* sysdeps/unix/sysv/linux/getrandom.c, vgetrandom_alloc */
	if ((m->flags & MAP_TYPE) == MAP_DROPPABLE) {
		*kind = KIND_GETRANDOM;
		return false;
	}
	if (m->flags & MAP_STACK) {
		stack_mapped(m->start, page_up(m->start + m->len));
		return true;
	}
	if (m->prot == PROT_NONE) {
		heap_mapped(m->start, m->len);
		return true;
	}
	if (m->prot == (PROT_READ | PROT_WRITE))
		*kind = KIND_LARGE;
	return false;
}

void glibc_chunk_mapped(const struct mapping *m)
{
	struct fields f = { .allocator = "glibc", .size = m->len, .library = label_library(m, objects_find(m->caller), KIND_LARGE) };

	label_range(KIND_LARGE, m->start, m->len, &f);
}
