/* SPDX-License-Identifier: MIT */
/* Finds jemalloc's tree and reads it, and names its arenas. See jemalloc.h. */
#include "jemalloc.h"

#include "recognise.h"
#include "tree.h"

#include "../read/list.h"

#include <stdlib.h>
#include <string.h>

/* src/rtree.c, rtree_leaf_elm_s: on 48 bits of addresses and pages of 4 KiB, two levels of 18 bits. */
#define ROOT_BYTES    TREE_LEAF_BYTES
#define PAGE_SHIFT    12
#define PAGE          (1ULL << PAGE_SHIFT)
#define ADDRESS_BITS  48
#define EXTENT_ALIGN  64
#define EXTENTS_MAX   (1U << 22)

/* src/base.c: blocks of jemalloc's own memory are whole huge pages. In the first of an arena its index follows the head. */
#define BLOCK_ALIGN   (2ULL << 20)
#define BLOCK_INDEX   192
#define BLOCKS_MAX    (1U << 16)

#define RIGHT_MIN     8
#define DOUBTFUL_MOST 20            /* one of so many words */

/* What an extent begins with: bits, its address, its size. Bits 0 to 12 are the same in all: arena and slab. */
struct layout {
	unsigned state, state_bits, size_class, free;
};

static const struct layout layouts[] = {
	{ 17, 3, 20, 28 },          /* 5.3 */
	{ 16, 2, 18, 26 },          /* 5.1, 5.2 */
	{ 15, 2, 17, 25 },          /* 5.0 */
};
#define LAYOUTS (sizeof(layouts) / sizeof(*layouts))

struct raw_extent {
	uint64_t bits, address, size;
};

struct search {
	struct tree tree;           /* first: it is found by it */
	struct raw_extent *raw;     /* in order of address, not overlapping */
	size_t count, room;
	uint64_t end;               /* of the last */
	uint64_t doubtful;          /* words of leaves that led to no extent of that page */
	uint64_t disagree[LAYOUTS]; /* active extents, the class of which the leaf has otherwise */
};

uint64_t jemalloc_class_size(unsigned size_class)
{
	unsigned group = size_class < 5 ? 0 : (size_class - 5) / 4;
	uint64_t base = 64ULL << group;

	if (size_class < 5)
		return size_class ? 16 * size_class : 8;
	return base + base / 4 * ((size_class - 5) % 4 + 1);
}

static unsigned bits_of(uint64_t bits, unsigned shift, unsigned count)
{
	return (unsigned)(bits >> shift & ((1U << count) - 1));
}

static unsigned class_in(const struct layout *layout, uint64_t bits)
{
	return bits_of(bits, layout->size_class, 8);
}

/* The extent that a word of a leaf leads to. false: there is none. */
static bool read_extent(struct search *search, uint64_t word, struct raw_extent *extent)
{
	uint64_t at = word << (64 - ADDRESS_BITS) >> (64 - ADDRESS_BITS) & ~(uint64_t)(EXTENT_ALIGN - 1);

	return at && pages_get(search->tree.pages, at, extent, sizeof(*extent));
}

/* Below a page's size other things stand: where in its first page an allocation begins, a serial number. */
static uint64_t extent_start(const struct raw_extent *extent)
{
	return extent->address & ~(PAGE - 1);
}

static uint64_t extent_size(const struct raw_extent *extent)
{
	return extent->size & ~(PAGE - 1);
}

/* Whether it has the page at that address, and is what an extent can be. */
static bool has_page(const struct raw_extent *extent, uint64_t address)
{
	uint64_t start = extent_start(extent), size = extent_size(extent);

	return size && size <= 1ULL << (ADDRESS_BITS - 1) && start <= address && address - start < size;
}

static bool keep(struct search *search, const struct raw_extent *extent)
{
	struct raw_extent *grown = list_grown(search->raw, search->count, &search->room, sizeof(*grown), 1024, EXTENTS_MAX);

	if (!grown)
		return false;
	search->raw = grown;
	search->raw[search->count++] = *extent;
	search->end = extent_start(extent) + extent_size(extent);
	return true;
}

static bool record(struct tree *tree, uint64_t word, uint64_t *first, uint64_t *pages)
{
	struct raw_extent extent;

	if (!read_extent((struct search *)tree, word, &extent) || !has_page(&extent, extent_start(&extent)))
		return false;
	*first = extent_start(&extent) >> PAGE_SHIFT;
	*pages = extent_size(&extent) >> PAGE_SHIFT;
	return true;
}

static void compare_class(struct search *search, const struct raw_extent *extent, uint64_t word)
{
	for (size_t i = 0; i < LAYOUTS; i++)
		if (!bits_of(extent->bits, layouts[i].state, layouts[i].state_bits))
			search->disagree[i] += class_in(&layouts[i], extent->bits) != (unsigned)(word >> ADDRESS_BITS & 0xff);
}

static bool take(struct tree *tree, uint64_t page, uint64_t word)
{
	struct search *search = (struct search *)tree;
	uint64_t address = page << PAGE_SHIFT;
	struct raw_extent extent;

	/* An extent has words for its inside, too, or for its last page. */
	if (address < search->end)
		return true;
	if (!read_extent(search, word, &extent) || extent_start(&extent) != address || !has_page(&extent, address)) {
		search->doubtful++;
		return true;
	}
	if (!keep(search, &extent))
		return false;
	compare_class(search, &extent, word);
	return true;
}

/* The layout in which active extents have the class that the leaf has; NULL: in none. */
static const struct layout *layout_of(const struct search *search)
{
	if (search->count < RIGHT_MIN || search->doubtful * DOUBTFUL_MOST > search->count)
		return NULL;
	for (size_t i = 0; i < LAYOUTS; i++)
		if (search->disagree[i] * DOUBTFUL_MOST <= search->count)
			return &layouts[i];
	return NULL;
}

static void take_apart(const struct raw_extent *raw, const struct layout *layout, struct jemalloc_extent *extent)
{
	unsigned state = bits_of(raw->bits, layout->state, layout->state_bits);

	*extent = (struct jemalloc_extent){
		.start = extent_start(raw), .size = extent_size(raw), .arena = bits_of(raw->bits, 0, 12),
		/* What is on its way between two states (5.3) is no allocation. */
		.state = state < JEMALLOC_STATES ? state : JEMALLOC_DIRTY,
		.slab = raw->bits >> 12 & 1, .size_class = class_in(layout, raw->bits), .free = bits_of(raw->bits, layout->free, 10),
	};
}

static bool take_extents(const struct search *search, const struct layout *layout, struct jemalloc *found)
{
	found->extent = calloc(search->count, sizeof(*found->extent));
	if (!found->extent)
		return false;
	for (size_t i = 0; i < search->count; i++)
		take_apart(&search->raw[i], layout, &found->extent[i]);
	found->extents = search->count;
	return true;
}

/* --- blocks of jemalloc's own memory ------------------------------------------------ */

struct block {
	uint64_t size, next;
	struct raw_extent rest;     /* what of it is not used yet, which ends where the block does */
};

static bool read_block(struct search *search, uint64_t at, struct block *block)
{
	return pages_get(search->tree.pages, at, block, sizeof(*block)) && block->size && block->size % BLOCK_ALIGN == 0 &&
	       block->size < 1ULL << (ADDRESS_BITS - 1) && block->next % BLOCK_ALIGN == 0 && block->rest.address > at &&
	       block->rest.address <= at + block->size && block->rest.size == at + block->size - block->rest.address;
}

/* The arena of a block: the chain ends with its first. */
static bool read_index(struct search *search, uint64_t at, struct block block, uint32_t *index)
{
	for (unsigned i = 0; block.next; i++) {
		at = block.next;
		if (i == BLOCKS_MAX || !read_block(search, at, &block))
			return false;
	}
	return pages_get(search->tree.pages, at + BLOCK_INDEX, index, sizeof(*index)) && *index < 4096;
}

static bool keep_block(struct jemalloc *found, uint64_t start, uint64_t size, unsigned arena)
{
	struct jemalloc_base *grown = list_grown(found->base, found->bases, &found->room, sizeof(*grown), 64, BLOCKS_MAX);

	if (!grown)
		return false;
	found->base = grown;
	found->base[found->bases++] = (struct jemalloc_base){ start, size, arena };
	return true;
}

/* They begin at huge pages, where no extent is. */
static void find_blocks(struct search *search, struct jemalloc *found)
{
	size_t next = 0;

	for (size_t i = 0; i < search->tree.target->areas; i++) {
		const struct area *area = &search->tree.target->area[i];
		uint64_t at = (area->start + BLOCK_ALIGN - 1) & ~(BLOCK_ALIGN - 1), step;

		for (; area_is_anonymous(area) && area_is_writable(area) && at < area->end && !target_is_spent(search->tree.target); at += step) {
			struct block block;
			uint32_t index;

			step = BLOCK_ALIGN;
			while (next < found->extents && found->extent[next].start + found->extent[next].size <= at)
				next++;
			if ((next < found->extents && found->extent[next].start <= at) || !read_block(search, at, &block) ||
			    block.size > area->end - at || !read_index(search, at, block, &index))
				continue;
			if (!keep_block(found, at, block.size, index))
				return;
			step = block.size;
		}
	}
}

struct jemalloc *jemalloc_find(struct target *target)
{
	if (!tree_may_be(target, ROOT_BYTES))
		return NULL;

	struct search search = { .tree = {
		.target = target, .pages = pages_new(target, PAGES_MANY), .root_bytes = ROOT_BYTES, .align = EXTENT_ALIGN, .record = record, .take = take,
	} };
	struct jemalloc *found = search.tree.pages ? calloc(1, sizeof(*found)) : NULL;
	const struct layout *layout;

	if (found)
		tree_search(&search.tree);
	layout = found ? layout_of(&search) : NULL;
	if (layout && take_extents(&search, layout, found)) {
		find_blocks(&search, found);
	} else {
		free(found);
		found = NULL;
	}
	free(search.raw);
	pages_free(search.tree.pages);
	return found;
}

void jemalloc_free(struct jemalloc *jemalloc)
{
	if (jemalloc) {
		free(jemalloc->extent);
		free(jemalloc->base);
	}
	free(jemalloc);
}

/* Neighbours of one arena have one name, as a mapping that holds them has from the library. */
void recognise_jemalloc(struct target *target, struct findings *findings)
{
	struct jemalloc *found = jemalloc_find(target);

	for (size_t i = 0, next; found && i < found->extents; i = next) {
		const struct jemalloc_extent *first = &found->extent[i];
		uint64_t end = first->start;

		for (next = i; next < found->extents && found->extent[next].start == end && found->extent[next].arena == first->arena; next++)
			end += found->extent[next].size;
		found_add(findings, first->start, end, "jemalloc:arena%u", first->arena);
	}
	for (size_t i = 0; found && i < found->bases; i++)
		found_add(findings, found->base[i].start, found->base[i].start + found->base[i].size, "jemalloc:arena%u", found->base[i].arena);
	jemalloc_free(found);
}
