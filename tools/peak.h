/* SPDX-License-Identifier: MIT */
/* anonname run --peak: runs a command and keeps its report at the moment of the most memory. */
#ifndef ANONNAME_TOOLS_PEAK_H
#define ANONNAME_TOOLS_PEAK_H

#include <stdbool.h>

struct peak_options {
	unsigned interval_ms;
	const char *output;         /* NULL: standard error */
	bool json, csv;
};

/* Runs argv in the environment as it is; returns its exit status, or run's own 125 to 127. */
int peak_run(char **argv, const struct peak_options *options);

#endif
