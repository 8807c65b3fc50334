/* SPDX-License-Identifier: MIT */
/*
 * Finds libanonname.so in a process and what it says of itself (struct root).
 * Apart from registry.c, which needs nothing but bytes and runs under a
 * fuzzer, because this file asks /proc.
 */
#ifndef ANONNAME_READ_LIBRARY_H
#define ANONNAME_READ_LIBRARY_H

#include "proc.h"
#include "registry.h"
#include "text.h"

#define LIBRARY_NAME "libanonname"

/* Whether a path looks like the library's. */
bool library_is_ours(struct text path);

enum library_state {
	LIBRARY_ABSENT = 0,         /* not in the process */
	LIBRARY_UNREADABLE,         /* in it, but /proc/PID/mem cannot be read: error says why */
	LIBRARY_UNREADY,            /* not started yet */
	LIBRARY_FOREIGN,            /* another version, or not a libanonname */
	LIBRARY_READY,              /* root is filled in */
};

struct library {
	enum library_state state;
	int error;
	int mem;                    /* /proc/PID/mem, -1 when it is not open */
	uint64_t root_address;
	struct root root;
	char path[256];             /* safe to show */
};

void library_find(const struct proc *proc, pid_t pid, struct cost *cost, struct library *library);
void library_close(struct library *library);

/* Reads through library->mem. */
struct memory library_memory(struct library *library);

#endif
