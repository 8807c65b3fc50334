/* SPDX-License-Identifier: MIT */
/* glibc's malloc: which heap belongs to which arena, and chunks that are mappings of their own. */
#ifndef ANONNAME_OWNER_GLIBC_H
#define ANONNAME_OWNER_GLIBC_H

#include "label/config.h"
#include "label/mapping.h"
#include "label/objects.h"

/* As owner.h has them. */
bool glibc_mapped(const struct mapping *m, const struct object *asker, enum kind *kind);
void glibc_unmapped(uintptr_t start, size_t len);
bool glibc_found(uintptr_t vma, uintptr_t start);

/* A chunk that is a mapping of its own, which no hook saw. */
void glibc_chunk(const struct mapping *m);

/* A chunk in a thread's arena, whose heap no hook saw: it is the calling thread's, or one that is known. */
void glibc_heap_used(uintptr_t chunk);

/* The address lies in a heap of an arena. */
bool glibc_heap_holds(uintptr_t addr);

#endif
