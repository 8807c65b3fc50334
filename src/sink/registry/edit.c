/* SPDX-License-Identifier: MIT */
/*
 * Changes of the registry: set, clear, move. One thread makes them at a time
 * (queue.c says who). A change is built aside and made visible by one store, so at
 * every instant the registry is whole. It may be left at any instruction, by a
 * signal handler that jumps or by a fork of another thread, and then the next one
 * begins.
 */
#include "sink/registry/edit.h"

#include "sink/registry/order.h"
#include "sink/registry/store.h"

/* --- leaves ----------------------------------------------------------------- */

/*
 * Was it set after an operation with that stamp began? Stamps wrap, so only those
 * given out since then are newer: not a range that is as old as a round of the clock.
 */
static bool is_newer(uint32_t stamp, uint32_t than)
{
	return stamp - than - 1 < stamp_last() - than;
}

/* The first range that starts at or above addr. */
static uint32_t range_find(const struct registry_leaf *leaf, uintptr_t addr)
{
	uint32_t low = 0, high = leaf->count;

	while (low < high) {
		uint32_t mid = (low + high) / 2;

		if (leaf->range[mid].start < addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static inline uint64_t ref_new(uint32_t block, struct registry_leaf *leaf)
{
	leaf->generation = new_generation();
	return (uint64_t)block << 32 | leaf->generation;
}

/* The leaf in that block goes in place of the one in slot i. */
static inline void slot_publish(struct registry_top *top, uint32_t i, uint32_t block, struct registry_leaf *leaf)
{
	uint32_t old = slot_block(top->slot[i].ref);
	uint64_t ref = ref_new(block, leaf);

	store_release(&top->slot[i].ref, ref);
	written_before();
	block_put(old);
}

/*
 * Replaces slot i by two leaves, `left` below `low` and `right` from it on.
 * Empty leaves are left out on this occasion.
 */
static bool slot_split(uint32_t i, uint32_t left, uint32_t right, uintptr_t low)
{
	struct registry_top *old = top_now();
	struct registry_top *top = top_get(old->count + 1);

	if (!top)
		return false;
	uint32_t retired[8];
	uint32_t n = 0, gone = 0;

	retired[gone++] = slot_block(old->slot[i].ref);
	store_release(&top->generation, (uint64_t)0);
	fence_before_reuse();
	for (uint32_t k = 0; k < old->count; k++) {
		if (k == i) {
			top->slot[n].low = n ? old->slot[k].low : 0;
			top->slot[n++].ref = ref_new(left, block_at(left));
			top->slot[n].low = low;
			top->slot[n++].ref = ref_new(right, block_at(right));
		} else if (gone < ARRAY_SIZE(retired) && !leaf_at(old, k)->count) {
			retired[gone++] = slot_block(old->slot[k].ref);
		} else {
			top->slot[n].low = n ? old->slot[k].low : 0;
			top->slot[n++].ref = old->slot[k].ref;
		}
	}
	top->count = n;
	top_publish(top);
	while (gone)
		block_put(retired[--gone]);
	return true;
}

/*
 * Puts `count` ranges in place of the leaf in slot i. The ranges may be one
 * more than a leaf holds: then it is split, where the new range went in at an
 * end there, so that mappings that arrive in order fill their leaves.
 * Takes the ranges' names over only when it returns true.
 */
static bool leaf_rewrite(uint32_t i, const struct registry_range *ranges, uint32_t count, uint32_t inserted)
{
	int64_t block = block_get();

	if (block < 0)
		return false;
	struct registry_leaf *leaf = block_at((uint32_t)block);

	if (count <= REGISTRY_LEAF_RANGES) {
		leaf->count = count;
		memcpy(leaf->range, ranges, count * sizeof(*ranges));
		slot_publish(top_now(), i, (uint32_t)block, leaf);
		return true;
	}

	int64_t second = block_get();

	if (second < 0) {
		block_put((uint32_t)block);
		return false;
	}
	uint32_t left = count / 2;
	struct registry_leaf *right = block_at((uint32_t)second);

	if (inserted == 0)
		left = 1;
	else if (inserted == count - 1)
		left = count - 1;
	leaf->count = left;
	memcpy(leaf->range, ranges, left * sizeof(*ranges));
	right->count = count - left;
	memcpy(right->range, ranges + left, (count - left) * sizeof(*ranges));
	if (!slot_split(i, (uint32_t)block, (uint32_t)second, ranges[left].start)) {
		block_put((uint32_t)block);
		block_put((uint32_t)second);
		return false;
	}
	return true;
}

/*
 * Where a leaf's next contents are put together: the holder's. Not on the
 * stack, which may be a small one for signals.
 */
static struct registry_range scratch[REGISTRY_LEAF_RANGES + 1] COLD_BSS;

/*
 * The leaf's new contents are in `scratch`, and do not stay there: an address of
 * the program's memory in our variables would hide it from a search for leaks
 * (LeakSanitizer looks through them, but not through our mappings).
 */
static bool leaf_replace(uint32_t i, uint32_t count, uint32_t inserted)
{
	bool done = leaf_rewrite(i, scratch, count, inserted);

	memset(scratch, 0, count * sizeof(*scratch));
	return done;
}

/* --- changes ----------------------------------------------------------------- */

/* The range before position p of slot i: in it, or the last one of an earlier leaf. */
static bool range_before(uint32_t *i, uint32_t *p)
{
	struct registry_top *top = top_now();

	while (*p == 0) {
		if (*i == 0)
			return false;
		--*i;
		*p = leaf_at(top, *i)->count;
	}
	--*p;
	return true;
}

/*
 * Puts one new range, or none, in place of the ranges p to q - 1 of the leaf in slot i.
 * Written straight into the new leaf, unless it has to be split.
 */
static bool leaf_splice(const struct registry_leaf *leaf, uint32_t i, uint32_t p, uint32_t q, const struct registry_range *new)
{
	uint32_t count = leaf->count - (q - p) + (new != NULL);
	struct registry_range *to = scratch;
	struct registry_leaf *fresh = NULL;
	int64_t block = -1;

	if (likely(count <= REGISTRY_LEAF_RANGES)) {
		block = block_get();
		if (block < 0)
			return false;
		fresh = block_at((uint32_t)block);
		to = fresh->range;
	}
	memcpy(to, leaf->range, p * sizeof(*to));
	if (new)
		to[p] = *new;
	memcpy(to + p + (new != NULL), leaf->range + q, (leaf->count - q) * sizeof(*to));
	if (unlikely(!fresh))
		return leaf_replace(i, count, p);
	fresh->count = count;
	slot_publish(top_now(), i, (uint32_t)block, fresh);
	return true;
}

/* Inserts one range where no other one is. Takes over its name. */
static bool range_insert(const struct registry_range *new)
{
	uint32_t i = slot_find(top_now(), new->start);
	const struct registry_leaf *leaf = leaf_at(top_now(), i);
	uint32_t p = range_find(leaf, new->start);

	if (!leaf_splice(leaf, i, p, p, new))
		return false;
	count_held(COUNT_RANGES, 1);
	return true;
}

/* Makes sure that no range straddles addr. */
static bool range_split(uintptr_t addr)
{
	uint32_t i = slot_find(top_now(), addr);
	uint32_t p = range_find(leaf_at(top_now(), i), addr);

	if (!range_before(&i, &p))
		return true;
	struct registry_leaf *leaf = leaf_at(top_now(), i);

	if (leaf->range[p].end <= addr)
		return true;
	struct registry_top *top = top_now();
	struct registry_range *ranges = scratch;
	struct registry_range tail = leaf->range[p];
	/* Both parts become visible at once, unless the second one belongs to a later leaf. */
	bool together = i + 1 == top->count || addr < top->slot[i + 1].low;
	uint32_t rest = p + 1 + together;

	tail.start = addr;
	memcpy(ranges, leaf->range, (p + 1) * sizeof(*ranges));
	ranges[p].end = addr;
	if (together)
		ranges[p + 1] = tail;
	memcpy(ranges + rest, leaf->range + p + 1, (leaf->count - p - 1) * sizeof(*ranges));
	name_at(tail.name)->refs++;
	if (!leaf_replace(i, leaf->count + together, rest - 1) || (!together && !range_insert(&tail))) {
		name_put(tail.name);
		return false;
	}
	if (together)
		count_held(COUNT_RANGES, 1);
	return true;
}

/*
 * Takes out what lies in [start, end), which no range straddles the edges of;
 * what is newer than the stamp stays.
 */
static bool ranges_remove(uintptr_t start, uintptr_t end, uint32_t stamp, bool unless_newer)
{
	for (uint32_t i = slot_find(top_now(), start); i < top_now()->count && top_now()->slot[i].low < end; i++) {
		struct registry_leaf *leaf = leaf_at(top_now(), i);
		struct registry_range *ranges = scratch;
		uint32_t names[REGISTRY_LEAF_RANGES];
		uint32_t kept = 0, gone = 0;

		for (uint32_t p = 0; p < leaf->count; p++) {
			const struct registry_range *r = &leaf->range[p];

			if (r->start < start || r->start >= end || (unless_newer && is_newer(r->stamp, stamp)))
				ranges[kept++] = *r;
			else
				names[gone++] = r->name;
		}
		if (!gone)
			continue;
		if (!leaf_replace(i, kept, kept))
			return false;
		for (uint32_t k = 0; k < gone; k++)
			name_put(names[k]);
		count_held(COUNT_RANGES, -(int64_t)gone);
	}
	return true;
}

/* The last range below slot i, or NULL. */
static const struct registry_range *last_before(const struct registry_top *top, uint32_t i)
{
	uint32_t p = 0;

	return range_before(&i, &p) ? &leaf_at(top, i)->range[p] : NULL;
}

/*
 * The common case of OP_SET and OP_CLEAR: no range straddles an edge, and one
 * leaf holds all that goes and what comes. name: what the range is called from
 * now on, or -1. Sets *done if it was this case; false: out of memory.
 */
static bool edit_in_place(const struct op *op, int64_t name, bool *done)
{
	struct registry_top *top = top_now();
	uint32_t i = slot_find(top, op->start);
	const struct registry_leaf *leaf = leaf_at(top, i);
	uint32_t p = range_find(leaf, op->start), q = p;
	const struct registry_range *prior = p ? &leaf->range[p - 1] : last_before(top, i);
	uintptr_t limit = i + 1 < top->count ? top->slot[i + 1].low : UINTPTR_MAX;
	uint32_t gone[REGISTRY_LEAF_RANGES + 2], removed = 0;

	*done = false;
	if (op->end > limit || (prior && prior->end > op->start))
		return true;
	for (; q < leaf->count && leaf->range[q].end <= op->end; q++) {
		if (op->unless_newer && is_newer(leaf->range[q].stamp, op->stamp))
			return true;
		gone[removed++] = leaf->range[q].name;
	}
	if (q < leaf->count && leaf->range[q].start < op->end)
		return true;
	*done = true;
	if (name < 0 && !removed)
		return true;

	struct registry_range new = { .start = op->start, .end = op->end, .name = (uint32_t)name, .stamp = op->stamp };

	bool below = name >= 0 && p && prior->end == new.start && prior->name == name;
	bool above = name >= 0 && q < leaf->count && leaf->range[q].start == new.end && leaf->range[q].name == name;

	/* Neighbours of one name become one range, as the kernel's VMAs do. */
	if ((below || above) && order_is_quiet()) {
		new.start = below ? prior->start : new.start;
		new.end = above ? leaf->range[q].end : new.end;
		p -= below;
		q += above;
		for (int merged = below + above; merged; merged--)
			gone[removed++] = (uint32_t)name;
	}
	if (!leaf_splice(leaf, i, p, q, name < 0 ? NULL : &new))
		return false;
	count_held(COUNT_RANGES, (name >= 0) - (int64_t)removed);
	while (removed)
		name_put(gone[--removed]);
	return true;
}

static bool apply_clear(struct op *op)
{
	bool done;

	return edit_in_place(op, -1, &done) &&
	       (done || (range_split(op->start) && range_split(op->end) &&
			 ranges_remove(op->start, op->end, op->stamp, op->unless_newer)));
}

static bool apply_set(struct op *op)
{
	int64_t name = name_get(op->name, op->len, op->code);
	bool done;

	if (name < 0)
		return false;
	bool ok = edit_in_place(op, name, &done);

	if (ok && !done) {
		struct registry_range new = {
			.start = op->start, .end = op->end, .name = (uint32_t)name, .stamp = op->stamp,
		};

		ok = apply_clear(op) && range_insert(&new);
	}
	if (!ok)
		name_put((uint32_t)name);
	return ok;
}

/* Returns the first range that ends above addr, or NULL. Only while holding. */
static const struct registry_range *range_at(uintptr_t addr)
{
	struct registry_top *top = top_now();
	uint32_t i = slot_find(top, addr);
	uint32_t p = range_find(leaf_at(top, i), addr);
	uint32_t before_slot = i, before = p;

	if (range_before(&before_slot, &before) && leaf_at(top, before_slot)->range[before].end > addr)
		return &leaf_at(top, before_slot)->range[before];
	for (; i < top->count; i++, p = 0)
		if (p < leaf_at(top, i)->count)
			return &leaf_at(top, i)->range[p];
	return NULL;
}

static bool apply_move(struct op *op)
{
	size_t old_len = op->end - op->start;
	struct op clear = { .start = op->to, .end = op->to + op->to_len, .stamp = op->stamp };
	bool same_place = op->to == op->start;

	/* The new place was free or was replaced. Grown or shrunk in place, only the rest is. */
	if (same_place) {
		clear.start = op->start + MIN(old_len, op->to_len);
		clear.end = op->start + MAX(old_len, op->to_len);
	}
	if (clear.start < clear.end && !apply_clear(&clear))
		return false;

	uintptr_t at = op->start;

	for (const struct registry_range *r; at < op->end && (r = range_at(at)) && r->start < op->end;) {
		uintptr_t from = MAX(r->start, op->start), upto = MIN(r->end, op->end);
		bool last = upto == op->end;
		struct op set = { .kind = OP_SET, .stamp = op->stamp };
		const struct registry_name *name = name_at(r->name);

		at = upto;
		set.start = op->to + (from - op->start);
		set.end = op->to + (last ? op->to_len : upto - op->start);
		if (set.end > op->to + op->to_len)
			set.end = op->to + op->to_len;
		if (set.start >= set.end || is_newer(r->stamp, op->stamp) || (same_place && set.end <= upto))
			continue;
		set.len = name->length;
		set.code = name_is_code(name);
		memcpy(set.name, name->text, name->length);
		if (!apply_set(&set))
			return false;
	}
	if (same_place || op->keep)
		return true;
	/* Left here and made again, it must not look for names where they were. */
	op->unless_newer = true;
	written_before();
	op->kind = OP_CLEAR;
	return apply_clear(op);
}

static bool apply_start(struct op *op)
{
	(void)op;
	return store_start();
}

void registry_apply(struct op *op)
{
	static bool (*const how[])(struct op *) = {
		[OP_SET] = apply_set, [OP_CLEAR] = apply_clear, [OP_MOVE] = apply_move,
		[OP_START] = apply_start,
	};

	/* No registry: it could not be started. */
	if ((!top_now() && op->kind != OP_START) || !how[op->kind](op))
		count_add(COUNT_DROPPED, 1);
}
