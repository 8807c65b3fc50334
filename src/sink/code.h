/* SPDX-License-Identifier: MIT */
/*
 * Executable memory, whose names go to the registry alone by default.
 *
 * perf looks for a JIT's symbols (/tmp/perf-PID.map) in executable memory that
 * has no name in /proc/PID/maps; "[anon:NAME]" it takes for a file
 * (tools/perf/util/map.c, is_anon_memory). So there the kernel is given none,
 * and the registry is started for that when the first such memory comes. What
 * was executable once stays marked as code until it is unmapped: JITs switch
 * theirs to writable and back all the time.
 */
#ifndef ANONNAME_SINK_CODE_H
#define ANONNAME_SINK_CODE_H

#include "base/compiler.h"

/* in_kernel: code has kernel names like other memory. */
void code_start(bool in_kernel);

/* Names executable memory. */
void sink_name_code(uintptr_t start, size_t len, const char *name, size_t name_len);

/*
 * [start, start + len) is about to become executable: takes the kernel's names
 * away from it. Calls name for each part that now is to be called as code: not
 * where it has such a name, or one that the program gave it.
 */
void code_begins(uintptr_t start, size_t len, void (*name)(uintptr_t start, size_t len, void *context), void *context);

/* --- what the program named itself ------------------------------------------- */

/*
 * A name that the program gave by the system call stays where it is, on code
 * as well. One given by anonname_set goes where ours go.
 */
enum giver { GIVEN_BY_NOBODY, GIVEN_BY_PRCTL, GIVEN_BY_API };
void code_given(enum giver giver, const char *name, size_t len);

/* A name that could not be read: any may be the program's from now on. */
void code_given_unknown(void);

/* The program named a range by anonname_set: moves the name of what is code in it out of the kernel. */
void code_settle(uintptr_t start, uintptr_t end, const char *name);

/* --- for sink.c ------------------------------------------------------------------ */

/* Where code lies, from the lowest to the highest; most memory lies elsewhere. */
extern uintptr_t code_lowest OURS, code_highest OURS;

static inline bool code_near(uintptr_t start, uintptr_t end)
{
	return unlikely(start < load_relaxed(&code_highest) && end > load_relaxed(&code_lowest));
}

/* Names what is code in the range in the registry, as code; the rest by put (sink_put, registry_set). */
typedef void code_put(uintptr_t start, uintptr_t end, const char *name, size_t name_len);
void code_name_around(uintptr_t start, uintptr_t end, const char *name, size_t name_len, code_put *put);

#endif
