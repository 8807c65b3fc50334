/* SPDX-License-Identifier: MIT */
/*
 * Work that may take long: a line on a terminal that says how far it is, and
 * Ctrl-C that ends it with what is there. A second Ctrl-C ends the command.
 */
#ifndef ANONNAME_TOOLS_PROGRESS_H
#define ANONNAME_TOOLS_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>

/* From here on Ctrl-C does not end the command but makes progress_stopped() true. */
void progress_begin(void);
bool progress_stopped(void);

/* The line, after the first second, where standard error is a terminal. */
void progress_show(size_t done, size_t all);

/* Takes the line away, and Ctrl-C is what it was. */
void progress_end(void);

#endif
