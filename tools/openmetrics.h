/* SPDX-License-Identifier: MIT */
/*
 * OpenMetrics text, for Prometheus: a gauge for each figure, with the name, its
 * owner and kind, and the process, unit, control group and container as labels.
 *
 * A series lives as long as its labels, so nothing that differs from one start
 * of a program to the next is a label: no process id, and numbers in names are
 * stars. The number of series has a limit; what is beyond it is one series,
 * so that the sums stay right.
 */
#ifndef ANONNAME_TOOLS_OPENMETRICS_H
#define ANONNAME_TOOLS_OPENMETRICS_H

#include "measure.h"

/* Sets of labels when nothing else is asked for: with three figures 1500 series. */
#define OPENMETRICS_SETS 500

struct openmetrics {
	struct table table;         /* which figures */
	size_t limit;               /* sets of labels */
	struct rows rows;           /* the labels are their names */
	size_t room;
	size_t left_out;            /* sets that were put together */
};

/* The figures when nothing else is asked for: PSS, RSS, swap. */
void openmetrics_default(struct table *table);

/* What of each process and figure must be read. */
void openmetrics_wants(struct openmetrics *metrics, struct wants *wants);

/* For wants.each; context is a struct openmetrics. */
int openmetrics_process(void *context, const struct measured *process);

/* The document. The rows are sorted, and cut at the limit. 0 or -ENOMEM. */
int openmetrics_write(FILE *out, struct openmetrics *metrics, const struct measurement *measurement);
void openmetrics_free(struct openmetrics *metrics);

#endif
