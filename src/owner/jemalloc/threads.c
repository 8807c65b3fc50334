/* SPDX-License-Identifier: MIT */
/* Which arena a thread allocates from, or has for itself. See internal.h. */
#include "owner/jemalloc/internal.h"

#include <pthread.h>

#include "base/sandbox.h"
#include "base/sys.h"

/* A thread that hooks an arena takes some microseconds, but may be put off its processor. */
#define MAX_YIELDS 10000U

void je_wait_while(const uint32_t *state, uint32_t value)
{
	for (unsigned tries = 0; tries < MAX_YIELDS && load_acquire(state) == value && sandbox_allows(MAY_YIELD); tries++)
		sys_call6(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

/*
 * A thread's first allocation picks its arena, and may make it. Asking which
 * one does that now, where it can be hooked.
 */
void je_settle_arena(void)
{
	struct extent_scope s;
	unsigned i = SCOPE_UNKNOWN;

	je_thread.asked = true;
	jemalloc_scope_begin(&s, SCOPE_UNKNOWN);
	if (je_control(OUR_THREAD_ARENA, 0, &i, sizeof(i), NULL, 0) != 0)
		i = SCOPE_UNKNOWN;
	je_thread.has_state = true;
	jemalloc_scope_met(&s, i);
	if (i == SCOPE_UNKNOWN)
		return;
	hooks_put(i);
	jemalloc_thread_bound(i);
	/* Another thread is at it: what this one maps before it is done would be nobody's. */
	if (arena_at(i))
		je_wait_while(&arena_at(i)->state, ARENA_BUSY);
}

void jemalloc_start(void)
{
	/* Before there are others: its first allocation has picked arena 0, or will. */
	je_thread.first = true;
	je_thread.bound = 1;
}

/*
 * What the calling thread is asked once. For the first thread that is in our
 * constructor, even where a thread that an earlier constructor started has
 * found jemalloc before.
 */
void je_join(void)
{
	if (je_thread.asked)
		return;
	je_settle_arena();
	/* The first thread's is arena 0, which also holds jemalloc's own tables. */
	if (je_thread.first && je.settled && je_arena_a_thread() && arena_make(0)) {
		je_thread.arena = 1;
		arena_at(0)->self = (uintptr_t)pthread_self();
		arena_give_to(0, KIND_THREAD_ARENA, thread_tid(), thread_name());
	}
}

/* tsd.h: set when jemalloc makes its state of a thread, and again when it has dropped it, to be called once more. */
void jemalloc_thread_state_set(void)
{
	/* Without its state a thread is served from arena 0. */
	if (je_thread.has_state)
		jemalloc_thread_bound(0);
	je_thread.has_state = true;
}

/* --- an arena a thread ------------------------------------------------------------- */

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;   /* of waiting arenas; no hook takes it */
static uint32_t pool;                   /* the first arena that waits for a thread, + 1 */

/* From the arenas whose threads have ended, or a new one. Without one the thread shares, as jemalloc does. */
void je_take_arena(void)
{
	unsigned i;

	pthread_mutex_lock(&pool_lock);
	i = pool - 1;
	if (pool)
		pool = arena_at(i)->next_free;
	pthread_mutex_unlock(&pool_lock);
	if (i != UINT32_MAX)
		arena_give_to(i, KIND_THREAD_ARENA, thread_tid(), thread_name());
	else if (jemalloc_arena_create(KIND_THREAD_ARENA, thread_name(), &i) != 0)
		return;
	if (je_control(OUR_THREAD_ARENA, 0, NULL, 0, &i, sizeof(i)) != 0) {
		jemalloc_arena_destroy(i);
		return;
	}
	arena_at(i)->self = (uintptr_t)pthread_self();
	je_thread.arena = i + 1;
	jemalloc_thread_bound(i);
}

/* What the thread left behind stays in the arena, named by its number until another thread comes. */
void jemalloc_thread_ends(void)
{
	unsigned i = je_thread.arena - 1;

	if (!je_thread.arena || !jemalloc_calls())
		return;
	je_thread.arena = 0;
	je_control(OUR_FLUSH, 0, NULL, 0, NULL, 0);
	/* Nobody allocates there for a while, and without allocations nothing decays. */
	je_control(OUR_PURGE, i, NULL, 0, NULL, 0);
	arena_at(i)->self = 0;
	arena_give_to(i, KIND_EXTENT, 0, NULL);
	pthread_mutex_lock(&pool_lock);
	arena_at(i)->next_free = pool;
	pool = i + 1;
	pthread_mutex_unlock(&pool_lock);
}

void jemalloc_thread_renamed(uintptr_t self, const char *name)
{
	if (!je_arena_a_thread() || !jemalloc_calls())
		return;
	for (unsigned i = 0; i < MAX_ARENAS; i++) {
		struct arena *a = arena_at(i);

		if (!a)
			i |= ARENA_CHUNK - 1;
		else if (a->kind == KIND_THREAD_ARENA && a->self == self)
			arena_give_to(i, KIND_THREAD_ARENA, a->tid, name);
	}
}

/*
 * An arena that another thread was hooking is free to be hooked again. The
 * arenas of threads that do not exist here keep their names: their memory was
 * those threads'.
 */
void jemalloc_fork_child(void)
{
	uint32_t busy = 1;

	pool_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	if (je_thread.arena)
		arena_give_to(je_thread.arena - 1, KIND_THREAD_ARENA, thread_tid(), NULL);

	for (unsigned i = 0; i < MAX_ARENAS; i++) {
		struct arena *a = arena_at(i);

		if (a && load_relaxed(&a->state) == ARENA_BUSY)
			store_relaxed(&a->state, (uint32_t)ARENA_NEW);
	}
	if (__atomic_compare_exchange_n(&je.state, &busy, 0, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		store_relaxed(&je.looked_at, 0U);
}
