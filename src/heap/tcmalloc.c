/* SPDX-License-Identifier: MIT */
/*
 * gperftools' tcmalloc. A span says how many of its objects are out; out are those that
 * the program has, and those that wait in a cache:
 *
 *   span --> central list of its class --> slots, a batch of objects each --> caches of threads
 *            (an array in .bss)            (transfer cache)                    (their sizes are the classes')
 *
 *   live = out - in slots - in caches of threads
 *
 * The array is found by the lists of spans, which end in it; a thread's cache by its lists,
 * which say their class's size, and the others by their neighbours in its chain. Where the
 * array or a cache is not found, or counts other spans than the map has, nothing is known but
 * the spans themselves.
 */
#include "heap.h"

#include "../read/list.h"
#include "../recognise/pages.h"
#include "../recognise/tcmalloc.h"
#include "../recognise/view.h"

#include <stdlib.h>

/* src/central_freelist.h: each is padded to whole lines of the processor's cache. */
#define CENTRAL_BYTES  1216U
#define CENTRAL_CLASS  8
#define CENTRAL_EMPTY  16           /* the heads of two lists of spans */
#define CENTRAL_OTHERS 64
#define CENTRAL_COUNT  112          /* of spans */
#define CENTRAL_SLOTS  1152         /* how many are used */
#define SLOTS_MAX      64U

/* src/thread_cache.h: a list for each class, then how many bytes are in them, and words that lead to other caches. */
#define LINKS          24
#define CACHES_MAX     4096U
#define TRIES          4
#define NEARLY(all)    ((all) / 128) /* it runs meanwhile */

struct cache_list {
	uint64_t first;
	uint32_t length, low, most, over;
	int32_t size;
	uint32_t padding;
};

struct cache {
	struct cache_list list[TCMALLOC_CLASSES];
	uint64_t word[LINKS];
};

struct reading {
	struct target *target;
	struct pages *pages;
	const struct tcmalloc *tcmalloc;
	uint64_t cached[TCMALLOC_CLASSES]; /* objects */
	uint64_t *cache;            /* addresses of those that were read */
	size_t caches, room;
};

/* --- the caches ---------------------------------------------------------------------- */

static bool word_at(struct reading *reading, uint64_t address, uint64_t *word)
{
	return pages_get(reading->pages, address, word, sizeof(*word));
}

static bool is_central(struct reading *reading, uint64_t first)
{
	uint64_t class;

	for (unsigned i = 1; i < reading->tcmalloc->classes; i++)
		if (!word_at(reading, first + i * CENTRAL_BYTES + CENTRAL_CLASS, &class) || class != i)
			return false;
	return true;
}

/* The array of central lists; 0: it is not there. */
static uint64_t find_central(struct reading *reading)
{
	const struct tcmalloc *found = reading->tcmalloc;

	for (size_t i = 0; i < found->spans && !target_is_spent(reading->target); i++) {
		const struct tcmalloc_span *span = &found->span[i];
		uint64_t head = span->next - span->size_class * (uint64_t)CENTRAL_BYTES;

		if (span->location != TCMALLOC_IN_USE || !span->size_class || span->next < found->bss || span->next >= found->bss_end)
			continue;
		if (is_central(reading, head - CENTRAL_EMPTY))
			return head - CENTRAL_EMPTY;
		if (is_central(reading, head - CENTRAL_OTHERS))
			return head - CENTRAL_OTHERS;
	}
	return 0;
}

static uint64_t spans_with_classes(const struct tcmalloc *found)
{
	uint64_t count = 0;

	for (size_t i = 0; i < found->spans; i++)
		count += found->span[i].location == TCMALLOC_IN_USE && found->span[i].size_class;
	return count;
}

/* What lies between threads. false: it has not the spans that the map has. */
static bool count_central(struct reading *reading)
{
	const struct tcmalloc *found = reading->tcmalloc;
	uint64_t first = find_central(reading), spans, have = 0, are = spans_with_classes(found);

	for (unsigned i = 1; first && i < found->classes; i++) {
		uint64_t central = first + i * CENTRAL_BYTES;
		uint32_t slots;

		if (!word_at(reading, central + CENTRAL_COUNT, &spans) || !pages_get(reading->pages, central + CENTRAL_SLOTS, &slots, sizeof(slots)) ||
		    slots > SLOTS_MAX)
			return false;
		have += spans;
		reading->cached[i] += slots * (uint64_t)found->batch[i];
	}
	return first && have <= are + NEARLY(are) && are <= have + NEARLY(are);
}

static bool read_cache(struct reading *reading, uint64_t at, struct cache *cache)
{
	const struct area *area = at && at % sizeof(at) == 0 ? area_at(reading->target, at) : NULL;

	if (!area || !area_may_be_allocators(area) ||
	    !pages_get(reading->pages, at, cache, sizeof(*cache)))
		return false;
	for (unsigned i = 1; i < reading->tcmalloc->classes; i++)
		if (cache->list[i].size != (int32_t)reading->tcmalloc->size[i] || cache->list[i].length > 1U << 20)
			return false;
	return true;
}

/* A cache is counted once, whoever leads to it. */
static void add_cache(struct reading *reading, uint64_t at)
{
	struct cache cache;
	uint64_t *grown;

	for (size_t i = 0; i < reading->caches; i++)
		if (reading->cache[i] == at)
			return;
	if (!read_cache(reading, at, &cache))
		return;
	grown = list_grown(reading->cache, reading->caches, &reading->room, sizeof(*grown), 64, CACHES_MAX);
	if (!grown)
		return;
	reading->cache = grown;
	reading->cache[reading->caches++] = at;
	for (unsigned i = 1; i < reading->tcmalloc->classes; i++)
		reading->cached[i] += cache.list[i].length;
}

static void add_neighbours(struct reading *reading, uint64_t at)
{
	struct cache cache;

	if (read_cache(reading, at, &cache))
		for (unsigned i = 0; i < LINKS; i++)
			add_cache(reading, cache.word[i]);
}

/* The chain begins in .bss. false: there is none, or more of it than is kept. */
static bool count_caches(struct reading *reading)
{
	const uint64_t page = reading->target->own.page;
	const struct tcmalloc *found = reading->tcmalloc;
	uint64_t word;

	for (uint64_t at = memory_next(reading->target, found->bss, found->bss_end); at < found->bss_end && !reading->caches;
	     at = memory_next(reading->target, at + page, found->bss_end))
		for (uint64_t slot = at; slot < at + page && !target_is_spent(reading->target); slot += sizeof(word))
			if (word_at(reading, slot, &word) && word)
				add_cache(reading, word);
	for (size_t i = 0; i < reading->caches; i++)
		add_neighbours(reading, reading->cache[i]);
	return reading->caches && reading->caches < CACHES_MAX && !target_is_spent(reading->target);
}

/* --- figures -------------------------------------------------------------------------- */

/* The bytes of what is out of a span. */
static uint64_t out_of(const struct tcmalloc *found, const struct tcmalloc_span *span)
{
	if (span->location != TCMALLOC_IN_USE)
		return 0;
	return span->size_class && span->size_class < found->classes ? span->out * (uint64_t)found->size[span->size_class] : span->size;
}

static void take_there(const struct reading *reading, const struct view *view, const struct tcmalloc_span *span, struct heap_arena *arena)
{
	uint64_t there = view_there(view, span->start, span->start + span->size), out = out_of(reading->tcmalloc, span);

	arena->figure[HEAP_RESIDENT] += there;
	if (span->location == TCMALLOC_IN_USE)
		arena->figure[HEAP_PINNED] += there > out ? there - out : 0;
	else
		arena->figure[HEAP_TRIMMABLE] += there;
}

/* What of each span is there: of neighbours at once. false: nobody says. */
static bool take_resident(const struct reading *reading, struct heap_arena *arena)
{
	const struct tcmalloc *found = reading->tcmalloc;

	for (size_t i = 0, next; i < found->spans && !target_is_spent(reading->target); i = next) {
		uint64_t start = found->span[i].start, end = start;
		struct view view;

		for (next = i; next < found->spans && found->span[next].start == end; next++)
			end += found->span[next].size;
		if (view_open(&view, reading->target, start, end))
			return false;
		for (size_t k = i; k < next; k++)
			take_there(reading, &view, &found->span[k], arena);
		view_close(&view);
	}
	return !target_is_spent(reading->target);
}

/* Objects in caches are free, whichever span they are of. */
static void take_spans(const struct reading *reading, struct heap_arena *arena)
{
	const struct tcmalloc *found = reading->tcmalloc;
	struct heap_size size[TCMALLOC_CLASSES] = { { 0 } };

	for (size_t i = 0; i < found->spans; i++) {
		const struct tcmalloc_span *span = &found->span[i];
		unsigned class = span->size_class;

		if (span->location == TCMALLOC_IN_USE && !class) {
			arena->figure[HEAP_LIVE] += span->size;
			arena->figure[HEAP_CHUNKS]++;
		} else if (span->location == TCMALLOC_IN_USE && class < found->classes) {
			uint64_t room = span->size / found->size[class], out = span->out < room ? span->out : room;

			size[class].live += out;
			size[class].free += room - out;
		}
	}
	for (unsigned i = 1; i < found->classes; i++) {
		uint64_t cached = reading->cached[i] < size[i].live ? reading->cached[i] : size[i].live;

		size[i].size = found->size[i];
		size[i].live -= cached;
		size[i].free += cached;
		size[i].live_bytes = size[i].live * size[i].size;
		size[i].free_bytes = size[i].free * size[i].size;
		arena->figure[HEAP_CACHED] += cached * size[i].size;
		arena->figure[HEAP_LIVE] += size[i].live_bytes;
		arena->figure[HEAP_CHUNKS] += size[i].live;
		if (size[i].live || size[i].free)
			arena->size[arena->sizes++] = size[i];
	}
	arena->figure[HEAP_FREE] = arena->figure[HEAP_SYSTEM] - arena->figure[HEAP_LIVE];
}

static void show(struct reading *reading, bool whole, struct heaps *heaps)
{
	static const enum heap_figure by_spans[] = { HEAP_SYSTEM, HEAP_RESIDENT, HEAP_TRIMMABLE, HEAP_PINNED },
	                              by_caches[] = { HEAP_LIVE, HEAP_FREE, HEAP_CACHED, HEAP_CHUNKS, HEAP_TOP };
	const struct tcmalloc *found = reading->tcmalloc;
	struct heap_arena *arena = heaps_add(heaps, HEAP_TCMALLOC, "tcmalloc:heap");

	if (!arena)
		return;
	arena->address = found->span[0].start;
	for (size_t i = 0; i < sizeof(by_spans) / sizeof(*by_spans); i++)
		arena->figure[by_spans[i]] = 0;
	for (size_t i = 0; i < found->spans; i++)
		arena->figure[HEAP_SYSTEM] += found->span[i].size;
	if (!take_resident(reading, arena))
		arena->figure[HEAP_RESIDENT] = arena->figure[HEAP_PINNED] = arena->figure[HEAP_TRIMMABLE] = HEAP_UNKNOWN;
	if (!found->classes)
		arena->figure[HEAP_PINNED] = HEAP_UNKNOWN;
	for (size_t i = 0; whole && i < sizeof(by_caches) / sizeof(*by_caches); i++)
		arena->figure[by_caches[i]] = 0;
	if (whole)
		take_spans(reading, arena);
}

/* A thread may be in the middle of a change: false: it did not add up, or there is none. */
static bool try_once(struct target *target, struct heaps *heaps, bool last)
{
	struct tcmalloc *found = tcmalloc_find(target);
	struct reading reading = { .target = target, .tcmalloc = found, .pages = found ? pages_new(target, PAGES_MANY) : NULL };
	bool whole = reading.pages && found->classes && count_central(&reading) && count_caches(&reading);

	if (reading.pages && (whole || last))
		show(&reading, whole, heaps);
	free(reading.cache);
	pages_free(reading.pages);
	tcmalloc_free(found);
	return whole || !found;
}

void heap_tcmalloc(struct target *target, const struct findings *findings, struct heaps *heaps)
{
	(void)findings;
	for (unsigned i = 1; i <= TRIES && !try_once(target, heaps, i == TRIES); i++)
		;
}
