/* SPDX-License-Identifier: MIT */
/*
 * The tables that HotSpot's collectors have of the heap: cards (a byte for each
 * 512 of it), offsets of objects (as many), and G1's bitmaps (a bit for each 8).
 *
 *   cards     where they are and where those of address 0 would be agree about where the heap begins
 *   offsets   Serial's say which part of the heap they are of, and are as long as that has cards
 *   G1        one word of the manager of regions leads to the mapper of the heap, which has
 *             both its ends; where that has them, others have the ends of a table that has the right length
 */
#include "hotspot.h"

#define CARD_SHIFT    9
#define BITMAP_SHIFT  6
#define MANAGER_WORDS 64
#define MAPPER_WORDS  16

struct range {
	uint64_t start, end;
};

static uint64_t whole_pages(const struct hotspot *hotspot, uint64_t bytes)
{
	uint64_t page = hotspot->target->own.page;

	return (bytes + page - 1) & ~(page - 1);
}

static void name_table(const struct hotspot *hotspot, const struct range *table)
{
	if (table->start % hotspot->target->own.page == 0 && table->start < table->end &&
	    memory_is_anonymous(hotspot->target, table->start, table->end))
		hotspot_name_range(hotspot, table->start, table->end, "jvm:gc");
}

static void name_cards(const struct hotspot *hotspot, const struct range *heap)
{
	uint64_t barriers, table, cards, base, size;

	if (hotspot_word(hotspot, 0, HOTSPOT_BARRIERS, &barriers) && hotspot_word(hotspot, barriers, HOTSPOT_CARD_TABLE, &table) &&
	    hotspot_word(hotspot, table, HOTSPOT_CARDS, &cards) && hotspot_word(hotspot, table, HOTSPOT_CARDS_BASE, &base) &&
	    hotspot_word(hotspot, table, HOTSPOT_CARDS_SIZE, &size) && base + (heap->start >> CARD_SHIFT) == cards &&
	    size >= (heap->end - heap->start) >> CARD_SHIFT &&
	    whole_pages(hotspot, size) <= whole_pages(hotspot, (heap->end - heap->start) >> CARD_SHIFT) + hotspot->target->own.page)
		name_table(hotspot, &(struct range){ cards, cards + whole_pages(hotspot, size) });
}

/* The part of the heap that a table of offsets is of; the table is as long as that has cards. */
static bool fits(const struct hotspot *hotspot, uint64_t offsets, const struct range *table, const struct range *heap)
{
	uint64_t of = offsets + hotspot->at[HOTSPOT_OFFSETS_OF], start, words, cards;

	if (hotspot->at[HOTSPOT_OFFSETS_OF] == HOTSPOT_ABSENT || !hotspot_word(hotspot, of, HOTSPOT_REGION_START, &start) ||
	    !hotspot_word(hotspot, of, HOTSPOT_REGION_WORDS, &words) || start < heap->start || start >= heap->end ||
	    words > (heap->end - start) / sizeof(words))
		return false;
	cards = words * sizeof(words) >> CARD_SHIFT;
	return table->start < table->end && table->end - table->start >= cards &&
	       table->end - table->start <= whole_pages(hotspot, cards) + hotspot->target->own.page;
}

static void name_offsets(const struct hotspot *hotspot, uint64_t collected, const struct range *heap)
{
	uint64_t old, offsets, space = hotspot->at[HOTSPOT_OFFSETS_SPACE];
	struct range table;

	if (space != HOTSPOT_ABSENT && hotspot_word(hotspot, collected, HOTSPOT_OLD, &old) && hotspot_word(hotspot, old, HOTSPOT_OFFSETS, &offsets) &&
	    hotspot_word(hotspot, offsets + space, HOTSPOT_SPACE_LOW, &table.start) &&
	    hotspot_word(hotspot, offsets + space, HOTSPOT_SPACE_HIGH, &table.end) && fits(hotspot, offsets, &table, heap))
		name_table(hotspot, &table);
}

static bool read_mapper(const struct hotspot *hotspot, uint64_t at, uint64_t word[MAPPER_WORDS])
{
	const struct area *area = at && at % sizeof(at) == 0 ? area_at(hotspot->target, at) : NULL;

	return area && area_may_be_allocators(area) && !memory_get(hotspot->target, at, word, MAPPER_WORDS * sizeof(*word));
}

/* Which word of the mapper of the heap says where that begins; MAPPER_WORDS: it is another mapper, or none. */
static size_t find_ends(const uint64_t word[MAPPER_WORDS], const struct range *heap)
{
	size_t i = 0;

	while (i + 1 < MAPPER_WORDS && (word[i] != heap->start || word[i + 1] != heap->end))
		i++;
	return i + 1 < MAPPER_WORDS ? i : MAPPER_WORDS;
}

static bool is_long_as(const struct hotspot *hotspot, const struct range *table, const struct range *heap, unsigned shift)
{
	return table->end - table->start == whole_pages(hotspot, (heap->end - heap->start) >> shift);
}

static void name_mapped(const struct hotspot *hotspot, const uint64_t manager[MANAGER_WORDS], size_t ends, const struct range *heap)
{
	uint64_t word[MAPPER_WORDS];

	for (size_t i = 0; i < MANAGER_WORDS; i++) {
		struct range table;

		if (!read_mapper(hotspot, manager[i], word))
			continue;
		table = (struct range){ word[ends], word[ends + 1] };
		if (is_long_as(hotspot, &table, heap, CARD_SHIFT) || is_long_as(hotspot, &table, heap, BITMAP_SHIFT))
			name_table(hotspot, &table);
	}
}

static void name_of_g1(const struct hotspot *hotspot, uint64_t collected, const struct range *heap)
{
	uint64_t manager[MANAGER_WORDS], word[MAPPER_WORDS];
	size_t ends = MAPPER_WORDS;

	if (hotspot->at[HOTSPOT_G1_REGIONS] == HOTSPOT_ABSENT ||
	    memory_get(hotspot->target, collected + hotspot->at[HOTSPOT_G1_REGIONS], manager, sizeof(manager)))
		return;
	for (size_t i = 0; i < MANAGER_WORDS && ends == MAPPER_WORDS; i++)
		if (read_mapper(hotspot, manager[i], word))
			ends = find_ends(word, heap);
	if (ends < MAPPER_WORDS)
		name_mapped(hotspot, manager, ends, heap);
}

void hotspot_collector(const struct hotspot *hotspot)
{
	struct range heap;
	uint64_t collected;

	if (!hotspot_heap(hotspot, &heap.start, &heap.end) || !hotspot_word(hotspot, 0, HOTSPOT_HEAP, &collected))
		return;
	name_cards(hotspot, &heap);
	name_offsets(hotspot, collected, &heap);
	name_of_g1(hotspot, collected, &heap);
}
