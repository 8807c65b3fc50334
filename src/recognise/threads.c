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

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define THREADS_MAX 32768

struct layout {
	uint64_t global;            /* _rtld_global */
	uint32_t tid, list, size, used, user; /* offsets; size of a control block */
	unsigned machine;
};

static bool find_layout(struct target *target, struct layout *layout)
{
	struct object *libc = object_named(target, "libc.so.6"), *loader = object_named(target, "ld-linux");
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

/* The guard in front of an area, or NULL. */
static const struct area *guard_of(const struct target *target, size_t i)
{
	const struct area *area = &target->area[i], *below = i ? area - 1 : NULL;

	return below && area_is_anonymous(area) && area_is_writable(area) && below->end == area->start &&
	       area_is_anonymous(below) && !memcmp(below->perms, "---", 3) ? below : NULL;
}

/* Most processes have one thread, and their libc's symbols need not be read. */
static bool may_have_stacks(const struct target *target)
{
	for (size_t i = 1; i < target->areas; i++)
		if (guard_of(target, i))
			return true;
	return false;
}

/* From its guard to the page that its control block ends in: libc puts that at the upper end. */
static void stack_range(const struct target *target, const struct layout *layout, uint64_t block, uint64_t *start,
                        uint64_t *end)
{
	size_t i = area_seek(target, block);
	const struct area *area = &target->area[i], *guard = i < target->areas ? guard_of(target, i) : NULL;
	uint64_t page = target->own.page;

	*start = *end = 0;
	/* Without a guard nothing says where it begins. */
	if (!guard || area->start > block)
		return;
	/* Of a longer one a part may be another's. */
	*start = guard->end - guard->start == page ? guard->start : area->start;
	/* Elsewhere the thread's variables follow it, and how long they are is not known. */
	*end = layout->machine == EM_X86_64 ? (block + layout->size + page - 1) & ~(page - 1) : area->end;
	if (*end > area->end)
		*start = *end = 0;
}

static void take_thread(struct target *target, struct findings *findings, const struct layout *layout, uint64_t block)
{
	uint64_t start, end;
	uint32_t tid;
	char name[20];

	if (!memory_u32(target, block + layout->tid, &tid) || !tid || tid > INT32_MAX)
		return;
	found_thread_add(findings, block, (pid_t)tid);
	stack_range(target, layout, block, &start, &end);
	if (thread_name(target, (pid_t)tid, name))
		found_add(findings, start, end, "stack:%u:%s", tid, name);
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

	if (!may_have_stacks(target) || !find_layout(target, &layout))
		return;
	walk(target, findings, &layout, layout.global + layout.used, take_thread);
	walk(target, findings, &layout, layout.global + layout.user, take_other);
}
