/* SPDX-License-Identifier: MIT */
/*
 * The writer of the registry. See registry.h for what it promises and
 * format/registry_format.h for the bytes.
 *
 * One thread changes it at a time (queue.c says who). A change is built aside
 * and made visible by one store, so at every instant the registry is whole. It
 * may be left at any instruction, by a signal handler that jumps or by a fork of
 * another thread, and then the next one begins. So what only the writer uses
 * is kept in such an order that a change left in the middle loses a block or a
 * name's memory at worst: written_before() says where the order matters.
 */
#include "sink/registry/registry.h"

#include <string.h>

#include "base/own.h"
#include "base/root.h"
#include "sink/registry/queue.h"

#define registry root.registry

static bool wanted;                     /* registry_start was called */

#define NAME_BUCKETS 512
#define NAME_CLASSES 7                  /* 16, 32, ... 112 bytes: header and 79 of text need 92 */
#define FIRST_TOP_SIZE 512U
/*
 * The first mapping: blocks, two tops, names; so that the last two blocks, the
 * tops and the first names share one page, the only one that most processes
 * touch. For that block_get begins with the last two blocks.
 */
#define FIRST_PAGE_PART 2048U
#define FIRST_BLOCKS (REGISTRY_SEGMENT0_SIZE / REGISTRY_BLOCK_SIZE)
#define FIRST_MAPPING (FIRST_PAGE_PART + 2 * REGISTRY_SEGMENT0_SIZE + 2 * FIRST_TOP_SIZE)

static uint32_t blocks_made;            /* blocks ever handed out */
static uint32_t blocks_room;            /* blocks in the segments there are */
static uint32_t free_first, free_last;  /* retired blocks, oldest first; index + 1, 0 none */
static uint32_t generation;
static uint32_t names_made;             /* granules ever handed out */
static uint32_t names_room;
static uint32_t name_bucket[NAME_BUCKETS];
static uint32_t name_free[NAME_CLASSES];
static uint32_t name_last;              /* granule + 1 of the last one asked for, which this refers to; 0: none */
static struct registry_top *spare_top;  /* same capacity as the published one, or NULL */

/* For a handler of this thread, which may jump out here. The processor needs no word. */
static inline void written_before(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/*
 * Memory is about to be written that a reader may still be copying. It takes the
 * copy for good if the slot (or the top) refers to the same leaf after it, so
 * whoever sees a byte of what comes must see that the old reference is gone. On
 * aarch64 a later store may be seen before an earlier store-release; only a
 * fence between them prevents that. It pairs with the reader's acquire fence
 * behind its copy. tests/model/block.pml tries every order.
 *
 *     writer                        reader
 *     slot.ref = new                ref = slot.ref
 *     fence (release)               copy of the block
 *     block = ...                   fence (acquire)
 *                                   slot.ref == ref ?
 */
static inline void fence_before_reuse(void)
{
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

/* --- memory ---------------------------------------------------------------- */

static uint32_t segment_of(uint64_t offset, uint64_t *inside)
{
	uint32_t k = 0;

	if (offset >= REGISTRY_SEGMENT0_SIZE)
		k = 64 - (uint32_t)__builtin_clzll(offset / REGISTRY_SEGMENT0_SIZE);
	*inside = offset - registry_segment_start(k);
	return k;
}

static void *at_offset(const uint64_t segments[], uint64_t offset)
{
	uint64_t inside;
	uint32_t k = segment_of(offset, &inside);

	return (char *)(uintptr_t)segments[k] + inside;
}

static struct registry_leaf *block_at(uint32_t block)
{
	return at_offset(registry.blocks, (uint64_t)block * REGISTRY_BLOCK_SIZE);
}

static struct registry_name *name_at(uint32_t granule)
{
	return at_offset(registry.names, (uint64_t)granule * REGISTRY_NAME_GRANULE);
}

/* Adds a segment to segments[]; *room grows by its units. */
static bool add_segment(uint64_t segments[], uint32_t *room, uint32_t unit)
{
	for (unsigned k = 0; k < REGISTRY_SEGMENTS; k++) {
		if (segments[k])
			continue;
		void *memory = own_map(registry_segment_size(k), "registry");

		if (!memory)
			return false;
		store_release(&segments[k], (uint64_t)(uintptr_t)memory);
		*room += (uint32_t)(registry_segment_size(k) / unit);
		return true;
	}
	return false;
}

/* Returns a block, or -1. */
static int64_t block_get(void)
{
	if (free_first) {
		uint32_t block = free_first - 1;

		/* Left between the two, a block is lost, and not the list. */
		if (free_first == free_last)
			free_last = 0;
		written_before();
		free_first = (uint32_t)block_at(block)->reserved;
		written_before();
		fence_before_reuse();
		return block;
	}
	if (blocks_made == blocks_room && !add_segment(registry.blocks, &blocks_room, REGISTRY_BLOCK_SIZE))
		return -1;
	count_add(COUNT_BYTES, REGISTRY_BLOCK_SIZE);

	uint32_t made = blocks_made++;

	return made < FIRST_BLOCKS ? made ^ (FIRST_BLOCKS - 2) : made;
}

/* Oldest first: a reader in another process has the longest time to copy it. */
static void block_put(uint32_t block)
{
	struct registry_leaf *leaf = block_at(block);

	store_release(&leaf->generation, 0U);
	leaf->reserved = 0;
	written_before();
	if (free_last)
		block_at(free_last - 1)->reserved = block + 1;
	else
		free_first = block + 1;
	written_before();
	free_last = block + 1;
}

/*
 * Twice what is asked for, so that tops are outgrown seldom. An outgrown one is
 * left where it is: a lookup without the lock may still be in it.
 */
static struct registry_top *top_get(uint32_t slots)
{
	struct registry_top *top = spare_top;

	spare_top = NULL;
	if (top && top->capacity >= slots)
		return top;

	size_t size = page_up(sizeof(*top) + (size_t)slots * 2 * sizeof(top->slot[0]));

	top = own_map(size, "registry");
	if (!top)
		return NULL;
	count_add(COUNT_BYTES, (int64_t)size);
	top->capacity = (uint32_t)((size - sizeof(*top)) / sizeof(top->slot[0]));
	return top;
}

static struct registry_top *top_now(void)
{
	return (struct registry_top *)(uintptr_t)registry.top;
}

static uint32_t new_generation(void)
{
	if (++generation == 0)
		generation = 1;
	return generation;
}

static void top_publish(struct registry_top *top)
{
	struct registry_top *old = top_now();

	store_release(&top->generation, (uint64_t)new_generation());
	store_release(&registry.top, (uint64_t)(uintptr_t)top);
	if (old) {
		store_release(&old->generation, (uint64_t)0);
		written_before();
		spare_top = old;
	}
}

/* --- names ------------------------------------------------------------------ */

static uint32_t name_class(size_t len)
{
	return (uint32_t)((offsetof(struct registry_name, text) + len + REGISTRY_NAME_GRANULE - 1) / REGISTRY_NAME_GRANULE);
}

/*
 * The lowest bit is not the text's: it says that the name is for code. So one
 * text is two names where it is given to code and to other memory, and what is
 * code stays marked through every cut, move and merge of ranges.
 */
static uint32_t name_hash(const char *text, size_t len, bool code)
{
	uint32_t h = 2166136261U;       /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)text[i]) * 16777619U;
	return (h & ~1U) | code;
}

static bool name_is_code(const struct registry_name *name)
{
	return name->hash & 1;
}

static void name_put(uint32_t granule)
{
	struct registry_name *name = name_at(granule);

	if (--name->refs)
		return;

	uint32_t *link = &name_bucket[name->hash % NAME_BUCKETS];

	while (*link && *link != granule + 1)
		link = &name_at(*link - 1)->next;
	if (*link)
		*link = name->next;
	written_before();

	uint32_t class = name_class(name->length);

	name->next = name_free[class - 1];
	written_before();
	name_free[class - 1] = granule + 1;
	count_add(COUNT_NAMES, -1);
}

static bool name_is(const struct registry_name *name, const char *text, size_t len, bool code)
{
	return name->length == len && name_is_code(name) == code && !memcmp(name->text, text, len);
}

/* Returns the name's granule with one more reference, or -1. */
static int64_t name_get(const char *text, size_t len, bool code)
{
	/* Often the one that was asked for last, which is kept for that. */
	if (name_last && name_is(name_at(name_last - 1), text, len, code)) {
		name_at(name_last - 1)->refs++;
		return name_last - 1;
	}
	if (name_last) {
		uint32_t old = name_last - 1;

		name_last = 0;
		written_before();
		name_put(old);
	}

	uint32_t hash = name_hash(text, len, code);
	uint32_t *bucket = &name_bucket[hash % NAME_BUCKETS];

	for (uint32_t n = *bucket; n; n = name_at(n - 1)->next) {
		struct registry_name *name = name_at(n - 1);

		if (name->hash == hash && name_is(name, text, len, code)) {
			name->refs += 2;
			written_before();
			name_last = n;
			return n - 1;
		}
	}

	uint32_t granules = name_class(len);
	uint32_t granule;

	if (name_free[granules - 1]) {
		granule = name_free[granules - 1] - 1;
		name_free[granules - 1] = name_at(granule)->next;
		written_before();
		fence_before_reuse();
	} else {
		/* A name does not straddle two segments. */
		if (names_made + granules > names_room)
			names_made = names_room;
		if (names_made == names_room && !add_segment(registry.names, &names_room, REGISTRY_NAME_GRANULE))
			return -1;
		granule = names_made;
		names_made += granules;
		count_add(COUNT_BYTES, (int64_t)granules * REGISTRY_NAME_GRANULE);
	}

	struct registry_name *name = name_at(granule);

	name->refs = 2;         /* one for name_last */
	name->hash = hash;
	name->length = (uint8_t)len;
	memcpy(name->text, text, len);
	name->next = *bucket;
	written_before();
	*bucket = granule + 1;
	written_before();
	name_last = granule + 1;
	count_add(COUNT_NAMES, 1);
	return granule;
}

/* --- leaves ----------------------------------------------------------------- */

/*
 * Was it set after an operation with that stamp began? Stamps wrap, so only those
 * given out since then are newer: not a range that is as old as a round of the clock.
 */
static bool is_newer(uint32_t stamp, uint32_t than)
{
	return stamp - than - 1 < queue_stamp_last() - than;
}

static uint32_t slot_block(uint64_t ref) { return (uint32_t)(ref >> 32); }

static struct registry_leaf *leaf_at(const struct registry_top *top, uint32_t i)
{
	return block_at(slot_block(top->slot[i].ref));
}

/* The last slot whose low is not above addr. Slot 0 has low 0. */
static uint32_t slot_find(const struct registry_top *top, uintptr_t addr)
{
	uint32_t low = 0, high = top->count;

	while (high - low > 1) {
		uint32_t mid = (low + high) / 2;

		if (top->slot[mid].low <= addr)
			low = mid;
		else
			high = mid;
	}
	return low;
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
	count_add(COUNT_RANGES, 1);
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
		count_add(COUNT_RANGES, 1);
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
		count_add(COUNT_RANGES, -(int64_t)gone);
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
	if ((below || above) && queue_is_quiet()) {
		new.start = below ? prior->start : new.start;
		new.end = above ? leaf->range[q].end : new.end;
		p -= below;
		q += above;
		for (int merged = below + above; merged; merged--)
			gone[removed++] = (uint32_t)name;
	}
	if (!leaf_splice(leaf, i, p, q, name < 0 ? NULL : &new))
		return false;
	count_add(COUNT_RANGES, (name >= 0) - (int64_t)removed);
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
	if (registry_started())
		return true;
	char *memory = own_map(FIRST_MAPPING, "registry");

	if (!memory)
		return false;
	registry.blocks[0] = (uint64_t)(uintptr_t)memory + FIRST_PAGE_PART;

	struct registry_top *top = (void *)(uintptr_t)(registry.blocks[0] + REGISTRY_SEGMENT0_SIZE);

	spare_top = (void *)((char *)top + FIRST_TOP_SIZE);
	registry.names[0] = (uint64_t)(uintptr_t)spare_top + FIRST_TOP_SIZE;
	blocks_room = FIRST_BLOCKS;
	names_room = REGISTRY_SEGMENT0_SIZE / REGISTRY_NAME_GRANULE;
	top->capacity = spare_top->capacity = (FIRST_TOP_SIZE - sizeof(*top)) / sizeof(top->slot[0]);
	top->count = 1;
	top->slot[0].low = 0;
	uint32_t block = (uint32_t)block_get();

	top->slot[0].ref = ref_new(block, block_at(block));
	count_add(COUNT_BYTES, 2 * FIRST_TOP_SIZE);
	top_publish(top);
	return true;
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

static void submit(struct op *op)
{
	/* Wanted, but not there: somebody is starting it, or will. */
	if (registry_started() || load_relaxed(&wanted))
		queue_submit(op);
}

/* --- the interface --------------------------------------------------------------- */

/* As a change like any other, so by one thread; names that others give meanwhile come behind it. */
int registry_start(void)
{
	struct op op = { .kind = OP_START };

	if (registry_started())
		return 0;
	store_relaxed(&wanted, true);
	queue_submit(&op);
	return registry_started() ? 0 : -12;    /* ENOMEM; or it will be soon */
}

void registry_unmapped(uintptr_t start, uintptr_t end, uint32_t stamp)
{
	struct op op = { .kind = OP_CLEAR, .start = start, .end = end, .stamp = stamp, .unless_newer = true };

	if (start < end)
		submit(&op);
}

static void set(uintptr_t start, uintptr_t end, const char *name, size_t len, bool code)
{
	struct op op;

	if (start >= end)
		return;
	op.kind = OP_SET;
	op.start = start;
	op.end = end;
	op.stamp = queue_stamp();
	op.unless_newer = false;
	op.code = code;
	op.len = (uint8_t)MIN(len, ANONNAME_NAME_MAX);
	memcpy(op.name, name, op.len);
	submit(&op);
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
	struct op op = { .kind = OP_CLEAR, .start = start, .end = end, .stamp = queue_stamp() };

	if (start < end)
		submit(&op);
}

void registry_move(uintptr_t old, size_t old_len, uintptr_t to, size_t to_len, uint32_t stamp, bool keep)
{
	struct op op = {
		.kind = OP_MOVE, .start = old, .end = old + old_len, .to = to, .to_len = to_len,
		.stamp = stamp, .keep = keep,
	};

	if (old_len && to_len)
		submit(&op);
}

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
