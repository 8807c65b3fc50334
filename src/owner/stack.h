/* SPDX-License-Identifier: MIT */
/* Stacks: of threads, as libc maps and keeps them or the program gives them, and of signal handlers. */
#ifndef ANONNAME_OWNER_STACK_H
#define ANONNAME_OWNER_STACK_H

#include "label/thread.h"

/* We come late: finds the threads that run already, and names their stacks. */
void stack_find_threads(void);

/* libc mapped a stack. */
void stack_mapped(uintptr_t start, uintptr_t end);

/* As owner.h has them. */
void stack_unmapped(uintptr_t start, size_t len);
void stack_start(void);
bool stack_found(uintptr_t vma, uintptr_t start);
void stack_thread_begins(const struct new_thread *new);
void stack_thread_ends(void);
void stack_thread_renamed(uintptr_t self, const char *name);
void stack_fork_child(void);

/* A part of a stack is executable, and to be called as the rest of it. */
void stack_is_code(uintptr_t start, uintptr_t end);

/*
 * in_heap: malloc gives and takes the memory. It is not named: the name would stay
 * when it is freed.
 */

/* The program gives a thread this stack: before it is created, so that it can be named before it begins. */
void stack_given(uintptr_t start, uintptr_t end, bool in_heap);

/* The calling thread has set a stack for its signal handlers. */
void stack_for_signals(uintptr_t start, size_t len, bool in_heap);

#endif
