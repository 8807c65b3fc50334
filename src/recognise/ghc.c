/* SPDX-License-Identifier: MIT */
/*
 * The heap of GHC's runtime: megablocks of 1 MiB, aligned to that, each with a
 * table of its 252 blocks of 4 KiB at its beginning (rts/include/rts/storage/Block.h):
 *
 *   0        0x100                 0x4000       0x5000
 *   | unused | 4 | 5 | ... | 255 | block 4    | block 5    | ...
 *              |   +---- start ----------------^
 *              +-------- start ---^
 *
 * A megablock is one when each entry says where its block is. What is too large
 * for one has more megablocks behind it, without a table: the first entry says
 * how many blocks there are in all.
 */
#include "recognise.h"

#define MEGABLOCK   (1ULL << 20)
#define BLOCK       4096ULL
#define FIRST_BLOCK 4               /* the table lies where those before would */
#define BLOCKS      (MEGABLOCK / BLOCK)

struct descriptor {
	uint64_t start;
	uint64_t links[5];
	uint32_t blocks;            /* of the group that begins here */
	uint32_t padding[3];
};

/* Bytes of the megablocks that begin there; 0: none does. */
static uint64_t group_size(struct target *target, uint64_t at, uint64_t end)
{
	struct descriptor table[BLOCKS - FIRST_BLOCK];
	uint64_t where = at + FIRST_BLOCK * sizeof(*table), first, size;

	if (at % MEGABLOCK || end - at < MEGABLOCK || !memory_word(target, where, &first) || first != at + FIRST_BLOCK * BLOCK ||
	    memory_get(target, where, table, sizeof(table)))
		return 0;
	for (unsigned i = 0; i < BLOCKS - FIRST_BLOCK; i++)
		if (table[i].start != at + (FIRST_BLOCK + i) * BLOCK)
			return 0;
	size = table->blocks <= BLOCKS - FIRST_BLOCK ? MEGABLOCK
	       : ((table->blocks + FIRST_BLOCK) * BLOCK + MEGABLOCK - 1) & ~(MEGABLOCK - 1);
	return size <= end - at ? size : MEGABLOCK;
}

/* The runtime is in the program, whatever that is called; but its memory begins with a megablock wherever it has some. */
void recognise_ghc(struct target *target, struct findings *findings)
{
	for (uint64_t start = 0, end; findings_left(target, findings, &start, &end); start = end) {
		uint64_t size = group_size(target, start, end);

		for (uint64_t at = start; size && at < end && !target_is_spent(target);) {
			found_add(findings, at, at + size, "ghc:heap");
			/* One that could not be read has no name, those behind it may have. */
			for (at += size; at < end && !(size = group_size(target, at, end)) && !target_is_spent(target);)
				at += MEGABLOCK;
		}
	}
}
