/* SPDX-License-Identifier: MIT */
/*
 * The process's own VMAs, without stdio and without malloc, for the few moments
 * when the library has to look: start-up, a program's own PR_SET_VMA on a
 * kernel without it, and the count of VMAs. Who needs all gets them from the text
 * of /proc/self/maps, who needs a few from the kernel one by one, where it can be
 * asked (PROCMAP_QUERY, linux/fs.h, since Linux 6.11). proc_pid_maps(5).
 */
#ifndef ANONNAME_BASE_MAPS_H
#define ANONNAME_BASE_MAPS_H

#include <linux/fs.h>
#include <sys/ioctl.h>

#include "base/compiler.h"

/* struct procmap_query, which older headers do not have. Its size stands in front: newer ones may have more. */
struct maps_question {
	uint64_t size, flags, address;
	uint64_t start, end, vma_flags, vma_page_size, offset, inode;
	uint32_t major, minor;
	uint32_t name_size, build_id_size;
	uint64_t name, build_id;
};
#ifndef PROCMAP_QUERY
#define PROCMAP_QUERY _IOWR('f', 17, struct maps_question)
#endif

struct maps_line {
	uintptr_t start;
	uintptr_t end;
	uint64_t inode;
	uintptr_t next;         /* for maps_some: where to go on */
	const char *path;       /* "" where there is none, or no room for it; gone when each() returns */
	char perms[5];
	bool anonymous;         /* private memory without a file: what can carry a name */
	bool special;           /* [heap] or [stack]: the kernel calls it so whatever name it carries */
};

/*
 * Calls each(line, context) for every VMA in order until it returns false.
 * Returns the number of VMAs seen, or -errno.
 */
long maps_each(bool (*each)(struct maps_line *line, void *context), void *context);

/*
 * The same, but each() may set line->next further: what ends before that is then
 * left out, where the kernel is asked, or seen all the same. For who skips most:
 * a question costs more than a line of the text.
 */
long maps_some(bool (*each)(struct maps_line *line, void *context), void *context);

/* The VMA that holds addr, without its path. Returns false where there is none or maps cannot be read. */
bool maps_find(uintptr_t addr, struct maps_line *line);

#endif
