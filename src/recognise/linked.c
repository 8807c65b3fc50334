/* SPDX-License-Identifier: MIT */
/*
 * Stacks, where glibc is linked into the program: no symbol says where its lists
 * of threads are. They are rings that two words of the program's variables belong
 * to, and each thread has its id behind its links:
 *
 *   head --> thread: next, previous, id --> ... --> head
 *
 * A ring is believed when it closes, each entry points back to the one before,
 * and every id is that of a thread that the kernel knows in this process.
 */
#include "recognise.h"

#include "object.h"
#include "threads.h"

#include <stdlib.h>

#define ALIGNED     64
#define TRIES_MAX   16384           /* words that are followed */
#define BLOCK_SIZE  0x700           /* of what libc keeps of a thread: where its stack is lies in this much */
#define FRONT_WORDS 128             /* the links are no further behind its beginning */

struct entry {
	uint64_t next, previous;
	uint32_t tid;
};

struct linked {
	struct target *target;
	struct findings *findings;
	const struct object *program;
	pid_t *tid;                 /* sorted */
	size_t tids;
	unsigned tries;
};

static bool closes(const struct linked *linked, uint64_t head, uint64_t at, uint64_t last)
{
	uint64_t before = head;
	struct entry entry;

	for (size_t i = 0; at != head; i++) {
		if (i == linked->tids || memory_get(linked->target, at, &entry, sizeof(entry)) || entry.previous != before ||
		    !threads_have(linked->tid, linked->tids, entry.tid))
			return false;
		before = at;
		at = entry.next;
	}
	return before == last;
}

/* On x86-64 what libc keeps of a thread begins with its own address, twice; elsewhere the links are a beginning that is good enough. */
static struct thread_block block_of(const struct linked *linked, uint64_t entry)
{
	struct thread_block block = { entry, BLOCK_SIZE, linked->program->image->machine };
	uint64_t word[FRONT_WORDS], start = entry - sizeof(word);

	if (block.machine != EM_X86_64 || memory_get(linked->target, start, word, sizeof(word)))
		return block;
	for (size_t i = 0; i + 2 < FRONT_WORDS; i++)
		if (thread_block_begins(word + i, start + i * sizeof(*word)))
			block.address = word[i];
	return block;
}

static void take_ring(const struct linked *linked, uint64_t head, uint64_t at)
{
	struct entry entry;

	for (size_t i = 0; i < linked->tids && at != head && !memory_get(linked->target, at, &entry, sizeof(entry)); i++) {
		struct thread_block block = block_of(linked, at);

		if (threads_have(linked->tid, linked->tids, entry.tid))
			thread_take(linked->target, linked->findings, &block, (pid_t)entry.tid);
		at = entry.next;
	}
}

/* The first thread's lies in [heap], with its own ring, and its stack is the kernel's. */
static bool may_be_entry(const struct linked *linked, uint64_t address)
{
	const struct area *area = area_at(linked->target, address);

	return area && area_is_writable(area) && area_is_anonymous(area);
}

static bool look_at(void *context, uint64_t address, const uint64_t *word)
{
	struct linked *linked = context;

	/* What libc keeps of a thread is aligned to as much. */
	if (word[0] % ALIGNED == word[1] % ALIGNED && word[0] % sizeof(*word) == 0 && may_be_entry(linked, word[0]) &&
	    may_be_entry(linked, word[1])) {
		linked->tries++;
		if (closes(linked, address, word[0], word[1]))
			take_ring(linked, address, word[0]);
	}
	return linked->tries == TRIES_MAX;
}

void recognise_linked_threads(struct target *target, struct findings *findings)
{
	struct linked linked = { .target = target, .findings = findings };

	/* musl's are linked in, too. */
	if (findings->threads || proc_tasks(target->proc, target->pid, &linked.tid, &linked.tids))
		return;
	linked.program = linked.tids > 1 ? object_static(target) : NULL;
	if (linked.program)
		object_variables(target, linked.program, look_at, &linked);
	free(linked.tid);
}
