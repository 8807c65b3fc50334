/* SPDX-License-Identifier: MIT */
/*
 * The bottom of a label's story: who asked for the memory, what it is called,
 * and off it goes to a sink, which makes the name visible. It begins in
 * event/event.c.
 */
#include "label/label.h"

#include "base/sandbox.h"
#include "label/thread.h"
#include "label/walk.h"

/* --- who asked --------------------------------------------------------------------- */

const char *label_library_behind(const struct mapping *m, const struct object *asker, enum kind kind)
{
	const struct object *owner;

	if (!asker)
		return objects_program();       /* generated code */
	if (!config_uses(kind, 'l'))
		return asker->name;
	owner = walk_to_owner(m->caller, m->frame);
	return owner ? owner->name : asker->name;
}

/* --- what is it called ------------------------------------------------------------------- */

/*
 * The last name that this thread gave, where it depends on nothing but the
 * kind and who asked: a loop of mappings is named without formatting. A signal
 * handler may give another name at any instruction, so a name is used from a
 * copy, and only if nothing was filled in while that was made.
 */
static THREAD_LOCAL struct {
	const char *library, *allocator;
	uint32_t objects;               /* objects_generation: a library's place may be another's by now */
	uint32_t fillings;
	uintptr_t filler;               /* the frame that fills it now; 0: none */
	uint8_t kind, len;
	char name[ANONNAME_NAME_MAX + 1];
} last_name;

/* Copies the last name, if that is what the range is called. Returns its length, or 0. */
static size_t copy_last_name(enum kind kind, const struct fields *f, char name[ANONNAME_NAME_MAX + 1])
{
	uint32_t before = last_name.fillings;
	size_t len = last_name.len;

	if (last_name.filler || last_name.kind != kind || last_name.library != f->library ||
	    last_name.allocator != f->allocator || last_name.objects != objects_generation())
		return 0;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__builtin_memcpy(name, last_name.name, sizeof(last_name.name));
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return last_name.fillings == before ? len : 0;
}

static void keep_last_name(enum kind kind, const struct fields *f, const char *name, size_t len)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	/* A handler in the middle of a filling leaves it alone, unless the filling was left by a jump. */
	if (unlikely(last_name.filler && !thread_frame_is_gone(last_name.filler, here)))
		return;
	last_name.filler = here;
	last_name.fillings++;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	last_name.library = f->library;
	last_name.allocator = f->allocator;
	last_name.objects = objects_generation();
	last_name.kind = (uint8_t)kind;
	last_name.len = (uint8_t)len;
	__builtin_memcpy(last_name.name, name, len + 1);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	last_name.filler = 0;
}

/* Formats the name. Returns its length. */
static size_t make_name(enum kind kind, const struct fields *given, bool coarse, char name[ANONNAME_NAME_MAX + 1])
{
	struct fields f = *given;

	if (!f.tid && config_uses(kind, 't'))
		f.tid = thread_tid();
	if (!f.thread)
		f.thread = thread_name();
	f.pid = sandbox_pid();
	f.program = objects_program();
	if (!f.label)
		f.label = thread_label();
	if (!f.library)
		f.library = f.program;
	return config_format(kind, &f, coarse, name);
}

/* Formats it, unless the budget has nothing left for it. Returns its length; 0: the range gets none. */
static __attribute__((noinline)) size_t new_name(enum kind kind, uintptr_t start, size_t len, const struct fields *f,
						 bool same, char name[ANONNAME_NAME_MAX + 1])
{
	enum sink_budget budget = sink_budget();
	size_t name_len;

	if (budget == BUDGET_NO_NAMES) {
		count_add(COUNT_SKIPPED, 1);
		sink_budget_spend();
		return 0;
	}
	name_len = make_name(kind, f, budget == BUDGET_COARSE_NAMES, name);
	/* Of libc's stacks the name changes with their use; it would now be wrong. Other ranges have none of ours. */
	if (!name_len && (kind == KIND_STACK || kind == KIND_STACK_UNUSED))
		sink_unname(start, len);
	if (name_len && budget == BUDGET_COARSE_NAMES)
		count_add(COUNT_COARSE, 1);
	if (name_len && same)
		keep_last_name(kind, f, name, name_len);
	return name_len;
}

void label_range(enum kind kind, uintptr_t start, size_t len, const struct fields *f)
{
	char name[ANONNAME_NAME_MAX + 1];
	bool same = sink_budget() == BUDGET_FULL_NAMES && config_is_fixed(kind) && !f->label && !f->thing && !thread_label();
	size_t name_len = likely(same) ? copy_last_name(kind, f, name) : 0;

	if (unlikely(!name_len) && !(name_len = new_name(kind, start, len, f, same, name)))
		return;
	if (likely(f->memory == MEMORY_NEW))
		sink_name_new(start, len, name, name_len);
	else if (f->memory == MEMORY_CODE)
		sink_name_code(start, len, name, name_len);
	else
		sink_name(start, len, name, name_len);
	sink_budget_spend();
}
