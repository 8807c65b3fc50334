/* SPDX-License-Identifier: MIT */
/* HotSpot, by the table of its variables that it exports for debuggers. See hotspot.c and hotspot_table.c. */
#ifndef ANONNAME_RECOGNISE_HOTSPOT_H
#define ANONNAME_RECOGNISE_HOTSPOT_H

#include "findings.h"
#include "memory.h"

/* A field of a type, which may be called differently in other versions: alias is that name, or NULL. */
struct hotspot_variable {
	const char *type, *alias, *field;
};

#define HOTSPOT_ABSENT UINT64_MAX

/* Addresses of static variables, offsets of the others, HOTSPOT_ABSENT where it has none. How many it has. */
size_t hotspot_find(struct target *target, const struct hotspot_variable *wanted, size_t count, uint64_t *value);

/* What names are given by. */
enum {
	HOTSPOT_HEAP, HOTSPOT_RESERVED, HOTSPOT_REGION_START, HOTSPOT_REGION_WORDS, HOTSPOT_CODE_LOW, HOTSPOT_CODE_HIGH, HOTSPOT_NEEDED,
	HOTSPOT_CODE_HEAPS = HOTSPOT_NEEDED, HOTSPOT_ARRAY_LENGTH, HOTSPOT_ARRAY_DATA, HOTSPOT_SEGMAP, HOTSPOT_SPACE_LOW, HOTSPOT_SPACE_HIGH,
	HOTSPOT_LOADERS, HOTSPOT_LOADER_NEXT,
	HOTSPOT_Z_HEAP, HOTSPOT_Z_PAGES, HOTSPOT_Z_PAGES_MAP, HOTSPOT_Z_PAGES_GRANULES, HOTSPOT_Z_FORWARDING, HOTSPOT_Z_FORWARDING_MAP,
	HOTSPOT_Z_FORWARDING_GRANULES, HOTSPOT_Z_PAGE_RANGE, HOTSPOT_Z_RANGE_START,
	HOTSPOT_BARRIERS, HOTSPOT_CARD_TABLE, HOTSPOT_CARDS, HOTSPOT_CARDS_BASE, HOTSPOT_CARDS_SIZE,
	HOTSPOT_OLD, HOTSPOT_OFFSETS, HOTSPOT_OFFSETS_SPACE, HOTSPOT_OFFSETS_OF, HOTSPOT_G1_REGIONS,
	HOTSPOT_PLACES
};

struct hotspot {
	struct target *target;
	struct findings *findings;
	uint64_t at[HOTSPOT_PLACES]; /* as hotspot_find() says */
};

/* All that it has, where at is known. */
void hotspot_name(const struct hotspot *hotspot);

/* Writable pieces of a range have the name, and the others are reserved. */
void hotspot_name_range(const struct hotspot *hotspot, uint64_t start, uint64_t end, const char *name);

/* The word of an object at what hotspot_find() says of it; false: it has none, or it cannot be read. */
bool hotspot_field(struct target *target, uint64_t object, uint64_t at, uint64_t *word);
/* The same of a place. */
bool hotspot_word(const struct hotspot *hotspot, uint64_t object, unsigned place, uint64_t *word);

/* The heap, as it was reserved; false: there is none, or it is no range. */
bool hotspot_heap(const struct hotspot *hotspot, uint64_t *start, uint64_t *end);

/* Memory for classes (metaspace.c), and what collectors need beside the heap (collector.c), ZGC for itself (zgc.c). */
void hotspot_metaspace(const struct hotspot *hotspot);
void hotspot_collector(const struct hotspot *hotspot);
void hotspot_zgc(const struct hotspot *hotspot);

/* Finds where its variables are; false: it is no process of Java. */
bool hotspot_open(struct hotspot *hotspot, struct target *target, struct findings *findings);

/* ZGC's ZHeap, and its table of pages, a word for each 2 MiB; 0: the process has none. */
struct hotspot_table {
	uint64_t start, entries;
};
uint64_t hotspot_zheap(const struct hotspot *hotspot, struct hotspot_table *pages);

#endif
