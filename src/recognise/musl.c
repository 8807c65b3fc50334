/* SPDX-License-Identifier: MIT */
/*
 * musl 1.2: its threads, and the memory of its malloc ("mallocng", from 1.2.1 on),
 * as a library or linked into a program, without symbols.
 *
 *   thread --> itself, ..., previous <--> next, ..., id, ..., its mapping and how long that is
 *
 *   context (a variable): secret, ..., first area, last area
 *     area (a page): the secret, next area, metas --> group (whole pages) --> its meta
 *
 * The ring of threads is believed when it closes, each entry points to itself and
 * back, and the kernel knows every id. Areas have the secret, a random word; a
 * group is one when it points back to the meta that led to it.
 */
#include "recognise.h"

#include "object.h"
#include "threads.h"

#include <stdlib.h>
#include <string.h>

#define AREA_BYTES   4096ULL
#define AREAS_MAX    65536
#define META_WORDS   5
#define METAS_FIRST  3              /* words in front of the metas of an area */
#define GROUPS_ASKED 1024
#define GROUPS_ASKED_OF 16
#define METAS_MAX    ((AREA_BYTES / 8 - METAS_FIRST) / META_WORDS)
#define CLASS_LARGE  63             /* of a group that is one allocation with a mapping of its own */
#define THREAD_WORDS 16
#define THREADS_MAX  32768
#define STACKS_MAX   4096           /* mappings, the ends of which are looked at for a first thread */
#define TAIL_PAGES   2

struct musl {
	struct target *target;
	struct findings *findings;
	unsigned machine;
	pid_t *tid;                 /* sorted */
	size_t tids;
	size_t groups;              /* that were met */
};

/* It is the dynamic linker, too, and Debian's file is called by the other name. */
static struct object *find_libc(struct target *target)
{
	struct object *libc = object_named(target, "ld-musl");

	for (size_t i = 0; i < target->objects && !libc; i++)
		if (!strcmp(target->object[i].name, "libc.so"))
			libc = &target->object[i];
	return libc && object_read(target, libc) ? libc : object_static(target);
}

/* --- threads ---------------------------------------------------------------------- */

/* struct pthread, in words. Where the thread's variables lie behind it, two words of it do, too. */
struct thread {
	uint64_t self, previous, next, tid, map, size;
};

static bool read_thread(const struct musl *musl, uint64_t at, struct thread *thread)
{
	uint64_t word[THREAD_WORDS], first = musl->machine == EM_X86_64 ? 2 : 1, id = 2 * first + 2;

	if (at % sizeof(*word) || memory_get(musl->target, at, word, sizeof(word)) || word[0] != at)
		return false;
	*thread = (struct thread){ at, word[first], word[first + 1], word[id] & UINT32_MAX, word[id + 3], word[id + 4] };
	return true;
}

static void take_thread(const struct musl *musl, const struct thread *thread)
{
	uint64_t end = thread->map + thread->size;

	found_thread_add(musl->findings, thread->self, (pid_t)thread->tid);
	/* The first thread, and one with a stack of the program's, have no mapping. */
	if (thread->size && thread->map % musl->target->own.page == 0 && thread->map <= thread->self && thread->self < end &&
	    memory_is_anonymous(musl->target, thread->map, end))
		thread_name_stack(musl->target, musl->findings, (pid_t)thread->tid, thread->map, end);
}

/* First round: does it close? Second: what is in it. */
static bool take_ring(const struct musl *musl, uint64_t first)
{
	struct thread thread;

	for (unsigned round = 0; round < 2; round++) {
		uint64_t at = first, before = 0;
		size_t count = 0;

		do {
			if (count++ == musl->tids || !read_thread(musl, at, &thread) || (before && thread.previous != before) ||
			    !threads_have(musl->tid, musl->tids, thread.tid))
				return false;
			if (round)
				take_thread(musl, &thread);
			before = at;
			at = thread.next;
		} while (at != first);
		if (count < 2 || !read_thread(musl, first, &thread) || thread.previous != before)
			return false;
	}
	return true;
}

static bool try_thread(void *context, uint64_t address, const uint64_t *word)
{
	return *word == address && take_ring(context, address);
}

/* A thread's own is at the end of its mapping. */
static bool try_tail(struct musl *musl, const struct area *area)
{
	const uint64_t page = musl->target->own.page;
	uint64_t word[AREA_BYTES / sizeof(uint64_t)];

	for (uint64_t at = area->end - TAIL_PAGES * page; at < area->end; at += sizeof(word)) {
		if (at < area->start || memory_next(musl->target, at, at + 1) != at || memory_get(musl->target, at, word, sizeof(word)))
			continue;
		for (size_t i = 0; i < AREA_BYTES / sizeof(*word); i++)
			if (try_thread(musl, at + i * sizeof(*word), &word[i]))
				return true;
	}
	return false;
}

/* The first thread is a variable of libc's, unless it has many of its own. */
static void find_threads(struct musl *musl, const struct object *libc)
{
	size_t looked = 0;

	if (proc_tasks(musl->target->proc, musl->target->pid, &musl->tid, &musl->tids) || musl->tids < 2 || musl->tids > THREADS_MAX ||
	    object_variables(musl->target, libc, try_thread, musl))
		return;
	for (size_t i = 0; i < musl->target->areas && looked < STACKS_MAX; i++) {
		const struct area *area = &musl->target->area[i];

		if (area->class != VMA_UNNAMED || !area_is_anonymous(area) || !area_is_writable(area))
			continue;
		looked++;
		if (try_tail(musl, area))
			return;
	}
}

/* --- malloc ----------------------------------------------------------------------- */

/* struct meta: links, the group, masks, and bits: the last slot (5), one, the class (6), pages (52). */
static void take_group(struct musl *musl, uint64_t meta, const uint64_t *word)
{
	uint64_t group = word[2], size = (word[4] >> 12) * AREA_BYTES, back;
	/* All of them are in pages with the secret. Of very many groups some are asked. */
	bool asked = musl->groups < GROUPS_ASKED || musl->groups % GROUPS_ASKED_OF == 0;

	if (!group || !size || group % AREA_BYTES || size > 1ULL << 46)
		return;
	musl->groups++;
	if ((asked && (!memory_word(musl->target, group, &back) || back != meta)) || !memory_is_anonymous(musl->target, group, group + size))
		return;
	found_add(musl->findings, group, group + size, (word[4] >> 6 & 63) == CLASS_LARGE ? "musl:large" : "musl:heap");
}

/* The pages of metas: each has the secret, and the last is the one that the context says. */
static bool take_areas(struct musl *musl, uint64_t secret, uint64_t first, uint64_t last, bool take)
{
	uint64_t word[AREA_BYTES / sizeof(uint64_t)], at = first;

	for (unsigned i = 0; i < AREAS_MAX; i++, at = word[1]) {
		if (at % AREA_BYTES || memory_get(musl->target, at, word, sizeof(word)) || *word != secret || (uint32_t)word[2] > METAS_MAX)
			return false;
		if (take && memory_is_anonymous(musl->target, at, at + AREA_BYTES))
			found_add(musl->findings, at, at + AREA_BYTES, "musl:heap");
		for (size_t k = METAS_FIRST; take && k + META_WORDS <= METAS_FIRST + (uint32_t)word[2] * META_WORDS; k += META_WORDS)
			take_group(musl, at + k * sizeof(*word), word + k);
		if (at == last)
			return !word[1];
	}
	return false;
}

/* struct malloc_context. Where the size of a page is no constant, it is the second word. */
static bool try_context(void *context, uint64_t address, const uint64_t *word)
{
	struct musl *musl = context;
	const uint64_t *last = word + (musl->machine == EM_X86_64 ? 8 : 9), *first = last - 1;
	uint64_t check;

	(void)address;
	if (!*first || *first % AREA_BYTES || !*last || *last % AREA_BYTES || !memory_word(musl->target, *first, &check) || check != *word)
		return false;
	return take_areas(musl, *word, *first, *last, false) && take_areas(musl, *word, *first, *last, true);
}

void recognise_musl(struct target *target, struct findings *findings)
{
	struct object *libc = find_libc(target);
	struct musl musl = { .target = target, .findings = findings };

	if (!libc)
		return;
	musl.machine = libc->image->machine;
	find_threads(&musl, libc);
	object_variables(target, libc, try_context, &musl);
	free(musl.tid);
}
