/* SPDX-License-Identifier: MIT */
/* Executable memory is kept without kernel names. See code.h. */
#include "sink/code.h"

#include "base/maps.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "base/text.h"
#include "sink/sink.h"

uintptr_t code_lowest, code_highest;
static bool in_the_kernel;

void code_start(bool in_kernel)
{
	in_the_kernel = in_kernel;
}

/* The kernel has names, which may be taken away, and code is to have none. */
static bool kept_from_kernel(void)
{
	return (sink_modes() & ROOT_SINK_KERNEL) && !in_the_kernel && sandbox_allows(MAY_NAME);
}

/* Only ever widened: a range that is not near is certainly not code. */
static void widen(uintptr_t start, uintptr_t end)
{
	uintptr_t low = load_relaxed(&code_lowest), high = load_relaxed(&code_highest);

	while ((!low || start < low) &&
	       !__atomic_compare_exchange_n(&code_lowest, &low, start, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
	while (end > high &&
	       !__atomic_compare_exchange_n(&code_highest, &high, end, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

static void set_code(uintptr_t start, uintptr_t end, const char *name, size_t len)
{
	registry_start();
	widen(start, end);
	registry_set_code(start, end, name, len);
}

void sink_name_code(uintptr_t start, size_t len, const char *name, size_t name_len)
{
	if (!len || !sink_modes())
		return;
	if ((sink_modes() & ROOT_SINK_KERNEL) && in_the_kernel) {
		sink_name(start, len, name, name_len);
		return;
	}
	count_add(COUNT_NAMED, 1);
	set_code(start, page_up(start + len), name, name_len);
}

void code_name_around(uintptr_t start, uintptr_t end, const char *name, size_t name_len, code_put *put)
{
	struct registry_range code;
	uintptr_t at = start;

	while (at < end && registry_next_code(at, end, &code)) {
		if (code.start > at)
			put(at, code.start, name, name_len);
		at = MIN(code.end, end);
		registry_set_code(MAX(code.start, start), at, name, name_len);
	}
	if (at < end)
		put(at, end, name, name_len);
}

/* --- the program's own names ------------------------------------------------------ */

/*
 * A word a name: its hash above, who gave it below; 0: free. A program has few
 * different ones. A name of ours that is spelled like one of them is taken for
 * the program's.
 */
static uint64_t given[32];
static bool any_given, more_given;

static uint64_t given_word(enum giver giver, const char *name, size_t len)
{
	uint64_t hash = 0xcbf29ce484222325ULL;  /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (uint8_t)name[i]) * 0x100000001b3ULL;
	return hash << 8 | giver;
}

void code_given(enum giver giver, const char *name, size_t len)
{
	uint64_t word = given_word(giver, name, len);

	for (size_t i = 0; i < ARRAY_SIZE(given); i++) {
		uint64_t there = 0;

		if (load_relaxed(&given[i]) == word)
			return;
		if (__atomic_compare_exchange_n(&given[i], &there, word, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
			store_relaxed(&any_given, true);
			return;
		}
	}
	code_given_unknown();
}

void code_given_unknown(void)
{
	store_relaxed(&more_given, true);
	store_relaxed(&any_given, true);
}

static enum giver giver_of(const char *name, size_t len)
{
	uint64_t word = given_word(GIVEN_BY_NOBODY, name, len);

	for (size_t i = 0; i < ARRAY_SIZE(given); i++)
		if (load_relaxed(&given[i]) >> 8 == word >> 8)
			return (enum giver)(load_relaxed(&given[i]) & 0xff);
	return load_relaxed(&more_given) ? GIVEN_BY_PRCTL : GIVEN_BY_NOBODY;
}

void code_settle(uintptr_t start, uintptr_t end, const char *name)
{
	struct registry_range code;

	if (!kept_from_kernel() || !code_near(start, end))
		return;
	for (uintptr_t at = start; registry_next_code(at, end, &code); at = code.end) {
		uintptr_t from = MAX(code.start, start), upto = MIN(code.end, end);

		sink_kernel_name(from, upto - from, NULL);
		registry_set_code(from, upto, name, text_length(name));
	}
}

/* --- memory that becomes executable ------------------------------------------------- */

struct stretch {
	uintptr_t start, end;
	void (*name)(uintptr_t start, size_t len, void *context);
	void *context;
};

static bool all_code(uintptr_t start, uintptr_t end)
{
	struct registry_range code;

	while (start < end && code_near(start, end) && registry_next_code(start, end, &code) && code.start <= start)
		start = code.end;
	return start >= end;
}

/* One VMA with its name, where that has to be looked at. */
static bool vma_begins(struct maps_line *line, void *context)
{
	static const char prefix[] = "[anon:";
	const struct stretch *p = context;
	uintptr_t from = MAX(line->start, p->start), upto = MIN(line->end, p->end);
	const char *name = line->path[0] ? line->path + sizeof(prefix) - 1 : "";
	size_t len = text_length(name);
	enum giver giver = GIVEN_BY_NOBODY;

	if (line->start >= p->end)
		return false;
	if (from >= upto || !line->anonymous || line->special || all_code(from, upto))
		return true;
	if (len) {
		len--;          /* the bracket */
		giver = giver_of(name, len);
		if (giver == GIVEN_BY_PRCTL)
			return true;
		sink_kernel_name(from, upto - from, NULL);
	}
	if (giver == GIVEN_BY_API)
		set_code(from, upto, name, len);
	else
		p->name(from, upto - from, p->context);
	return true;
}

/* Without kernel names, what the registry knows is anonymous memory; the rest may be a file's. */
static void ranges_begin(const struct stretch *p)
{
	char name[ANONNAME_NAME_MAX + 1];
	struct registry_range r;

	for (uintptr_t at = p->start; registry_next(at, &r, name) && r.start < p->end; at = r.end) {
		uintptr_t from = MAX(r.start, p->start), upto = MIN(r.end, p->end);

		if (!all_code(from, upto) && giver_of(name, text_length(name)) == GIVEN_BY_NOBODY)
			p->name(from, upto - from, p->context);
	}
}

/*
 * One call takes the names of a whole range, and fails where some of it is not
 * anonymous. Only then, or where some names may be the program's, maps is read.
 */
void code_begins(uintptr_t start, size_t len, void (*name)(uintptr_t start, size_t len, void *context), void *context)
{
	struct stretch p = { .start = start, .end = page_up(start + len), .name = name, .context = context };

	if (!sink_modes() || p.end <= start || start & (page_size - 1) || all_code(start, p.end))
		return;
	if (!(sink_modes() & ROOT_SINK_KERNEL))
		ranges_begin(&p);
	else if (!kept_from_kernel())
		return;
	else if (!load_relaxed(&any_given) && !sys_failed(sink_kernel_name(start, p.end - start, NULL)))
		name(start, p.end - start, context);
	else
		maps_each(vma_begins, &p);
}
