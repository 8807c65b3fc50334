/* SPDX-License-Identifier: MIT */
/* Pages of another process, kept: for structures that lead from one place to the next, often near it. */
#ifndef ANONNAME_RECOGNISE_PAGES_H
#define ANONNAME_RECOGNISE_PAGES_H

#include "memory.h"

struct pages;

/* How many are kept, a power of two: for an allocator's structures, and where a few are looked at again and again. */
#define PAGES_MANY 4096
#define PAGES_FEW  16

/* NULL: no memory. */
struct pages *pages_new(struct target *target, size_t count);
void pages_free(struct pages *pages);

/* As memory_get(): all of size bytes, or false. */
bool pages_get(struct pages *pages, uint64_t address, void *buffer, size_t size);

/* The process may have changed them. */
void pages_forget(struct pages *pages);

#endif
