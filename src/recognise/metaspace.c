/* SPDX-License-Identifier: MIT */
/*
 * HotSpot's memory for classes, from JDK 16 on. It lies in nodes, which are in two
 * lists, and what a class loader has leads to these:
 *
 *   loader --> its metaspace --> arena --> manager of chunks --> list --> node --> node --> 0
 *
 * Only where the first loader is has a name that is exported, so a few words of
 * each are followed. A list is believed when all of its nodes say twice where
 * their memory lies and how long it is, once in bytes and once in words, and
 * point back to two counters of the list.
 */
#include "hotspot.h"

#include "pages.h"

#define LOADERS_MAX 64
#define LISTS       2               /* of classes, and of all else */
#define NODES_MAX   4096
#define NODE_WORDS  28
#define NODE_ALIGN  (64ULL << 10)   /* in such pieces it is committed */
#define NODE_MAX    (1ULL << 40)
#define LIST_BYTES  128
#define LIST_WORDS  5               /* the first node is one of them */

struct metaspace {
	const struct hotspot *hotspot;
	struct pages *pages;
	uint64_t list[LISTS];
	size_t lists;
};

struct node {
	uint64_t next, start, size;
};

static bool says_twice(const uint64_t word[NODE_WORDS])
{
	for (size_t i = 3; i + 1 < NODE_WORDS; i++)
		if (word[i] == word[1] && word[i + 1] == word[2] / sizeof(*word))
			return true;
	return false;
}

static bool points_back(const uint64_t word[NODE_WORDS], uint64_t list)
{
	for (size_t i = 3; i + 1 < NODE_WORDS; i++)
		if (word[i] > list && word[i] < list + LIST_BYTES && word[i + 1] == word[i] + sizeof(*word))
			return true;
	return false;
}

/* Of a list, it has. false: it is no node of this list. */
static bool read_node(struct metaspace *metaspace, uint64_t list, uint64_t at, struct node *node)
{
	uint64_t word[NODE_WORDS];

	if (at % sizeof(*word) || !pages_get(metaspace->pages, at, word, sizeof(word)) || !word[1] || word[1] % NODE_ALIGN || !word[2] ||
	    word[2] % NODE_ALIGN || word[2] > NODE_MAX || !says_twice(word) || !points_back(word, list))
		return false;
	*node = (struct node){ word[0], word[1], word[2] };
	return true;
}

/* First round: does it end? Second: what is in it. */
static bool take_nodes(struct metaspace *metaspace, uint64_t list, uint64_t first)
{
	struct node node;

	for (unsigned round = 0; round < 2; round++) {
		unsigned count = 0;

		for (uint64_t at = first; at; at = node.next) {
			if (count++ == NODES_MAX || !read_node(metaspace, list, at, &node))
				return false;
			if (round)
				hotspot_name_range(metaspace->hotspot, node.start, node.start + node.size, "jvm:metaspace");
		}
	}
	return true;
}

static void try_list(struct metaspace *metaspace, uint64_t list)
{
	uint64_t word[LIST_WORDS];

	for (size_t i = 0; i < metaspace->lists; i++)
		if (metaspace->list[i] == list)
			return;
	if (metaspace->lists == LISTS || !pages_get(metaspace->pages, list, word, sizeof(word)))
		return;
	for (size_t i = 1; i < LIST_WORDS; i++)
		if (word[i] && take_nodes(metaspace, list, word[i])) {
			metaspace->list[metaspace->lists++] = list;
			return;
		}
}

/* How many words are looked at of a loader, its metaspace, an arena, a manager of chunks. */
static const size_t levels[] = { 9, 6, 4, 2 };
#define LEVELS (sizeof(levels) / sizeof(*levels))

static bool may_be_object(const struct metaspace *metaspace, uint64_t at)
{
	const struct area *area = at && at % sizeof(at) == 0 ? area_at(metaspace->hotspot->target, at) : NULL;

	return area && area_may_be_allocators(area);
}

static void search(struct metaspace *metaspace, uint64_t at, unsigned level)
{
	uint64_t word[9];

	if (!pages_get(metaspace->pages, at, word, levels[level] * sizeof(*word)))
		return;
	for (size_t i = 0; i < levels[level] && metaspace->lists < LISTS; i++) {
		if (!may_be_object(metaspace, word[i]))
			continue;
		if (level + 1 == LEVELS)
			try_list(metaspace, word[i]);
		else
			search(metaspace, word[i], level + 1);
	}
}

void hotspot_metaspace(const struct hotspot *hotspot)
{
	struct metaspace metaspace = { .hotspot = hotspot, .pages = pages_new(hotspot->target, PAGES_FEW) };
	uint64_t loader;
	bool more = metaspace.pages && hotspot_word(hotspot, 0, HOTSPOT_LOADERS, &loader);

	for (unsigned i = 0; more && may_be_object(&metaspace, loader) && i < LOADERS_MAX && metaspace.lists < LISTS; i++) {
		search(&metaspace, loader, 0);
		more = hotspot_word(hotspot, loader, HOTSPOT_LOADER_NEXT, &loader);
	}
	pages_free(metaspace.pages);
}
