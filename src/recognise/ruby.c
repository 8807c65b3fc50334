/* SPDX-License-Identifier: MIT */
/*
 * Ruby's pages of objects: 16 KiB (64 KiB from 3.2 on), aligned to that. Each
 * begins with the address of its description, which malloc has, and that says
 * where in the page its objects begin:
 *
 *   page (aligned) ---> struct heap_page: ..., start (in the page), ...
 *                            +--> the page's first object, some words behind its beginning
 *
 * Until 3.2 there is an arena for what does not live long: 1024 blocks of 32 KiB,
 * each with how much of it is used, and the next block; what is used begins with a mark.
 */
#include "recognise.h"

#include "object.h"

#define SMALL_PAGE        (16ULL << 10)
#define LARGE_PAGE        (64ULL << 10)
#define DESCRIPTION_WORDS 16
#define START_MAX         256       /* of the first object in its page: a header and what aligns it */
#define PAGES_MIN         8

#define BLOCK             (32ULL << 10)
#define BLOCKS            1024
#define BLOCK_MARK        0xfeab

struct block {
	int16_t used, last, objects, nothing;
	uint64_t next;
	uint16_t mark;              /* of what lies first in it */
};

/* The description has the address of an object of the page, and that of no other page. */
static bool is_page(struct target *target, uint64_t at, uint64_t size)
{
	uint64_t description, word[DESCRIPTION_WORDS];
	bool start = false;

	if (!memory_word(target, at, &description) || description % 8 || (description & ~(size - 1)) == at ||
	    memory_get(target, description, word, sizeof(word)))
		return false;
	for (size_t i = 0; i < DESCRIPTION_WORDS; i++)
		start |= word[i] > at && word[i] <= at + START_MAX && word[i] % 8 == 0;
	return start;
}

/* How many pages there are that larger ones do not begin at. */
static unsigned search(struct target *target, struct findings *findings, uint64_t size, bool name)
{
	unsigned between = 0;

	for (uint64_t start = 0, end; findings_left(target, findings, &start, &end); start = end)
		for (uint64_t at = (start + size - 1) & ~(size - 1); at < end && size <= end - at;
		     at = memory_next(target, at + size, end) & ~(size - 1)) {
			if (!is_page(target, at, size))
				continue;
			between += at % LARGE_PAGE != 0;
			if (name)
				found_add(findings, at, at + size, "ruby:heap");
		}
	return between;
}

static bool is_block(struct target *target, uint64_t at, uint64_t arena, bool *linked)
{
	struct block block;

	if (memory_get(target, at, &block, sizeof(block)))
		return false;
	*linked = block.next != 0;
	return block.used >= 0 && block.last >= -1 && block.objects >= 0 &&
	       !block.nothing && (!block.used || block.mark == BLOCK_MARK) &&
	       (!block.next || (block.next % BLOCK == 0 && block.next >= arena && block.next - arena < BLOCKS * BLOCK));
}

/* All blocks have their heads from the start on, and as good as all are in a list. */
static bool is_arena(struct target *target, uint64_t arena)
{
	size_t i = 0, linked = 0;
	bool link;

	for (; i < BLOCKS && is_block(target, arena + i * BLOCK, arena, &link); i++)
		linked += link;
	return i == BLOCKS && linked >= BLOCKS / 2;
}

static void search_arena(struct target *target, struct findings *findings)
{
	for (uint64_t start = 0, end; findings_left(target, findings, &start, &end); start = end)
		for (uint64_t at = (start + BLOCK - 1) & ~(BLOCK - 1); at < end && BLOCKS * BLOCK <= end - at; at += BLOCK)
			if (memory_next(target, at, at + 1) == at && is_arena(target, at)) {
				found_add(findings, at, at + BLOCKS * BLOCK, "ruby:transient");
				return;
			}
}

void recognise_ruby(struct target *target, struct findings *findings)
{
	if (!object_named(target, "libruby") && !object_named(target, "ruby"))
		return;
	search(target, findings, search(target, findings, SMALL_PAGE, false) >= PAGES_MIN ? SMALL_PAGE : LARGE_PAGE, true);
	search_arena(target, findings);
}
