/* SPDX-License-Identifier: MIT */
/* Finds jemalloc's tree and reads it, and names its arenas. See jemalloc.h. */
#include "jemalloc.h"

#include "object.h"
#include "pages.h"
#include "recognise.h"

#include "../read/list.h"

#include <stdlib.h>
#include <string.h>

/* src/rtree.c, rtree_leaf_elm_s: on 48 bits of addresses and pages of 4 KiB, two levels of 18 bits. */
#define LEVEL_WORDS   (1U << 18)
#define LEVEL_BYTES   (LEVEL_WORDS * sizeof(uint64_t))
#define PAGE_SHIFT    12
#define PAGE          (1ULL << PAGE_SHIFT)
#define LEAF_SHIFT    30
#define ADDRESS_BITS  48
#define EXTENT_ALIGN  64
#define EXTENTS_MAX   (1U << 22)

/* src/base.c: blocks of jemalloc's own memory are whole huge pages. In the first of an arena its index follows the head. */
#define BLOCK_ALIGN   (2ULL << 20)
#define BLOCK_INDEX   192
#define BLOCKS_MAX    (1U << 16)

/* How many of a leaf's first words are looked at, and how many must be right, before all of it is read. */
#define PROBES        8
#define PROBES_RIGHT  2
#define RIGHT_MIN     8
#define SUSPECTS_MAX  4096          /* words of one .bss that are followed */
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
	struct target *target;
	struct pages *pages;
	struct raw_extent *raw;     /* in order of address, not overlapping */
	size_t count, room;
	uint64_t end;               /* of the last */
	uint64_t root;              /* 0: no leaf has said yet */
	unsigned suspects;
	uint64_t page;              /* of a leaf, in word; 0: none */
	uint64_t word[PAGE / sizeof(uint64_t)];
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

	return at && pages_get(search->pages, at, extent, sizeof(*extent));
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

/* The page of a leaf that is looked through: most of its words are 0. */
static bool leaf_page(struct search *search, uint64_t page)
{
	if (search->page == page)
		return true;
	search->page = 0;
	if (!pages_get(search->pages, page, search->word, sizeof(search->word)))
		return false;
	search->page = page;
	return true;
}

/* The next word of a leaf that is not zero; its index, or LEVEL_WORDS. */
static size_t next_word(struct search *search, uint64_t leaf, size_t index, uint64_t *word)
{
	const uint64_t end = leaf + LEVEL_BYTES;
	uint64_t at = leaf + index * sizeof(*word), next;

	for (; at < end; at = next) {
		uint64_t page = at & ~(PAGE - 1);

		next = page + PAGE;
		if (!leaf_page(search, page)) {
			next = memory_next(search->target, next, end);
			continue;
		}
		for (; at < next && at < end; at += sizeof(*word))
			if ((*word = search->word[(at - page) / sizeof(*word)]))
				return (at - leaf) / sizeof(*word);
	}
	return LEVEL_WORDS;
}

/* The root's address, by a leaf's word and the slot of the root that led there; 0: the word is wrong. */
static uint64_t root_by(struct search *search, uint64_t slot, size_t index, uint64_t word)
{
	struct raw_extent extent;
	uint64_t high;

	if (!read_extent(search, word, &extent))
		return 0;
	high = extent.address >> LEAF_SHIFT;
	if (high >= LEVEL_WORDS || !has_page(&extent, high << LEAF_SHIFT | (uint64_t)index << PAGE_SHIFT))
		return 0;
	return slot - high * sizeof(uint64_t);
}

static bool may_be_leaf(struct search *search, uint64_t slot, uint64_t leaf, uint64_t bss, uint64_t bss_end)
{
	uint64_t root = search->root, word;
	unsigned right = 0, probes = 0;

	for (size_t i = 0; probes < PROBES && right < PROBES_RIGHT; i++, probes++) {
		uint64_t said;

		i = next_word(search, leaf, i, &word);
		if (i == LEVEL_WORDS)
			return false;
		said = root_by(search, slot, i, word);
		if (!said || said < bss || said > bss_end - LEVEL_BYTES || (root && said != root))
			continue;
		root = said;
		right++;
	}
	if (right < PROBES_RIGHT)
		return false;
	search->root = root;
	return true;
}

static void compare_class(struct search *search, const struct raw_extent *extent, uint64_t word)
{
	for (size_t i = 0; i < LAYOUTS; i++)
		if (!bits_of(extent->bits, layouts[i].state, layouts[i].state_bits))
			search->disagree[i] += class_in(&layouts[i], extent->bits) != (unsigned)(word >> ADDRESS_BITS & 0xff);
}

static void read_leaf(struct search *search, uint64_t leaf, uint64_t high)
{
	uint64_t word;

	for (size_t i = 0; (i = next_word(search, leaf, i, &word)) < LEVEL_WORDS && !target_is_spent(search->target); i++) {
		uint64_t address = high << LEAF_SHIFT | (uint64_t)i << PAGE_SHIFT;
		struct raw_extent extent;

		/* An extent has words for its inside, too, or for its last page. */
		if (address < search->end)
			continue;
		if (!read_extent(search, word, &extent) || extent_start(&extent) != address || !has_page(&extent, address)) {
			search->doubtful++;
			continue;
		}
		if (!keep(search, &extent))
			return;
		compare_class(search, &extent, word);
	}
}

/* Every word of .bss that leads to a leaf. Leaves are found in order of address, as the root has them. */
static void search_bss(struct search *search, uint64_t start, uint64_t end)
{
	uint64_t word[PAGE / sizeof(uint64_t)];

	if (end - start < LEVEL_BYTES)
		return;
	search->suspects = 0;
	for (uint64_t at = memory_next(search->target, start, end); at < end; at = memory_next(search->target, at + PAGE, end)) {
		if (target_is_spent(search->target) || !pages_get(search->pages, at, word, sizeof(word)))
			continue;
		for (size_t i = 0; i < sizeof(word) / sizeof(*word); i++) {
			uint64_t slot = at + i * sizeof(*word);
			const struct area *area = word[i] && word[i] % EXTENT_ALIGN == 0 ? area_at(search->target, word[i]) : NULL;

			if (area && area_is_anonymous(area) && area_is_writable(area) && search->suspects++ < SUSPECTS_MAX &&
			    may_be_leaf(search, slot, word[i], start, end))
				read_leaf(search, word[i], (slot - search->root) / sizeof(*word));
		}
	}
}

/* What an object has for .bss where its file cannot be asked: what lies behind it. */
static void search_behind(struct search *search, const struct object *object)
{
	const struct target *target = search->target;
	const struct area *last = &target->area[object->last], *area = last + 1;

	if (object->last + 1 < target->areas && area->start == last->end && area_is_anonymous(area) && area_is_writable(area))
		search_bss(search, area->start, area->end);
}

static void search_object(struct search *search, struct object *object)
{
	uint64_t from, to;

	if (!object_read(search->target, object)) {
		search_behind(search, object);
		return;
	}
	for (size_t i = 0; i < object->image->segments && !search->count; i++)
		if (object_bss(search->target, object, i, &from, &to))
			search_bss(search, from, to);
}

static void search_all(struct search *search)
{
	for (size_t i = 0; i < search->target->objects && !search->count; i++)
		search_object(search, &search->target->object[i]);
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
	return pages_get(search->pages, at, block, sizeof(*block)) && block->size && block->size % BLOCK_ALIGN == 0 &&
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
	return pages_get(search->pages, at + BLOCK_INDEX, index, sizeof(*index)) && *index < 4096;
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

	for (size_t i = 0; i < search->target->areas; i++) {
		const struct area *area = &search->target->area[i];
		uint64_t at = (area->start + BLOCK_ALIGN - 1) & ~(BLOCK_ALIGN - 1), step;

		for (; area_is_anonymous(area) && area_is_writable(area) && at < area->end && !target_is_spent(search->target); at += step) {
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

/* Most objects' .bss is too small for a tree's root, and need not be looked at. */
static bool may_have_root(struct target *target)
{
	for (size_t i = 0; i < target->objects; i++) {
		struct object *object = &target->object[i];
		uint64_t from, to;

		if (!object_read(target, object) && object->last + 1 < target->areas &&
		    target->area[object->last + 1].end - target->area[object->last].end >= LEVEL_BYTES)
			return true;
		for (size_t k = 0; object->image && k < object->image->segments; k++)
			if (object_bss(target, object, k, &from, &to) && to - from >= LEVEL_BYTES)
				return true;
	}
	return false;
}

struct jemalloc *jemalloc_find(struct target *target)
{
	if (!may_have_root(target))
		return NULL;

	struct search search = { .target = target, .pages = pages_new(target, PAGES_MANY) };
	struct jemalloc *found = search.pages ? calloc(1, sizeof(*found)) : NULL;
	const struct layout *layout;

	if (found)
		search_all(&search);
	layout = found ? layout_of(&search) : NULL;
	if (layout && take_extents(&search, layout, found)) {
		find_blocks(&search, found);
	} else {
		free(found);
		found = NULL;
	}
	free(search.raw);
	pages_free(search.pages);
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
