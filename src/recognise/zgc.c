/* SPDX-License-Identifier: MIT */
/*
 * What ZGC needs beside its heap, which is a file in memory. Tables have a word for
 * each 2 MiB of heap, and stacks for marking are one range that grows:
 *
 *   ZHeap: its table of pages --> page, which says the place that it was found at
 *          the table of forwardings, as long as that
 *          stacks: start, top, end |-- there --|-- reserved --|
 *
 * A table is believed when the pages that it has in front say their places. Where
 * the stacks are no exported name says: three words of the heap that are the
 * ends of a mapping, a multiple of 32 MiB long, with a reservation behind it.
 */
#include "hotspot.h"

#include "pages.h"

#define GRANULE_SHIFT 21
#define ENTRIES_ASKED 4096
#define ENTRIES_MAX   (1ULL << 28)
#define BLOCK_WORDS   512
#define ZHEAP_WORDS   640           /* in these the ends of the stacks are */
#define STACKS_STEP   (32ULL << 20)
#define STACKS_MAX    (1ULL << 40)

/* Whether the pages that the first entries lead to say their places; one has several entries, and stands in the first. */
static bool is_page_table(const struct hotspot *hotspot, uint64_t table, uint64_t entries)
{
	uint64_t word[BLOCK_WORDS], range = hotspot->at[HOTSPOT_Z_PAGE_RANGE], start, last = 0;
	unsigned right = 0;

	if (range == HOTSPOT_ABSENT)
		return false;
	for (uint64_t i = 0; i < entries && i < ENTRIES_ASKED; i++) {
		uint64_t page;

		if (i % BLOCK_WORDS == 0 && memory_get(hotspot->target, table + i * sizeof(*word), word, sizeof(word)))
			break;
		page = word[i % BLOCK_WORDS];
		if (!page || page == last)
			continue;
		if (!hotspot_word(hotspot, page + range, HOTSPOT_Z_RANGE_START, &start) || start >> GRANULE_SHIFT != i)
			return false;
		last = page;
		right++;
	}
	return right;
}

/* Its length stands in front of its address. */
static bool find_table(const struct hotspot *hotspot, uint64_t zheap, unsigned where, unsigned map, unsigned granules, struct hotspot_table *table)
{
	const uint64_t *offset = hotspot->at;
	uint64_t at;

	if (offset[where] == HOTSPOT_ABSENT || offset[map] == HOTSPOT_ABSENT || offset[granules] == HOTSPOT_ABSENT)
		return false;
	at = zheap + offset[where] + offset[map] + offset[granules];
	return memory_word(hotspot->target, at, &table->start) && memory_word(hotspot->target, at - sizeof(at), &table->entries) &&
	       table->start % hotspot->target->own.page == 0 && table->entries && table->entries <= ENTRIES_MAX &&
	       memory_is_anonymous(hotspot->target, table->start, table->start + table->entries * sizeof(at));
}

static void name_table(const struct hotspot *hotspot, const struct hotspot_table *table)
{
	uint64_t page = hotspot->target->own.page, bytes = (table->entries * sizeof(uint64_t) + page - 1) & ~(page - 1);

	hotspot_name_range(hotspot, table->start, table->start + bytes, "jvm:gc");
}

static bool are_stacks(struct target *target, const uint64_t word[3])
{
	const struct area *area, *behind;

	if (word[0] % target->own.page || word[0] > word[1] || word[1] > word[2] || word[2] == word[0] ||
	    (word[2] - word[0]) % STACKS_STEP || word[2] - word[0] > STACKS_MAX)
		return false;
	area = area_at(target, word[0]);
	behind = area_at(target, word[2]);
	return area && area_is_anonymous(area) && area_is_writable(area) && memory_is_anonymous(target, word[0], word[2]) && behind &&
	       behind->start == word[2] && behind->perms[0] == '-';
}

static void name_stacks(const struct hotspot *hotspot, uint64_t zheap)
{
	uint64_t word[ZHEAP_WORDS];

	if (memory_get(hotspot->target, zheap, word, sizeof(word)))
		return;
	for (size_t i = 0; i + 3 <= ZHEAP_WORDS; i++)
		if (word[i] && are_stacks(hotspot->target, &word[i])) {
			hotspot_name_range(hotspot, word[i], word[i + 2], "jvm:gc");
			return;
		}
}

uint64_t hotspot_zheap(const struct hotspot *hotspot, struct hotspot_table *pages)
{
	uint64_t heap;

	if (hotspot->at[HOTSPOT_Z_HEAP] == HOTSPOT_ABSENT || !hotspot_word(hotspot, 0, HOTSPOT_HEAP, &heap) || !heap)
		return 0;
	heap += hotspot->at[HOTSPOT_Z_HEAP];
	return find_table(hotspot, heap, HOTSPOT_Z_PAGES, HOTSPOT_Z_PAGES_MAP, HOTSPOT_Z_PAGES_GRANULES, pages) &&
	       is_page_table(hotspot, pages->start, pages->entries) ? heap : 0;
}

void hotspot_zgc(const struct hotspot *hotspot)
{
	struct hotspot_table pages, forwarding;
	uint64_t zheap = hotspot_zheap(hotspot, &pages);

	if (!zheap)
		return;
	name_table(hotspot, &pages);
	if (find_table(hotspot, zheap, HOTSPOT_Z_FORWARDING, HOTSPOT_Z_FORWARDING_MAP, HOTSPOT_Z_FORWARDING_GRANULES, &forwarding) &&
	    forwarding.entries == pages.entries)
		name_table(hotspot, &forwarding);
	name_stacks(hotspot, zheap);
}
