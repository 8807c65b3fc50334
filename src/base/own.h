/* SPDX-License-Identifier: MIT */
/*
 * The library's own memory: whole pages from the kernel, never malloc. It has
 * names too (anonname:THING), given by the room above once that can.
 */
#ifndef ANONNAME_BASE_OWN_H
#define ANONNAME_BASE_OWN_H

#include "base/compiler.h"

/* Zeroed pages, rounded up from len. NULL: none to be had. */
void *own_map(size_t len, const char *thing);

/* Memory that became ours in another way. */
void own_note(void *start, size_t len, const char *thing);

/* From now on name is called for each piece; first for those there are. */
void own_start_naming(void (*name)(uintptr_t start, size_t len, const char *thing));

#endif
