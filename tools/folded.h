/* SPDX-License-Identifier: MIT */
/*
 * Folded stacks: a line "process;owner;thing;detail BYTES" for each name of each
 * process, which flamegraph.pl, inferno and speedscope draw.
 */
#ifndef ANONNAME_TOOLS_FOLDED_H
#define ANONNAME_TOOLS_FOLDED_H

#include "measure.h"

struct folded {
	FILE *out;
	enum figure figure;         /* what the number at the end of a line is */
	bool fold;                  /* names that differ in a number are one, and so are processes of a name */
	size_t unknown;             /* lines that are missing: their figure cannot be had */
};

/* For wants.each; context is a struct folded. */
int folded_process(void *context, const struct measured *process);

#endif
