/* SPDX-License-Identifier: MIT */
/*
 * Which library a call of malloc is for. As a rule that is the one whose code
 * calls, which is known by the page of the return address. Who allocates for
 * others (libc, the C++ runtime, a wrapper that a rule names) is looked behind.
 *
 * A walk by libunwind takes tens of thousands of instructions, so its steps are kept: how
 * far above one return address on the stack the next one lies. That is the same
 * at every call from one place, as frames have a fixed size:
 *
 *      frame  --12 words-->  ip in strdup  --4 words-->  ip in libfoo.so.1, which is charged
 *      known by ip of malloc's caller      by ip in strdup          by ip in libfoo
 *
 * So a call path that was never seen needs no walk either, if its frames were
 * seen in others, nor where what is above them is charged itself. Where a frame
 * has no fixed size (alloca), its step is never kept.
 */
#include "malloc/malloc.h"

#include <dlfcn.h>
#include <link.h>
#include <stdlib.h>

#include "base/root.h"
#include "base/text.h"
#include "label/rules.h"
#include "label/thread.h"
#include "label/walk.h"

/* glibc 2.35: finds an object that is being loaded, too, and takes no lock. */
#ifdef DLFO_STRUCT_HAS_EH_DBASE
#pragma weak _dl_find_object
#endif

uint64_t caller_pages[PAGES] LAST_BSS;
static uint32_t seen;                   /* objects_generation */

/* --- whose code is it ------------------------------------------------------------------- */

/* An object, as far as it matters here. One that is just being loaded is in no table of ours yet, and stands here. */
struct asker {
	const struct object *known;
	struct object loading;          /* end 0: no object either, but generated code */
};

static const struct object *asker_object(const struct asker *a)
{
	return a->known ? a->known : &a->loading;
}

#ifdef DLFO_STRUCT_HAS_EH_DBASE
static bool find_loading(uintptr_t code, struct asker *a)
{
	struct dl_find_object found;
	struct elf_symbols symbols;
	struct elf_object elf;
	const ElfW(Dyn) *end;

	if (!_dl_find_object || _dl_find_object((void *)code, &found) != 0)
		return false;
	a->loading = (struct object){ .start = (uintptr_t)found.dlfo_map_start, .end = (uintptr_t)found.dlfo_map_end };
	text_copy(a->loading.name, sizeof(a->loading.name), text_last_part(found.dlfo_link_map->l_name));
	elf = elf_object_of(found.dlfo_link_map);
	end = elf_dynamic_end(&elf);
	if (elf_symbols(&elf, &symbols))
		for (const ElfW(Dyn) *d = elf.dynamic; d < end && d->d_tag != DT_NULL; d++)
			if (d->d_tag == DT_SONAME)
				text_copy(a->loading.name, sizeof(a->loading.name), text_last_part(elf_string(&symbols, d->d_un.d_val)));
	objects_classify(&a->loading);
	return true;
}
#else
static bool find_loading(uintptr_t code, struct asker *a)
{
	(void)code;
	(void)a;
	return false;
}
#endif

/* false: generated code. */
static bool find_asker(uintptr_t code, struct asker *a)
{
	a->known = objects_find(code);
	a->loading.end = 0;
	return a->known || find_loading(code, a);
}

static unsigned number_of(const struct asker *a)
{
	const struct object *o = asker_object(a);

	return library_number(rules_malloc_name(o->end ? o->name : objects_program()));
}

/* --- steps --------------------------------------------------------------------------------- */

#define STEPS 4096U
#define STEPS_SHIFT 12
#define MOST_STEPS 32

/*
 * One word each, so that threads that write one at once do no harm:
 *
 *     question without what its place tells   39 bits
 *     it lies in the place beside its own      1
 *     kind                                     3
 *     number                                  21      a library; of a step: see below
 */
static uint64_t steps[STEPS] COLD_BSS;

enum { STEP_NONE, STEP_UP, STEP_CHARGED, STEP_VARIES };
#define NUMBER_BITS 21
#define ANSWER_BITS (NUMBER_BITS + 3)
#define MOVED (1ULL << ANSWER_BITS)
#define ANSWER(kind, number) ((uint64_t)(kind) << NUMBER_BITS | (number))
#define ANSWER_KIND(answer) ((unsigned)((answer) >> NUMBER_BITS))
#define ANSWER_NUMBER(answer) ((unsigned)((answer) & ((1U << NUMBER_BITS) - 1)))

/* A step's number: how many words up; how many functions without a name are passed with it; how often it was seen. */
#define WORDS_BITS 13
#define INNER_BITS 2
#define STEP(words, inner) ANSWER(STEP_UP, (inner) << WORDS_BITS | (words))
#define STEP_BYTES(answer) (((answer) & ((1U << WORDS_BITS) - 1)) * sizeof(uintptr_t))
#define STEP_INNER(answer) ((answer) >> WORDS_BITS & ((1U << INNER_BITS) - 1))
#define STEP_ONCE (1U << (WORDS_BITS + INNER_BITS))
#define STEP_SEEN(answer) (ANSWER_NUMBER(answer) / STEP_ONCE)
/* What was seen so often, and never otherwise, is a frame of fixed size. */
#define SEEN_ENOUGH 3U

/*
 * The first frame's place is ours, and those of the others are where their return addresses lie: two kinds of question.
 * And whether a function without a name is passed by depends on how many were passed below it.
 */
#define QUESTION_FIRST (1ULL << 48)
#define QUESTION_INNER_SHIFT 49
static inline uint64_t question_kind(bool first, uint64_t inner) { return (first ? QUESTION_FIRST : 0) | inner << QUESTION_INNER_SHIFT; }
static inline unsigned question_inner(uint64_t q) { return (unsigned)(q >> QUESTION_INNER_SHIFT); }

/* Each question has two places, so that two that meet are both known. */
static inline unsigned step_place(uint64_t q) { return (unsigned)(q ^ q >> STEPS_SHIFT) % STEPS; }
static inline uint64_t step_word(uint64_t q, uint64_t moved) { return q >> STEPS_SHIFT << (ANSWER_BITS + 1) | moved; }

static inline uint64_t step_in(unsigned place, uint64_t q, uint64_t moved)
{
	uint64_t answer = load_relaxed(&steps[place]) ^ step_word(q, moved);

	return likely(answer < MOVED) ? answer : STEP_NONE;
}

/* What is known of a step when it is seen (once more). */
static uint64_t step_seen(uint64_t before, uint64_t answer)
{
	if (before == STEP_NONE)
		return answer;
	if (ANSWER_KIND(answer) == STEP_CHARGED)
		return before == answer ? before : ANSWER(STEP_VARIES, 0);
	if (ANSWER_KIND(before) != STEP_UP || before % STEP_ONCE != answer % STEP_ONCE)
		return ANSWER(STEP_VARIES, 0);
	return STEP_SEEN(before) == SEEN_ENOUGH ? before : before + STEP_ONCE;
}

/* Known in its other place it stays there; else what is in the first one moves to that. */
static void step_put(uint64_t q, uint64_t answer)
{
	unsigned place = step_place(q);
	uint64_t before = step_in(place, q, 0), there = load_relaxed(&steps[place]);

	if (before == STEP_NONE && (before = step_in(place ^ 1, q, MOVED)) != STEP_NONE) {
		store_relaxed(&steps[place ^ 1], step_word(q, MOVED) | step_seen(before, answer));
		return;
	}
	if (before == STEP_NONE && there)
		store_relaxed(&steps[place ^ 1], there ^ MOVED);
	store_relaxed(&steps[place], step_word(q, 0) | step_seen(before, answer));
}

/* How far a climb has come. */
struct climb {
	uintptr_t ip;
	uint64_t question;
	bool sure;                      /* this ip is what a walk would find here, too */
};

/* The library, if all steps to it are known; else LIBRARY_NONE, and in c, if not NULL, where the climb ended. */
static inline __attribute__((always_inline)) unsigned climb(uintptr_t ip, uintptr_t at, struct climb *c)
{
	const struct thread *me = thread_self();
	uint64_t kind = QUESTION_FIRST;
	unsigned least = SEEN_ENOUGH;

	if (unlikely(at < me->stack_start || at >= me->stack_end))
		return LIBRARY_NONE;
	/* It ends, as each step leads up. */
	for (;;) {
		uint64_t q = ip ^ kind, answer = step_in(step_place(q), q, 0);

		if (unlikely(answer == STEP_NONE))
			answer = step_in(step_place(q) ^ 1, q, MOVED);
		if (ANSWER_KIND(answer) == STEP_CHARGED)
			return ANSWER_NUMBER(answer);
		at += STEP_BYTES(answer);
		if (unlikely(ANSWER_KIND(answer) != STEP_UP || at > me->stack_end - sizeof(ip))) {
			if (c)
				*c = (struct climb){ ip, q, answer == STEP_NONE && least == SEEN_ENOUGH };
			return LIBRARY_NONE;
		}
		if (c)
			least = MIN(least, STEP_SEEN(answer));
		kind = question_kind(false, STEP_INNER(answer));
		ip = arch_unsign(*(const uintptr_t *)at);
	}
}

unsigned caller_climbed(uintptr_t caller, uintptr_t frame)
{
	return climb(caller, frame, NULL);
}

/* --- the walk -------------------------------------------------------------------------------- */

/* Functions of one object that it does not export, between a wrapper and malloc: pymalloc has two. */
#define MOST_INNER 3

/*
 * What the function at an address is to be charged with: to find it takes a look at every symbol of its object. A word has
 * the address and the answer, so that threads that write one at once do no harm.
 */
static uint64_t charges[2048] COLD_BSS;

static enum malloc_charge charge_of(const struct object *o, uintptr_t ip)
{
	uint64_t *place = &charges[(ip ^ ip >> 11) % ARRAY_SIZE(charges)], kept = load_relaxed(place);
	enum malloc_charge charge;

	if (kept >> 2 == ip)
		return (enum malloc_charge)(kept & 3);
	charge = rules_malloc_charge(o, ip);
	store_relaxed(place, (uint64_t)ip << 2 | (uint64_t)charge);
	return charge;
}

struct walk_up {
	uintptr_t ip[MOST_STEPS], at[MOST_STEPS];
	uint8_t inner_at[MOST_STEPS];   /* how many were passed below */
	unsigned depth, inner;
	struct asker first, charged;    /* first: where nothing better is found */
	bool done;
};

static bool is_for_others(const struct object *o)
{
	return o->class != OBJECT_APP && o->class != OBJECT_LOADER;
}

/* Is the frame's function one that allocates for its caller? */
static bool passes_on(struct walk_up *up, const struct asker *a, uintptr_t ip)
{
	enum malloc_charge charge;

	if (is_for_others(asker_object(a)))
		return true;
	charge = charge_of(asker_object(a), ip);
	if (charge == CHARGE_UNKNOWN && up->inner++ < MOST_INNER)
		return true;
	return charge == CHARGE_CALLER;
}

static bool visit(uintptr_t ip, uintptr_t at, void *context)
{
	struct walk_up *up = context;
	struct asker a;

	if (up->depth == MOST_STEPS)
		return false;
	up->ip[up->depth] = ip;
	up->inner_at[up->depth] = (uint8_t)up->inner;
	up->at[up->depth++] = at;
	/* A return address may lie behind the end of its function. */
	if (find_asker(ip - 1, &a) && passes_on(up, &a, ip - 1)) {
		if (up->depth == 1)
			up->first = a;
		return true;
	}
	up->charged = a;
	up->done = true;
	return false;
}

/* false: it has no room in an answer, or was not found. */
static bool step_to(const struct walk_up *up, unsigned i, uintptr_t frame, uint64_t *answer)
{
	uintptr_t words = (up->at[i] - (i > 1 ? up->at[i - 1] : frame)) / sizeof(words);

	*answer = STEP(words, (unsigned)up->inner_at[i]) + STEP_ONCE;
	return up->at[i] && words && words < 1U << WORDS_BITS;
}

static void keep(const struct walk_up *up, uintptr_t frame, unsigned library)
{
	uint64_t answer[MOST_STEPS];

	for (unsigned i = 1; i < up->depth; i++)
		if (!step_to(up, i, frame, &answer[i - 1]))
			return;
	answer[up->depth - 1] = ANSWER(STEP_CHARGED, library);
	for (unsigned i = 0; i < up->depth; i++)
		step_put(up->ip[i] ^ question_kind(!i, up->inner_at[i]), answer[i]);
}

/* Where the stack does not tell (a coroutine's, no unwind tables), whoever called is charged. */
static __attribute__((noinline)) unsigned walk_up(uintptr_t caller, uintptr_t frame)
{
	struct walk_up up = { .depth = 0 };
	unsigned library;

	if (!walk_frames(caller, frame, visit, &up) || !up.done) {
		if (!up.depth)
			find_asker(caller - 1, &up.first);
		return number_of(&up.first);
	}
	library = number_of(&up.charged);
	if (library != LIBRARY_NONE)
		keep(&up, frame, library);
	return library;
}

/*
 * A climb that has come to a function that is charged itself needs no walk: most
 * call paths differ in their last step alone.
 */
static unsigned ask_last(const struct climb *c)
{
	enum malloc_charge charge;
	struct asker a;
	unsigned library;

	if (!c->sure || !find_asker(c->ip - 1, &a) || is_for_others(asker_object(&a)))
		return LIBRARY_NONE;
	charge = charge_of(asker_object(&a), c->ip - 1);
	if (charge == CHARGE_CALLER || (charge == CHARGE_UNKNOWN && question_inner(c->question) < MOST_INNER))
		return LIBRARY_NONE;
	library = number_of(&a);
	if (library != LIBRARY_NONE)
		step_put(c->question, ANSWER(STEP_CHARGED, library));
	return library;
}

/* --- pages ---------------------------------------------------------------------------------- */

/* Where a thread's heap for it is, from the control block: the same in all threads. */
static int32_t place_of(unsigned library)
{
	return (int32_t)((intptr_t)&heaps_mine.fast[library] - (intptr_t)arch_thread_pointer());
}

static unsigned library_at(int32_t place)
{
	return (unsigned)((place - place_of(0)) / (int32_t)sizeof(heaps_mine.fast[0]));
}

static void know_page(uintptr_t caller, unsigned library)
{
	store_relaxed(&caller_pages[caller_place(caller)], (uint64_t)(uint32_t)place_of(library) << 32 | caller_tag(caller));
}

/* A page from which calls are for others, or some are. */
static bool is_mixed(const struct object *o)
{
	return is_for_others(o) || rules_malloc_charges(o);
}

void callers_look(void)
{
	if (seen == objects_generation())
		return;
	seen = objects_generation();
	for (unsigned i = 0; i < PAGES; i++)
		store_relaxed(&caller_pages[i], (uint64_t)0);
	for (unsigned i = 0; i < STEPS; i++)
		store_relaxed(&steps[i], (uint64_t)0);
	for (unsigned i = 0; i < ARRAY_SIZE(charges); i++)
		store_relaxed(&charges[i], (uint64_t)0);
}

unsigned caller_library(uintptr_t caller, uintptr_t frame)
{
	uint64_t entry = load_relaxed(&caller_pages[caller_place(caller)]);
	struct climb c = { .sure = false };
	struct asker a;
	unsigned library;

	if ((uint32_t)entry == caller_tag(caller)) {
		library = library_at((int32_t)(entry >> 32));
	} else if (find_asker(caller - 1, &a) && is_mixed(asker_object(&a))) {
		library = LIBRARY_NONE;
		know_page(caller, LIBRARY_NONE);
	} else {
		library = number_of(&a);
		know_page(caller, library);
		return library;
	}
	if (library != LIBRARY_NONE)
		return library;
	library = climb(caller, frame, &c);
	if (library == LIBRARY_NONE)
		library = ask_last(&c);
	return library != LIBRARY_NONE ? library : walk_up(caller, frame);
}
