/* SPDX-License-Identifier: MIT */
/* What the recognisers of threads share, whichever libc made them. */
#ifndef ANONNAME_RECOGNISE_THREADS_H
#define ANONNAME_RECOGNISE_THREADS_H

#include "findings.h"
#include "memory.h"

/* What glibc keeps of a thread, in the thread's stack. */
struct thread_block {
	uint64_t address, size;
	unsigned machine;           /* EM_X86_64, ... */
};

/* On x86-64 it begins with its own address, twice. */
static inline bool thread_block_begins(const uint64_t word[3], uint64_t address)
{
	return word[0] == address && word[2] == address;
}

/* Whether a tid is one of the process's, which are in order (proc_tasks()). */
bool threads_have(const pid_t *tids, size_t count, uint64_t tid);

/* A thread and, where its block says so, its stack. */
void thread_take(struct target *target, struct findings *findings, const struct thread_block *block, pid_t tid);

/* stack:4711:worker, if there is such a thread. */
void thread_name_stack(const struct target *target, struct findings *findings, pid_t tid, uint64_t start, uint64_t end);

#endif
