/* SPDX-License-Identifier: MIT */
/*
 * A range of another process's memory, read from its beginning to its end: pages
 * that are there alone, in pieces that fit in a processor's nearer cache.
 *
 *   range   start ........................................ end
 *   there         1111 0000 1111111111111 000 1111          a bit each page
 *   window                  [from   to)                     its bytes are here
 */
#ifndef ANONNAME_RECOGNISE_VIEW_H
#define ANONNAME_RECOGNISE_VIEW_H

#include "memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VIEW_WINDOW (64U << 10)     /* larger ones took three times as long where this was measured */

struct view {
	struct target *target;
	uint64_t start, end;        /* whole pages */
	uint64_t *there;
	uint64_t from, to;
	size_t ahead;               /* pages to read at once: more as long as all are wanted */
	char *window;               /* VIEW_WINDOW bytes */
};

/* 0 or a negative errno: no memory, or nobody says which pages are there. */
int view_open(struct view *view, struct target *target, uint64_t start, uint64_t end);
void view_close(struct view *view);

/* How many bytes of the pages in a part of it are there. */
uint64_t view_there(const struct view *view, uint64_t from, uint64_t to);

/* The same of a range of its own; false: nobody says. */
bool view_resident(struct target *target, uint64_t start, uint64_t end, uint64_t *bytes);

/* Brings the window to an address; false: that page is not there, or cannot be read. */
bool view_move(struct view *view, uint64_t address);

/*
 * Of a range of any length: calls each for every run of pages that are there, of
 * VIEW_WINDOW bytes at most, until it says true; so does it then.
 */
typedef bool view_run_function(void *context, uint64_t address, const char *bytes, size_t size);
bool view_runs(struct target *target, uint64_t start, uint64_t end, view_run_function *each, void *context);

#endif
