/* SPDX-License-Identifier: MIT */
/*
 * The library's own memory: whole pages from the kernel, never malloc, and only
 * where the sandbox allows it, which is asked here. It has names too
 * (anonname:THING), given by the room above once that can.
 */
#ifndef ANONNAME_BASE_OWN_H
#define ANONNAME_BASE_OWN_H

#include "base/compiler.h"

/* Zeroed pages, rounded up from len. NULL: none to be had. */
void *own_map(size_t len, const char *thing);

/* The same in two steps, for who must use the pages before they can be named. */
void *own_pages(size_t len);

/* The page of .bss that has nothing else in it. Zeroed, always there, and no pointers may be in it: see INTERNALS, "Start". */
void *own_bss_page(void);

/* Names memory of ours, in whichever way it became that. */
void own_note(void *start, size_t len, const char *thing);

/* From now on name is called for each piece; first for those there are. */
void own_start_naming(void (*name)(uintptr_t start, size_t len, const char *thing));

#endif
