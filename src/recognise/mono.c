/* SPDX-License-Identifier: MIT */
/*
 * Mono's collector, SGen. Its major heap is blocks of 16 KiB, aligned to that;
 * a list of all is among the runtime's variables (mono/sgen/sgen-array-list.h):
 *
 *   entry[32] ---> 32 slots, 64 slots, 128 slots, ...     a slot: a block, and two bits
 *   capacity       as many slots as these have
 *
 * A block begins with the size of its objects, and a list of its free ones. The
 * nursery lies between two variables. Large objects are in another list, each with
 * a pointer to the next (mono/sgen/sgen-los.c). They lie in sections of 1 MiB, which
 * have a pointer to what follows it; those that are larger have pages of their own,
 * and begin somewhere in the first:
 *
 *   variable ---> next, size, table | an array: type, ., ., how many elements, ...
 *                  |                | a string: type, ., how many characters, ...
 *                  +-> the next
 *
 * Nothing else can be as large, and the size that the list has must be what the
 * object says of itself.
 */
#include "recognise.h"

#include "object.h"

#define BLOCK        (16ULL << 10)
#define BLOCK_HEADER 304ULL         /* with the marks */
#define OBJECT_MIN   16U
#define OBJECT_MAX   8192U
#define STATES       5
#define SLOT_BITS    3ULL
#define ENTRIES      32U
#define FIRST_SLOTS  32U            /* of the first entry, each further one has twice as many */
#define ENTRIES_MAX  20U            /* 512 GiB of blocks */
#define SLOTS_READ   512U
#define NURSERY_MIN  (256ULL << 10)
#define SECTION      (1ULL << 20)
#define SECTION_HEAD 24ULL
#define SECTION_FREE 256ULL         /* pieces of 4 KiB */
#define LARGE_HEAD   24ULL
#define LARGE_MIN    8000ULL        /* what is smaller goes into a block */
#define LARGE_MAX    (1ULL << 40)
#define LARGE_COUNT  65536U         /* more in one list are not looked at */
#define ELEMENT_MAX  (64ULL << 10)
#define MARKED       1ULL           /* a bit of the size */

struct list {
	uint64_t entry[ENTRIES];
	uint32_t capacity, hint, next, padding;
};

struct block {
	uint16_t object_size, size_index;
	int32_t state;
	int16_t used, padding;
	uint32_t flags;
	uint64_t free_list;
};

struct section {
	uint64_t next, free, map;
};

struct large {
	uint64_t next, size, table;     /* the list's */
	uint64_t type, lock, bounds;    /* the object's, rounded up to 8 bytes */
	uint64_t length;
};

struct pages {
	uint64_t start, end;
};

struct mono {
	struct target *target;
	struct findings *findings;
};

static bool is_block(struct target *target, uint64_t at)
{
	struct block b;
	uint64_t inside;

	if (at % BLOCK || memory_get(target, at, &b, sizeof(b)) || b.object_size < OBJECT_MIN || b.object_size > OBJECT_MAX ||
	    b.object_size % 8 || b.state < 0 || b.state >= STATES || b.used < 0 ||
	    (uint64_t)b.used * b.object_size > BLOCK - BLOCK_HEADER || !memory_is_anonymous(target, at, at + BLOCK))
		return false;
	inside = b.free_list - at - BLOCK_HEADER;
	return !b.free_list || (inside < BLOCK - BLOCK_HEADER && inside % b.object_size == 0);
}

/* All slots from there on are blocks, or empty. name: they get their name now. */
static bool take_slots(struct mono *mono, uint64_t at, uint64_t count, bool name)
{
	uint64_t slot[SLOTS_READ];

	for (uint64_t n; count; at += n * sizeof(*slot), count -= n) {
		n = count < SLOTS_READ ? count : SLOTS_READ;
		if (memory_get(mono->target, at, slot, n * sizeof(*slot)))
			return false;
		for (size_t i = 0; i < n; i++) {
			uint64_t block = slot[i] & ~SLOT_BITS;

			if (block && name)
				found_add(mono->findings, block, block + BLOCK, "mono:heap");
			else if (block && !is_block(mono->target, block))
				return false;
		}
	}
	return true;
}

static bool take_list(struct mono *mono, uint64_t address)
{
	struct list list;
	unsigned entries = 0;

	if (memory_get(mono->target, address, &list, sizeof(list)))
		return false;
	while (entries < ENTRIES && list.entry[entries])
		entries++;
	if (!entries || entries > ENTRIES_MAX || list.capacity != FIRST_SLOTS * ((1U << entries) - 1) || list.next > list.capacity)
		return false;
	for (unsigned i = entries; i < ENTRIES; i++)
		if (list.entry[i])
			return false;
	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < entries; i++)
			if (!take_slots(mono, list.entry[i], (uint64_t)FIRST_SLOTS << i, round > 0))
				return false;
	return true;
}

/* Its end, then its beginning, and as far apart as it is aligned. */
static void take_nursery(struct mono *mono, uint64_t end, uint64_t start)
{
	uint64_t size = end - start;

	if (end > start && size >= NURSERY_MIN && !(size & (size - 1)) && start % size == 0 && memory_is_anonymous(mono->target, start, end))
		found_add(mono->findings, start, end, "mono:heap");
}

/* Whether an array of elements of one size, or a string, is as large as the list has it. */
static bool is_as_large(const struct large *l, uint64_t size)
{
	uint64_t array = sizeof(*l) - LARGE_HEAD, string = array - sizeof(l->length) - sizeof(uint32_t);
	uint64_t characters = (uint32_t)l->bounds + 1ULL;

	if (l->length && l->length <= size - array && (size - array) / l->length <= ELEMENT_MAX && (size - array) % l->length < 8)
		return true;
	return string + characters * 2 <= size && size - string - characters * 2 < 8;
}

static bool is_section(struct target *target, uint64_t at, uint64_t *next)
{
	struct section s;

	if (at % SECTION || memory_get(target, at, &s, sizeof(s)) || s.map != at + SECTION_HEAD || s.free > SECTION_FREE)
		return false;
	*next = s.next;
	return true;
}

/* An object of the list. pages: those that it has of its own and that are certain, if there are any. */
static bool is_large(struct target *target, uint64_t at, struct large *l, struct pages *pages)
{
	uint64_t size, page = target->own.page, next;

	if (at % 8 || memory_get(target, at, l, sizeof(*l)))
		return false;
	size = l->size & ~MARKED;
	if (size < LARGE_MIN || size > LARGE_MAX || size % 8 || !l->type || l->type % 8)
		return false;
	*pages = (struct pages){ 0 };
	if (size < SECTION && is_section(target, at & ~(SECTION - 1), &next))
		return true;
	if (is_as_large(l, size))
		*pages = (struct pages){ at & ~(page - 1), (at + LARGE_HEAD + size + page - 1) & ~(page - 1) };
	return memory_is_anonymous(target, at, at + LARGE_HEAD + size);
}

/* All of the list are large objects, and it ends; then those with pages of their own get their name. */
static void take_large(struct mono *mono, uint64_t first)
{
	struct large l;
	struct pages pages;

	for (unsigned round = 0; round < 2; round++) {
		uint64_t at = first;

		for (unsigned n = 0; at; at = l.next, n++)
			if (n >= LARGE_COUNT || target_is_spent(mono->target) || !is_large(mono->target, at, &l, &pages))
				return;
			else if (round && pages.end)
				found_add(mono->findings, pages.start, pages.end, "mono:heap");
	}
}

static bool take_variable(void *context, uint64_t address, const uint64_t word[VARIABLES_AHEAD])
{
	struct mono *mono = context;
	size_t entries = 1;

	take_nursery(mono, word[0], word[1]);
	take_large(mono, word[0]);
	/* Pointers, and nothing behind them: most variables are no list. */
	while (entries < VARIABLES_AHEAD && word[entries])
		entries++;
	for (size_t i = entries; i < VARIABLES_AHEAD; i++)
		if (word[i])
			return false;
	if (area_at(mono->target, word[0]))
		take_list(mono, address);
	return false;
}

static void take_sections(struct mono *mono, uint64_t start, uint64_t end)
{
	uint64_t next, after;

	for (uint64_t at = (start + SECTION - 1) & ~(SECTION - 1); at < end && end - at >= SECTION && !target_is_spent(mono->target); at += SECTION)
		if (is_section(mono->target, at, &next) && (!next || is_section(mono->target, next, &after)))
			found_add(mono->findings, at, at + SECTION, "mono:heap");
}

void recognise_mono(struct target *target, struct findings *findings)
{
	struct mono mono = { target, findings };
	struct object *runtime = object_named(target, "mono-sgen");

	runtime = runtime ? runtime : object_named(target, "libmonosgen");
	if (!runtime || !object_read(target, runtime))
		return;
	object_variables(target, runtime, take_variable, &mono);
	for (uint64_t start = 0, end; findings_left(target, findings, &start, &end); start = end)
		take_sections(&mono, start, end);
}
