/* SPDX-License-Identifier: MIT */
/*
 * Gives names to another process's memory, by system calls that one of its
 * threads makes for us:
 *
 *   seize a thread, interrupt it --> its registers and signal mask are kept
 *      mmap (for the texts) --> prctl, prctl, ... --> munmap       64 names at most
 *   registers and mask are put back --> it goes on
 *
 * A system call that was interrupted is begun again by the kernel, as after a
 * stop. Signals that come meanwhile wait. Nothing of ours lies on its stack, and
 * between two stops nothing of ours is in it. All is done by a child that no
 * signal to us or our group reaches: who ends us ends no stop half-way.
 */
#ifndef ANONNAME_TOOLS_REMOTE_H
#define ANONNAME_TOOLS_REMOTE_H

#include "../src/read/proc.h"

#include <stdint.h>

struct remote_name {
	uint64_t start, end;
	char name[80];              /* the kernel's limit, with the NUL */
};

struct remote_result {
	size_t named, refused;      /* refused: what is no more what it was, mostly */
	size_t stops;
	uint64_t longest_ns;        /* stop */
	const char *why;            /* a sentence's end, "it ..."; NULL: all were tried */
};

/* 0 or a negative errno: no child could be had. */
int remote_label(const struct proc *proc, pid_t pid, const struct remote_name *names, size_t count,
                 struct remote_result *result);

#endif
