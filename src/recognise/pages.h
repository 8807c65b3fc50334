/* SPDX-License-Identifier: MIT */
/* Pages of another process, kept: for structures that lead from one place to the next, often near it. */
#ifndef ANONNAME_RECOGNISE_PAGES_H
#define ANONNAME_RECOGNISE_PAGES_H

#include "memory.h"

struct pages;

/* NULL: no memory. */
struct pages *pages_new(struct target *target);
void pages_free(struct pages *pages);

/* As memory_get(): all of size bytes, or false. */
bool pages_get(struct pages *pages, uint64_t address, void *buffer, size_t size);

/* The process may have changed them. */
void pages_forget(struct pages *pages);

#endif
