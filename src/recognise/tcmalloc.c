/* SPDX-License-Identifier: MIT */
/* Finds tcmalloc's map of pages and reads it, and names its memory. See tcmalloc.h. */
#include "tcmalloc.h"

#include "recognise.h"
#include "tree.h"

#include "../read/list.h"

#include <stdlib.h>
#include <string.h>

/* src/common.h, src/pagemap.h: 48 bits of addresses, pages of 8 KiB, 17 bits of the root and 18 of a leaf. */
#define PAGE_SHIFT    13
#define ROOT_BYTES    ((1U << (48 - PAGE_SHIFT - TREE_LEAF_SHIFT)) * sizeof(uint64_t))
#define SPANS_MAX     (1U << 22)
#define RIGHT_MIN     2
#define DOUBTFUL_MOST 20            /* one of so many words */
#define CLASSES_MIN   16
#define MAPPED_MIN    (1ULL << 20)  /* it asks for no less */

/* src/span.h: bits 0 to 15 of the last word count objects, then 8 of the class and 2 of where it is. */
struct raw_span {
	uint64_t first, pages, next, previous, objects, bits;
};

/* src/common.h, SizeMap. */
struct raw_classes {
	int32_t batch[TCMALLOC_CLASSES], size[TCMALLOC_CLASSES];
	char pages[sizeof(uint64_t) * (TCMALLOC_CLASSES + 1)]; /* at the next whole word: the tables before need only half of one */
};

struct search {
	struct tree tree;           /* first: it is found by it */
	struct tcmalloc *found;
	uint64_t next;              /* the first page behind the last span */
	uint64_t doubtful;
};

static bool read_span(struct tree *tree, uint64_t at, struct raw_span *span)
{
	return at % sizeof(uint64_t) == 0 && pages_get(tree->pages, at, span, sizeof(*span)) && span->pages &&
	       span->pages < 1ULL << (47 - PAGE_SHIFT) && span->first && span->first < 1ULL << (47 - PAGE_SHIFT);
}

static bool record(struct tree *tree, uint64_t word, uint64_t *first, uint64_t *pages)
{
	struct raw_span span;

	if (!read_span(tree, word, &span))
		return false;
	*first = span.first;
	*pages = span.pages;
	return true;
}

static bool take(struct tree *tree, uint64_t page, uint64_t word)
{
	struct search *search = (struct search *)tree;
	struct tcmalloc *found = search->found;
	struct tcmalloc_span *grown;
	struct raw_span span;

	/* A span has words for its inside, too, or for its last page. */
	if (page < search->next)
		return true;
	if (!read_span(tree, word, &span) || span.first != page || (span.bits >> 24 & 3) >= TCMALLOC_LOCATIONS) {
		search->doubtful++;
		return true;
	}
	grown = list_grown(found->span, found->spans, &found->room, sizeof(*grown), 1024, SPANS_MAX);
	if (!grown)
		return false;
	found->span = grown;
	found->span[found->spans++] = (struct tcmalloc_span){
		.start = span.first << PAGE_SHIFT, .size = span.pages << PAGE_SHIFT, .next = span.next,
		.out = span.bits & 0xffff, .size_class = span.bits >> 16 & 0xff, .location = span.bits >> 24 & 3,
	};
	search->next = span.first + span.pages;
	return true;
}

/* --- the classes -------------------------------------------------------------------- */

/* How many there are in a table that begins with 0 and grows; 0: it is none. */
static unsigned count_classes(const int32_t *size)
{
	unsigned count = 1;

	if (size[0] || (size[1] != 8 && size[1] != 16))
		return 0;
	while (count < TCMALLOC_CLASSES && size[count] > size[count - 1])
		count++;
	for (unsigned i = count; i < TCMALLOC_CLASSES; i++)
		if (size[i])
			return 0;
	return count >= CLASSES_MIN && count < TCMALLOC_CLASSES ? count : 0;
}

/* Each span of a class is as long as the class says, and holds the objects that are out. */
static bool spans_agree(const struct tcmalloc *found, unsigned classes, const int32_t *size, const uint64_t *pages)
{
	uint64_t right = 0, wrong = 0;

	for (size_t i = 0; i < found->spans; i++) {
		const struct tcmalloc_span *span = &found->span[i];
		unsigned class = span->size_class;

		if (span->location != TCMALLOC_IN_USE || !class)
			continue;
		if (class < classes && span->size == pages[class] << PAGE_SHIFT && span->out <= span->size / (uint64_t)size[class])
			right++;
		else
			wrong++;
	}
	return right && wrong * DOUBTFUL_MOST <= right;
}

static bool take_classes(struct search *search, uint64_t at)
{
	struct raw_classes raw;
	uint64_t pages[TCMALLOC_CLASSES], from = at - sizeof(raw.batch);
	struct tcmalloc *found = search->found;
	unsigned classes;

	if (!pages_get(search->tree.pages, from, &raw, sizeof(raw)) || !(classes = count_classes(raw.size)))
		return false;
	memcpy(pages, raw.pages + (at % sizeof(uint64_t)), sizeof(pages));
	if (!spans_agree(found, classes, raw.size, pages))
		return false;
	found->classes = classes;
	for (unsigned i = 1; i < classes; i++) {
		found->size[i] = (uint32_t)raw.size[i];
		found->batch[i] = raw.batch[i] > 0 ? (uint32_t)raw.batch[i] : 1;
	}
	return true;
}

/* The table begins with 0 and 8 or 16, which few other words of .bss have together. */
static void find_classes(struct search *search)
{
	struct tree *tree = &search->tree;
	int32_t word[TREE_PAGE / sizeof(int32_t) + 1];

	for (uint64_t at = memory_next(tree->target, tree->bss, tree->bss_end); at < tree->bss_end && !target_is_spent(tree->target);
	     at = memory_next(tree->target, at + TREE_PAGE, tree->bss_end)) {
		/* With the first of the next page, where it is there. */
		bool more = pages_get(tree->pages, at, word, sizeof(word));

		if (!more && !pages_get(tree->pages, at, word, TREE_PAGE))
			continue;
		for (size_t i = 0; i + 1 < TREE_PAGE / sizeof(*word) + more; i++)
			if (!word[i] && (word[i + 1] == 8 || word[i + 1] == 16) && take_classes(search, at + i * sizeof(*word)))
				return;
	}
}

struct tcmalloc *tcmalloc_find(struct target *target)
{
	if (!tree_may_be(target, ROOT_BYTES))
		return NULL;

	struct search search = { .tree = {
		.target = target, .pages = pages_new(target, PAGES_MANY), .root_bytes = ROOT_BYTES, .align = sizeof(uint64_t), .record = record, .take = take,
	} };

	search.found = search.tree.pages ? calloc(1, sizeof(*search.found)) : NULL;
	if (search.found)
		tree_search(&search.tree);
	if (search.found && (search.found->spans < RIGHT_MIN || search.doubtful * DOUBTFUL_MOST > search.found->spans)) {
		tcmalloc_free(search.found);
		search.found = NULL;
	}
	if (search.found) {
		search.found->bss = search.tree.bss;
		search.found->bss_end = search.tree.bss_end;
		find_classes(&search);
	}
	pages_free(search.tree.pages);
	return search.found;
}

void tcmalloc_free(struct tcmalloc *tcmalloc)
{
	if (tcmalloc)
		free(tcmalloc->span);
	free(tcmalloc);
}

/* Mostly it has its memory from the heap, which the kernel names: then its map need not be read. */
static bool may_have_more(struct target *target, const struct findings *findings)
{
	for (uint64_t start = 0, end; findings_left(target, findings, &start, &end); start = end)
		if (end - start >= MAPPED_MIN)
			return true;
	return false;
}

/* Neighbours have one name. */
void recognise_tcmalloc(struct target *target, struct findings *findings)
{
	struct tcmalloc *found = may_have_more(target, findings) ? tcmalloc_find(target) : NULL;

	for (size_t i = 0, next; found && i < found->spans; i = next) {
		uint64_t end = found->span[i].start;

		for (next = i; next < found->spans && found->span[next].start == end; next++)
			end += found->span[next].size;
		found_add(findings, found->span[i].start, end, "tcmalloc:heap");
	}
	tcmalloc_free(found);
}
