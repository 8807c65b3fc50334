/* SPDX-License-Identifier: MIT */
/*
 * The heaps of HotSpot's collectors that work while the program does, ZGC and
 * Shenandoah, by the variables that it exports for debuggers. What is committed
 * and used they count themselves, and these counts are taken where
 *
 *   ZGC         the pages of its table say the places where they were found
 *   Shenandoah  every region has the number of its place, and begins and ends where that says
 *
 * so that it is this collector, and these are its variables.
 */
#include "hotspot.h"

#include "../recognise/view.h"

#define REGIONS_MAX (1U << 20)

enum {
	ALLOCATOR, MOST, CAPACITY, USED, PARTITIONS, PARTITION_ADDRESS, PARTITION_CAPACITY, PARTITION_USED, NODES,
	COUNT, REGIONS, COMMITTED, SHENANDOAH_USED, GENERATION, GENERATION_USED, INDEX, BOTTOM, END,
	VARIABLES
};

static const struct hotspot_variable wanted[VARIABLES] = {
	[ALLOCATOR] = { "ZHeap", NULL, "_page_allocator" },
	[MOST] = { "ZPageAllocator", NULL, "_max_capacity" },
	[CAPACITY] = { "ZPageAllocator", NULL, "_capacity" },
	[USED] = { "ZPageAllocator", NULL, "_used" },
	[PARTITIONS] = { "ZPageAllocator", NULL, "_partitions" },
	[PARTITION_ADDRESS] = { "ZPerNUMAZPartition", NULL, "_addr" },
	[PARTITION_CAPACITY] = { "ZPartition", NULL, "_capacity" },
	[PARTITION_USED] = { "ZPartition", NULL, "_used" },
	[NODES] = { "ZNUMA", NULL, "_count" },
	[COUNT] = { "ShenandoahHeap", NULL, "_num_regions" },
	[REGIONS] = { "ShenandoahHeap", NULL, "_regions" },
	[COMMITTED] = { "ShenandoahHeap", NULL, "_committed" },
	[SHENANDOAH_USED] = { "ShenandoahHeap", NULL, "_used" },
	[GENERATION] = { "ShenandoahHeap", NULL, "_global_generation" },
	[GENERATION_USED] = { "ShenandoahGeneration", NULL, "_used" },
	[INDEX] = { "ShenandoahHeapRegion", NULL, "_index" },
	[BOTTOM] = { "ShenandoahHeapRegion", NULL, "_bottom" },
	[END] = { "ShenandoahHeapRegion", NULL, "_end" },
};

struct collector {
	struct target *target;
	const struct hotspot *hotspot;
	const uint64_t *at;
};

_Static_assert(VARIABLES <= HEAP_HOTSPOT_VARIABLES, "who knows them has room for so many");

/* A field of an object; false: it has none, or it cannot be read. */
static bool field(const struct collector *c, uint64_t object, unsigned variable, uint64_t *word)
{
	return hotspot_field(c->target, object, c->at[variable], word);
}

static void show(struct heaps *heaps, uint64_t address, uint64_t committed, uint64_t used, uint64_t resident)
{
	struct heap_arena *arena = used <= committed ? heaps_add(heaps, HEAP_HOTSPOT, "jvm:heap") : NULL;

	if (!arena)
		return;
	arena->address = address;
	arena->figure[HEAP_SYSTEM] = committed;
	arena->figure[HEAP_RESIDENT] = resident;
	arena->figure[HEAP_LIVE] = used;
	arena->figure[HEAP_FREE] = committed - used;
	arena->figure[HEAP_METADATA] = 0;
}

/* Until JDK 24 the allocator counts, later a partition for each node of memory, of which there must be one. */
static bool zgc_counts(const struct collector *c, uint64_t allocator, uint64_t *committed, uint64_t *used)
{
	uint64_t nodes, partition;

	if (c->at[PARTITIONS] == HOTSPOT_ABSENT)
		return field(c, allocator, CAPACITY, committed) && field(c, allocator, USED, used);
	return field(c, 0, NODES, &nodes) && (uint32_t)nodes == 1 && field(c, allocator + c->at[PARTITIONS], PARTITION_ADDRESS, &partition) &&
	       field(c, partition, PARTITION_CAPACITY, committed) && field(c, partition, PARTITION_USED, used);
}

/* Its memory is a file, which is in no process's pagemap as its own: how much of it is there is unknown. */
static bool take_zgc(const struct collector *c, struct heaps *heaps)
{
	struct hotspot_table pages;
	uint64_t zheap = hotspot_zheap(c->hotspot, &pages), allocator = zheap + c->at[ALLOCATOR], most, committed, used;

	if (!zheap || c->at[ALLOCATOR] == HOTSPOT_ABSENT || !field(c, allocator, MOST, &most) ||
	    !zgc_counts(c, allocator, &committed, &used) || committed > most)
		return false;
	show(heaps, 0, committed, used, HEAP_UNKNOWN);
	return true;
}

static bool is_region(const struct collector *c, uint64_t region, uint64_t index, uint64_t start, uint64_t size)
{
	uint64_t number, bottom, end;

	return field(c, region, INDEX, &number) && number == index && field(c, region, BOTTOM, &bottom) && bottom == start + index * size &&
	       field(c, region, END, &end) && end == bottom + size;
}

static bool are_regions(const struct collector *c, uint64_t regions, uint64_t count, uint64_t *start, uint64_t *end)
{
	uint64_t region, after;

	if (!count || count > REGIONS_MAX || !memory_word(c->target, regions, &region) || !field(c, region, BOTTOM, start) ||
	    !field(c, region, END, &after) || after <= *start)
		return false;
	for (uint64_t i = 0; i < count; i++)
		if (!memory_word(c->target, regions + i * sizeof(region), &region) || !is_region(c, region, i, *start, after - *start))
			return false;
	*end = *start + count * (after - *start);
	return true;
}

static bool shenandoah_used(const struct collector *c, uint64_t heap, uint64_t *used)
{
	uint64_t generation;

	return field(c, heap, SHENANDOAH_USED, used) || (field(c, heap, GENERATION, &generation) && field(c, generation, GENERATION_USED, used));
}

static void take_shenandoah(const struct collector *c, uint64_t heap, struct heaps *heaps)
{
	uint64_t regions, count, start, end, committed, used, resident;

	if (!field(c, heap, COUNT, &count) || !field(c, heap, REGIONS, &regions) || !field(c, heap, COMMITTED, &committed) ||
	    !shenandoah_used(c, heap, &used) || !are_regions(c, regions, count, &start, &end) || committed > end - start)
		return;
	show(heaps, start, committed, used, view_resident(c->target, start, end, &resident) ? resident : HEAP_UNKNOWN);
}

void heap_hotspot_concurrent_at(const struct hotspot *hotspot, const uint64_t *at, struct heaps *heaps)
{
	struct collector c = { .target = hotspot->target, .hotspot = hotspot, .at = at };
	uint64_t heap;

	if (!take_zgc(&c, heaps) && hotspot_word(hotspot, 0, HOTSPOT_HEAP, &heap) && heap)
		take_shenandoah(&c, heap, heaps);
}

void heap_hotspot_concurrent(const struct hotspot *hotspot, struct heaps *heaps)
{
	uint64_t at[VARIABLES];

	if (hotspot_find(hotspot->target, wanted, VARIABLES, at))
		heap_hotspot_concurrent_at(hotspot, at, heaps);
}
