/* SPDX-License-Identifier: MIT */
/*
 * glibc's arenas, chunk by chunk: main_arena in [heap], those of threads in their
 * heaps. What all their chunks add up to must be what the arena says it has from
 * the system (system_mem); else its figures stay unknown. A process that runs
 * meanwhile may be in the middle of a change, so it is tried again.
 */
#include "heap.h"

#include "../recognise/glibc.h"
#include "chunks.h"
#include "lists.h"

#include <stdlib.h>
#include <string.h>

#define TRIES      4
#define HEAPS_MAX  65536
#define ALIGNED(n) (((n) + CHUNK_STEP - 1) & ~(uint64_t)(CHUNK_STEP - 1))

/* An arena while it is read. */
struct reading {
	uint64_t state, system, top;
	struct chunks *chunks;      /* NULL: they do not add up */
};

struct heap {
	uint64_t start, end;
	size_t arena;               /* 0: main_arena, else its index in the ring and one */
};

struct glibc {
	struct target *target;
	struct glibc_arenas *arenas;
	struct heap *heap;          /* in order of address */
	size_t heaps;
	struct reading *reading;    /* arenas->count + 1 */
};

static bool read_word(const struct glibc *glibc, uint64_t state, unsigned index, uint64_t *word)
{
	return memory_word(glibc->target, state + index * sizeof(*word), word);
}

static bool read_state(const struct glibc *glibc, struct reading *reading)
{
	const struct glibc_layout *layout = glibc->arenas->layout;

	return read_word(glibc, reading->state, layout->bins - 2, &reading->top) &&
	       read_word(glibc, reading->state, layout->system, &reading->system);
}

/* [heap] may be several mappings. */
static uint64_t main_end(const struct target *target, uint64_t start)
{
	for (size_t i = area_seek(target, start); i < target->areas && target->area[i].start <= start && target->area[i].class == VMA_HEAP; i++)
		start = target->area[i].end;
	return start;
}

static bool find_heaps(struct glibc *glibc)
{
	uint64_t start = glibc_heap(glibc->target);
	const struct glibc_arena *arena;
	struct glibc_heap_head head;
	size_t room = 64;

	glibc->heap = malloc(room * sizeof(*glibc->heap));
	if (!glibc->heap)
		return false;
	if (start)
		glibc->heap[glibc->heaps++] = (struct heap){ start, main_end(glibc->target, start), 0 };
	for (uint64_t at = 0; (arena = glibc_heap_next(glibc->target, glibc->arenas, &at, &head)); at += GLIBC_HEAP_SIZE) {
		if (glibc->heaps == room) {
			struct heap *grown = room < HEAPS_MAX ? realloc(glibc->heap, 2 * room * sizeof(*grown)) : NULL;

			if (!grown)
				return false;
			glibc->heap = grown;
			room *= 2;
		}
		glibc->heap[glibc->heaps++] = (struct heap){ at, at + head.size, (size_t)(arena - glibc->arenas->arena) + 1 };
	}
	return true;
}

/* Where the first chunk lies: behind the heap's head, and the arena itself where it is in this heap. */
static uint64_t first_chunk(const struct glibc *glibc, const struct heap *heap)
{
	uint64_t state, head, size = glibc->arenas->layout->words * sizeof(uint64_t);

	if (!heap->arena)
		return ALIGNED(heap->start);
	state = glibc->reading[heap->arena].state;
	head = state % GLIBC_HEAP_SIZE;
	return heap->start + head == state ? ALIGNED(state + size) : ALIGNED(heap->start + head);
}

static bool walk_heap(struct glibc *glibc, const struct reading *reading, struct heap *heap)
{
	struct chunk_range range;
	struct glibc_heap_head head;
	struct view view;
	bool whole;

	/* Since it was found it may have grown. */
	if (!heap->arena)
		heap->end = heap->start + reading->system;
	else if (!memory_get(glibc->target, heap->start, &head, sizeof(head)) && head.size <= GLIBC_HEAP_SIZE)
		heap->end = heap->start + head.size;
	range = (struct chunk_range){ heap->start, first_chunk(glibc, heap), heap->end, 0, !heap->arena };
	if (heap->start <= reading->top && reading->top < heap->end)
		range.top = reading->top;
	if (heap->end <= heap->start || view_open(&view, glibc->target, heap->start, heap->end))
		return false;
	whole = chunks_walk(reading->chunks, &view, &range);
	view_close(&view);
	return whole;
}

/* All heaps of one arena; they must be all that it has. */
static bool walk_arena(struct glibc *glibc, size_t index)
{
	struct reading *reading = &glibc->reading[index], after = *reading;
	uint64_t sum = 0;

	if (!read_state(glibc, reading))
		return false;
	for (size_t i = 0; i < glibc->heaps; i++)
		if (glibc->heap[i].arena == index) {
			if (!walk_heap(glibc, reading, &glibc->heap[i]))
				return false;
			sum += glibc->heap[i].end - glibc->heap[i].start;
		}
	after.system = 0;
	return sum == reading->system && reading->chunks->top && read_state(glibc, &after) && after.system == reading->system && after.top == reading->top;
}

static void walk_arena_until_it_adds_up(struct glibc *glibc, size_t index)
{
	struct reading *reading = &glibc->reading[index];

	for (unsigned tries = 0; tries < TRIES; tries++) {
		reading->chunks = calloc(1, sizeof(*reading->chunks));
		if (!reading->chunks || walk_arena(glibc, index))
			return;
		free(reading->chunks->suspects.at);
		free(reading->chunks);
		reading->chunks = NULL;
	}
}

/* --- what looks live and is not --------------------------------------------------- */

static void read_lists(struct glibc *glibc, struct lists *lists)
{
	const struct glibc_layout *layout = glibc->arenas->layout;

	for (size_t i = 0; i <= glibc->arenas->count; i++) {
		const struct chunks *chunks = glibc->reading[i].chunks;

		if (!chunks)
			continue;
		lists_read_fastbins(lists, i, glibc->reading[i].state + layout->fastbins * sizeof(uint64_t), layout->fastbins_count);
		for (size_t k = 0; k < chunks->suspects.count; k++)
			lists_read_cache(lists, chunks->suspects.at[k]);
	}
}

/* NULL: nobody knows. The caller frees it. */
static struct cached *find_cached(struct glibc *glibc)
{
	struct lists lists = { .target = glibc->target, .pages = pages_new(glibc->target, PAGES_MANY) };
	struct list_range *range = calloc(glibc->heaps + 1, sizeof(*range));
	struct cached *cached = calloc(glibc->arenas->count + 1, sizeof(*cached));

	for (size_t i = 0; range && i < glibc->heaps; i++)
		range[i] = (struct list_range){ glibc->heap[i].start, glibc->heap[i].end, glibc->heap[i].arena };
	lists.range = range;
	lists.ranges = glibc->heaps;
	lists.cached = cached;
	if (range && cached && lists.pages) {
		read_lists(glibc, &lists);
	} else {
		free(cached);
		cached = NULL;
	}
	pages_free(lists.pages);
	free(range);
	return cached;
}

/* --- what is shown ------------------------------------------------------------------ */

static uint64_t sum_of(const struct chunk_counts *counts, uint64_t *chunks)
{
	uint64_t bytes = 0;

	*chunks = 0;
	for (unsigned i = 0; i < CHUNK_BUCKETS; i++) {
		bytes += chunk_counts_bytes(counts, i);
		*chunks += counts->count[i];
	}
	return bytes;
}

static void find_pinning(struct heap_arena *arena, const struct chunk_counts *pinning)
{
	unsigned most[2] = { 0, 0 };

	for (unsigned i = 1; i < CHUNK_EXACT; i++) {
		arena->pinning += pinning->count[i];
		if (pinning->count[i] > pinning->count[most[0]]) {
			most[1] = most[0];
			most[0] = i;
		} else if (pinning->count[i] > pinning->count[most[1]]) {
			most[1] = i;
		}
	}
	for (unsigned i = CHUNK_EXACT; i < CHUNK_BUCKETS; i++)
		arena->pinning += pinning->count[i];
	for (unsigned i = 0; i < 2; i++)
		arena->pinning_size[i] = most[i] ? chunk_bucket_size(most[i]) : 0;
}

/* Each size up to 1 KiB, and powers of two above that. */
static uint64_t shown_size(unsigned bucket)
{
	uint64_t size = chunk_bucket_size(bucket);

	return size <= 1024 || bucket >= CHUNK_EXACT ? size : 1ULL << (64 - __builtin_clzll(size - 1));
}

static void find_sizes(struct heap_arena *arena, const struct chunks *chunks, const struct cached *cached)
{
	for (unsigned i = 0; i < CHUNK_BUCKETS; i++) {
		struct heap_size *last = arena->sizes ? &arena->size[arena->sizes - 1] : NULL;
		uint64_t cached_bytes = chunk_counts_bytes(&cached->counts, i);

		if (!chunks->live.count[i] && !chunks->free.count[i])
			continue;
		if (!last || last->size != shown_size(i)) {
			last = &arena->size[arena->sizes++];
			*last = (struct heap_size){ .size = shown_size(i) };
		}
		last->live += chunks->live.count[i] - cached->counts.count[i];
		last->live_bytes += chunk_counts_bytes(&chunks->live, i) - cached_bytes;
		last->free += chunks->free.count[i] + cached->counts.count[i];
		last->free_bytes += chunk_counts_bytes(&chunks->free, i) + cached_bytes;
	}
}

static bool fewer_are_cached(const struct chunks *chunks, const struct cached *cached)
{
	for (unsigned i = 0; i < CHUNK_BUCKETS; i++)
		if (cached->counts.count[i] > chunks->live.count[i] ||
		    chunk_counts_bytes(&cached->counts, i) > chunk_counts_bytes(&chunks->live, i))
			return false;
	return !cached->unknown;
}

static void fill_in(struct heap_arena *arena, const struct reading *reading, const struct cached *cached)
{
	const struct chunks *chunks = reading->chunks;
	uint64_t *figure = arena->figure, live, free, count, unused;

	figure[HEAP_SYSTEM] = reading->system;
	if (!chunks)
		return;
	live = sum_of(&chunks->live, &count);
	free = sum_of(&chunks->free, &unused);
	figure[HEAP_RESIDENT] = chunks->resident;
	figure[HEAP_TRIMMABLE] = chunks->trimmable;
	figure[HEAP_PINNED] = chunks->pinned;
	figure[HEAP_TOP] = chunks->top;
	figure[HEAP_METADATA] = chunks->metadata;
	find_pinning(arena, &chunks->pinning);
	if (!cached || !fewer_are_cached(chunks, cached))
		return;
	figure[HEAP_CACHED] = cached->bytes;
	figure[HEAP_LIVE] = live - cached->bytes;
	figure[HEAP_FREE] = free + cached->bytes + chunks->top;
	figure[HEAP_CHUNKS] = count;
	for (unsigned i = 0; i < CHUNK_BUCKETS; i++)
		figure[HEAP_CHUNKS] -= cached->counts.count[i];
	find_sizes(arena, chunks, cached);
}

static void show(const struct glibc *glibc, const struct cached *cached, struct heaps *heaps)
{
	for (size_t i = 0; i <= glibc->arenas->count; i++) {
		char name[HEAP_NAME_MAX] = "[heap]";
		struct heap_arena *arena;

		if (i)
			glibc_arena_name(glibc->arenas, &glibc->arenas->arena[i - 1], name, sizeof(name));
		arena = heaps_add(heaps, i ? HEAP_GLIBC_ARENA : HEAP_GLIBC_MAIN, name);
		if (!arena)
			return;
		arena->address = i ? glibc->reading[i].state : glibc_heap(glibc->target);
		fill_in(arena, &glibc->reading[i], cached ? &cached[i] : NULL);
	}
}

/* Chunks with a mapping each: libc counts them, and where recognising has found that many it is known what is resident. */
static void show_large(struct target *target, const struct findings *findings, struct heaps *heaps)
{
	struct heap_arena *arena;
	uint64_t count, bytes, found = 0, resident = 0;

	if (!glibc_large_count(target, &count, &bytes) || !count)
		return;
	arena = heaps_add(heaps, HEAP_GLIBC_LARGE, "glibc:large");
	if (!arena)
		return;
	arena->figure[HEAP_SYSTEM] = arena->figure[HEAP_LIVE] = bytes;
	arena->figure[HEAP_FREE] = arena->figure[HEAP_TRIMMABLE] = arena->figure[HEAP_PINNED] = 0;
	arena->figure[HEAP_TOP] = arena->figure[HEAP_CACHED] = arena->figure[HEAP_METADATA] = 0;
	arena->figure[HEAP_CHUNKS] = count;
	for (size_t i = 0; i < findings->settled; i++) {
		const struct found *range = &findings->found[i];
		struct view view;

		if (strcmp(findings->names + range->name, "glibc:large") || view_open(&view, target, range->start, range->end))
			continue;
		found += range->end - range->start;
		resident += view_there(&view, range->start, range->end);
		view_close(&view);
	}
	if (found == bytes)
		arena->figure[HEAP_RESIDENT] = resident;
}

static void glibc_free(struct glibc *glibc)
{
	for (size_t i = 0; glibc->reading && i <= glibc->arenas->count; i++)
		if (glibc->reading[i].chunks) {
			free(glibc->reading[i].chunks->suspects.at);
			free(glibc->reading[i].chunks);
		}
	free(glibc->reading);
	free(glibc->heap);
	free(glibc->arenas);
}

void heap_glibc(struct target *target, const struct findings *findings, struct heaps *heaps)
{
	struct glibc glibc = { .target = target, .arenas = glibc_arenas_find(target, findings) };

	if (!glibc.arenas)
		return;
	glibc.reading = calloc(glibc.arenas->count + 1, sizeof(*glibc.reading));
	if (glibc.reading && find_heaps(&glibc)) {
		struct cached *cached;

		for (size_t i = 0; i <= glibc.arenas->count; i++) {
			glibc.reading[i].state = i ? glibc.arenas->arena[i - 1].address : glibc.arenas->main;
			walk_arena_until_it_adds_up(&glibc, i);
		}
		cached = find_cached(&glibc);
		show(&glibc, cached, heaps);
		free(cached);
		show_large(target, findings, heaps);
	}
	glibc_free(&glibc);
}
