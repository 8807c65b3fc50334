/* SPDX-License-Identifier: MIT */
/*
 * HotSpot's heap, code, classes and collector, by the table of its variables that
 * it exports for debuggers. Heap and code are ranges, the ends of which make sense:
 *
 *   Universe::_collectedHeap --> reserved: start, words
 *   CodeCache::_low_bound, _high_bound;  _heaps --> code heap: its map of segments
 *
 * metaspace.c, collector.c and zgc.c have the rest.
 */
#include "hotspot.h"

#include "recognise.h"

#define CODE_MAX       (2ULL << 30)
#define CODE_HEAPS_MAX 8

static const struct hotspot_variable variables[HOTSPOT_PLACES] = {
	[HOTSPOT_HEAP] = { "Universe", NULL, "_collectedHeap" },
	[HOTSPOT_RESERVED] = { "CollectedHeap", NULL, "_reserved" },
	[HOTSPOT_REGION_START] = { "MemRegion", NULL, "_start" },
	[HOTSPOT_REGION_WORDS] = { "MemRegion", NULL, "_word_size" },
	[HOTSPOT_CODE_LOW] = { "CodeCache", NULL, "_low_bound" },
	[HOTSPOT_CODE_HIGH] = { "CodeCache", NULL, "_high_bound" },
	[HOTSPOT_CODE_HEAPS] = { "CodeCache", NULL, "_heaps" },
	[HOTSPOT_ARRAY_LENGTH] = { "GrowableArrayBase", "GenericGrowableArray", "_len" },
	[HOTSPOT_ARRAY_DATA] = { "GrowableArray<int>", NULL, "_data" },
	[HOTSPOT_SEGMAP] = { "CodeHeap", NULL, "_segmap" },
	[HOTSPOT_SPACE_LOW] = { "VirtualSpace", NULL, "_low_boundary" },
	[HOTSPOT_SPACE_HIGH] = { "VirtualSpace", NULL, "_high_boundary" },
	[HOTSPOT_LOADERS] = { "ClassLoaderDataGraph", NULL, "_head" },
	[HOTSPOT_LOADER_NEXT] = { "ClassLoaderData", NULL, "_next" },
	[HOTSPOT_Z_HEAP] = { "ZCollectedHeap", NULL, "_heap" },
	[HOTSPOT_Z_PAGES] = { "ZHeap", NULL, "_page_table" },
	[HOTSPOT_Z_PAGES_MAP] = { "ZPageTable", NULL, "_map" },
	[HOTSPOT_Z_PAGES_GRANULES] = { "ZGranuleMapForPageTable", NULL, "_map" },
	[HOTSPOT_Z_FORWARDING] = { "ZHeap", NULL, "_forwarding_table" },
	[HOTSPOT_Z_FORWARDING_MAP] = { "ZForwardingTable", NULL, "_map" },
	[HOTSPOT_Z_FORWARDING_GRANULES] = { "ZGranuleMapForForwarding", NULL, "_map" },
	[HOTSPOT_Z_PAGE_RANGE] = { "ZPage", NULL, "_virtual" },
	[HOTSPOT_Z_RANGE_START] = { "ZVirtualMemory", NULL, "_start" },
	[HOTSPOT_BARRIERS] = { "BarrierSet", NULL, "_barrier_set" },
	[HOTSPOT_CARD_TABLE] = { "CardTableBarrierSet", NULL, "_card_table" },
	[HOTSPOT_CARDS] = { "CardTable", NULL, "_byte_map" },
	[HOTSPOT_CARDS_BASE] = { "CardTable", NULL, "_byte_map_base" },
	[HOTSPOT_CARDS_SIZE] = { "CardTable", NULL, "_byte_map_size" },
	[HOTSPOT_OLD] = { "SerialHeap", "GenCollectedHeap", "_old_gen" },
	[HOTSPOT_OFFSETS] = { "TenuredGeneration", "CardGeneration", "_bts" },
	[HOTSPOT_OFFSETS_SPACE] = { "SerialBlockOffsetTable", "BlockOffsetSharedArray", "_vs" },
	[HOTSPOT_OFFSETS_OF] = { "SerialBlockOffsetTable", "BlockOffsetSharedArray", "_reserved" },
	[HOTSPOT_G1_REGIONS] = { "G1CollectedHeap", NULL, "_hrm" },
};

/* Where code begins is found by a map beside each heap of code. */
static void name_segmap(const struct hotspot *hotspot, uint64_t code_heap)
{
	uint64_t map = code_heap + hotspot->at[HOTSPOT_SEGMAP], low, high, page = hotspot->target->own.page;

	if (hotspot->at[HOTSPOT_SEGMAP] != HOTSPOT_ABSENT && hotspot_word(hotspot, map, HOTSPOT_SPACE_LOW, &low) &&
	    hotspot_word(hotspot, map, HOTSPOT_SPACE_HIGH, &high) && low % page == 0 && high % page == 0 && low < high &&
	    high - low <= CODE_MAX && memory_is_anonymous(hotspot->target, low, high))
		hotspot_name_range(hotspot, low, high, "jvm:code");
}

static void name_code(const struct hotspot *hotspot)
{
	uint64_t low, high, heaps, length, data, heap;

	if (hotspot_word(hotspot, 0, HOTSPOT_CODE_LOW, &low) && hotspot_word(hotspot, 0, HOTSPOT_CODE_HIGH, &high) &&
	    low % hotspot->target->own.page == 0 && low < high && high - low <= CODE_MAX)
		found_add(hotspot->findings, low, high, "jvm:code");
	if (!hotspot_word(hotspot, 0, HOTSPOT_CODE_HEAPS, &heaps) || !hotspot_word(hotspot, heaps, HOTSPOT_ARRAY_LENGTH, &length) ||
	    !hotspot_word(hotspot, heaps, HOTSPOT_ARRAY_DATA, &data) || (uint32_t)length > CODE_HEAPS_MAX)
		return;
	for (uint32_t i = 0; i < (uint32_t)length; i++)
		if (memory_word(hotspot->target, data + i * sizeof(heap), &heap))
			name_segmap(hotspot, heap);
}

void hotspot_name(const struct hotspot *hotspot)
{
	uint64_t start, end;

	if (hotspot_heap(hotspot, &start, &end))
		found_add(hotspot->findings, start, end, "jvm:heap");
	hotspot_collector(hotspot);
	hotspot_zgc(hotspot);
	name_code(hotspot);
	hotspot_metaspace(hotspot);
}

bool hotspot_open(struct hotspot *hotspot, struct target *target, struct findings *findings)
{
	*hotspot = (struct hotspot){ .target = target, .findings = findings };
	hotspot_find(target, variables, HOTSPOT_PLACES, hotspot->at);
	for (unsigned i = 0; i < HOTSPOT_NEEDED; i++)
		if (hotspot->at[i] == HOTSPOT_ABSENT)
			return false;
	return true;
}

void recognise_hotspot(struct target *target, struct findings *findings)
{
	struct hotspot hotspot;

	if (hotspot_open(&hotspot, target, findings))
		hotspot_name(&hotspot);
}
