/* SPDX-License-Identifier: MIT */
/*
 * Mono's collector, SGen. Its major heap is blocks of 16 KiB, aligned to that;
 * a list of all is among the runtime's variables (mono/sgen/sgen-array-list.h):
 *
 *   entry[32] ---> 32 slots, 64 slots, 128 slots, ...     a slot: a block, and two bits
 *   capacity       as many slots as these have
 *
 * A block begins with the size of its objects, and a list of its free ones. The
 * nursery lies between two variables. Sections for large objects, 1 MiB, have a
 * pointer to what follows it. Objects larger than that have no structure.
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

static bool take_variable(void *context, uint64_t address, const uint64_t word[VARIABLES_AHEAD])
{
	struct mono *mono = context;
	size_t entries = 1;

	take_nursery(mono, word[0], word[1]);
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

static bool is_section(struct target *target, uint64_t at, uint64_t *next)
{
	struct section s;

	if (at % SECTION || memory_get(target, at, &s, sizeof(s)) || s.map != at + SECTION_HEAD || s.free > SECTION_FREE)
		return false;
	*next = s.next;
	return true;
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
