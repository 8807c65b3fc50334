/* SPDX-License-Identifier: MIT */
/*
 * Which of our own system calls the process's seccomp filters let through. A
 * filter may kill for a call that the program itself never makes, so each of
 * our calls asks here first. seccomp(2).
 */
#ifndef ANONNAME_BASE_SANDBOX_H
#define ANONNAME_BASE_SANDBOX_H

#include <linux/filter.h>

#include "base/compiler.h"

enum sandbox_right {
	MAY_NAME = 1 << 0,      /* prctl(PR_SET_VMA, ...) */
	MAY_ASK_TID = 1 << 1,   /* gettid, prctl(PR_GET_NAME) */
	MAY_READ_PROC = 1 << 2, /* openat, read, close */
	MAY_MAP = 1 << 3,       /* mmap of anonymous memory */
	MAY_COPY = 1 << 4,      /* getpid, process_vm_readv */
	MAY_LOAD = 1 << 5,      /* what it takes to map a library: openat, read, mmap, mprotect, munmap, close */
	MAY_UNMAP = 1 << 6,     /* munmap */
	MAY_PATCH = 1 << 7,     /* what the detour needs: newfstatat, openat, pwrite64, close, mmap, mprotect, munmap */
	MAY_START = 1 << 8,     /* what only start-up asks for: madvise */
	MAY_YIELD = 1 << 9,     /* sched_yield */
	MAY_ALL = (1 << 10) - 1,
};

extern uint32_t sandbox_rights;

static inline bool sandbox_allows(uint32_t rights)
{
	return (load_relaxed(&sandbox_rights) & rights) == rights;
}

/* What a filter that is about to be installed leaves of our rights. */
uint32_t sandbox_evaluate(const struct sock_fprog *filter);

/* What SECCOMP_MODE_STRICT leaves: read, write, exit and sigreturn are none of ours. */
#define SANDBOX_STRICT 0U

/*
 * Takes rights away, before the filter is in force. Returns those that were
 * there, for sandbox_restore when the filter was refused.
 */
uint32_t sandbox_restrict(uint32_t rights);
void sandbox_restore(uint32_t rights);

/* Looks whether a filter is in force, by calls that the dynamic linker has made, too. true: certainly none. */
bool sandbox_look(void);

/*
 * After sandbox_look found that there may be one: tries the calls in children
 * that may die of them; at_any_risk: also where nothing tells that a child may
 * be made.
 */
void sandbox_probe(bool at_any_risk);

#endif
