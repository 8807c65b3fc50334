/* SPDX-License-Identifier: MIT */
/* How the arenas of a process are shown: what anonname heap and report --heap print. */
#ifndef ANONNAME_TOOLS_ARENAS_H
#define ANONNAME_TOOLS_ARENAS_H

#include "json.h"
#include "table.h"

#include "../src/heap/heap.h"

/* The largest first. */
void arenas_sort(struct heaps *heaps);

/* A table, with sizes one of these, too, and sentences. */
void arenas_print_text(FILE *out, const struct heaps *heaps, enum unit unit, bool sizes);
void arenas_print_csv(FILE *out, const struct heaps *heaps);

/* The members "arenas" and "advice" of an object. */
void arenas_json(struct json_out *json, const struct heaps *heaps, bool sizes);

/* One object of "arenas", and the sentences of "advice". */
json_t *arena_json(const struct heap_arena *arena, bool sizes);

/* The columns, for --help. */
void arenas_help(FILE *out);

#endif
