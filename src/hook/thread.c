/* SPDX-License-Identifier: MIT */
/* The calls that make, name and end threads. A thread labels its own stack, from inside. */
#include "hook/hook.h"

#include <errno.h>

#include "base/old.h"
#include "base/own.h"
#include "base/root.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "event/event.h"
#include "label/routine.h"
#include "label/thread.h"

OLD_WEAK(pthread_attr_getstack);

/* What a new thread is told. */
struct told {
	uintptr_t stack_start, stack_end;       /* where the program gave one */
	union {
		void *(*pthread)(void *);
		int (*thrd)(void *);
	} function;
	void *arg;
	char name[COMM_SIZE];
	char routine[ROUTINE_SIZE];
};

/*
 * Not from malloc, whose arenas and locks belong to the program: from places of
 * our own, each taken from pthread_create until the thread has read it. Those of
 * a first block mostly do. A program that makes threads faster than they get a
 * processor needs more, and blocks that once were needed stay.
 */
#define STARTS 256

static struct starts {
	struct start {
		uint32_t taken;
		struct told told;
	} start[STARTS];
	uint32_t hint;
	struct starts *more;
} first_starts COLD_BSS;

static struct start *start_take_in(struct starts *starts)
{
	uint32_t from = load_relaxed(&starts->hint);

	for (unsigned i = 0; i < STARTS; i++) {
		struct start *s = &starts->start[(from + i) % STARTS];
		uint32_t no = 0;

		if (!load_relaxed(&s->taken) &&
		    __atomic_compare_exchange_n(&s->taken, &no, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
			store_relaxed(&starts->hint, i ? from + i : from);
			return s;
		}
	}
	return NULL;
}

static struct starts *starts_after(struct starts *starts)
{
	struct starts *more = load_acquire(&starts->more), *none = NULL;

	if (more)
		return more;
	more = own_map(sizeof(*more), "threads");
	/* Somebody was faster: theirs is taken, ours stays unused. It happens at most once a block. */
	if (more && !__atomic_compare_exchange_n(&starts->more, &none, more, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		more = none;
	return more;
}

/* NULL: there is no memory, and the thread runs unlabelled. */
static struct start *start_take(void)
{
	for (struct starts *in = &first_starts; in; in = starts_after(in)) {
		struct start *s = start_take_in(in);

		if (s)
			return s;
	}
	count_add(COUNT_DROPPED, 1);
	return NULL;
}

/* What points to the program's memory must not stay: it would hide that from a search for leaks. */
static void start_forget(struct start *s)
{
	s->told.stack_start = s->told.stack_end = 0;
	s->told.arg = NULL;
}

static void start_give_back(struct start *s)
{
	if (s->told.stack_end)
		event_stack_not_given(s->told.stack_start, s->told.stack_end);
	start_forget(s);
	store_release(&s->taken, 0U);
}

/*
 * Handlers keep a fork's child from being made in the middle of what another
 * thread does. Without another thread there is nothing to keep apart, and the
 * child finds out by itself (event_notice_fork).
 */
void hook_watch_forks(void)
{
	static bool watched;

	if (!load_relaxed(&watched) && !__atomic_exchange_n(&watched, true, __ATOMIC_RELAXED))
		event_at_fork(event_fork_prepare, event_fork_parent, event_fork_child);
}

/* --- inside the new thread --------------------------------------------------------- */

static void ended(void *unused)
{
	(void)unused;
	event_thread_ends();
}

/*
 * A thread ends by returning through us, or, exiting or cancelled, by leaving
 * our frame, for which libc keeps a list of cleanup handlers on the stack. That
 * comes before the destructors of its thread-specific data, so those run on a
 * stack that is called unused already. A key of our own would end with them, but
 * be one less for the program.
 */
static void begin(struct start *from, struct told *copy, struct _pthread_cleanup_buffer *end)
{
	*copy = from->told;
	start_forget(from);
	store_release(&from->taken, 0U);
	event_thread_begins(&(struct new_thread){
		.name = copy->name, .routine = copy->routine, .stack_start = copy->stack_start, .stack_end = copy->stack_end });
	if (hook_next_of(cleanup_push))
		hook_next.cleanup_push(end, ended, NULL);
}

static void returned(struct _pthread_cleanup_buffer *end)
{
	if (hook_next.cleanup_pop)
		hook_next.cleanup_pop(end, 0);
	ended(NULL);
}

static void *run_pthread(void *arg)
{
	struct told told;
	struct _pthread_cleanup_buffer end;
	void *r;

	begin(arg, &told, &end);
	r = told.function.pthread(told.arg);
	returned(&end);
	return r;
}

static int run_thrd(void *arg)
{
	struct told told;
	struct _pthread_cleanup_buffer end;
	int r;

	begin(arg, &told, &end);
	r = told.function.thrd(told.arg);
	returned(&end);
	return r;
}

/* --- outside ------------------------------------------------------------------------- */

static void fill(struct told *told, uintptr_t function, void *arg)
{
	told->stack_start = told->stack_end = 0;
	told->arg = arg;
	__builtin_memcpy(told->name, thread_name(), sizeof(told->name));
	routine_name(function, arg, told->routine);
}

EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*function)(void *), void *arg)
{
	struct start *s = hook_start() && label_active() ? start_take() : NULL;
	void *stack = NULL;
	size_t size = 0;
	int r;

	if (!hook_next_of(pthread_create))
		return EAGAIN;
	hook_watch_forks();
	/* Only then: it takes the dynamic linker's lock, which pthread_create itself does not. */
	event_objects_catch_up();
	if (!s)
		return hook_next.pthread_create(thread, attr, function, arg);
	fill(&s->told, (uintptr_t)function, arg);
	s->told.function.pthread = function;
	/* Where no stack was set, glibc answers with one that ends at 0. */
	if (attr && pthread_attr_getstack && pthread_attr_getstack(attr, &stack, &size) == 0 && (uintptr_t)stack + size != 0 && stack) {
		s->told.stack_start = page_up((uintptr_t)stack);
		s->told.stack_end = page_down((uintptr_t)stack + size);
		event_stack_given(s->told.stack_start, s->told.stack_end);
	}
	r = hook_next.pthread_create(thread, attr, run_pthread, s);
	if (r != 0)
		start_give_back(s);
	return r;
}

EXPORT int thrd_create(thrd_t *thread, thrd_start_t function, void *arg)
{
	struct start *s = hook_start() && label_active() ? start_take() : NULL;
	int r;

	if (!hook_next_of(thrd_create))
		return thrd_error;
	hook_watch_forks();
	if (!s)
		return hook_next.thrd_create(thread, function, arg);
	fill(&s->told, (uintptr_t)function, arg);
	s->told.function.thrd = function;
	r = hook_next.thrd_create(thread, run_thrd, s);
	if (r != thrd_success)
		start_give_back(s);
	return r;
}

/* For the first thread, which has no function of ours that it leaves. */
EXPORT void pthread_exit(void *value)
{
	if (hook_start())
		event_thread_exits();
	hook_next_of(pthread_exit)(value);
}

EXPORT int pthread_setname_np(pthread_t thread, const char *name)
{
	int r;

	hook_start();
	if (!hook_next_of(pthread_setname_np))
		return ENOSYS;
	r = hook_next.pthread_setname_np(thread, name);
	if (r == 0 && label_active() && !event_by_guest())
		event_thread_renamed((uintptr_t)thread, name);
	return r;
}
