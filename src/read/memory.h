/* SPDX-License-Identifier: MIT */
/*
 * The one way to read another process's memory. Only pages are read that are
 * the process's own, anonymous, and there: by maps in a private mapping, by
 * pagemap present (or swapped out) and not a file's, before the read and after
 * it. All other memory may make a reader wait for whoever serves it (a FUSE
 * server, a userfaultfd), or is a device's. The process can still change a
 * page between the look and the read: whoever reads is a child that may be
 * left behind (apart.h). Of a core file, what it has is there and its own.
 */
#ifndef ANONNAME_READ_MEMORY_H
#define ANONNAME_READ_MEMORY_H

#include "maps.h"
#include "proc.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* How somebody reads bytes, of a process or in a test: all of size, or a negative errno. */
struct memory {
	int (*read)(void *context, uint64_t address, void *buffer, size_t size);
	void *context;
};

struct memory_range {
	uint64_t start, end;
};

struct process_memory {
	int mem, pagemap;           /* -1: not open */
	const struct core *core;    /* in place of both */
	struct memory_range *range; /* private mappings, sorted, neighbours joined */
	size_t ranges, room;
	uint64_t page;
	bool present_only;          /* what is swapped out stays there */
};

/* 0 or a negative errno: why the memory cannot be read. */
int process_memory_open(struct process_memory *memory, const struct proc *proc, pid_t pid);
void process_memory_close(struct process_memory *memory);

/* The next VMA, in order of address. 0 or -ENOMEM. */
int process_memory_add(struct process_memory *memory, const struct vma *vma);

/* Whether all pages of a piece are the process's own. */
bool process_memory_has(const struct process_memory *memory, uint64_t address, size_t size);

/* Looks before and after. -EFAULT: there is a page that is not the process's own, or not there. */
int process_memory_read(struct process_memory *memory, uint64_t address, void *buffer, size_t size);

#endif
