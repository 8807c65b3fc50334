/* SPDX-License-Identifier: MIT */
/* What the library knows of each thread: its tid, its name, its stack. */
#ifndef ANONNAME_LABEL_THREAD_H
#define ANONNAME_LABEL_THREAD_H

#include "base/compiler.h"
#include "base/table.h"

#define LABELS_MAX 8
#define COMM_SIZE 16            /* include/linux/sched.h, TASK_COMM_LEN */

struct thread {
	uintptr_t stack_start;          /* 0, 0: not known */
	uintptr_t stack_end;
	uint32_t tid;                   /* 0: not known yet */
	bool orphaned;                  /* made by a clone that libc knows nothing of: its own note of the tid is old */
	bool alternate;                 /* it once had a stack for signals inside its own */
	uint32_t arena_index;           /* the malloc arena that it made; 0: none */
	uintptr_t new_heap;             /* its owner is not certain yet, see glibc.c */
	struct place *place;            /* its stack in the table; NULL for the first thread */
	char comm[COMM_SIZE];
	uint32_t labels;                /* anonname_push: how many; those above LABELS_MAX are not kept */
	const char *label[LABELS_MAX];
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

/* The first thread, once. */
void threads_start(void);

/* We come late: finds the threads that run already, and names their stacks. */
void threads_find(void);

/* Is the calling thread the process's first? */
bool thread_is_first(void);

/* A stack that is known holds the address. */
bool thread_stack_holds(uintptr_t addr);

/* libc mapped a stack, or put one away for good. */
void thread_stack_mapped(uintptr_t start, uintptr_t end);
void thread_stack_unmapped(uintptr_t start, uintptr_t end);

/* A part of a stack is executable, and to be called as the rest of it. */
void thread_stack_is_code(uintptr_t start, uintptr_t end);

/* The program gives a thread this stack: before it is created, so that it can be named before it begins. */
void thread_stack_given(uintptr_t start, uintptr_t end);

/*
 * The calling thread begins, with its creator's name, and what it runs (routine.h). given_start, given_end:
 * the stack that the program gave it, or 0, 0 where libc made it.
 */
void thread_begin(const char *name, const char *routine, uintptr_t given_start, uintptr_t given_end);
void thread_end(void);

/* The calling thread exits here: what a handler interrupted of ours does not go on, and holds nothing. */
void thread_left(void);

/* Is the frame on the stack of the calling thread? */
bool thread_frame_is_mine(uintptr_t frame);

/* Two frames of the calling thread: did the first one end without returning? True only where that is certain. */
bool thread_frame_is_gone(uintptr_t frame, uintptr_t here);

/* The thread whose control block is at self has a new name. */
void thread_renamed(uintptr_t self, const char *name);

/*
 * In a fork's child, before threads_fork_child: its tid as libc noted it, which
 * is its process's too. 0: libc did not make it. Not asked from the kernel, for
 * the first who calls may be a vfork child of that child.
 */
uint32_t thread_forked_tid(void);

/* Only the calling thread exists in a fork's child. */
void threads_fork_child(void);

#endif
