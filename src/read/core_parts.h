/* SPDX-License-Identifier: MIT */
/* What core.c and core_files.c share: a core file, as its headers and notes have it. */
#ifndef ANONNAME_READ_CORE_PARTS_H
#define ANONNAME_READ_CORE_PARTS_H

#include "core.h"

#include <elf.h>

/* A mapping: its memory, and the bytes that the file has for the beginning of it. */
struct core_segment {
	uint64_t start, end, offset, bytes;
	uint32_t flags;             /* PF_R, ... */
};

/* A part of a file that was mapped. */
struct core_mapped {
	uint64_t start, end, offset;
	const char *path;           /* in the notes */
};

struct core {
	int fd;
	uint64_t size, missing;
	struct core_segment *segment; /* sorted, not overlapping */
	size_t segments, room;
	char *notes;
	size_t notes_size;
	struct core_mapped *file;   /* sorted, not overlapping */
	size_t files;
	pid_t *tid, pid;
	size_t tids, tids_room;
	char comm[17];
	const char *vector;         /* in the notes */
	size_t vector_size;
	uint64_t stack, vdso;       /* an address in each; 0: not known */
	uint64_t heap;              /* where [heap] begins */
};

/* Which mapping [heap] is. */
void core_find_heap(struct core *core);

#endif
