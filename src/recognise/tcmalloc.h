/* SPDX-License-Identifier: MIT */
/*
 * What gperftools' tcmalloc (2.8 and later, pages of 8 KiB) has, by its own map of pages.
 * It is found without symbols:
 *
 *   root (1 MiB of .bss), a word for each 2 GiB of addresses
 *     +--> leaf (2 MiB), a word for each page: the span that it belongs to
 *            +--> span: its own first page and length, its size class, how many objects are out
 *
 * It proves itself: a span says the page that it was found by, and all leaves agree
 * about where the root is. What the classes are is checked against all spans.
 */
#ifndef ANONNAME_RECOGNISE_TCMALLOC_H
#define ANONNAME_RECOGNISE_TCMALLOC_H

#include "memory.h"

enum tcmalloc_location { TCMALLOC_IN_USE, TCMALLOC_FREE, TCMALLOC_RETURNED, TCMALLOC_LOCATIONS };

struct tcmalloc_span {
	uint64_t start, size;
	uint64_t next;              /* address of the span behind it in its list, or of the list's head */
	unsigned out;               /* objects that are not in its list: allocated, or in a cache */
	unsigned size_class;        /* 0: one large allocation where it is in use */
	enum tcmalloc_location location;
};

#define TCMALLOC_CLASSES 128

struct tcmalloc {
	struct tcmalloc_span *span; /* in order of address, not overlapping */
	size_t spans, room;
	unsigned classes;           /* 0: the table of them was not found; the first is none */
	uint32_t size[TCMALLOC_CLASSES];
	uint32_t batch[TCMALLOC_CLASSES]; /* objects that go between caches at once */
	uint64_t bss, bss_end;      /* where the map was found */
};

/* NULL: there is none, or it does not prove itself. */
struct tcmalloc *tcmalloc_find(struct target *target);
void tcmalloc_free(struct tcmalloc *tcmalloc);

#endif
