/* SPDX-License-Identifier: MIT */
/* The extent hooks, and arenas that have ours from the start. See internal.h. */
#include "owner/jemalloc/internal.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/sys.h"
#include "base/text.h"

/*
 * Hooks for the arenas that we make ourselves, given when they are made: only
 * then jemalloc asks them for the arena's own memory, too, which it would
 * leave behind when the arena is destroyed. Their index is told by the call.
 */
struct arena hooks_made_by_us;

static bool covered(const struct extent_scope *s, uintptr_t start, size_t len)
{
	for (uint32_t i = 0; i < s->count; i++)
		if (s->range[i].start <= start && start + len <= s->range[i].start + s->range[i].len)
			return true;
	return false;
}

/*
 * An arena that is being made is in no table of jemalloc's yet: up to 5.2 its own
 * hook follows a null pointer there. So its first memory, which is all that is asked
 * for until it is made, is mapped here.
 */
static void *map_for_new(size_t size, size_t align, bool *zero, bool *commit)
{
	size_t room = size + align;
	long mapped = room < size ? -ENOMEM : sys_mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uintptr_t start = ((uintptr_t)mapped + align - 1) & ~((uintptr_t)align - 1), end = start + size;

	if (sys_failed(mapped))
		return NULL;
	if (start > (uintptr_t)mapped)
		sys_munmap((void *)mapped, start - (uintptr_t)mapped);
	sys_munmap((void *)end, (uintptr_t)mapped + room - end);
	jemalloc_name_mapped(start, size);
	*zero = *commit = true;
	return (void *)start;
}

static void *on_alloc(struct extent_hooks *h, void *at, size_t size, size_t align, bool *zero, bool *commit, unsigned i)
{
	struct arena *a = (struct arena *)h;
	struct extent_hooks *next = load_acquire(&a->next);
	struct extent_scope s;
	void *r;

	/* Its name is not there yet: jemalloc_arena_create's scope gets it. */
	if (a == &hooks_made_by_us && je_thread.scope && je_thread.scope->arena == SCOPE_UNKNOWN)
		return at ? NULL : map_for_new(size, align, zero, commit);
	jemalloc_scope_begin(&s, i);
	r = next->alloc(next, at, size, align, zero, commit, i);
	jemalloc_scope_end(&s, i);
	/* Later versions keep flags in the low bits. */
	uintptr_t start = (uintptr_t)r & ~(uintptr_t)0xff;

	if (r && !s.program_named && !covered(&s, start, size))
		arena_name_extent(i, start, size);
	if (!r && a == &hooks_made_by_us)
		errno = ENOMEM;         /* mallocx does not set it, anonname_heap_malloc promises it */
	return r;
}

/* Where overcommit is off jemalloc commits and decommits by mapping anew: the scope catches it. */
static bool in_scope(struct arena *a, bool (*f)(struct extent_hooks *, void *, size_t, size_t, size_t, unsigned),
		     void *at, size_t size, size_t offset, size_t len, unsigned i)
{
	struct extent_scope s;
	bool failed;

	jemalloc_scope_begin(&s, i);
	failed = f(load_acquire(&a->next), at, size, offset, len, i);
	jemalloc_scope_end(&s, i);
	/* A program's own hooks may map behind our back. */
	if (!failed && a->foreign && !s.program_named)
		arena_name_extent(i, (uintptr_t)at + offset, len);
	return failed;
}

static bool on_commit(struct extent_hooks *h, void *at, size_t size, size_t offset, size_t len, unsigned i)
{
	struct arena *a = (struct arena *)h;

	return in_scope(a, a->next->commit, at, size, offset, len, i);
}

static bool on_decommit(struct extent_hooks *h, void *at, size_t size, size_t offset, size_t len, unsigned i)
{
	struct arena *a = (struct arena *)h;

	return in_scope(a, a->next->decommit, at, size, offset, len, i);
}

static bool on_purge_lazy(struct extent_hooks *h, void *at, size_t size, size_t offset, size_t len, unsigned i)
{
	struct arena *a = (struct arena *)h;

	return in_scope(a, a->next->purge_lazy, at, size, offset, len, i);
}

static bool on_purge_forced(struct extent_hooks *h, void *at, size_t size, size_t offset, size_t len, unsigned i)
{
	struct arena *a = (struct arena *)h;

	return in_scope(a, a->next->purge_forced, at, size, offset, len, i);
}

static bool unmap(void *at, size_t size)
{
	struct sink_unmap begun = sink_unmap_begin((uintptr_t)__builtin_frame_address(0));
	long r = sys_munmap(at, size);

	if (r == 0)
		jemalloc_unmapped((uintptr_t)at, page_up(size));
	sink_unmap_end(begun, (uintptr_t)at, size, r == 0);
	return r == 0;
}

static bool on_dalloc(struct extent_hooks *h, void *at, size_t size, bool committed, unsigned i)
{
	struct arena *a = (struct arena *)h;
	bool kept = a->next->dalloc ? a->next->dalloc(a->next, at, size, committed, i) : true;

	/* jemalloc keeps addresses for later (opt.retain); a destroyed heap has no later. */
	if (kept && a == &hooks_made_by_us && arena_at(i)->discard)
		kept = !unmap(at, size);
	return kept;
}

static void on_destroy(struct extent_hooks *h, void *at, size_t size, bool committed, unsigned i)
{
	struct arena *a = (struct arena *)h;

	a->next->destroy(a->next, at, size, committed, i);
}

static bool on_split(struct extent_hooks *h, void *at, size_t size, size_t left, size_t right, bool committed, unsigned i)
{
	struct arena *a = (struct arena *)h;

	return a->next->split(a->next, at, size, left, right, committed, i);
}

static bool on_merge(struct extent_hooks *h, void *left, size_t left_size, void *right, size_t right_size, bool committed,
		     unsigned i)
{
	struct arena *a = (struct arena *)h;

	return a->next->merge(a->next, left, left_size, right, right_size, committed, i);
}

/* libc's: where the heap ends. */
extern char *__curbrk __attribute__((weak));

/*
 * In the place of jemalloc's own merge, which asks for the thread's state, the
 * slow way inside a hook, only to say that two extents may be merged if none
 * of them or both are from sbrk. Above the heap's end none is.
 */
static bool merge_quickly(struct extent_hooks *h, void *left, size_t left_size, void *right, size_t right_size,
			  bool committed, unsigned i)
{
	if (likely(&__curbrk && (uintptr_t)left >= (uintptr_t)__curbrk))
		return false;
	return on_merge(h, left, left_size, right, right_size, committed, i);
}

/* jemalloc asks whether a hook is there at all: what was not, is not now. */
void hooks_stand_before(struct arena *a, struct extent_hooks *next)
{
	a->foreign = next != je.default_hooks;
	store_release(&a->next, next);
	/*
	 * jemalloc's own look at no first argument. Those that never map are
	 * called straight: jemalloc splits and merges often. And a dalloc that
	 * always refuses is left out, as jemalloc does not ask its own then.
	 */
	if (!a->foreign) {
		a->ours = *next;
		a->ours.alloc = on_alloc;
		a->ours.commit = on_commit;
		a->ours.decommit = on_decommit;
		a->ours.merge = merge_quickly;
		if (a == &hooks_made_by_us)
			a->ours.dalloc = on_dalloc;
		else if (je.retain)
			a->ours.dalloc = NULL;
		return;
	}
	a->ours = (struct extent_hooks){
		.alloc = on_alloc,
		.dalloc = next->dalloc ? on_dalloc : NULL,
		.destroy = next->destroy ? on_destroy : NULL,
		.commit = next->commit ? on_commit : NULL,
		.decommit = next->decommit ? on_decommit : NULL,
		.purge_lazy = next->purge_lazy ? on_purge_lazy : NULL,
		.purge_forced = next->purge_forced ? on_purge_forced : NULL,
		.split = next->split ? on_split : NULL,
		.merge = next->merge ? on_merge : NULL,
	};
}

/* --- arenas ------------------------------------------------------------------------ */

/*
 * Puts our hooks before those of an arena that exists. Never twice: the
 * program may have read ours meanwhile and forward to them from its own.
 */
bool hooks_put(unsigned i)
{
	struct arena *a = arena_make(i);
	struct extent_hooks *old = NULL, *new;
	uint32_t no = ARENA_NEW;

	if (!a || !__atomic_compare_exchange_n(&a->state, &no, ARENA_BUSY, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return false;
	new = &a->ours;
	/* Another thread may just be making one that has our hooks from the start. */
	if (je_control(OUR_HOOKS, i, &old, sizeof(old), NULL, 0) == 0 && old && old->alloc && old != new &&
	    old != &hooks_made_by_us.ours && (je.hook_every || i >= je.automatic || old != je.default_hooks)) {
		hooks_stand_before(a, old);
		if (je_control(OUR_HOOKS, i, NULL, 0, &new, sizeof(new)) == 0) {
			store_release(&a->state, (uint32_t)ARENA_HOOKED);
			if (i < je.automatic)
				__atomic_add_fetch(&je.automatic_hooked, 1, __ATOMIC_RELAXED);
			return true;
		}
	}
	no = ARENA_BUSY;
	__atomic_compare_exchange_n(&a->state, &no, ARENA_NEW, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
	return false;
}

void jemalloc_arena_made(unsigned i)
{
	hooks_put(i);
}

bool jemalloc_hooks_get(unsigned i, struct extent_hooks **program)
{
	struct arena *a = arena_at(i);

	if (!a || load_acquire(&a->state) != ARENA_HOOKED)
		return false;
	*program = load_acquire(&a->next);
	return true;
}

bool jemalloc_hooks_set(unsigned i, struct extent_hooks *program)
{
	struct arena *a = arena_at(i);

	if (!a || load_acquire(&a->state) != ARENA_HOOKED)
		return false;
	/* A program that got hold of ours (by a call that nobody could see) must not be sent in a circle. */
	if (program != &a->ours)
		hooks_stand_before(a, program);
	return true;
}

int jemalloc_arena_create(enum kind kind, const char *label, unsigned *arena)
{
	struct extent_hooks *hooks = &hooks_made_by_us.ours;
	struct extent_scope s;
	unsigned i = 0;
	struct arena *a;
	int error;

	if (!jemalloc_calls())
		return -ENOTSUP;
	jemalloc_scope_begin(&s, SCOPE_UNKNOWN);
	error = je_control(OUR_CREATE, 0, &i, sizeof(i), &hooks, sizeof(hooks));
	a = error ? NULL : arena_make(i);
	if (a) {
		a->tid = kind == KIND_THREAD_ARENA ? thread_tid() : 0;
		if (kind == KIND_THREAD_ARENA) {
			text_copy(a->thread[0], COMM_SIZE, label);
			label = a->thread[0];
		}
		store_release(&a->label, label);
		a->kind = (uint8_t)kind;
		a->next = je.default_hooks;
		store_release(&a->state, (uint32_t)ARENA_HOOKED);
	}
	jemalloc_scope_met(&s, error ? SCOPE_UNKNOWN : i);
	if (error)
		return -error;
	if (!a) {
		je_control(OUR_DESTROY, i, NULL, 0, NULL, 0);
		jemalloc_arena_gone(i);
		return -ENOMEM;
	}
	*arena = i;
	return 0;
}

int jemalloc_arena_destroy(unsigned i)
{
	struct arena *a = arena_at(i);
	int error;

	a->discard = true;
	error = je_control(OUR_DESTROY, i, NULL, 0, NULL, 0);
	if (error)
		a->discard = false;
	else
		jemalloc_arena_gone(i);
	return -error;
}

/*
 * Which arenas exist jemalloc tells from the state of the last `epoch`, and
 * that is the program's to advance. But to ask for the hooks of one past the
 * automatic ones makes none.
 */
void je_hook_all(void)
{
	unsigned n = je_narenas();

	for (unsigned i = 0; i < MIN(n, MAX_ARENAS); i++) {
		struct arena *a = arena_at(i);

		if (!(a && load_relaxed(&a->state) == ARENA_HOOKED) && (i >= je.automatic || je_initialized(i)))
			hooks_put(i);
	}
	store_relaxed(&je.arenas_known, n);
}
