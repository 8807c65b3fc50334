/* SPDX-License-Identifier: MIT */
/* Reads back, inside the process, what the sinks show. */
#ifndef ANONNAME_SINK_SHOWN_H
#define ANONNAME_SINK_SHOWN_H

#include "base/compiler.h"
#include "format/registry_format.h"

struct shown {
	uintptr_t start;
	uintptr_t end;
	char name[256];         /* without [anon: ] around it */
};

/*
 * Calls each(range, context) for each named range in order until it returns
 * false. Returns 0 or -errno. Nothing is held meanwhile.
 */
int shown_each(bool (*each)(const struct shown *range, void *context), void *context);

/* What the memory at addr is called, "" for nothing. -ENOENT: nothing is mapped there. */
int shown_at(uintptr_t addr, struct shown *found);

#endif
