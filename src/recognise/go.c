/* SPDX-License-Identifier: MIT */
/*
 * Go's heap and the goroutines' stacks in it, without symbols. Arenas are 64 MiB
 * and begin at an address that the runtime asks for; its table of them says what
 * each page of 8 KiB belongs to:
 *
 *   mheap_.arenas, in .bss --> table --[address / 64 MiB]--> heapArena
 *                                  heapArena.spans[page] --> mspan: start, pages, state, ...
 *
 * (runtime/mheap.go; Go 1.12 to 1.24 differ in where spans and state lie, which is
 * found out.) A table is believed when its spans say the addresses that they were
 * found by. Beside them the runtime's chunks of 256 KiB, each of which points to
 * the one before, must hold the mspans.
 */
#include "go.h"

#include "object.h"
#include "pages.h"
#include "recognise.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_ARENA  0xc000000000ULL
#define GO_PAGE      8192ULL
#define PAGES        (GO_ARENA / GO_PAGE)
#define COUNT_BEFORE 3              /* how many objects are allocated stands so many bytes in front of the state, and the class between */
#define TABLE        ((1ULL << 22) * sizeof(uint64_t))
#define CHUNK        (256ULL << 10)
#define CHUNKS_MAX   65536
#define AGREE_MIN    8              /* spans that say where they are */
#define OTHER_MAX    64             /* words that lead to none before so many are met: in the first arena most do */
#define SUMMARIES    5

/* struct mspan begins: next, prev, list, startAddr, npages. */
enum { SPAN_START = 3, SPAN_PAGES = 4, SPAN_WORDS = 18 };
enum { STATE_IN_USE = 1, STATE_MANUAL = 2, STATE_BAD = 3 };

struct span {
	uint64_t word[SPAN_WORDS];
};

struct go {
	struct target *target;
	struct findings *findings;
	uint64_t table;
	uint64_t bias;              /* added to an address before it is an index */
	uint64_t spans;             /* offset of heapArena.spans; what lies in front of it are bitmaps */
	size_t state;               /* offset of mspan.state */
	struct pages *pages;        /* of mspans */
	uint64_t list[PAGES];       /* spans of one arena */
	go_span_function *each;     /* for these, of each arena */
	go_arena_function *arena;
	void *context;
};

/* A span that the page is in; of a free span's inner pages any old one may stand there. */
static bool get_span(struct go *go, uint64_t at, uint64_t page, struct span *span)
{
	return at && at % 8 == 0 && pages_get(go->pages, at, span, sizeof(*span)) && span->word[SPAN_PAGES] &&
	       span->word[SPAN_PAGES] < 1ULL << 32 && span->word[SPAN_START] <= page &&
	       page < span->word[SPAN_START] + span->word[SPAN_PAGES] * GO_PAGE;
}

static bool read_spans(struct go *go, uint64_t heap_arena, uint64_t offset)
{
	bool any = false;

	if (!memory_get(go->target, heap_arena + offset, go->list, sizeof(go->list)))
		return true;
	memset(go->list, 0, sizeof(go->list));
	for (uint64_t at = 0; at < sizeof(go->list); at += 4096)
		any |= !memory_get(go->target, heap_arena + offset + at, (char *)go->list + at, 4096);
	return any;
}

static uint64_t entry_of(const struct go *go, uint64_t address)
{
	return go->table + ((address + go->bias) / GO_ARENA) * sizeof(uint64_t);
}

/* State is followed by flags, and 8-aligned by the size of an element and the span's end, which can be checked. */
static bool find_state(struct go *go, uint64_t arena)
{
	static const size_t offsets[] = { 99, 107, 115, 91 };
	struct span span;

	for (size_t i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
		size_t limit = (offsets[i] + 13) / 8, good = 0, bad = 0;

		for (uint64_t k = 0; k < PAGES && good < 4 * AGREE_MIN; k++) {
			uint64_t at = arena + k * GO_PAGE;

			if (limit >= SPAN_WORDS || !get_span(go, go->list[k], at, &span))
				continue;
			bool in = span.word[limit] > span.word[SPAN_START] &&
			          span.word[limit] <= span.word[SPAN_START] + span.word[SPAN_PAGES] * GO_PAGE;
			unsigned state = ((unsigned char *)&span)[offsets[i]];

			good += in && state && state < STATE_BAD;
			bad += state >= STATE_BAD || (state && !in);
		}
		if (good >= AGREE_MIN && !bad) {
			go->state = offsets[i];
			return true;
		}
	}
	return false;
}

static bool is_table(struct go *go, uint64_t table)
{
	static const uint64_t offsets[] = { 0, (1U << 20) + (16U << 10), 2U << 20 };
	uint64_t heap_arena;
	struct span span;

	go->table = table;
	if (!memory_word(go->target, entry_of(go, FIRST_ARENA), &heap_arena) || !heap_arena || heap_arena % 4096)
		return false;
	for (size_t i = 0; i < sizeof(offsets) / sizeof(*offsets); i++) {
		unsigned agree = 0, other = 0;

		if (!read_spans(go, heap_arena, offsets[i]))
			continue;
		for (uint64_t k = 0; k < PAGES && agree < AGREE_MIN && other < OTHER_MAX; k++) {
			bool is_span = get_span(go, go->list[k], FIRST_ARENA + k * GO_PAGE, &span);

			agree += is_span;
			other += go->list[k] && !is_span;
		}
		if (agree == AGREE_MIN) {
			go->spans = offsets[i];
			return find_state(go, FIRST_ARENA);
		}
	}
	return false;
}

/* Spans that are managed by hand and have elements are stacks; those without are the collector's own lists. */
static enum go_kind kind_of(const struct go *go, const struct span *span)
{
	if (((const unsigned char *)span)[go->state] != STATE_MANUAL)
		return GO_HEAP;
	return span->word[(go->state + 5) / 8] ? GO_STACK : GO_RUNTIME;
}

static void name_run(struct go *go, uint64_t start, uint64_t end, enum go_kind kind)
{
	static const char *const names[] = { [GO_HEAP] = "go:heap", [GO_STACK] = "go:stack", [GO_RUNTIME] = "go:runtime" };

	for (size_t i = area_seek(go->target, start); i < go->target->areas && go->target->area[i].start < end; i++) {
		const struct area *area = &go->target->area[i];

		if (area->class == VMA_UNNAMED && area_is_anonymous(area))
			found_add(go->findings, start > area->start ? start : area->start, end < area->end ? end : area->end, "%s", names[kind]);
	}
}

static void name_arena(struct go *go, uint64_t arena)
{
	uint64_t run = arena;
	enum go_kind kind = GO_HEAP;
	struct span span;

	for (uint64_t k = 0; k < PAGES; k++) {
		uint64_t at = arena + k * GO_PAGE;
		enum go_kind next = get_span(go, go->list[k], at, &span) ? kind_of(go, &span) : GO_HEAP;

		if (next != kind) {
			name_run(go, run, at, kind);
			run = at;
			kind = next;
		}
	}
	name_run(go, run, arena + GO_ARENA, kind);
}

/* Calls each for every arena that there is, when its spans have been read. */
static void each_arena(struct go *go, void (*each)(struct go *, uint64_t arena, uint64_t heap_arena))
{
	for (size_t i = 0; i < go->target->areas && !target_is_spent(go->target); i++) {
		const struct area *area = &go->target->area[i];
		uint64_t heap_arena;

		if (!area_is_anonymous(area))
			continue;
		for (uint64_t arena = area->start & ~(GO_ARENA - 1); arena < area->end && !target_is_spent(go->target); arena += GO_ARENA) {
			/* An arena of several areas is done with the first. */
			if ((arena < area->start && i && area[-1].end > arena) || !memory_word(go->target, entry_of(go, arena), &heap_arena) ||
			    !heap_arena || !read_spans(go, heap_arena, go->spans))
				continue;
			each(go, arena, heap_arena);
		}
	}
}

static void name_all(struct go *go, uint64_t arena, uint64_t heap_arena)
{
	name_arena(go, arena);
	name_run(go, heap_arena, heap_arena + go->spans + sizeof(go->list), GO_RUNTIME);
}

/* The span that begins at the page; false: none is in use there. */
static bool used_span(struct go *go, uint64_t index, uint64_t at, struct go_span *used)
{
	struct span span;
	unsigned state;
	uint16_t count;

	if (!get_span(go, go->list[index], at, &span) || span.word[SPAN_START] != at)
		return false;
	state = ((unsigned char *)&span)[go->state];
	if (state != STATE_IN_USE && state != STATE_MANUAL)
		return false;
	memcpy(&count, (char *)&span + go->state - COUNT_BEFORE, sizeof(count));
	*used = (struct go_span){
		.start = at, .size = span.word[SPAN_PAGES] * GO_PAGE, .kind = kind_of(go, &span),
		.element = span.word[(go->state + 5) / 8], .allocated = count, .limit = span.word[(go->state + 13) / 8],
	};
	return true;
}

static void walk_arena(struct go *go, uint64_t arena, uint64_t heap_arena)
{
	struct go_span span;

	(void)heap_arena;
	for (uint64_t k = 0, pages; k < PAGES; k += pages) {
		pages = 1;
		if (!used_span(go, k, arena + k * GO_PAGE, &span))
			continue;
		go->each(go->context, &span);
		pages = span.size / GO_PAGE;
	}
	go->arena(go->context, arena);
}

/* Chunks of the runtime's own: each begins with the address of the one before, the first with none. */
static bool name_chunks(struct go *go, uint64_t head, uint64_t must_hold)
{
	uint64_t at = head;
	bool holds = false;

	for (unsigned round = 0; round < 2; round++, at = head)
		for (unsigned steps = 0; at; steps++) {
			const struct area *area = at % 4096 ? NULL : area_at(go->target, at);

			if (steps > CHUNKS_MAX || !area || !area_is_anonymous(area) || CHUNK > area->end - at)
				return false;
			holds |= at <= must_hold && must_hold < at + CHUNK;
			if (round && holds)
				name_run(go, at, at + CHUNK, GO_RUNTIME);
			if (!memory_word(go->target, at, &at))
				return false;
		}
	return holds;
}

/* pageAlloc.summary: five slices (address, length, capacity), each level 8 times as long as the one above. */
static bool name_summaries(void *context, uint64_t address, const uint64_t *word)
{
	struct go *go = context;

	(void)address;
	for (unsigned i = 0; i < SUMMARIES; i++)
		if (!word[3 * i] || word[3 * i] % 4096 || word[3 * i + 1] > word[3 * i + 2] || word[3 * i + 2] != 1ULL << (14 + 3 * i))
			return false;
	for (unsigned i = 0; i < SUMMARIES; i++)
		name_run(go, word[3 * i], word[3 * i] + word[3 * i + 2] * sizeof(*word), GO_RUNTIME);
	return true;
}

static bool try_table(void *context, uint64_t address, const uint64_t *word)
{
	struct go *go = context;
	const struct area *area = *word % 4096 ? NULL : area_at(go->target, *word);

	(void)address;
	return area && area_is_anonymous(area) && TABLE <= area->end - *word && is_table(go, *word);
}

static bool try_chunks(void *context, uint64_t address, const uint64_t *word)
{
	struct go *go = context;

	(void)address;
	return *word % 4096 == 0 && name_chunks(go, *word, go->list[0]);
}

static void go_close(struct go *go)
{
	if (go)
		pages_free(go->pages);
	free(go);
}

/* NULL: the program is none of Go's. */
static struct go *go_open(struct target *target, struct findings *findings)
{
	const struct area *first = area_at(target, FIRST_ARENA);
	struct object *program = target->objects ? &target->object[0] : NULL;
	struct go *go = first && first->start == FIRST_ARENA && program && object_read(target, program) ? calloc(1, sizeof(*go)) : NULL;

	if (!go)
		return NULL;
	go->target = target;
	go->findings = findings;
	go->bias = program->image->machine == EM_X86_64 ? 1ULL << 47 : 0;
	go->pages = pages_new(target, PAGES_MANY);
	if (go->pages && object_variables(target, program, try_table, go))
		return go;
	go_close(go);
	return NULL;
}

bool go_spans(struct target *target, go_span_function *each, go_arena_function *arena, void *context)
{
	struct go *go = go_open(target, NULL);

	if (!go)
		return false;
	go->each = each;
	go->arena = arena;
	go->context = context;
	each_arena(go, walk_arena);
	go_close(go);
	return true;
}

void recognise_go(struct target *target, struct findings *findings)
{
	struct go *go = go_open(target, findings);

	if (go) {
		object_variables(target, &target->object[0], try_chunks, go);
		object_variables(target, &target->object[0], name_summaries, go);
		name_run(go, go->table, go->table + TABLE, GO_RUNTIME);
		each_arena(go, name_all);
	}
	go_close(go);
}
