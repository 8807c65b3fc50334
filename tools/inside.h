/* SPDX-License-Identifier: MIT */
/* What is inside the arenas of processes that were measured, beside their rows: report --heap and top --heap. */
#ifndef ANONNAME_TOOLS_INSIDE_H
#define ANONNAME_TOOLS_INSIDE_H

#include "columns.h"
#include "measure.h"

#include "../src/heap/heap.h"

struct inside {
	struct heaps *of;           /* of each process of the measurement */
	size_t count;
	uint64_t total[HEAP_FIGURES];
	bool any;
	size_t cut;                 /* processes of which a limit let not all be looked through */
	size_t missing;             /* those that ended before they were, or did not let themselves be read */
};

/* Reads them one by one, each in a child. 0 or -ENOMEM; of a process that cannot be read, nothing is known. */
int inside_read(struct inside *inside, const struct proc *proc, const struct measurement *measurement);
void inside_free(struct inside *inside);

/* Adds to each row what the arenas of its name, or of its processes, have. The rows are of the same measurement. */
int inside_fill(const struct inside *inside, const struct measurement *measurement, const struct group *group, bool fold,
                struct rows *rows);

/* Calls say with each sentence on them; with several processes it begins with whose it is. */
void inside_advise(const struct inside *inside, const struct measurement *measurement,
                   void (*say)(void *context, const char *sentence), void *context);

/* The sentences, and the members "arenas" and "advice". */
void inside_print_advice(FILE *out, const struct inside *inside, const struct measurement *measurement);
void inside_json(struct json_out *json, const struct inside *inside, const struct measurement *measurement);

#endif
