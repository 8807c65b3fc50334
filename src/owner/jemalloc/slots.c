/* SPDX-License-Identifier: MIT */
/*
 * The program's own calls of jemalloc's mallctl and mallctlbymib: the few that
 * make or destroy an arena, change extent hooks or bind a thread to an arena
 * must be known, or an arena stays without names or has another's, and a
 * program's hooks take the place of ours.
 *
 * Not exported symbols: a program may ask whether there is a mallctl in order
 * to find out whether jemalloc is there (a weak reference, dlsym). So only
 * where jemalloc is, the slots through which other objects call it are turned
 * to us: what the dynamic linker would write there, written once more. Calls
 * within a program that has jemalloc linked in do not pass through a slot and
 * are not seen; there a new arena is noticed when the next thread starts.
 */
#include "owner/jemalloc/jemalloc.h"

#include <pthread.h>

#include "base/old.h"
#include "base/text.h"
#include "label/objects.h"
#include "label/slots.h"

OLD_WEAK(pthread_setspecific);

/* --- what the calls mean ---------------------------------------------------------- */

typedef int call_fn(const void *what, size_t what_len, void *old, size_t *old_len, void *new, size_t new_len);

static int by_name(const void *name, size_t unused, void *old, size_t *old_len, void *new, size_t new_len)
{
	(void)unused;
	return jemalloc_calls()->mallctl(name, old, old_len, new, new_len);
}

static int by_mib(const void *mib, size_t mib_len, void *old, size_t *old_len, void *new, size_t new_len)
{
	return jemalloc_calls()->mallctlbymib(mib, mib_len, old, old_len, new, new_len);
}

/* These may make an arena, whose index the call tells: create where it is asked to store it, bind in what it is given. */
static int make(enum jemalloc_control means, call_fn *call, const void *what, size_t len, void *old, size_t *old_len,
		void *new, size_t new_len)
{
	bool bind = means == CONTROL_BIND;
	const void *told = bind ? new : old;
	struct extent_scope s;
	unsigned arena = SCOPE_UNKNOWN;
	int error;

	jemalloc_scope_begin(&s, SCOPE_UNKNOWN);
	error = call(what, len, old, old_len, new, new_len);
	if (!error && told && (bind ? new_len : old_len ? *old_len : 0) == sizeof(arena))
		__builtin_memcpy(&arena, told, sizeof(arena));
	jemalloc_scope_met(&s, arena);
	if (arena != SCOPE_UNKNOWN) {
		jemalloc_arena_made(arena);
		if (bind)
			jemalloc_thread_bound(arena);
	}
	return error;
}

/* The program sees the hooks that it set itself, or jemalloc's own, and never ours. */
static int hooks(call_fn *call, unsigned arena, const void *what, size_t len, void *old, size_t *old_len, void *new,
		 size_t new_len)
{
	struct extent_hooks *program, *wanted = NULL;
	int error;

	if (!jemalloc_hooks_get(arena, &program)) {
		struct extent_scope s;

		/* To set the hooks of an arena that is not there makes it. */
		jemalloc_scope_begin(&s, SCOPE_UNKNOWN);
		error = call(what, len, old, old_len, new, new_len);
		jemalloc_scope_met(&s, !error && new ? arena : SCOPE_UNKNOWN);
		if (!error && new)
			jemalloc_arena_made(arena);
		return error;
	}
	if (new) {
		if (new_len != sizeof(wanted))
			return call(what, len, old, old_len, new, new_len);     /* to be refused */
		__builtin_memcpy(&wanted, new, sizeof(wanted));
		if (!wanted)
			return call(what, len, old, old_len, new, new_len);
	}
	/* Without the new value: ours stay, and what the program may not do is still refused. */
	error = call(what, len, old, old_len, NULL, 0);
	if (error)
		return error;
	if (old && old_len && *old_len == sizeof(program))
		__builtin_memcpy(old, &program, sizeof(program));
	if (wanted)
		jemalloc_hooks_set(arena, wanted);
	return 0;
}

static int controlled(enum jemalloc_control means, unsigned arena, call_fn *call, const void *what, size_t len, void *old,
		      size_t *old_len, void *new, size_t new_len)
{
	int error;

	switch (means) {
	case CONTROL_CREATE:
	case CONTROL_BIND: return make(means, call, what, len, old, old_len, new, new_len);
	case CONTROL_HOOKS: return hooks(call, arena, what, len, old, old_len, new, new_len);
	case CONTROL_DESTROY:
		error = call(what, len, old, old_len, new, new_len);
		if (!error)
			jemalloc_arena_gone(arena);
		return error;
	default: return call(what, len, old, old_len, new, new_len);
	}
}

static int our_mallctl(const char *name, void *old, size_t *old_len, void *new, size_t new_len)
{
	size_t mib[4] = { 0 }, len = ARRAY_SIZE(mib);
	enum jemalloc_control means = CONTROL_OTHER;

	if (name && (text_begins(name, "arena") || text_equal(name, "thread.arena")) &&
	    jemalloc_calls()->mallctlnametomib(name, mib, &len) == 0)
		means = jemalloc_control(mib, len);
	return controlled(means, (unsigned)mib[1], by_name, name, 0, old, old_len, new, new_len);
}

static int our_mallctlbymib(const size_t *mib, size_t len, void *old, size_t *old_len, void *new, size_t new_len)
{
	enum jemalloc_control means = mib ? jemalloc_control(mib, len) : CONTROL_OTHER;

	return controlled(means, means == CONTROL_OTHER ? 0 : (unsigned)mib[1], by_mib, mib, len, old, old_len, new, new_len);
}

/*
 * jemalloc's own call, in the object that is an allocator and nothing else: it
 * tells when jemalloc makes and drops what it knows of a thread.
 */
static int our_setspecific(pthread_key_t key, const void *value)
{
	jemalloc_thread_state_set();
	return pthread_setspecific(key, value);
}

/* --- where they come from ---------------------------------------------------------------- */

static void turn_object(const struct object *o)
{
	const struct slot_call calls[] = {
		{ jemalloc_mallctl_name(), (uintptr_t)our_mallctl },
		{ jemalloc_mallctlbymib_name(), (uintptr_t)our_mallctlbymib },
		{ "pthread_setspecific", (uintptr_t)our_setspecific },
	};
	bool is_jemalloc = jemalloc_is(o) && o->class == OBJECT_ALLOCATOR;

	slots_turn(o, calls, is_jemalloc ? 3 : 2);
}

void jemalloc_look(void)
{
	static uint32_t seen;
	uint32_t now = objects_generation();

	jemalloc_seek();
	if (!jemalloc_calls() || seen == now || !sandbox_allows(SLOTS_RIGHTS))
		return;
	seen = now;
	objects_each(turn_object);
}
