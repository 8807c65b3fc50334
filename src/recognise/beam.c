/* SPDX-License-Identifier: MIT */
/*
 * Erlang's carriers: what its allocators have mapped, each with a header, in lists
 * that the allocators hold (erts/emulator/beam/erl_alloc_util.h):
 *
 *   carrier ---> size and flags, next, previous, allocator
 *   allocator -> ..., "eheap_", ..., first carrier, last carrier, ...
 *
 * A carrier is one when its neighbours in the list point back, or it is an end of
 * the list that its allocator has, and the allocator has a name in the program's
 * constants. What other schedulers may take is in a ring of its own, with tags
 * in the links. What was given back and is kept for later still has its header,
 * and a record in [heap]: size, address, next, previous (erl_mseg.c).
 */
#include "recognise.h"

#include "object.h"

#include "../read/list.h"

#include <stdlib.h>
#include <string.h>

#define FLAGS           7ULL
#define IS_MAPPED       1ULL        /* of the size: mmap has it, not malloc */
#define IS_POOLED       1ULL        /* of the allocator: it is in the ring */
#define LINK_TAGS       3ULL
#define CARRIER_WORDS   32
#define LINKS_FIRST     4           /* of the ring: at this word or behind it */
#define ALLOCATOR_WORDS 256
#define NAME_FIRST      4           /* words of an allocator that its name is not before, */
#define NAME_LAST       32          /* and not behind */
#define PREFIX_MAX      16
#define KEPT_MAX        4096
#define RECORDS_BYTES   (8ULL << 20) /* of [heap]: they were allocated among the first */
#define RECORD_WORDS    4
#define PAGE_WORDS      512

enum { CARRIER_SIZE, CARRIER_NEXT, CARRIER_PREVIOUS, CARRIER_ALLOCATOR };

struct allocator {
	uint64_t address, word[ALLOCATOR_WORDS];
	char prefix[PREFIX_MAX];    /* "eheap_" */
};

struct beam {
	struct target *target;
	struct findings *findings;
	struct object *program;
	struct found *kept;         /* carriers that are in no list, in order of address */
	size_t kepts, room;
	struct allocator allocator; /* that was looked at last; carriers of one follow each other */
};

static bool is_prefix(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz");

	return len && name[len] == '_' && !name[len + 1];
}

static bool read_allocator(struct beam *beam, uint64_t address)
{
	struct allocator *a = &beam->allocator;

	if (a->address == address)
		return true;
	a->address = 0;
	if (!address || memory_get(beam->target, address, a->word, sizeof(a->word)))
		return false;
	for (size_t i = NAME_FIRST; i <= NAME_LAST; i++)
		if (a->word[i] >= beam->program->base && a->word[i] < beam->program->end &&
		    object_constant(beam->target, beam->program, a->word[i], a->prefix, sizeof(a->prefix)) &&
		    memchr(a->prefix, '\0', sizeof(a->prefix)) && is_prefix(a->prefix)) {
			a->address = address;
			return true;
		}
	return false;
}

static bool allocator_has(const struct allocator *allocator, uint64_t carrier)
{
	for (size_t i = 0; i < ALLOCATOR_WORDS; i++)
		if (allocator->word[i] == carrier)
			return true;
	return false;
}

/* Whether the word at the end of a link leads back; what follows no other is an end of the allocator's list. */
static bool leads_back(struct beam *beam, uint64_t link, unsigned word, uint64_t carrier)
{
	uint64_t back;

	if (!link)
		return allocator_has(&beam->allocator, carrier);
	return memory_word(beam->target, link + word * sizeof(back), &back) && back == carrier;
}

static bool is_pooled(struct beam *beam, uint64_t carrier, const uint64_t *word)
{
	for (size_t i = LINKS_FIRST; i + 1 < CARRIER_WORDS; i++) {
		uint64_t next = word[i] & ~LINK_TAGS, previous = word[i + 1] & ~LINK_TAGS, itself = carrier + i * sizeof(*word), back[2];

		if (next && previous && next != itself && memory_word(beam->target, next + sizeof(next), &back[0]) &&
		    memory_word(beam->target, previous, &back[1]) && (back[0] & ~LINK_TAGS) == itself && (back[1] & ~LINK_TAGS) == itself)
			return true;
	}
	return false;
}

static bool is_in_list(struct beam *beam, uint64_t at, const uint64_t *word)
{
	if (word[CARRIER_ALLOCATOR] & IS_POOLED)
		return is_pooled(beam, at, word);
	return leads_back(beam, word[CARRIER_NEXT], CARRIER_PREVIOUS, at) && leads_back(beam, word[CARRIER_PREVIOUS], CARRIER_NEXT, at);
}

static void keep(struct beam *beam, uint64_t start, uint64_t end)
{
	struct found *grown = list_grown(beam->kept, beam->kepts, &beam->room, sizeof(*grown), 64, KEPT_MAX);

	if (!grown)
		return;
	beam->kept = grown;
	beam->kept[beam->kepts++] = (struct found){ start, end, 0 };
}

/* Names the carrier that is there, and says its size; 0: there is none, or it is in no list. */
static uint64_t take_carrier(struct beam *beam, uint64_t at, uint64_t end)
{
	uint64_t word[CARRIER_WORDS], size;

	if (memory_get(beam->target, at, word, sizeof(word)))
		return 0;
	size = word[CARRIER_SIZE] & ~FLAGS;
	if (!(word[CARRIER_SIZE] & IS_MAPPED) || size % beam->target->own.page || !size || size > end - at ||
	    !read_allocator(beam, word[CARRIER_ALLOCATOR] & ~FLAGS))
		return 0;
	if (!is_in_list(beam, at, word)) {
		keep(beam, at, at + size);
		return 0;
	}
	/* Constants of the program's have a reservation of their own. */
	found_add(beam->findings, at, at + size, strcmp(beam->allocator.prefix, "literal_") ? "beam:carrier" : "beam:literals");
	return size;
}

static void search(struct beam *beam, uint64_t start, uint64_t end)
{
	for (uint64_t at = start; (at = memory_next(beam->target, at, end)) < end;) {
		uint64_t size = take_carrier(beam, at, end);

		at += size ? size : beam->target->own.page;
	}
}

/* Whether it is a record of what is kept: a size and an address that belong together, and the next record leads back. */
static void try_record(struct beam *beam, uint64_t address, const uint64_t *word)
{
	const struct found *kept;
	size_t i = list_seek(beam->kept, beam->kepts, sizeof(*beam->kept), word[1]);
	uint64_t back;

	kept = i < beam->kepts ? &beam->kept[i] : NULL;
	if (kept && kept->start == word[1] && kept->end - kept->start == word[0] &&
	    (!word[2] || (memory_word(beam->target, word[2] + 3 * sizeof(back), &back) && back == address)))
		found_add(beam->findings, kept->start, kept->end, "beam:carrier");
}

static void search_records(struct beam *beam, const struct area *area)
{
	uint64_t word[PAGE_WORDS], end = area->end - area->start < RECORDS_BYTES ? area->end : area->start + RECORDS_BYTES;

	for (uint64_t at = area->start; (at = memory_next(beam->target, at, end)) < end; at += sizeof(word)) {
		if (memory_get(beam->target, at, word, sizeof(word)))
			continue;
		for (size_t i = 0; i + RECORD_WORDS <= PAGE_WORDS; i++)
			if (word[i + 1] >= beam->kept->start && word[i])
				try_record(beam, at + i * sizeof(*word), word + i);
	}
}

static void take_kept(struct beam *beam)
{
	for (size_t i = 0; beam->kepts && i < beam->target->areas; i++)
		if (beam->target->area[i].class == VMA_HEAP)
			search_records(beam, &beam->target->area[i]);
}

void recognise_beam(struct target *target, struct findings *findings)
{
	struct beam beam = { .target = target, .findings = findings, .program = object_named(target, "beam.") };

	if (!beam.program || !object_read(target, beam.program))
		return;
	for (uint64_t start = 0, end; findings_left(target, findings, &start, &end); start = end)
		search(&beam, start, end);
	take_kept(&beam);
	free(beam.kept);
}
