/* SPDX-License-Identifier: MIT */
/* A thread's heaps: one for each library that it has allocated for. See malloc.h. */
#include "malloc/malloc.h"

#include <errno.h>

#include "base/root.h"
#include "hook/hook.h"
#include "label/rules.h"
#include "label/thread.h"
#include "owner/owner.h"

THREAD_LOCAL struct heaps heaps_mine;

/* mimalloc takes the thread's heaps apart when its key's destructor runs, which is after this. */
static void thread_ends(void)
{
	struct heaps *me = &heaps_mine;

	me->ended = true;
	__builtin_memset(me->fast, 0, sizeof(me->fast));
	__builtin_memset(me->heap, 0, sizeof(me->heap));
}

static void start(void)
{
	others();
	rules_read_malloc();
}

const struct owner_above owner_above = {
	.start = start, .thread_ends = thread_ends, .look = callers_look, .fork_child = libraries_fork_child,
	.writable = libraries_writable,
};

static mi_heap_t *make_heap(struct heaps *me, unsigned library)
{
	bool scarce = true;
	mi_heap_t *heap = library_heap(library, &scarce);

	me->heap[library] = heap;
	/* Who takes the fast way does not look whether the arena has addresses left. */
	if (!scarce)
		me->fast[library] = heap;
	return heap;
}

/*
 * While the library starts, and in what a signal handler allocates while its
 * thread is in here, the default heap serves. A handler may have left this by
 * a jump: then it is over when the frame is gone.
 */
static __attribute__((noinline)) mi_heap_t *find_heap(uintptr_t caller, uintptr_t frame)
{
	struct heaps *me = &heaps_mine;
	int saved = errno;
	mi_heap_t *heap;
	unsigned library;

	if (me->ended || (me->busy && !thread_frame_is_gone(me->busy, frame)))
		return NULL;
	me->busy = frame;
	if (!hook_start()) {
		me->busy = 0;
		return NULL;
	}
	if (unlikely(root.part_state[PART_BY_LIBRARY] != PART_ACTIVE))
		part_set(PART_BY_LIBRARY, PART_ACTIVE, REASON_NONE);    /* whoever stands before us has passed it on */
	library = caller_library(caller, frame);
	heap = me->heap[library];
	if (!heap)
		heap = make_heap(me, library);
	me->busy = 0;
	errno = saved;
	return heap;
}

mi_heap_t *heap_of(uintptr_t caller, uintptr_t frame)
{
	mi_heap_t *heap = heap_known(caller);

	if (!heap)
		heap = heaps_mine.fast[caller_climbed(caller, frame)];
	return likely(heap != NULL) ? heap : find_heap(caller, frame);
}

void heap_is_full(const mi_heap_t *heap)
{
	struct heaps *me = &heaps_mine;

	for (unsigned i = 0; i < LIBRARY_NONE; i++)
		if (me->heap[i] == heap) {
			me->fast[i] = NULL;
			me->heap[i] = mi_heap_get_default();
		}
}
