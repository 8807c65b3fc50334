/* SPDX-License-Identifier: MIT */
/*
 * The memory of LuaJIT's own allocator (src/lj_alloc.c). It lies in segments. The
 * first chunk of the first one is the allocator's state, with a list of all
 * segments, the newest first; behind its head each entry lies in its own segment:
 *
 *   state ---> base, size, next --> base, size, next --> ... base, size, 0
 *                newest segment                            the one with the state
 *
 * In the state are bins, too, each a ring. A large block has a mapping of its own,
 * with its size, a flag, and a fence behind it.
 */
#include "recognise.h"

#include "object.h"

#include <string.h>

#define STATE_WORDS  256
#define HEAD_BITS    7ULL           /* of a chunk's size */
#define HEAD_IN_USE  3ULL           /* it, and the one before */
#define STATE_MIN    600ULL         /* bytes of the chunk that the state is */
#define STATE_MAX    2000ULL
#define BINS         32U
#define UNUSED_BINS  4U             /* a chunk has 32 bytes at least */
#define TREES        32U
#define SEGMENTS_MAX 65536U
#define DIRECT       1ULL           /* of what stands before a large block's size */
#define DIRECT_HEAD  2ULL
#define DIRECT_FENCE 11ULL
#define DIRECT_PAD   32ULL          /* bytes of a mapping behind the block's size */

struct segment {
	uint64_t base, size, next;
};

static bool is_segment(struct target *target, const struct segment *s)
{
	uint64_t page = target->own.page;

	return s->size && s->base % page == 0 && s->size % page == 0 && s->size < UINT64_MAX - s->base &&
	       memory_is_anonymous(target, s->base, s->base + s->size);
}

static bool holds(const struct segment *s, uint64_t address)
{
	return address >= s->base && address - s->base < s->size;
}

/* Names the segments, when the list is whole: each next lies in the segment that it leads to, and the last has the state. */
static bool name_segments(struct target *target, struct findings *findings, struct segment head, uint64_t state)
{
	for (unsigned round = 0; round < 2; round++) {
		struct segment s = head;
		uint64_t from = 0;

		for (unsigned steps = 0; steps == 0 || from; steps++) {
			if (steps == SEGMENTS_MAX || (from && (memory_get(target, from, &s, sizeof(s)) || !holds(&s, from))) || !is_segment(target, &s))
				return false;
			if (round)
				found_add(findings, s.base, s.base + s.size, "luajit:heap");
			from = s.next;
		}
		if (!holds(&s, state))
			return false;
	}
	return true;
}

/*
 * Whether the bins begin at this word. Those of sizes that no chunk has lead to
 * themselves for ever; in another without a chunk both links are the same: its
 * own address, or that of the last chunk that it had.
 */
static bool has_bins(const uint64_t *word, uint64_t at, size_t bins)
{
	uint32_t map = (uint32_t)word[2];

	for (unsigned i = 0; i < BINS; i++) {
		uint64_t next = word[bins + 2 * i + 2], previous = word[bins + 2 * i + 3];

		if (i < UNUSED_BINS ? next != at + (bins + 2 * i) * sizeof(*word) || previous != next || map >> i & 1
		    : !(map >> i & 1) && next != previous)
			return false;
	}
	return true;
}

/* The state is in the first chunk; a field before the bins came with 2.1. */
static void try_state(struct target *target, struct findings *findings, uint64_t at)
{
	uint64_t word[STATE_WORDS];

	if (memory_get(target, at, word, sizeof(word)))
		return;
	for (size_t bins = 8; bins <= 9; bins++) {
		struct segment head;

		memcpy(&head, &word[bins + 2 * (BINS + 1) + TREES], sizeof(head));
		if (has_bins(word, at, bins) && name_segments(target, findings, head, at))
			return;
	}
}

/* Where the mapping of a large block ends that begins with these words; 0: there is none. */
static uint64_t direct_end(struct target *target, uint64_t at, uint64_t end, const uint64_t head[2])
{
	uint64_t size = head[1] & ~HEAD_BITS, fence[2];

	if (head[0] != DIRECT || (head[1] & HEAD_BITS) != DIRECT_HEAD || size > end - at || size + DIRECT_PAD > end - at ||
	    (size + DIRECT_PAD) % target->own.page)
		return 0;
	return !memory_get(target, at + size + sizeof(*fence), fence, sizeof(fence)) && fence[0] == DIRECT_FENCE && !fence[1]
	       ? at + size + DIRECT_PAD : 0;
}

/* The first words of many pages are one read. direct: large blocks are looked for, else states. */
static void search(struct target *target, struct findings *findings, uint64_t start, uint64_t end, bool direct)
{
	uint64_t head[HEADS_MAX][2], page = target->own.page, next = 0;
	bool there[HEADS_MAX];

	for (uint64_t at = start; (at = memory_next(target, at, end)) < end;) {
		size_t count = end - at < HEADS_MAX * page ? (size_t)((end - at) / page) : HEADS_MAX;

		memory_heads(target, at, count, page, there, head, sizeof(head[0]));
		for (size_t i = 0; i < count; i++, at += page) {
			uint64_t size = head[i][1] & ~HEAD_BITS;

			if (!there[i] || at < next)
				continue;
			if (direct && (next = direct_end(target, at, end, head[i])) != 0)
				found_add(findings, at, next, "luajit:heap");
			else if (!direct && (head[i][1] & HEAD_BITS) == HEAD_IN_USE && size >= STATE_MIN && size <= STATE_MAX)
				try_state(target, findings, at);
		}
		at = at < next ? next : at;
	}
}

static void search_all(struct target *target, struct findings *findings, bool direct)
{
	for (uint64_t start = 0, end; findings_left(target, findings, &start, &end); start = end)
		search(target, findings, start, end, direct);
}

void recognise_luajit(struct target *target, struct findings *findings)
{
	size_t before = findings->count;

	if (!object_named(target, "luajit") && !object_named(target, "libluajit"))
		return;
	search_all(target, findings, false);
	/* Large blocks are nobody's without an allocator. */
	if (findings->count == before)
		return;
	findings_settle(findings);
	search_all(target, findings, true);
}
