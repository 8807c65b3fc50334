/* SPDX-License-Identifier: MIT */
/*
 * V8's heap: chunks of 256 KiB, or more for one large object, that begin with
 * their size, flags, the heap they are of, and where their objects lie:
 *
 *   chunk ---> size, flags, heap, area start, area end       (aligned to 256 KiB)
 *
 * All chunks of an isolate name the same heap, in memory of the program's own.
 */
#include "v8.h"

#include "object.h"
#include "recognise.h"

#include <string.h>

#define CHUNK      (256ULL << 10)
#define CHUNK_MAX  (1ULL << 36)
#define HEAPS_MAX  64               /* isolates: worker threads have one each */
#define CHUNKS_MAX 32768
#define CHUNKS_MIN 4                /* a heap has more than these, or it is none */

struct isolates {
	struct {
		uint64_t address;
		unsigned chunks;
	} heap[HEAPS_MAX];
	size_t count;
};

static bool is_chunk(struct target *target, uint64_t at, struct v8_chunk *chunk)
{
	return !memory_get(target, at, chunk, sizeof(*chunk)) && chunk->size >= target->own.page &&
	       chunk->size < CHUNK_MAX && !(chunk->size % target->own.page) && at < chunk->start && chunk->start <= chunk->end &&
	       chunk->end <= at + chunk->size && chunk->heap % 8 == 0 && area_at(target, chunk->heap);
}

static unsigned *chunks_of(struct isolates *heaps, uint64_t address)
{
	for (size_t i = 0; i < heaps->count; i++)
		if (heaps->heap[i].address == address)
			return &heaps->heap[i].chunks;
	if (heaps->count == HEAPS_MAX)
		return NULL;
	heaps->heap[heaps->count].address = address;
	return &heaps->heap[heaps->count++].chunks;
}

/* First round: which heaps there are. Second: their chunks. */
static void search(struct target *target, struct isolates *heaps, v8_chunk_function *take, void *context)
{
	unsigned looked = 0;

	for (size_t i = 0; i < target->areas && looked < CHUNKS_MAX; i++) {
		const struct area *area = &target->area[i];
		uint64_t at = (area->start + CHUNK - 1) & ~(CHUNK - 1);

		if (!area_is_anonymous(area) || area->perms[0] != 'r')
			continue;
		while (at < area->end && looked++ < CHUNKS_MAX) {
			struct v8_chunk chunk;
			unsigned *chunks = is_chunk(target, at, &chunk) ? chunks_of(heaps, chunk.heap) : NULL;

			if (chunks && take && *chunks >= CHUNKS_MIN)
				take(context, at, &chunk);
			else if (chunks && !take)
				++*chunks;
			at += chunks ? (chunk.size + CHUNK - 1) & ~(CHUNK - 1) : CHUNK;
		}
	}
}

bool v8_chunks(struct target *target, v8_chunk_function *take, void *context)
{
	static const char *const programs[] = { "node", "libnode", "chrom", "electron", "deno" };
	struct isolates heaps = { .count = 0 };
	bool here = false;

	for (size_t i = 0; i < sizeof(programs) / sizeof(*programs); i++)
		here |= object_named(target, programs[i]) != NULL;
	if (!here)
		return false;
	search(target, &heaps, NULL, NULL);
	search(target, &heaps, take, context);
	return true;
}

/* What is named. */
struct naming {
	struct target *target;
	struct findings *findings;
};

static void name_chunk(void *context, uint64_t at, const struct v8_chunk *chunk)
{
	const struct naming *naming = context;
	const struct area *area = area_at(naming->target, at);

	/* Code's chunks are cut by the rights of their pages. */
	for (uint64_t from = at, end = at + chunk->size; area && from < end && !target_is_spent(naming->target); area = area_at(naming->target, from)) {
		uint64_t to = area->end < end ? area->end : end;

		if (!area_is_anonymous(area))
			return;
		if (area->class == VMA_UNNAMED)
			found_add(naming->findings, from, to, area->perms[2] == 'x' ? "v8:code" : "v8:heap");
		from = to;
	}
}

void recognise_v8(struct target *target, struct findings *findings)
{
	v8_chunks(target, name_chunk, &(struct naming){ target, findings });
}
