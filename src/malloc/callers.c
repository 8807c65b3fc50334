/* SPDX-License-Identifier: MIT */
/*
 * Which library a call of malloc is for. As a rule that is the one whose code
 * calls, which is known by the page of the return address. Who allocates for
 * others (libc, the C++ runtime, a wrapper that a rule names) is looked behind.
 *
 * A walk by libunwind takes some 10,000 instructions, so its steps are kept: how
 * far above one return address on the stack the next one lies. That is the same
 * at every call from one place, as frames have a fixed size:
 *
 *      frame  --12 words-->  ip in strdup  --4 words-->  ip in libfoo.so.1, which is charged
 *      known by ip of malloc's caller      by ip in strdup          by ip in libfoo
 *
 * So a call path that was never seen needs no walk either, if its frames were
 * seen in others. Where a frame has no fixed size (alloca), its step is never
 * kept.
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
#define MOST_STEPS 32

/* Two threads may write one place at once: the key is made of both the answer and the question, so a mixture answers nobody. */
static struct step {
	uint64_t answer;                /* STEP_NONE, or a kind and a number */
	uint64_t key;
} steps[STEPS] COLD_BSS;

/* STEP_INNER: up, from a function that has no name and may be part of a wrapper. */
enum { STEP_NONE, STEP_UP, STEP_INNER, STEP_CHARGED, STEP_VARIES };
#define ANSWER(kind, number) ((uint64_t)(number) << 3 | (kind))
#define ANSWER_KIND(answer) ((answer) & 7)
#define ANSWER_NUMBER(answer) ((answer) >> 3)

static inline uint64_t step_key(uint64_t answer, uintptr_t question)
{
	return answer * 0x9e3779b97f4a7c15ULL ^ question;
}

/* Each question has two places, so that two that meet are both known. */
static inline struct step *step_place(uintptr_t question)
{
	return &steps[(question * 0x9e3779b97f4a7c15ULL >> 32) % STEPS];
}

static inline struct step *other_place(struct step *s) { return &steps[(size_t)(s - steps) ^ 1]; }

static inline uint64_t step_in(const struct step *s, uintptr_t question)
{
	uint64_t answer = load_relaxed(&s->answer);

	return load_relaxed(&s->key) == step_key(answer, question) ? answer : STEP_NONE;
}

static uint64_t step_get(uintptr_t question)
{
	struct step *s = step_place(question);
	uint64_t answer = step_in(s, question);

	return likely(answer != STEP_NONE) ? answer : step_in(other_place(s), question);
}

static void step_put(uintptr_t question, uint64_t answer)
{
	struct step *s = step_place(question), *other = other_place(s);
	uint64_t before = step_in(s, question);

	/* Known in its other place it stays there; else what is in the first one moves to that. */
	if (before == STEP_NONE && (before = step_in(other, question)) != STEP_NONE) {
		s = other;
	} else if (before == STEP_NONE && load_relaxed(&s->key)) {
		store_relaxed(&other->answer, load_relaxed(&s->answer));
		store_relaxed(&other->key, load_relaxed(&s->key));
	}
	if (before == ANSWER(STEP_VARIES, 0))
		return;
	if (before != STEP_NONE && before != answer)
		answer = ANSWER(STEP_VARIES, 0);
	store_relaxed(&s->answer, answer);
	store_relaxed(&s->key, step_key(answer, question));
}

/*
 * The first frame's place is ours, and those of the others are where their return addresses lie: two kinds of question.
 * And whether a function without a name is passed by depends on how many were passed below it.
 */
static inline uintptr_t question(uintptr_t ip, bool first, unsigned inner) { return (first ? ip : ~ip) ^ (uintptr_t)inner << 56; }

/* The library, if all steps to it are known; else LIBRARY_NONE. */
static unsigned climb(uintptr_t caller, uintptr_t frame)
{
	const struct thread *me = thread_self();
	uintptr_t ip = caller, at = frame;
	unsigned inner = 0;

	if (frame < me->stack_start || frame >= me->stack_end)
		return LIBRARY_NONE;
	for (int i = 0; i < MOST_STEPS; i++) {
		uint64_t answer = step_get(question(ip, !i, inner));
		unsigned kind = ANSWER_KIND(answer);

		if (kind == STEP_CHARGED)
			return (unsigned)ANSWER_NUMBER(answer);
		if ((kind != STEP_UP && kind != STEP_INNER) || ANSWER_NUMBER(answer) > me->stack_end - sizeof(ip) - at)
			return LIBRARY_NONE;
		inner += kind == STEP_INNER;
		at += ANSWER_NUMBER(answer);
		ip = arch_unsign(*(const uintptr_t *)at);
	}
	return LIBRARY_NONE;
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
	uint8_t inner_at[MOST_STEPS + 1]; /* how many were passed below, and at the end */
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

static void keep(const struct walk_up *up, uintptr_t frame, unsigned library)
{
	for (unsigned i = 1; i < up->depth; i++)
		if (!up->at[i])
			return;
	for (unsigned i = 0; i < up->depth; i++) {
		uintptr_t from = i ? up->at[i] : frame;
		unsigned up_by = up->inner_at[i + 1] > up->inner_at[i] ? STEP_INNER : STEP_UP;
		uint64_t answer = i == up->depth - 1 ? ANSWER(STEP_CHARGED, library) : ANSWER(up_by, up->at[i + 1] - from);

		step_put(question(up->ip[i], !i, up->inner_at[i]), answer);
	}
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
		store_relaxed(&steps[i].key, (uint64_t)0);
	for (unsigned i = 0; i < ARRAY_SIZE(charges); i++)
		store_relaxed(&charges[i], (uint64_t)0);
}

unsigned caller_library(uintptr_t caller, uintptr_t frame)
{
	uint64_t entry = load_relaxed(&caller_pages[caller_place(caller)]);
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
	library = climb(caller, frame);
	return library != LIBRARY_NONE ? library : walk_up(caller, frame);
}
