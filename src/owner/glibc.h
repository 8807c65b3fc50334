/* SPDX-License-Identifier: MIT */
/* The arenas of glibc's malloc: which heap belongs to which arena. */
#ifndef ANONNAME_OWNER_GLIBC_H
#define ANONNAME_OWNER_GLIBC_H

#include "base/compiler.h"

/* libc reserved addresses for a heap of an arena. */
/* A chunk in a thread's arena, whose heap no hook saw: it is the calling thread's, or one that is known. */
void glibc_heap_used(uintptr_t chunk);
void glibc_heap_mapped(uintptr_t start, size_t len);
void glibc_heap_unmapped(uintptr_t start);

/* The address lies in one of them. */
/*
 * Memory that was mapped before we came: if it is a heap of an arena, as its
 * header says, names it. Whose arena it is cannot be known.
 */
bool glibc_heap_found(uintptr_t start);

bool glibc_heap_holds(uintptr_t addr);

/* Later, in the same thread: the heap's header is written by now, and tells. */
void glibc_heap_settle(void);

#endif
