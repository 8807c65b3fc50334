/* SPDX-License-Identifier: MIT */
/* Finds an allocator's tree of pages and reads it. See tree.h. */
#include "tree.h"

#include "object.h"
#include "view.h"

#include <string.h>

/* How many of a leaf's first words are looked at, and how many must be right, before all of it is read. */
#define PROBES       8
#define PROBES_RIGHT 2
#define SUSPECTS_MAX 16384          /* words of one .bss that are followed */
#define PIECES_MAX   8              /* mappings, one behind the other, that a leaf may lie in */

/* The page of a leaf that is looked through: most of its words are 0. */
static bool leaf_page(struct tree *tree, uint64_t page)
{
	if (tree->page == page)
		return true;
	tree->page = 0;
	if (target_is_spent(tree->target) || !pages_get(tree->pages, page, tree->word, sizeof(tree->word)))
		return false;
	tree->page = page;
	return true;
}

/* The next word of a leaf that is not zero; its index, or TREE_LEAF_WORDS. Leaves begin at any word. */
static size_t next_word(struct tree *tree, uint64_t leaf, size_t index, uint64_t *word)
{
	const uint64_t end = leaf + TREE_LEAF_BYTES;
	uint64_t at = leaf + index * sizeof(*word), next;

	for (; at < end; at = next) {
		uint64_t page = at & ~(uint64_t)(TREE_PAGE - 1);

		next = page + TREE_PAGE;
		if (!leaf_page(tree, page)) {
			next = memory_next(tree->target, next, end);
			continue;
		}
		for (; at < next && at < end; at += sizeof(*word))
			if ((*word = tree->word[(at - page) / sizeof(*word)]))
				return (at - leaf) / sizeof(*word);
	}
	return TREE_LEAF_WORDS;
}

/* The root's address, by a leaf's word and the slot of the root that led there; 0: the word is wrong. */
static uint64_t root_by(struct tree *tree, uint64_t slot, size_t index, uint64_t word)
{
	uint64_t first, pages, high, page;

	if (!tree->record(tree, word, &first, &pages))
		return 0;
	high = first >> TREE_LEAF_SHIFT;
	page = high << TREE_LEAF_SHIFT | index;
	if (high >= tree->root_bytes / sizeof(word) || page < first || page - first >= pages)
		return 0;
	return slot - high * sizeof(word);
}

static bool may_be_leaf(struct tree *tree, uint64_t slot, uint64_t leaf)
{
	uint64_t root = tree->root, word;
	unsigned right = 0, probes = 0;

	for (size_t i = 0; probes < PROBES && right < PROBES_RIGHT; i++, probes++) {
		uint64_t said;

		i = next_word(tree, leaf, i, &word);
		if (i == TREE_LEAF_WORDS)
			return false;
		said = root_by(tree, slot, i, word);
		if (!said || said < tree->bss || said > tree->bss_end - tree->root_bytes || (root && said != root))
			continue;
		root = said;
		right++;
	}
	if (right < PROBES_RIGHT)
		return false;
	tree->root = root;
	return true;
}

static void read_leaf(struct tree *tree, uint64_t leaf, uint64_t high)
{
	uint64_t word;

	tree->found = true;
	for (size_t i = 0; (i = next_word(tree, leaf, i, &word)) < TREE_LEAF_WORDS; i++)
		if (!tree->take(tree, high << TREE_LEAF_SHIFT | i, word))
			return;
}

/* Allocators have their own memory by mmap, or where the heap is; and all of a leaf is that. */
static bool may_hold_leaf(const struct tree *tree, uint64_t at)
{
	const uint64_t end = at + TREE_LEAF_BYTES;

	if (end < at)
		return false;
	for (unsigned i = 0; i < PIECES_MAX && at < end; i++) {
		const struct area *area = area_at(tree->target, at);

		if (!area || !area_may_be_allocators(area))
			return false;
		at = area->end;
	}
	return at >= end;
}

/* Whether the slot is one of the root, as far as that is known. */
static bool may_be_slot(const struct tree *tree, uint64_t slot)
{
	return !tree->root || slot - tree->root < tree->root_bytes;
}

static bool search_run(void *context, uint64_t address, const char *bytes, size_t size)
{
	struct tree *tree = context;
	uint64_t word;

	for (size_t i = 0; i < size; i += sizeof(word)) {
		memcpy(&word, bytes + i, sizeof(word));
		if (!word || word & (tree->align - 1))
			continue;
		if (may_be_slot(tree, address + i) && may_hold_leaf(tree, word) && tree->suspects++ < SUSPECTS_MAX &&
		    may_be_leaf(tree, address + i, word))
			read_leaf(tree, word, (address + i - tree->root) / sizeof(word));
	}
	return false;
}

/* Every word of .bss that leads to a leaf. Leaves are found in order of address, as the root has them. */
static void search_bss(struct tree *tree, uint64_t start, uint64_t end)
{
	if (end - start < tree->root_bytes)
		return;
	tree->suspects = 0;
	tree->bss = start;
	tree->bss_end = end;
	view_runs(tree->target, start, end, search_run, tree);
}

/* What an object has for .bss where its file cannot be asked: what lies behind it. */
static void search_behind(struct tree *tree, const struct object *object)
{
	const struct target *target = tree->target;
	const struct area *last = &target->area[object->last], *area = last + 1;

	if (object->last + 1 < target->areas && area->start == last->end && area_is_anonymous(area) && area_is_writable(area))
		search_bss(tree, area->start, area->end);
}

static void search_object(struct tree *tree, struct object *object)
{
	uint64_t from, to;

	if (!object_read(tree->target, object)) {
		search_behind(tree, object);
		return;
	}
	for (size_t i = 0; i < object->image->segments && !tree->found; i++)
		if (object_bss(tree->target, object, i, &from, &to))
			search_bss(tree, from, to);
}

void tree_search(struct tree *tree)
{
	for (size_t i = 0; i < tree->target->objects && !tree->found; i++)
		search_object(tree, &tree->target->object[i]);
}

bool tree_may_be(struct target *target, uint64_t root_bytes)
{
	for (size_t i = 0; i < target->objects; i++) {
		struct object *object = &target->object[i];
		uint64_t from, to;

		if (!object_read(target, object) && object->last + 1 < target->areas &&
		    target->area[object->last + 1].end - target->area[object->last].end >= root_bytes)
			return true;
		for (size_t k = 0; object->image && k < object->image->segments; k++)
			if (object_bss(target, object, k, &from, &to) && to - from >= root_bytes)
				return true;
	}
	return false;
}
