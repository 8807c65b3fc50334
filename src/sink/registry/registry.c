/* SPDX-License-Identifier: MIT */
/* The registry's interface: what registry.h promises, by way of the queue; and the lookup. */
#include "sink/registry/registry.h"

#include <errno.h>
#include <string.h>

#include "sink/registry/queue.h"
#include "sink/registry/store.h"

/* As a change like any other, so by one thread; names that others give meanwhile come behind it. */
int registry_start(void)
{
	struct op op = { .kind = OP_START };

	if (registry_started())
		return 0;
	store_relaxed(&queue_wanted, true);
	queue_change(&op);
	return registry_started() ? 0 : -ENOMEM;        /* or it will be soon */
}

static void set(uintptr_t start, uintptr_t end, const char *name, size_t len, bool code)
{
	struct op op;

	if (start >= end)
		return;
	op.kind = OP_SET;
	op.start = start;
	op.end = end;
	op.stamp = stamp_new();
	op.unless_newer = false;
	op.code = code;
	op.len = (uint8_t)MIN(len, ANONNAME_NAME_MAX);
	memcpy(op.name, name, op.len);
	queue_change(&op);
}

void registry_set(uintptr_t start, uintptr_t end, const char *name, size_t len)
{
	set(start, end, name, len, false);
}

void registry_set_code(uintptr_t start, uintptr_t end, const char *name, size_t len)
{
	set(start, end, name, len, true);
}

void registry_clear(uintptr_t start, uintptr_t end)
{
	struct op op = { .kind = OP_CLEAR, .start = start, .end = end, .stamp = stamp_new() };

	if (start < end)
		queue_change(&op);
}

void registry_move(uintptr_t old, size_t old_len, uintptr_t to, size_t to_len, uint32_t stamp, bool keep)
{
	struct op op = {
		.kind = OP_MOVE, .start = old, .end = old + old_len, .to = to, .to_len = to_len,
		.stamp = stamp, .keep = keep,
	};

	if (old_len && to_len)
		queue_change(&op);
}

/* --- lookup ----------------------------------------------------------------------- */

/* The first of the leaf's ranges that ends above addr. The leaf may be changing, so its count is given. */
static uint32_t range_above(const struct registry_leaf *leaf, uint32_t count, uintptr_t addr)
{
	uint32_t low = 0, high = count;

	while (low < high) {
		uint32_t mid = (low + high) / 2;

		if (leaf->range[mid].end <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void copy_name(const struct registry_name *from, char *name, bool *code)
{
	uint8_t len = MIN(load_relaxed(&from->length), ANONNAME_NAME_MAX);

	*code = name_is_code(from);
	if (!name)
		return;
	memcpy(name, from->text, len);
	name[len] = '\0';
}

/*
 * The same check as a reader outside makes: the slot refers to the same leaf
 * after the range was copied as before. name: NULL where it is not asked for.
 */
static bool next_range(uintptr_t addr, struct registry_range *range, char *name, bool *code)
{
	for (unsigned tries = 0; tries < 1000; tries++) {
		struct registry_top *top = (void *)(uintptr_t)load_acquire(&registry.top);

		if (!top)
			return false;
		uint64_t before = load_acquire(&top->generation);
		uint32_t count = top->count;
		uint32_t first = slot_find(top, addr);
		bool changed = before == 0;

		/* One leaf back: its last range may reach over this one's start. */
		while (first > 0 && !changed && leaf_at(top, first)->count == 0)
			first--;
		first -= first > 0;
		for (uint32_t i = first; i < count && !changed; i++) {
			uint64_t ref = load_acquire(&top->slot[i].ref);
			const struct registry_leaf *leaf = block_at(slot_block(ref));
			uint32_t ranges = load_relaxed(&leaf->count);
			uint32_t p = range_above(leaf, MIN(ranges, REGISTRY_LEAF_RANGES), addr);
			bool found = p < MIN(ranges, REGISTRY_LEAF_RANGES);

			if (found) {
				*range = leaf->range[p];
				copy_name(name_at(range->name), name, code);
			}
			__atomic_thread_fence(__ATOMIC_ACQUIRE);
			changed = top->slot[i].ref != ref || top->generation != before;
			if (found && !changed)
				return true;
		}
		if (!changed && load_acquire(&top->generation) == before)
			return false;
	}
	return false;
}

bool registry_next(uintptr_t addr, struct registry_range *range, char *name)
{
	bool code;

	return next_range(addr, range, name, &code);
}

bool registry_next_code(uintptr_t addr, uintptr_t end, struct registry_range *range)
{
	bool code;

	for (; next_range(addr, range, NULL, &code) && range->start < end; addr = range->end)
		if (code)
			return true;
	return false;
}
