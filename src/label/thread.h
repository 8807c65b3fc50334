/* SPDX-License-Identifier: MIT */
/* What the library knows of the calling thread: its tid, its name, where its stack is. */
#ifndef ANONNAME_LABEL_THREAD_H
#define ANONNAME_LABEL_THREAD_H

#include "base/compiler.h"

#define LABELS_MAX 8
#define COMM_SIZE 16            /* include/linux/sched.h, TASK_COMM_LEN */

struct thread {
	uintptr_t stack_start;          /* 0, 0: not known */
	uintptr_t stack_end;
	uint32_t tid;                   /* 0: not known yet */
	bool orphaned;                  /* made by a clone that libc knows nothing of: its own note of the tid is old */
	bool alternate;                 /* it once had a stack for signals inside its own */
	void (*later)(void);            /* what an owner wants called at the thread's next event; NULL: nothing */
	char comm[COMM_SIZE];
	uint32_t labels;                /* anonname_push: how many; those above LABELS_MAX are not kept */
	const char *label[LABELS_MAX];
};

/* A thread that begins. */
struct new_thread {
	const char *name;               /* its creator's */
	const char *routine;            /* what it runs, see routine.h */
	uintptr_t stack_start, stack_end;       /* the stack that the program gave it; 0, 0: libc made it */
};

extern THREAD_LOCAL struct thread this_thread;

static inline struct thread *thread_self(void) { return &this_thread; }

/* The label that was pushed last, or NULL. */
static inline const char *thread_label(void)
{
	const struct thread *me = thread_self();

	return likely(!me->labels) ? NULL : me->label[MIN(me->labels, LABELS_MAX) - 1];
}

uint32_t thread_tid(void);
const char *thread_name(void);

/* The tid of the thread whose control block (pthread_self) is at self, as libc noted it; 0: not found. */
uint32_t thread_tid_of(uintptr_t self);

/*
 * The calling thread's stack, with its guard, as libc noted it in the control
 * block for itself; here: an address on it. No constant leads there, so the
 * words are looked for once, and must agree each time. False: not found, or the
 * stack is one that the program gave.
 */
bool thread_stack_by_libc(uintptr_t here, uintptr_t *start, uintptr_t *end);

/* In the first thread, once. */
void thread_start(void);

/* Is the calling thread the process's first? */
bool thread_is_first(void);

/* Is the frame on the stack of the calling thread? */
bool thread_frame_is_mine(uintptr_t frame);

/*
 * A function of ours was called in `frame`, and has not said that it is through. Now
 * the thread is in `here`. Stacks grow down, so where `here` is not below `frame`, the
 * function cannot be running any more: somebody jumped out of it (longjmp, or a thread
 * that ended).
 *
 *     caller's frames     higher addresses
 *     here
 *     ...                 a jump came back to here
 *     frame               what was called, and is gone
 *
 * False where that is not certain: on another stack, such as a signal handler's, or in
 * a child of vfork, addresses say nothing about who called whom.
 */
bool thread_frame_is_gone(uintptr_t frame, uintptr_t here);

/*
 * In a fork's child, before thread_fork_child: its tid as libc noted it, which
 * is its process's too. 0: libc did not make it. Not asked from the kernel, for
 * the first who calls may be a vfork child of that child.
 */
uint32_t thread_forked_tid(void);

/* The calling thread is a fork's child's only one. */
void thread_fork_child(void);

#endif
