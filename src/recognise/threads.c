/* SPDX-License-Identifier: MIT */
/*
 * Stacks, by the lists that glibc keeps of its threads. Where these lie, libc
 * tells debuggers in exported constants (libthread_db): no version is asked.
 *
 *   _rtld_global + _thread_db_rtld_global__dl_stack_used ---> ring of threads
 *        control block + _thread_db_pthread_list <---- each entry
 *        control block + _thread_db_pthread_tid  ----> tid
 *
 * A ring is believed when each entry points back to the one before and the last
 * leads to the first. A stack pointer alone is never: goroutines lie in heaps.
 */
#include "recognise.h"

#include "glibc.h"
#include "threads.h"

#include "../read/list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS_MAX 32768
#define BLOCK_WORDS 512          /* a control block has about 290 */

struct layout {
	uint64_t global;            /* _rtld_global */
	uint32_t tid, list, size, used, user; /* offsets; size of a control block */
	unsigned machine;
};

static bool find_layout(struct target *target, struct layout *layout)
{
	struct object *libc = glibc_object(target), *loader = object_named(target, "ld-linux");
	uint64_t at;

	if (!libc || !loader)
		return false;
	layout->machine = object_read(target, libc) ? libc->image->machine : EM_NONE;
	layout->global = object_symbol(target, loader, "_rtld_global", NULL);
	at = object_symbol(target, libc, "_thread_db_sizeof_pthread", NULL);
	return layout->global && at && object_constant(target, libc, at, &layout->size, sizeof(layout->size)) &&
	       layout->size < 1U << 16 && glibc_offset(target, libc, "_thread_db_pthread_tid", &layout->tid) &&
	       glibc_offset(target, libc, "_thread_db_pthread_list", &layout->list) &&
	       glibc_offset(target, libc, "_thread_db_rtld_global__dl_stack_used", &layout->used) &&
	       glibc_offset(target, libc, "_thread_db_rtld_global__dl_stack_user", &layout->user);
}

/* Calls each for every control block of a ring that closes; nothing for one that does not. */
static void walk(struct target *target, struct findings *findings, const struct layout *layout, uint64_t head,
                 void (*each)(struct target *, struct findings *, const struct layout *, uint64_t))
{
	/* First round: does it close? Second: what is in it. */
	for (unsigned round = 0; round < 2; round++) {
		uint64_t entry[2], before = head, at;
		unsigned steps = 0;

		if (!memory_word(target, head, &at))
			return;
		while (at != head) {
			if (++steps > THREADS_MAX || memory_get(target, at, entry, sizeof(entry)) || entry[1] != before)
				return;
			if (round)
				each(target, findings, layout, at - layout->list);
			before = at;
			at = entry[0];
		}
	}
}

/* The thread's name as far as it may be part of ours. */
static bool thread_name(const struct target *target, pid_t tid, char name[20])
{
	char path[48];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "task/%d/comm", (int)tid);
	fd = proc_open(target->proc, target->pid, path);
	len = fd < 0 ? -1 : read(fd, name, 16);
	if (fd >= 0)
		close(fd);
	if (len <= 0)
		return false;
	name[len] = '\0';
	name[strcspn(name, "\n")] = '\0';
	return true;
}

static bool threads_several(const struct target *target)
{
	pid_t *tids = NULL;
	size_t count = 0;
	bool several = !proc_tasks(target->proc, target->pid, &tids, &count) && count > 1;

	free(tids);
	return several;
}

bool threads_have(const pid_t *tids, size_t count, uint64_t tid)
{
	pid_t wanted = (pid_t)tid;

	return tid && tid <= INT32_MAX && bsearch(&wanted, tids, count, sizeof(wanted), list_pid_order);
}

/* Whether these words of the block can be where the thread's stack begins, and its size. */
static bool is_stack(struct target *target, const struct thread_block *block, uint64_t start, uint64_t size)
{
	uint64_t page = target->own.page, end = start + size;

	if (start % page || size % page || size < 2 * page || end < start || start >= block->address ||
	    end < block->address + block->size)
		return false;
	/* Elsewhere the thread's variables follow it, and how long they are is not known. */
	if (block->machine == EM_X86_64 && end - block->address - block->size >= page)
		return false;
	return memory_is_anonymous(target, start, end);
}

/*
 * What of a stack without a guard of libc's may not be touched is a guard of
 * somebody else's: HotSpot has zones of its own there, and a name for them.
 */
static uint64_t behind_others_guard(struct target *target, uint64_t start, uint64_t guard)
{
	const struct area *area = area_at(target, start);

	return guard || !area || memcmp(area->perms, "---", 3) ? start : area->end;
}

/*
 * The block itself says where the stack begins and how long it is, with its
 * guard, in two words that no constant leads to, and in the next one how long
 * the guard is. A guard is no sign of the beginning: since glibc 2.42 it may be
 * no mapping of its own (MADV_GUARD_INSTALL).
 */
static void stack_range(struct target *target, const struct thread_block *block, uint64_t *start, uint64_t *end)
{
	uint64_t word[BLOCK_WORDS];
	size_t words = block->size / sizeof(word[0]) < BLOCK_WORDS ? block->size / sizeof(word[0]) : BLOCK_WORDS;

	*start = *end = 0;
	if (memory_get(target, block->address, word, words * sizeof(word[0])))
		return;
	for (size_t i = 0; i + 2 < words && !*end; i++)
		if (is_stack(target, block, word[i], word[i + 1])) {
			*start = behind_others_guard(target, word[i], word[i + 2]);
			*end = word[i] + word[i + 1];
		}
}

void thread_name_stack(const struct target *target, struct findings *findings, pid_t tid, uint64_t start, uint64_t end)
{
	char name[20];

	/* A core has no names of threads. */
	if (target->proc->core)
		found_add(findings, start, end, "stack:%d", (int)tid);
	else if (thread_name(target, tid, name))
		found_add(findings, start, end, "stack:%d:%s", (int)tid, name);
}

void thread_take(struct target *target, struct findings *findings, const struct thread_block *block, pid_t tid)
{
	uint64_t start, end;

	found_thread_add(findings, block->address, tid);
	stack_range(target, block, &start, &end);
	thread_name_stack(target, findings, tid, start, end);
}

static void take_thread(struct target *target, struct findings *findings, const struct layout *layout, uint64_t address)
{
	struct thread_block block = { address, layout->size, layout->machine };
	uint32_t tid;

	if (memory_u32(target, address + layout->tid, &tid) && tid && tid <= INT32_MAX)
		thread_take(target, findings, &block, (pid_t)tid);
}

/* Its stack is the kernel's or the program's: only where its own variables are counts. */
static void take_other(struct target *target, struct findings *findings, const struct layout *layout, uint64_t block)
{
	uint32_t tid;

	if (memory_u32(target, block + layout->tid, &tid) && tid && tid <= INT32_MAX)
		found_thread_add(findings, block, (pid_t)tid);
}

void recognise_threads(struct target *target, struct findings *findings)
{
	struct layout layout;

	/* Most processes have one thread, and their libc's symbols need not be read. */
	if (!threads_several(target) || !find_layout(target, &layout))
		return;
	walk(target, findings, &layout, layout.global + layout.used, take_thread);
	walk(target, findings, &layout, layout.global + layout.user, take_other);
}
