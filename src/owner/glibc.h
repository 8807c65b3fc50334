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
void glibc_chunk_mapped(const struct mapping *m);
void glibc_chunk_in_heap(uintptr_t chunk);
bool glibc_heap_holds(uintptr_t addr);

#endif
