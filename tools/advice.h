/* SPDX-License-Identifier: MIT */
/* What the figures of a process's arenas mean, in sentences, and what to do about it. */
#ifndef ANONNAME_TOOLS_ADVICE_H
#define ANONNAME_TOOLS_ADVICE_H

#include "../src/heap/heap.h"

/* Calls say with each sentence, the most telling first. */
void advice_give(const struct heaps *heaps, void (*say)(void *context, const char *sentence), void *context);

#endif
