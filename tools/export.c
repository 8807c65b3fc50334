/* SPDX-License-Identifier: MIT */
/*
 * anonname export: OpenMetrics text in a file that node_exporter's textfile
 * collector reads. It may read at any moment, so a new file takes the place of
 * the old one; its own name does not end in .prom, and is the same each time,
 * so that one that was left behind by a crash is used again.
 */
#include "openmetrics.h"
#include "options.h"
#include "select.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct request {
	struct selection selection;
	enum process_mode mode;
	struct openmetrics metrics;
	const char *directory, *root;
	uint64_t interval;          /* ns; 0: once */
	bool quiet;                 /* what cannot be read was said the first time */
};

static int write_file(struct request *request, const struct measurement *measurement)
{
	char path[PATH_MAX], new[PATH_MAX];
	FILE *file;

	if ((size_t)snprintf(path, sizeof(path), "%s/anonname.prom", request->directory) + sizeof(".new") > sizeof(new)) {
		tool_error("%s: %s", request->directory, strerror(ENAMETOOLONG));
		return EXIT_FAILED;
	}
	stpcpy(stpcpy(new, path), ".new");
	file = tool_create(new);
	if (!file)
		return EXIT_FAILED;
	if (openmetrics_write(file, &request->metrics, measurement)) {
		tool_error("not enough memory");
		fclose(file);
		return EXIT_FAILED;
	}
	return tool_place(file, new, path);
}

static int export_once(struct request *request)
{
	struct measurement measurement;
	struct wants wants;
	int code;

	openmetrics_wants(&request->metrics, &wants);
	wants.quiet = request->quiet;
	measure_begin(&measurement, &wants);
	code = select_measure(&request->selection, request->root, request->mode, &measurement);
	measure_end(&measurement);
	/* The figures of a few would be taken for all. */
	if (!code)
		code = write_file(request, &measurement);
	openmetrics_free(&request->metrics);
	measure_free(&measurement);
	return code;
}

/* Goes on after a failure: a disk may have room again, a process may be started again. */
static int export_on(struct request *request)
{
	struct timespec next;
	int code;

	clock_gettime(CLOCK_MONOTONIC, &next);
	for (;;) {
		code = export_once(request);
		if (!request->interval)
			return code;
		request->quiet = true;
		next.tv_sec += (time_t)(request->interval / 1000000000);
		next.tv_nsec += (long)(request->interval % 1000000000);
		next.tv_sec += next.tv_nsec / 1000000000;
		next.tv_nsec %= 1000000000;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
	}
}

int tool_export(int argc, char **argv)
{
	struct request request = { .mode = PROCESS_FIGURES, .metrics.limit = OPENMETRICS_SETS };
	struct selection *selection = &request.selection;
	uint64_t number;
	int c;

	openmetrics_default(&request.metrics.table);
	while ((c = options_next(COMMAND_export, argc, argv)) != OPT_END) {
		switch (c) {
		case OPT_SELECTION:
			if (!select_option(selection, c, optarg))
				return EXIT_USAGE;
			break;
		case OPT_TEXTFILE: request.directory = optarg; break;
		case OPT_INTERVAL:
			if (!tool_time(optarg, &request.interval))
				return EXIT_USAGE;
			break;
		case OPT_GENTLE: request.mode = PROCESS_GENTLE; break;
		case OPT_OUTPUT:
			if (!columns_parse(optarg, &request.metrics.table, false))
				return EXIT_USAGE;
			break;
		case OPT_LINES:
			if (!tool_number(optarg, SIZE_MAX, "a number of lines", &number))
				return EXIT_USAGE;
			request.metrics.limit = number;
			break;
		case OPT_ROOT: request.root = optarg; break;
		default: return options_rest(COMMAND_export, c);
		}
	}
	if (!request.directory) {
		tool_error("give --textfile DIR: the directory of node_exporter's --collector.textfile.directory");
		return tool_usage_error();
	}
	if (!select_arguments(selection, argc - optind, argv + optind))
		return EXIT_USAGE;
	if (!selection->pids && !select_searches(selection))
		selection->all = true;
	c = export_on(&request);
	select_free(selection);
	return c;
}
