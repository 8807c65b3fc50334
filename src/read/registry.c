/* SPDX-License-Identifier: MIT */
/*
 * The reader's side of the registry. The story: read the top (one slot a
 * leaf), read the leaves in bulk, read the names in bulk, then look at the
 * top again. A leaf whose slot still holds the same ref was copied whole.
 * Leaves that changed are read again, on their own, a few times.
 */
#include "registry.h"
#include "list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* What one reading may take, whatever the process says. */
#define TRIES        16
#define LEAVES_MAX   (1U << 16)                 /* more than a million ranges */
#define LEAVES_KEPT  (1U << 12)                 /* of those; half full they hold more ranges than a process has VMAs */
#define RANGES_MAX   (2U * LEAVES_KEPT * REGISTRY_LEAF_RANGES) /* copied, with those of leaves that changed */
#define BYTES_MAX    (64ULL << 20)
#define BULK_GAP     (64ULL << 10)              /* bytes worth reading to save a read */

#define SMALLEST_PAGE 4096U
#define NAME_HEAD    offsetof(struct registry_name, text)
#define NAME_BYTES   (NAME_HEAD + ANONNAME_NAME_MAX)
#define NO_NAME      UINT32_MAX

struct leaf_copy {
	struct registry_slot slot;
	bool ready;                                 /* copied, not yet verified */
	bool verified;
	bool refused;                               /* breaks the format: no use trying again */
	uint32_t count;
	uint32_t first;                             /* index in reading.range */
};

struct range_copy {
	uint64_t start, end;
	uint32_t name;                              /* granule until resolved */
	uint32_t text;                              /* offset into names */
};

struct reading {
	const struct memory *memory;
	uint64_t root_address;
	uint64_t bytes;
	struct root_registry where;
	uint64_t generation;
	struct registry_slot *beyond;               /* of the leaves that are only counted */
	size_t beyond_count;
	struct leaf_copy *leaf;
	size_t leaves;
	struct range_copy *range;
	size_t ranges, ranges_room;
	char *names;
	size_t names_len, names_room;
	size_t refused;
};

static int read_bytes(struct reading *r, uint64_t address, void *buffer, size_t size)
{
	uint64_t end;

	if (__builtin_add_overflow(address, size, &end) || !address)
		return -EBADMSG;
	if (r->bytes + size > BYTES_MAX)
		return -EFBIG;
	r->bytes += size;
	return r->memory->read(r->memory->context, address, buffer, size);
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/*
 * The pages of an array that will be filled, in one call: a page fault each
 * costs several times that. Linux 5.14; without it they come one by one.
 */
static void populate(void *array, size_t size)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t start = ((uintptr_t)array + page - 1) & ~(page - 1), end = ((uintptr_t)array + size) & ~(page - 1);

	if (end > start + 8 * page && size <= 8U << 20)
		madvise((void *)start, end - start, MADV_POPULATE_WRITE);
}

static void *new_array(size_t count, size_t element)
{
	void *array = malloc(count * element);

	if (array)
		populate(array, count * element);
	return array;
}

/* Makes room for need more elements of the given size. */
static int grow(void **array, size_t *room, size_t used, size_t need, size_t element)
{
	size_t wanted = *room ? *room : 256;
	void *larger;

	while (wanted < used + need)
		wanted *= 2;
	if (wanted == *room)
		return 0;
	larger = realloc(*array, wanted * element);
	if (!larger)
		return -ENOMEM;
	*array = larger;
	*room = wanted;
	return 0;
}

/* The address of a byte range in the segments; a range never crosses a segment's end. */
static uint64_t segment_address(const uint64_t *segments, uint64_t offset, uint64_t size)
{
	for (unsigned k = 0; k < REGISTRY_SEGMENTS; k++) {
		uint64_t start = registry_segment_start(k), length = registry_segment_size(k);
		uint64_t address;

		if (offset >= start + length)
			continue;
		if (offset - start + size > length || !segments[k] ||
		    __builtin_add_overflow(segments[k], offset - start, &address))
			return 0;
		return address;
	}
	return 0;
}

/*
 * A bulk reader: items are asked for in order of offset; neighbours come out
 * of one read of up to WINDOW bytes.
 */
#define WINDOW (128U << 10)

struct window {
	uint64_t address;
	size_t len;
	unsigned char *bytes;
};

/* Bytes from item i on that can be fetched at once: up to a gap, within one segment. */
static uint64_t run_length(const uint64_t *offsets, size_t count, size_t i, uint64_t item)
{
	uint64_t from = offsets[i], to = from + item;
	unsigned k = 0;

	while (k < REGISTRY_SEGMENTS - 1 && from >= registry_segment_start(k) + registry_segment_size(k))
		k++;
	for (i++; i < count && offsets[i] <= to + BULK_GAP && offsets[i] + item - from <= WINDOW; i++)
		to = offsets[i] + item;
	if (to > registry_segment_start(k) + registry_segment_size(k))
		to = registry_segment_start(k) + registry_segment_size(k);
	return to - from;
}

/* Item i of those at offsets[], which lies at this address. */
static int window_get(struct reading *r, struct window *w, uint64_t address, size_t size,
                      const uint64_t *offsets, size_t count, size_t i, const unsigned char **at)
{
	uint64_t useful;
	int error;

	if (w->len && address >= w->address && address - w->address + size <= w->len) {
		*at = w->bytes + (address - w->address);
		return 0;
	}
	w->len = 0;
	useful = run_length(offsets, count, i, size);
	if (useful < size)
		useful = size;
	if (useful > WINDOW)
		useful = WINDOW;
	error = read_bytes(r, address, w->bytes, useful);
	if (error && useful > size) {
		useful = size;
		error = read_bytes(r, address, w->bytes, size);
	}
	if (error)
		return error;
	w->address = address;
	w->len = useful;
	*at = w->bytes;
	return 0;
}

static bool leaf_is_sane(const struct registry_leaf *leaf, uint64_t low, uint64_t next_low)
{
	uint64_t last = low;

	if (leaf->count > REGISTRY_LEAF_RANGES)
		return false;
	for (uint32_t i = 0; i < leaf->count; i++) {
		const struct registry_range *range = &leaf->range[i];

		if (range->start < last || range->end <= range->start || range->start >= next_low)
			return false;
		last = range->end;
	}
	return true;
}

static int compare_keys(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Sorts items by offset, which is a 32-bit number of units, keeping which item each was. */
static int order_by_offset(uint64_t *offset, uint32_t *item, size_t count, uint64_t unit)
{
	uint64_t *key;
	size_t sorted = 1;

	while (sorted < count && offset[sorted - 1] <= offset[sorted])
		sorted++;
	if (sorted >= count)
		return 0;
	key = malloc(count * sizeof(*key));
	if (!key)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		key[i] = offset[i] / unit << 32 | item[i];
	qsort(key, count, sizeof(*key), compare_keys);
	for (size_t i = 0; i < count; i++) {
		offset[i] = (key[i] >> 32) * unit;
		item[i] = (uint32_t)key[i];
	}
	free(key);
	return 0;
}

/* Copies every leaf that is not verified yet. */
static int read_leaves(struct reading *r, struct window *w)
{
	uint64_t *offset = malloc((r->leaves + 1) * sizeof(*offset));
	uint32_t *item = malloc((r->leaves + 1) * sizeof(*item));
	const unsigned char *at;
	size_t count = 0;
	int error = offset && item ? 0 : -ENOMEM;

	for (size_t i = 0; !error && i < r->leaves; i++) {
		if (r->leaf[i].verified || r->leaf[i].refused)
			continue;
		offset[count] = (r->leaf[i].slot.ref >> 32) * REGISTRY_BLOCK_SIZE;
		item[count++] = (uint32_t)i;
	}
	if (!error)
		error = order_by_offset(offset, item, count, REGISTRY_BLOCK_SIZE);
	if (!error && r->ranges + count * REGISTRY_LEAF_RANGES > RANGES_MAX)
		error = -EFBIG;
	if (!error)
		error = grow((void **)&r->range, &r->ranges_room, r->ranges, count * REGISTRY_LEAF_RANGES, sizeof(*r->range));
	if (!error)
		populate(r->range + r->ranges, count * REGISTRY_LEAF_RANGES * sizeof(*r->range));
	for (size_t j = 0; !error && j < count; j++) {
		struct leaf_copy *copy = &r->leaf[item[j]];
		uint64_t next_low = item[j] + 1 < r->leaves ? r->leaf[item[j] + 1].slot.low : UINT64_MAX;
		uint64_t address = segment_address(r->where.blocks, offset[j], REGISTRY_BLOCK_SIZE);
		struct registry_leaf leaf;

		copy->ready = false;
		if (!address || window_get(r, w, address, REGISTRY_BLOCK_SIZE, offset, count, j, &at)) {
			if (r->bytes + REGISTRY_BLOCK_SIZE > BYTES_MAX)
				error = -EFBIG;
			continue;
		}
		memcpy(&leaf, at, sizeof(leaf));
		if (leaf.generation != (uint32_t)copy->slot.ref || !leaf.generation)
			continue;
		if (!leaf_is_sane(&leaf, copy->slot.low, next_low)) {
			/* Only a refusal if the slot turns out to be unchanged. */
			copy->ready = true;
			copy->count = UINT32_MAX;
			continue;
		}
		copy->ready = true;
		copy->first = (uint32_t)r->ranges;
		copy->count = leaf.count;
		for (uint32_t i = 0; i < leaf.count; i++)
			r->range[r->ranges++] = (struct range_copy){
				leaf.range[i].start, leaf.range[i].end, leaf.range[i].name, NO_NAME };
	}
	free(offset);
	free(item);
	return error;
}

/* The kernel's own rule for the characters of a name; another byte was not written by us. */
static char safe_char(char c)
{
	return c > 0x1f && c < 0x7f && !strchr("[]\\$`", c) ? c : '_';
}

static int keep_name(struct reading *r, const unsigned char *at, uint32_t *text)
{
	size_t len = at[offsetof(struct registry_name, length)];
	int error;

	if (len > ANONNAME_NAME_MAX)
		return -EBADMSG;
	error = grow((void **)&r->names, &r->names_room, r->names_len, len + 1, 1);
	if (error)
		return error;
	*text = (uint32_t)r->names_len;
	for (size_t i = 0; i < len; i++)
		r->names[r->names_len++] = safe_char((char)at[NAME_HEAD + i]);
	r->names[r->names_len++] = '\0';
	return 0;
}

/* How many names are looked for among those before; another only costs a sort. */
#define LATELY 1024

/* Copies the names of the leaves that were just copied. */
static int read_names(struct reading *r, struct window *w, size_t first_range)
{
	size_t total = r->ranges - first_range, count = 0, others = total;
	uint32_t lately[LATELY] = { 0 };
	uint64_t *offset = new_array(total + 1, sizeof(*offset));
	uint32_t *item = new_array(total + 1, sizeof(*item));
	uint64_t last_offset = UINT64_MAX;
	uint32_t last_text = NO_NAME;
	const unsigned char *at;
	int error = offset && item ? 0 : -ENOMEM;

	/* Few names for many ranges: one that was met lately goes to the end of the list, with who has it. */
	for (size_t i = first_range; !error && i < r->ranges; i++) {
		uint32_t name = r->range[i].name, *met = &lately[name % LATELY];

		if (*met && r->range[*met - 1].name == name) {
			offset[--others] = *met - 1;
			item[others] = (uint32_t)i;
			continue;
		}
		*met = (uint32_t)i + 1;
		offset[count] = (uint64_t)name * REGISTRY_NAME_GRANULE;
		item[count++] = (uint32_t)i;
	}
	if (!error)
		error = order_by_offset(offset, item, count, REGISTRY_NAME_GRANULE);
	for (size_t j = 0; !error && j < count; j++) {
		/* Read as much as a name can have, but not over the segment's end. */
		size_t size = NAME_BYTES;
		uint64_t address = 0;

		if (offset[j] == last_offset) {
			r->range[item[j]].text = last_text;
			continue;
		}
		last_offset = offset[j];
		last_text = NO_NAME;
		while (size > NAME_HEAD && !(address = segment_address(r->where.names, offset[j], size)))
			size -= size % REGISTRY_NAME_GRANULE ? size % REGISTRY_NAME_GRANULE
			                                     : REGISTRY_NAME_GRANULE;
		if (!address)
			continue;
		/* Behind the last name may begin a page that nobody has written to yet, and that is not there to be read. */
		if (window_get(r, w, address, size, offset, count, j, &at)) {
			size_t there = SMALLEST_PAGE - address % SMALLEST_PAGE;

			size = size < there ? size : there;
			if (size <= NAME_HEAD || window_get(r, w, address, size, offset, count, j, &at))
				continue;
		}
		if (at[offsetof(struct registry_name, length)] > size - NAME_HEAD)
			continue;
		error = keep_name(r, at, &last_text);
		if (error == -EBADMSG)
			error = 0;
		r->range[item[j]].text = last_text;
	}
	for (; !error && others < total; others++)
		r->range[item[others]].text = r->range[offset[others]].text;
	free(offset);
	free(item);
	return error;
}

/* The slots as they are now. -EAGAIN: they changed while they were read. */
static int read_top(struct reading *r, struct root_registry *where, struct registry_slot **slots,
                    size_t *count, uint64_t *generation)
{
	uint64_t at = r->root_address + offsetof(struct root, registry);
	struct registry_top top, again;
	struct root_registry where_again;
	struct registry_slot *list;
	int error;

	error = read_bytes(r, at, where, sizeof(*where));
	if (error)
		return error;
	*slots = NULL;
	*count = 0;
	*generation = 0;
	if (!where->top)
		return 0;
	error = read_bytes(r, where->top, &top, sizeof(top));
	if (error)
		return error;
	if (!top.generation)
		return -EAGAIN;
	if (top.count > top.capacity || top.count > LEAVES_MAX)
		return -EBADMSG;
	list = malloc((top.count + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	error = top.count ? read_bytes(r, where->top + sizeof(top), list, top.count * sizeof(*list)) : 0;
	if (!error)
		error = read_bytes(r, at, &where_again, sizeof(where_again));
	if (!error)
		error = read_bytes(r, where->top, &again, sizeof(again));
	if (!error && (where_again.top != where->top || again.generation != top.generation ||
	               again.count != top.count))
		error = -EAGAIN;
	for (size_t i = 1; !error && i < top.count; i++)
		if (list[i].low <= list[i - 1].low)
			error = -EBADMSG;
	if (error) {
		free(list);
		return error;
	}
	/* Segments only grow in number: the newer list knows every block of the slots. */
	*where = where_again;
	*slots = list;
	*count = top.count;
	*generation = top.generation;
	return 0;
}

struct ref_index {
	uint64_t ref;
	uint32_t leaf;
};

static int ref_order(const void *a, const void *b)
{
	uint64_t x = ((const struct ref_index *)a)->ref, y = ((const struct ref_index *)b)->ref;

	return (x > y) - (x < y);
}

/*
 * Takes the new slots and keeps every copy whose ref is still published: such
 * a copy is whole, and it stays so, because a ref is never used twice.
 * Returns how many leaves have yet to be read, or a negative errno.
 */
static ssize_t adopt_slots(struct reading *r, const struct registry_slot *slots, size_t count)
{
	struct leaf_copy *leaf = calloc(count + 1, sizeof(*leaf));
	struct ref_index *index = malloc((r->leaves + 1) * sizeof(*index));
	ssize_t missing = 0;

	if (!leaf || !index) {
		free(leaf);
		free(index);
		return -ENOMEM;
	}
	for (size_t i = 0; i < r->leaves; i++)
		index[i] = (struct ref_index){ r->leaf[i].slot.ref, (uint32_t)i };
	if (r->leaves)
		qsort(index, r->leaves, sizeof(*index), ref_order);
	for (size_t i = 0; i < count; i++) {
		struct ref_index key = { slots[i].ref, 0 };
		struct ref_index *known = r->leaves ? bsearch(&key, index, r->leaves, sizeof(key), ref_order)
		                                    : NULL;

		if (known)
			leaf[i] = r->leaf[known->leaf];
		leaf[i].slot = slots[i];
		if (leaf[i].ready && leaf[i].count == UINT32_MAX) {
			leaf[i].refused = true;
			leaf[i].ready = false;
		}
		leaf[i].verified = leaf[i].ready;
		missing += !leaf[i].verified && !leaf[i].refused;
	}
	free(index);
	free(r->leaf);
	r->leaf = leaf;
	r->leaves = count;
	return missing;
}

/* Takes those that are only counted from the end of the list. */
static void keep_beyond(struct reading *r, const struct registry_slot *slots, size_t *count)
{
	size_t beyond = *count > LEAVES_KEPT ? *count - LEAVES_KEPT : 0;

	free(r->beyond);
	r->beyond = beyond ? malloc(beyond * sizeof(*slots)) : NULL;
	r->beyond_count = r->beyond ? beyond : 0;
	if (r->beyond)
		memcpy(r->beyond, slots + LEAVES_KEPT, beyond * sizeof(*slots));
	*count -= beyond;
}

/* A published leaf that is not there after several looks was never there. */
static int read_consistently(struct reading *r, struct window *w)
{
	struct registry_slot *slots;
	ssize_t missing = 1, before = 0;
	unsigned same = 0;
	size_t count;
	int error = 0;

	for (unsigned tries = 0; tries < TRIES && same < 4; tries++) {
		struct root_registry where;
		uint64_t generation;
		size_t first = r->ranges;

		error = read_top(r, &where, &slots, &count, &generation);
		if (error == -EAGAIN)
			continue;
		if (error)
			break;
		r->where = where;
		same = generation == r->generation && missing == before ? same + 1 : 0;
		before = missing;
		r->generation = generation;
		keep_beyond(r, slots, &count);
		missing = adopt_slots(r, slots, count);
		free(slots);
		if (missing < 0)
			return (int)missing;
		if (!missing)
			return 0;
		w->len = 0;
		error = read_leaves(r, w);
		if (!error) {
			w->len = 0;
			error = read_names(r, w, first);
		}
		if (error && error != -EFBIG)
			return error;
		if (error)
			break;
	}
	/* What could be verified is worth having; without a single look at the slots there is nothing. */
	return r->leaves || !error ? 0 : error;
}

/* How many ranges are in the leaves that are not kept. */
static uint64_t count_beyond(struct reading *r)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < r->beyond_count; i++) {
		uint64_t address = segment_address(r->where.blocks, (r->beyond[i].ref >> 32) * REGISTRY_BLOCK_SIZE,
		                                   REGISTRY_BLOCK_SIZE);
		struct registry_leaf leaf;

		if (address && !read_bytes(r, address, &leaf, offsetof(struct registry_leaf, reserved)) &&
		    leaf.count <= REGISTRY_LEAF_RANGES)
			sum += leaf.count;
	}
	return sum;
}

/* One entry for all of them: from the first to the end. */
static int add_beyond(struct reading *r, struct registry *out, uint64_t last)
{
	char name[48];
	int len = snprintf(name, sizeof(name), "[%llu more ranges]", (unsigned long long)count_beyond(r));
	uint64_t start = r->beyond[0].low < last ? last : r->beyond[0].low;

	if (start == UINT64_MAX || len < 0)
		return 0;
	if (grow((void **)&r->names, &r->names_room, r->names_len, (size_t)len + 1, 1))
		return -ENOMEM;
	memcpy(r->names + r->names_len, name, (size_t)len + 1);
	out->entry[out->count++] = (struct registry_entry){ start, UINT64_MAX, (uint32_t)r->names_len };
	r->names_len += (size_t)len + 1;
	return 0;
}

static int assemble(struct reading *r, struct registry *out)
{
	struct registry_entry *entry;
	size_t total = 0, n = 0;
	uint64_t last = 0;

	for (size_t i = 0; i < r->leaves; i++)
		if (r->leaf[i].verified)
			total += r->leaf[i].count;
	entry = new_array(total + 2, sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	for (size_t i = 0; i < r->leaves; i++) {
		const struct leaf_copy *leaf = &r->leaf[i];

		if (leaf->refused)
			r->refused++;
		else if (!leaf->verified)
			out->torn++;
		for (uint32_t j = 0; leaf->verified && j < leaf->count; j++) {
			const struct range_copy *range = &r->range[leaf->first + j];
			uint64_t start = range->start < last ? last : range->start;

			if (range->text == NO_NAME || start >= range->end) {
				r->refused++;
				continue;
			}
			entry[n++] = (struct registry_entry){ start, range->end, range->text };
			last = range->end;
		}
	}
	out->entry = entry;
	out->count = n;
	if (r->beyond_count && add_beyond(r, out, last)) {
		free(entry);
		return -ENOMEM;
	}
	out->names = r->names;
	out->names_len = r->names_len;
	out->refused = r->refused;
	out->bytes = r->bytes;
	r->names = NULL;
	return 0;
}

int registry_read(const struct memory *memory, uint64_t root_address, struct registry *registry)
{
	struct reading r = { .memory = memory, .root_address = root_address };
	struct window w = { .bytes = malloc(WINDOW) };
	struct registry result = { 0 };
	int error = w.bytes ? 0 : -ENOMEM;

	if (!error)
		error = read_consistently(&r, &w);
	if (!error)
		error = assemble(&r, &result);
	free(w.bytes);
	free(r.leaf);
	free(r.beyond);
	free(r.range);
	free(r.names);
	if (!error)
		*registry = result;
	return error;
}

void registry_free(struct registry *registry)
{
	free(registry->entry);
	free(registry->names);
	memset(registry, 0, sizeof(*registry));
}

size_t registry_seek(const struct registry *registry, uint64_t address)
{
	return list_seek(registry->entry, registry->count, sizeof(*registry->entry), address);
}

int registry_read_root(const struct memory *memory, uint64_t address, struct root *root)
{
	struct root copy;
	int error = memory->read(memory->context, address, &copy, sizeof(copy));

	if (error)
		return error;
	if (copy.magic != ANONNAME_ROOT_MAGIC)
		/* Zeroes: the constructor has not run. */
		return copy.magic ? -EBADMSG : -EAGAIN;
	if (copy.version != ANONNAME_ROOT_VERSION)
		return -EPROTO;
	if (!copy.self)
		return -EAGAIN;
	if (copy.self != address || copy.size < sizeof(copy))
		return -EBADMSG;
	*root = copy;
	return 0;
}
