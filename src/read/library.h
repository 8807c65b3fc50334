/* SPDX-License-Identifier: MIT */
/*
 * Finds libanonname.so in a process and what it says of itself (struct root).
 * Apart from registry.c, which needs nothing but bytes, because this file asks
 * /proc.
 */
#ifndef ANONNAME_READ_LIBRARY_H
#define ANONNAME_READ_LIBRARY_H

#include "memory.h"
#include "proc.h"
#include "registry.h"
#include "text.h"

#define LIBRARY_NAME "libanonname"

/* Whether a VMA is part of the library's file. */
bool library_is_in(const struct vma *vma);

enum library_state {
	LIBRARY_ABSENT = 0,         /* not in the process */
	LIBRARY_UNREADABLE,         /* in it, but its memory cannot be read: error says why */
	LIBRARY_UNREADY,            /* not started yet */
	LIBRARY_FOREIGN,            /* another version, or not a libanonname */
	LIBRARY_READY,              /* root is filled in */
};

struct library {
	enum library_state state;
	int error;
	struct process_memory memory;
	uint64_t root_address;
	struct root root;
	char path[256];             /* safe to show */
};

/* maps: the process's, open at its beginning; ahead: what was read of it already. */
void library_find(const struct proc *proc, pid_t pid, struct text ahead, int maps, struct cost *cost,
                  struct library *library);
void library_close(struct library *library);

/* Reads through library->memory. */
struct memory library_memory(struct library *library);

#endif
