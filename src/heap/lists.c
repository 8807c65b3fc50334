/* SPDX-License-Identifier: MIT */
/* Follows the lists of chunks that were freed and look live. See lists.h. */
#include "lists.h"

#include "../read/list.h"

#include <string.h>

#define PREV_IN_USE 1
#define CHUNK_HEAD  16
#define TRIES       5               /* for a list that changes while it is followed */

/* What is cached of the arena that has the address; NULL: none has. */
static struct cached *cached_at(const struct lists *lists, uint64_t address)
{
	size_t i = list_seek(lists->range, lists->ranges, sizeof(*lists->range), address);

	return i < lists->ranges && lists->range[i].start <= address ? &lists->cached[lists->range[i].arena] : NULL;
}

/* A link leads to what the program had, behind the chunk's head, or in a fastbin to the chunk. */
struct list {
	uint64_t head;
	uint64_t least, most;       /* the sizes that its chunks can have */
	uint64_t back;              /* from where a link leads, to the chunk */
};

static void add(struct cached *cached, uint64_t size)
{
	unsigned bucket = chunk_bucket(size);

	cached->bytes += size;
	cached->counts.count[bucket]++;
	cached->counts.bytes[bucket] += size;
}

/* More chunks of a size than this have no room in all arenas together. */
static long length_max(const struct lists *lists, uint64_t size)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < lists->ranges; i++)
		bytes += lists->range[i].end - lists->range[i].start;
	return (long)(bytes / size);
}

/* How many chunks are in it; -1: it does not end, or leaves the arenas. */
static long follow(struct lists *lists, const struct list *list, bool shifted, bool adding)
{
	uint64_t at = list->head, word[3];
	long length, most = at ? length_max(lists, list->least) : 0;

	for (length = 0; at; length++) {
		uint64_t chunk = at - list->back, size;
		struct cached *cached = cached_at(lists, chunk);

		if (!cached || at % CHUNK_STEP || length == most || !pages_get(lists->pages, chunk, word, sizeof(word)))
			return -1;
		size = word[1] & ~(uint64_t)CHUNK_FLAGS;
		if (size < list->least || size > list->most)
			return -1;
		if (adding)
			add(cached, size);
		at = word[2] ^ (shifted ? (chunk + CHUNK_HEAD) >> 12 : 0);
	}
	return length;
}

/* The same by whichever way the links are made. No other number of chunks than wanted is right; -1: any is. */
static bool take(struct lists *lists, const struct list *list, long wanted, bool adding)
{
	for (unsigned shifted = 0; shifted < 2; shifted++) {
		long length = follow(lists, list, shifted, false);

		if (length < 0 || (wanted >= 0 && length != wanted))
			continue;
		if (adding)
			follow(lists, list, shifted, true);
		return true;
	}
	return false;
}

void lists_read_fastbins(struct lists *lists, size_t arena, uint64_t heads, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct list list = { .least = CHUNK_MIN + i * CHUNK_STEP, .most = CHUNK_MIN + i * CHUNK_STEP };
		bool done = false;

		for (unsigned tries = 0; !done && tries < TRIES; tries++) {
			if (tries)
				pages_forget(lists->pages);
			done = memory_word(lists->target, heads + i * sizeof(list.head), &list.head) && take(lists, &list, -1, true);
		}
		if (!done)
			lists->cached[arena].unknown = true;
	}
}

/* --- caches of threads ---------------------------------------------------------- */

#define CACHE_BINS_MAX  76
#define CACHE_SMALL     64          /* bins with one size each */
#define CACHE_MOST      (4U << 20)
#define CACHE_CHUNK_MAX 0x300

/* counts_left: from 2.42 on a bin says how many more it takes, and not how many it has. */
struct cache_layout {
	unsigned chunk_size, count_bytes, bins;
	bool counts_left;
};

static const struct cache_layout *layout_of(uint64_t chunk_size)
{
	static const struct cache_layout layouts[] = {
		{ 0x250, 1, 64, false }, { 0x290, 2, 64, false }, { CACHE_CHUNK_MAX, 2, CACHE_BINS_MAX, true },
	};

	for (size_t i = 0; i < sizeof(layouts) / sizeof(*layouts); i++)
		if (layouts[i].chunk_size == chunk_size)
			return &layouts[i];
	return NULL;
}

static unsigned count_at(const struct cache_layout *layout, const char *bytes, unsigned bin)
{
	uint16_t count;

	if (layout->count_bytes == 1)
		return (unsigned char)bytes[bin];
	memcpy(&count, bytes + bin * sizeof(count), sizeof(count));
	return count;
}

static uint64_t head_at(const struct cache_layout *layout, const char *bytes, unsigned bin)
{
	uint64_t head;

	memcpy(&head, bytes + layout->count_bytes * layout->bins + bin * sizeof(head), sizeof(head));
	return head;
}

/* What an empty bin takes. */
static unsigned full_count(const struct cache_layout *layout, const char *bytes)
{
	unsigned full = 0;

	for (unsigned i = 0; i < layout->bins && layout->counts_left; i++)
		full = count_at(layout, bytes, i) > full ? count_at(layout, bytes, i) : full;
	return full;
}

/* How many chunks a bin says that it has. */
static unsigned length_at(const struct cache_layout *layout, const char *bytes, unsigned bin, unsigned full)
{
	unsigned count = count_at(layout, bytes, bin);

	return layout->counts_left ? full - count : count;
}

bool lists_look_like_cache(const char *bytes, uint64_t chunk_size)
{
	const struct cache_layout *layout = layout_of(chunk_size);
	unsigned full = full_count(layout, bytes), used = 0;

	for (unsigned i = 0; i < layout->bins; i++) {
		uint64_t head = head_at(layout, bytes, i);

		if (head % CHUNK_STEP || !head != !length_at(layout, bytes, i, full))
			return false;
		used += head != 0;
	}
	return used;
}

static struct list list_of(const struct cache_layout *layout, const char *bytes, unsigned bin)
{
	struct list list = { .head = head_at(layout, bytes, bin), .back = CHUNK_HEAD };

	list.least = list.most = CHUNK_MIN + bin * CHUNK_STEP;
	if (bin >= CACHE_SMALL) {
		list.least = CHUNK_MIN + CACHE_SMALL * CHUNK_STEP;
		list.most = CACHE_MOST;
	}
	return list;
}

static bool take_all(struct lists *lists, const struct cache_layout *layout, const char *bytes, bool adding)
{
	unsigned full = full_count(layout, bytes);

	for (unsigned i = 0; i < layout->bins; i++) {
		struct list list = list_of(layout, bytes, i);

		if (!take(lists, &list, (long)length_at(layout, bytes, i, full), adding))
			return false;
	}
	return true;
}

/* It has the look of a cache and leads into arenas, but its lists do not hold still. */
static void leave_unknown(struct lists *lists, const struct cache_layout *layout, const char *bytes)
{
	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < layout->bins; i++) {
			uint64_t head = head_at(layout, bytes, i);
			struct cached *cached = head ? cached_at(lists, head - CHUNK_HEAD) : NULL;

			if (head && !cached)
				return;
			if (cached && round)
				cached->unknown = true;
		}
}

void lists_read_cache(struct lists *lists, uint64_t chunk)
{
	char bytes[CACHE_CHUNK_MAX + CHUNK_HEAD];
	const struct cache_layout *layout = NULL;
	uint64_t head, next;

	for (unsigned tries = 0; tries < TRIES; tries++) {
		if (!memory_word(lists->target, chunk + 8, &head) || !(layout = layout_of(head & ~(uint64_t)CHUNK_FLAGS)) ||
		    memory_get(lists->target, chunk + CHUNK_HEAD, bytes, layout->chunk_size))
			return;
		memcpy(&next, bytes + layout->chunk_size - 8, sizeof(next));
		/* That of a thread that ended is a free chunk. */
		if (!(next & PREV_IN_USE) || !lists_look_like_cache(bytes, layout->chunk_size))
			return;
		if (take_all(lists, layout, bytes, false)) {
			take_all(lists, layout, bytes, true);
			return;
		}
		pages_forget(lists->pages);
	}
	leave_unknown(lists, layout, bytes);
}
