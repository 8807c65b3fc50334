/* SPDX-License-Identifier: MIT */
/*
 * The exported functions for names and labels. Each is told in
 * include/anonname.h; here negative errno becomes errno. Heaps are in heap.c.
 */
#include <anonname.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/root.h"
#include "base/sys.h"
#include "base/text.h"
#include "event/event.h"
#include "event/sweep.h"
#include "label/thread.h"
#include "sink/program.h"
#include "sink/shown.h"

_Static_assert(ANONNAME_MAX == ANONNAME_NAME_MAX, "the kernel's limit");

static int with_errno(long r)
{
	if (likely(r >= 0))
		return (int)r;
	errno = (int)-r;
	return -1;
}

/* --- names of ranges -------------------------------------------------------------- */

static long set(const void *start, size_t len, const char *name)
{
	unsigned long from = (unsigned long)start;
	long r;

	if (!sink_modes())
		return -ENOTSUP;
	event_program_named();
	if (name)
		code_given(GIVEN_BY_API, name, text_length(name));
	r = program_names(GIVEN_BY_API, PR_SET_VMA_ANON_NAME, from, len, (unsigned long)name);
	if (name)
		code_settle(from, page_up(from + len), name);
	return r;
}

int anonname_set(const void *start, size_t len, const char *name)
{
	char clean[ANONNAME_NAME_MAX + 1];

	if (!name)
		return with_errno(-EINVAL);
	text_clean_name(clean, name);
	return with_errno(set(start, len, clean));
}

int anonname_setf(const void *start, size_t len, const char *format, ...)
{
	char name[1024];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(name, sizeof(name), format, args);
	va_end(args);
	return n < 0 ? with_errno(-EINVAL) : anonname_set(start, len, name);
}

int anonname_clear(const void *start, size_t len)
{
	return with_errno(set(start, len, NULL));
}

int anonname_get(const void *addr, char *name, size_t size)
{
	struct shown found = { .start = 0 };
	int error = shown_at((uintptr_t)addr, &found);

	if (error)
		return with_errno(error);
	if (size)
		text_copy(name, size, found.name);
	return (int)text_length(found.name);
}

/* --- labels ---------------------------------------------------------------------------- */

int anonname_push(const char *label)
{
	struct thread *me = thread_self();
	uint32_t depth = me->labels;

	/* Written before it counts: a signal handler may come between. */
	if (likely(depth < LABELS_MAX))
		me->label[depth] = label;
	__atomic_signal_fence(__ATOMIC_RELEASE);
	me->labels = depth + 1;
	return (int)depth;
}

/* A label that is off is the program's again: kept here it would hide from a search for leaks. */
static void labels_cut(struct thread *me, uint32_t depth)
{
	uint32_t from = me->labels;

	me->labels = depth;
	__atomic_signal_fence(__ATOMIC_RELEASE);
	for (uint32_t i = depth; i < MIN(from, LABELS_MAX); i++)
		me->label[i] = NULL;
}

void anonname_pop(void)
{
	struct thread *me = thread_self();

	if (likely(me->labels))
		labels_cut(me, me->labels - 1);
}

void anonname_pop_to(int depth)
{
	struct thread *me = thread_self();

	if (likely(depth >= 0 && (uint32_t)depth < me->labels))
		labels_cut(me, (uint32_t)depth);
}

/* --- the whole process ----------------------------------------------------------------- */

struct visit {
	int (*each)(const struct anonname_range *range, void *context);
	void *context;
	int result;
};

static bool visit(const struct shown *range, void *context)
{
	struct visit *v = context;
	const struct anonname_range told = {
		.start = (const void *)range->start, .len = range->end - range->start, .name = range->name,
	};

	v->result = v->each(&told, v->context);
	return v->result == 0;
}

int anonname_foreach(int (*each)(const struct anonname_range *range, void *context), void *context)
{
	struct visit v = { .each = each, .context = context };

	if (!label_active() || shown_each(visit, &v) < 0)
		return with_errno(-ENOTSUP);
	return v.result;
}

int anonname_sweep(void)
{
	long named;

	if (!label_active())
		return with_errno(-ENOTSUP);
	event_objects_changed();
	event_look();
	named = sweep_again();
	return with_errno(named < 0 ? -ENOTSUP : named);
}

static uint64_t counter(enum root_counter which) { return load_relaxed(&root.counter[which]); }

int anonname_stats(struct anonname_stats *stats, size_t size)
{
	const struct anonname_stats now = {
		.named = counter(COUNT_NAMED), .refused = counter(COUNT_REFUSED),
		.dropped = counter(COUNT_DROPPED), .coarse = counter(COUNT_COARSE),
		.skipped = counter(COUNT_SKIPPED), .ranges = counter(COUNT_RANGES),
		.names = counter(COUNT_NAMES), .bytes = counter(COUNT_BYTES),
		.kernel = (sink_modes() & ROOT_SINK_KERNEL) != 0, .registry = (sink_modes() & ROOT_SINK_REGISTRY) != 0,
	};

	if (!stats)
		return with_errno(-EINVAL);
	__builtin_memcpy(stats, &now, MIN(size, sizeof(now)));
	/* A newer program's members, which we do not know. */
	if (size > sizeof(now))
		__builtin_memset((char *)stats + sizeof(now), 0, size - sizeof(now));
	return 0;
}
