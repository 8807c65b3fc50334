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
	MAY_NAME = 1 << 0,              /* prctl(PR_SET_VMA, ...) */
	MAY_ASK_TID = 1 << 1,           /* gettid */
	MAY_ASK_NAME = 1 << 2,          /* prctl(PR_GET_NAME) */
	MAY_ASK_PID = 1 << 3,           /* getpid */
	MAY_OPEN = 1 << 4,              /* openat, to read */
	MAY_OPEN_TO_WRITE = 1 << 5,     /* openat, to read and write */
	MAY_READ = 1 << 6,              /* read */
	MAY_CLOSE = 1 << 7,             /* close */
	MAY_STAT = 1 << 8,              /* newfstatat */
	MAY_WRITE_AT = 1 << 9,          /* pwrite64 */
	MAY_MAP = 1 << 10,              /* mmap of anonymous memory */
	MAY_MAP_CODE = 1 << 11,         /* mmap of a file, executable */
	MAY_UNMAP = 1 << 12,            /* munmap */
	MAY_PROTECT = 1 << 13,          /* mprotect: read */
	MAY_PROTECT_DATA = 1 << 14,     /* mprotect: read, write */
	MAY_PROTECT_CODE = 1 << 15,     /* mprotect: read, execute */
	MAY_ADVISE = 1 << 16,           /* madvise */
	MAY_YIELD = 1 << 17,            /* sched_yield */
	MAY_READ_MEMORY = 1 << 18,      /* process_vm_readv */
	MAY_TEST_MEMORY = 1 << 19,      /* rt_sigprocmask that changes nothing, see peek.c */
	MAY_WATCH_TASK = 1 << 20,       /* get_robust_list, set_robust_list */
	MAY_READ_AT = 1 << 21,          /* pread64 */
	MAY_LIST = 1 << 22,             /* getdents64 */
	MAY_ASK_VMA = 1 << 23,          /* ioctl(PROCMAP_QUERY), see maps.c */
	MAY_ALL = (1 << 24) - 1,
	/* What we do takes several calls. */
	MAY_READ_PROC = MAY_OPEN | MAY_READ | MAY_CLOSE,
	MAY_COPY = MAY_ASK_TID | MAY_READ_MEMORY,
	MAY_LOAD = MAY_READ_PROC | MAY_MAP | MAY_MAP_CODE | MAY_UNMAP | MAY_PROTECT,
	MAY_PATCH = MAY_STAT | MAY_OPEN_TO_WRITE | MAY_WRITE_AT | MAY_CLOSE,
	MAY_PATCH_BY_PROTECT = MAY_OPEN | MAY_CLOSE | MAY_MAP_CODE | MAY_UNMAP | MAY_PROTECT_DATA | MAY_PROTECT_CODE,
};

/*
 * The rights of the process. A filter binds the thread that installs it (and
 * with SECCOMP_FILTER_FLAG_TSYNC the others); what one thread may not do, none
 * of ours does from then on. That is less than some could, but labels are made
 * for any thread by any other (the registry's holder applies all notes, a name
 * is given to a whole stack table), and a thread that was made later has its
 * creator's filters, not the process's.
 */
extern uint32_t sandbox_rights OURS;

/*
 * A child that shares our memory (vfork, clone with CLONE_VM and without
 * CLONE_THREAD) is a guest: a filter that it installs binds the child alone,
 * and so its rights are its own until it has ended or become another program.
 */
#define SANDBOX_GUESTS (1U << 31)       /* in sandbox_rights: some guest has rights of its own */
bool sandbox_allows_guest(uint32_t rights);

static inline bool sandbox_allows(uint32_t rights)
{
	uint32_t all = load_relaxed(&sandbox_rights);

	if (unlikely(all & SANDBOX_GUESTS))
		return sandbox_allows_guest(rights);
	return (all & rights) == rights;
}

/* The id of the process that the memory belongs to; 0: not known. */
uint32_t sandbox_pid(void);
/* At the start, when the rights are known. */
void sandbox_remember_pid(void);

/* Is the caller a guest? False also where that cannot be asked. */
bool sandbox_is_guest(void);

/* A fork's child is a process of its own, with what its maker was allowed. pid: 0 where it has to be asked for. */
void sandbox_fork_child(uint32_t pid);

/* How rt_sigprocmask is asked whether memory can be read, see peek.c. */
#define SANDBOX_NO_HOW 0x7fffffff
#define SANDBOX_SIGSET_SIZE 8

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

/*
 * The same for a guest alone. false: its end could not be noticed, so that the
 * whole process has to be restricted.
 */
bool sandbox_restrict_guest(uint32_t rights, uint32_t *before);
void sandbox_restore_guest(uint32_t rights);

/* Looks whether a filter is in force, by calls that the dynamic linker has made, too. true: certainly none. */
bool sandbox_look(void);

/*
 * Did sandbox_look see that the caller is the only thread? False also where an
 * emulator has threads of its own, or it could not be seen.
 */
bool sandbox_alone(void);

/* The first thread's name, as sandbox_look saw it; "": it could not. A newline or a backslash stands there as \n, \\. */
const char *sandbox_thread_name(void);

/*
 * After sandbox_look found that there may be one: tries the calls in children
 * that may die of them; at_any_risk: also where nothing tells that a child may
 * be made. service: systemd has made this process (its SYSTEMD_EXEC_PID), or NULL.
 */
void sandbox_probe(bool at_any_risk, const char *service);

#endif
