/* SPDX-License-Identifier: MIT */
/* Stacks: of threads, as libc maps and keeps them or the program gives them, and of signal handlers. */
#ifndef ANONNAME_OWNER_STACK_H
#define ANONNAME_OWNER_STACK_H

#include "base/compiler.h"

void stack_start(void);

/* We come late: finds the threads that run already, and names their stacks. */
void stack_find_threads(void);

/* A stack that is known holds the address. */
bool stack_holds(uintptr_t addr);

/* libc mapped a stack, or put one away for good. */
void stack_mapped(uintptr_t start, uintptr_t end);
void stack_unmapped(uintptr_t start, uintptr_t end);

/* A part of a stack is executable, and to be called as the rest of it. */
void stack_is_code(uintptr_t start, uintptr_t end);

/* The program gives a thread this stack: before it is created, so that it can be named before it begins. */
void stack_given(uintptr_t start, uintptr_t end);

/* The calling thread has set a stack for its signal handlers. */
void stack_for_signals(uintptr_t start, size_t len);

/*
 * The calling thread begins, with its creator's name, and what it runs (routine.h). given_start, given_end:
 * the stack that the program gave it, or 0, 0 where libc made it.
 */
void stack_thread_begins(const char *name, const char *routine, uintptr_t given_start, uintptr_t given_end);
void stack_thread_ends(void);

/* The thread whose control block is at self has a new name. */
void stack_thread_renamed(uintptr_t self, const char *name);

/* Only the calling thread exists in a fork's child. */
void stack_fork_child(void);

#endif
