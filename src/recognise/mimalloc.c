/* SPDX-License-Identifier: MIT */
/* Finds mimalloc's segments and names them. See mimalloc.h. */
#include "mimalloc.h"

#include "recognise.h"

#include <stdlib.h>

#define SEGMENT      (32ULL << 20)
#define ENTRIES      512U           /* slices of a segment; one that is larger is a single page */
#define HEAD_WORDS   64
#define HEAD_FIRST   8              /* the word of slices is not before, */
#define HEAD_LAST    (HEAD_WORDS - 5) /* and not behind this */
#define SLICES_MAX   (1ULL << 24)
#define SEGMENTS_MAX 4096
#define AREA_MAX     (4ULL << 40)   /* what is larger is a sanitizer's: a read for each of its segments would be all that may be read */

bool mimalloc_read(struct target *target, uint64_t start, struct mimalloc_segment *segment)
{
	uint64_t word[HEAD_WORDS];

	if (memory_get(target, start, word, sizeof(word)))
		return false;
	for (unsigned at = HEAD_FIRST; at < HEAD_LAST; at++) {
		*segment = (struct mimalloc_segment){ start, word[at - 2], word[at - 1] ^ start, word[at], word[at + 1], word[at + 3],
		                                      start + (at + 5) * sizeof(*word) };
		if (segment->slices > 1 && segment->slices <= SLICES_MAX && segment->info && segment->info <= 16 && (uint32_t)word[at + 2] <= 1 &&
		    segment->entries == (segment->slices < ENTRIES ? segment->slices : ENTRIES) && segment->used < segment->entries &&
		    word[at + 4] % 8 == 0)
			return true;
	}
	return false;
}

bool mimalloc_each_slice(struct pages *pages, const struct mimalloc_segment *segment,
                         bool (*each)(void *context, const struct mimalloc_slice *slice, uint64_t start, uint64_t end), void *context)
{
	uint64_t used = 0, i = 0;

	while (i < segment->slices) {
		uint64_t start = segment->start + i * MIMALLOC_SLICE;
		struct mimalloc_slice slice;

		if (i >= segment->entries || !pages_get(pages, segment->first + i * sizeof(slice), &slice, sizeof(slice)) || !slice.count ||
		    slice.offset || slice.count > segment->slices - i || (!i && slice.count != segment->info))
			return false;
		if (i && !each(context, &slice, start, start + slice.count * MIMALLOC_SLICE))
			return false;
		used += i && mimalloc_is_page(&slice);
		i += slice.count;
	}
	return used == segment->used;
}

/* All of them have one cookie, which nothing else has. */
struct mimalloc_segment *mimalloc_find(struct target *target, size_t *count)
{
	struct mimalloc_segment *found = malloc(SEGMENTS_MAX * sizeof(*found));

	*count = 0;
	for (size_t i = 0; found && i < target->areas && *count < SEGMENTS_MAX; i++) {
		const struct area *area = &target->area[i];
		uint64_t at = (area->start + SEGMENT - 1) & ~(SEGMENT - 1);

		if (!area_is_anonymous(area) || !area_is_writable(area) || area->end - area->start > AREA_MAX)
			continue;
		for (; at < area->end && *count < SEGMENTS_MAX && !target_is_spent(target); at += SEGMENT)
			if (memory_next(target, at, at + 1) == at && mimalloc_read(target, at, &found[*count]) &&
			    (!*count || found[*count].cookie == found[0].cookie))
				++*count;
	}
	if (*count)
		return found;
	free(found);
	return NULL;
}

static bool no_matter(void *context, const struct mimalloc_slice *slice, uint64_t start, uint64_t end)
{
	(void)context;
	(void)slice;
	(void)start;
	(void)end;
	return true;
}

/* One that changes meanwhile is named, too, where another has its cookie. */
void recognise_mimalloc(struct target *target, struct findings *findings)
{
	size_t count;
	struct mimalloc_segment *found = mimalloc_find(target, &count);
	struct pages *pages = found ? pages_new(target, PAGES_FEW) : NULL;

	for (size_t i = 0; pages && i < count; i++)
		if (count > 1 || mimalloc_each_slice(pages, &found[i], no_matter, NULL))
			found_add(findings, found[i].start, found[i].start + found[i].slices * MIMALLOC_SLICE, "mimalloc:heap");
	pages_free(pages);
	free(found);
}
