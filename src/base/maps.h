/* SPDX-License-Identifier: MIT */
/*
 * /proc/self/maps, read without stdio and without malloc, for the few moments
 * when the library has to look: start-up, a program's own PR_SET_VMA on a
 * kernel without it, and the count of VMAs. proc_pid_maps(5).
 */
#ifndef ANONNAME_BASE_MAPS_H
#define ANONNAME_BASE_MAPS_H

#include "base/compiler.h"

struct maps_line {
	uintptr_t start;
	uintptr_t end;
	uint64_t inode;
	const char *path;       /* "" where there is none; gone when each() returns */
	char perms[5];
	bool anonymous;         /* private memory without a file: what can carry a name */
	bool special;           /* [heap] or [stack]: the kernel calls it so whatever name it carries */
};

/*
 * Calls each(line, context) for every VMA in order until it returns false.
 * Returns the number of VMAs seen, or -errno.
 */
long maps_each(bool (*each)(const struct maps_line *line, void *context), void *context);

/* The VMA that holds addr, without its path. Returns false where there is none or maps cannot be read. */
bool maps_find(uintptr_t addr, struct maps_line *line);

#endif
