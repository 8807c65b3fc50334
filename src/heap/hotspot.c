/* SPDX-License-Identifier: MIT */
/*
 * HotSpot's heap, by the table of its variables that it exports for debuggers.
 *
 *   serial, parallel   two generations of spaces    bottom ...... top ......... end
 *   G1                 regions of one size          |-- live --||--- free ---|
 *
 * Live is what the JVM calls used: what is dead and was not collected yet is in it.
 * Each space must lie in the heap, and each region where its number says; ZGC
 * and Shenandoah are hotspot_concurrent.c's.
 */
#include "hotspot.h"

#include "../recognise/view.h"

#define REGIONS_MAX (1U << 20)

enum {
	PARALLEL_YOUNG, PARALLEL_OLD, PS_EDEN, PS_FROM, PS_TO, PS_OLD, MUTABLE_BOTTOM, MUTABLE_TOP, MUTABLE_END,
	SERIAL_YOUNG, SERIAL_OLD, NEW_EDEN, NEW_FROM, NEW_TO, TENURED, SPACE_BOTTOM, SPACE_TOP, SPACE_END,
	MANAGER, REGIONS, TABLE_BASE, TABLE_LENGTH, REGION_BOTTOM, REGION_TOP, REGION_END,
	VARIABLES
};

static const struct hotspot_variable wanted[VARIABLES] = {
	[PARALLEL_YOUNG] = { "ParallelScavengeHeap", NULL, "_young_gen" },
	[PARALLEL_OLD] = { "ParallelScavengeHeap", NULL, "_old_gen" },
	[PS_EDEN] = { "PSYoungGen", NULL, "_eden_space" },
	[PS_FROM] = { "PSYoungGen", NULL, "_from_space" },
	[PS_TO] = { "PSYoungGen", NULL, "_to_space" },
	[PS_OLD] = { "PSOldGen", NULL, "_object_space" },
	[MUTABLE_BOTTOM] = { "MutableSpace", NULL, "_bottom" },
	[MUTABLE_TOP] = { "MutableSpace", NULL, "_top" },
	[MUTABLE_END] = { "MutableSpace", NULL, "_end" },
	[SERIAL_YOUNG] = { "SerialHeap", "GenCollectedHeap", "_young_gen" },
	[SERIAL_OLD] = { "SerialHeap", "GenCollectedHeap", "_old_gen" },
	[NEW_EDEN] = { "DefNewGeneration", NULL, "_eden_space" },
	[NEW_FROM] = { "DefNewGeneration", NULL, "_from_space" },
	[NEW_TO] = { "DefNewGeneration", NULL, "_to_space" },
	[TENURED] = { "TenuredGeneration", NULL, "_the_space" },
	[SPACE_BOTTOM] = { "ContiguousSpace", "Space", "_bottom" },
	[SPACE_TOP] = { "ContiguousSpace", NULL, "_top" },
	[SPACE_END] = { "ContiguousSpace", "Space", "_end" },
	[MANAGER] = { "G1CollectedHeap", NULL, "_hrm" },
	[REGIONS] = { "G1HeapRegionManager", "HeapRegionManager", "_regions" },
	[TABLE_BASE] = { "G1HeapRegionTable", NULL, "_base" },
	[TABLE_LENGTH] = { "G1HeapRegionTable", NULL, "_length" },
	[REGION_BOTTOM] = { "G1HeapRegion", "HeapRegion", "_bottom" },
	[REGION_TOP] = { "G1HeapRegion", "HeapRegion", "_top" },
	[REGION_END] = { "G1HeapRegion", "HeapRegion", "_end" },
};

struct jvm {
	struct target *target;
	const uint64_t *at;
	uint64_t heap, start, end;
};

_Static_assert(VARIABLES <= HEAP_HOTSPOT_VARIABLES, "who knows them has room for so many");

/* What a generation, or all regions, add up to. */
struct sums {
	uint64_t address, committed, resident, used;
};

/* A word behind a pointer; 0: it cannot be read, or HotSpot has no such variable. */
static uint64_t word_at(const struct jvm *jvm, uint64_t object, unsigned variable)
{
	uint64_t word;

	return object && hotspot_field(jvm->target, object, jvm->at[variable], &word) ? word : 0;
}

static uint64_t static_word(const struct jvm *jvm, unsigned variable)
{
	uint64_t word;

	return hotspot_field(jvm->target, 0, jvm->at[variable], &word) ? word : 0;
}

static void add_resident(const struct jvm *jvm, uint64_t start, uint64_t end, struct sums *sums)
{
	uint64_t bytes;

	heap_figure_add(&sums->resident, view_resident(jvm->target, start, end, &bytes) ? bytes : HEAP_UNKNOWN);
}

/* variable: of its bottom, its top, its end. */
static bool take_space(const struct jvm *jvm, uint64_t space, unsigned variable, struct sums *sums)
{
	uint64_t bottom = word_at(jvm, space, variable), top = word_at(jvm, space, variable + 1), end = word_at(jvm, space, variable + 2);

	if (bottom < jvm->start || top < bottom || end < top || end > jvm->end)
		return false;
	if (!sums->address)
		sums->address = bottom;
	sums->committed += end - bottom;
	add_resident(jvm, bottom, end, sums);
	sums->used += top - bottom;
	return true;
}

static void show(struct heaps *heaps, const char *name, const struct sums *sums)
{
	struct heap_arena *arena = heaps_add(heaps, HEAP_HOTSPOT, name);

	if (!arena)
		return;
	arena->address = sums->address;
	arena->figure[HEAP_SYSTEM] = sums->committed;
	arena->figure[HEAP_RESIDENT] = sums->resident;
	arena->figure[HEAP_LIVE] = sums->used;
	arena->figure[HEAP_FREE] = sums->committed - sums->used;
	arena->figure[HEAP_METADATA] = 0;
}

/* eden: the first of the variables of three spaces. */
static bool take_generations(const struct jvm *jvm, uint64_t young, uint64_t old, unsigned eden, unsigned tenured, unsigned bottom,
                             struct heaps *heaps)
{
	struct sums of_young = { 0 }, of_old = { 0 };

	for (unsigned i = 0; i < 3; i++)
		if (!take_space(jvm, word_at(jvm, young, eden + i), bottom, &of_young))
			return false;
	if (!take_space(jvm, word_at(jvm, old, tenured), bottom, &of_old))
		return false;
	show(heaps, "jvm:heap:young", &of_young);
	show(heaps, "jvm:heap:old", &of_old);
	return true;
}

/* What of the heap's addresses can be used: the rest is reserved. */
static uint64_t committed(const struct jvm *jvm)
{
	uint64_t bytes = 0;

	for (size_t i = area_seek(jvm->target, jvm->start); i < jvm->target->areas && jvm->target->area[i].start < jvm->end; i++) {
		const struct area *area = &jvm->target->area[i];
		uint64_t from = area->start > jvm->start ? area->start : jvm->start, to = area->end < jvm->end ? area->end : jvm->end;

		if (area->perms[1] == 'w')
			bytes += to - from;
	}
	return bytes;
}

static bool take_region(const struct jvm *jvm, uint64_t region, uint64_t number, struct sums *sums)
{
	uint64_t bottom = word_at(jvm, region, REGION_BOTTOM), top = word_at(jvm, region, REGION_TOP), end = word_at(jvm, region, REGION_END);

	if (bottom < jvm->start || top < bottom || end < top || end > jvm->end || end == bottom ||
	    bottom != jvm->start + number * (end - bottom))
		return false;
	sums->used += top - bottom;
	return true;
}

static bool take_regions(const struct jvm *jvm, struct heaps *heaps)
{
	uint64_t table = jvm->heap + jvm->at[MANAGER] + jvm->at[REGIONS], count = word_at(jvm, table, TABLE_LENGTH);
	uint64_t base = word_at(jvm, table, TABLE_BASE), region;
	struct sums sums = { .address = jvm->start, .committed = committed(jvm) };

	if (jvm->at[MANAGER] == HOTSPOT_ABSENT || jvm->at[REGIONS] == HOTSPOT_ABSENT || !base || !count || count > REGIONS_MAX)
		return false;
	/* A region that was never used is none yet. */
	for (uint64_t i = 0; i < count; i++)
		if (memory_word(jvm->target, base + i * sizeof(region), &region) && region && !take_region(jvm, region, i, &sums))
			return false;
	add_resident(jvm, jvm->start, jvm->end, &sums);
	if (sums.used && sums.used <= sums.committed)
		show(heaps, "jvm:heap", &sums);
	return true;
}

/* Who does not run has no generations. */
static bool take_heap(const struct jvm *jvm, struct heaps *heaps)
{
	return take_generations(jvm, static_word(jvm, PARALLEL_YOUNG), static_word(jvm, PARALLEL_OLD), PS_EDEN, PS_OLD, MUTABLE_BOTTOM, heaps) ||
	       take_regions(jvm, heaps) ||
	       take_generations(jvm, word_at(jvm, jvm->heap, SERIAL_YOUNG), word_at(jvm, jvm->heap, SERIAL_OLD), NEW_EDEN, TENURED, SPACE_BOTTOM, heaps);
}

bool heap_hotspot_at(const struct hotspot *hotspot, const uint64_t *at, struct heaps *heaps)
{
	struct jvm jvm = { .target = hotspot->target, .at = at };

	return hotspot_heap(hotspot, &jvm.start, &jvm.end) && hotspot_word(hotspot, 0, HOTSPOT_HEAP, &jvm.heap) && take_heap(&jvm, heaps);
}

void heap_hotspot(struct target *target, const struct findings *findings, struct heaps *heaps)
{
	struct hotspot hotspot;
	uint64_t at[VARIABLES];

	(void)findings;
	if (!hotspot_open(&hotspot, target, NULL))
		return;
	if (!hotspot_find(target, wanted, VARIABLES, at) || !heap_hotspot_at(&hotspot, at, heaps))
		heap_hotspot_concurrent(&hotspot, heaps);
}
