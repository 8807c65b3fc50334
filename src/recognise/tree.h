/* SPDX-License-Identifier: MIT */
/*
 * The trees by which allocators find the owner of an address: a root in some
 * object's .bss, a word of it for each leaf, a word of a leaf for each page.
 * They are found without symbols, as a page's record says which page it is of:
 *
 *   root (in .bss)   [ ... | slot | ... ]
 *                             +--> leaf   [ ... | word | ... ]     2^18 words
 *                                                 +--> record: "pages 4711 to 4715"
 *
 * 4711 is slot number 4711 >> 18 of the root, and word number 4711 of that leaf: what
 * was found at another word is no record, and all leaves must agree about the root.
 */
#ifndef ANONNAME_RECOGNISE_TREE_H
#define ANONNAME_RECOGNISE_TREE_H

#include "pages.h"

#define TREE_PAGE       4096U       /* of memory, not of the tree */
#define TREE_LEAF_SHIFT 18
#define TREE_LEAF_WORDS (1U << TREE_LEAF_SHIFT)
#define TREE_LEAF_BYTES (TREE_LEAF_WORDS * sizeof(uint64_t))

struct tree {
	struct target *target;
	struct pages *pages;
	uint64_t root_bytes;
	unsigned align;             /* of leaves */
	/* The first page that the record behind a word is of, and how many; false: it is no record. */
	bool (*record)(struct tree *tree, uint64_t word, uint64_t *first, uint64_t *pages);
	/* Takes what a leaf has for a page, in order of address. false: no more. */
	bool (*take)(struct tree *tree, uint64_t page, uint64_t word);

	uint64_t bss, bss_end;      /* of the object that is searched, and then where the root was found */
	uint64_t root;              /* 0: no leaf has said yet */
	bool found;                 /* some leaf was taken */
	unsigned suspects;
	uint64_t page;              /* of a leaf, in word; 0: none */
	uint64_t word[TREE_PAGE / sizeof(uint64_t)];
};

/* Takes all leaves of the first object that has such a tree. */
void tree_search(struct tree *tree);

/* Whether some object's .bss has room for such a root: of most processes nothing more need be looked at. */
bool tree_may_be(struct target *target, uint64_t root_bytes);

#endif
