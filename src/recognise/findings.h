/* SPDX-License-Identifier: MIT */
/*
 * What recognisers have found in one process. Who comes first in the table of
 * recognisers has the memory: a later one gets what is left of its range.
 */
#ifndef ANONNAME_RECOGNISE_FINDINGS_H
#define ANONNAME_RECOGNISE_FINDINGS_H

#include "memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FOUND_NAME_MAX 80           /* the kernel's limit, with the NUL */
#define FOUND_MAX      65536

struct found {
	uint64_t start, end;
	size_t name;                /* offset into names */
};

/* A thread that libc has in its lists. */
struct found_thread {
	uint64_t control_block;
	pid_t tid;
};

struct findings {
	struct found *found;
	size_t count, room;
	size_t settled;             /* of them: sorted, not overlapping */
	char *names;
	size_t names_len, names_room;
	struct found_thread *thread;
	size_t threads, threads_room;
};

/* That memory has this name. What cannot be kept is left out. */
void found_add(struct findings *findings, uint64_t start, uint64_t end, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
void found_thread_add(struct findings *findings, uint64_t control_block, pid_t tid);

/* Sorts what was added, and cuts it where older findings are. */
void findings_settle(struct findings *findings);

/* Whether a settled finding holds the address. */
bool findings_have(const struct findings *findings, uint64_t address);

/*
 * The next piece of private anonymous, writable memory at or above *start that
 * the kernel and settled findings have no name for; false: there is none.
 */
bool findings_left(const struct target *target, const struct findings *findings, uint64_t *start, uint64_t *end);

void findings_free(struct findings *findings);

#endif
