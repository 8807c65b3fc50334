/* SPDX-License-Identifier: MIT */
/* anonname report: who has the memory, of one process, some, or all. */
#include "folded.h"
#include "inside.h"
#include "measure.h"
#include "openmetrics.h"
#include "options.h"
#include "page.h"
#include "pprof.h"
#include "select.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct request {
	const struct group *group;
	const struct column *sort;
	struct table table;
	enum process_mode mode;
	bool fold, json, csv, folded, pprof, openmetrics, html, heap;
	size_t lines;
	struct selection selection;
	const char *smaps, *root;
	int input;                  /* standard input, from its start, when it holds smaps; else -1 */
};

static int print_json(const struct request *request, const struct measurement *measurement, const struct inside *inside,
                      const struct rows *rows)
{
	struct json_out json = { .out = stdout };

	json_object_begin(&json, NULL);
	measure_json(&json, measurement, "anonname-report", request->group);
	rows_json(&json, rows);
	if (request->heap)
		inside_json(&json, inside, measurement);
	json_object_end(&json);
	return json_finish(&json);
}

static int print_text(const struct request *request, const struct measurement *measurement, struct inside *inside,
                      const struct rows *rows)
{
	struct row total = { .figures = measurement->names.totals.figures, .heap = inside->any ? inside->total : NULL };
	double labelled = names_labelled(&measurement->names.totals);
	char name[96];

	if (labelled < 0)
		snprintf(name, sizeof(name), "TOTAL, - of anonymous RSS named");
	else
		snprintf(name, sizeof(name), "TOTAL, %.1f %% of anonymous RSS named", 100 * labelled);
	total.name = name;
	rows_print_text(stdout, rows, &total, &request->table, request->lines);
	inside_print_advice(stdout, inside, measurement);
	measure_print_cost(stdout, measurement);
	return tool_finish(EXIT_DONE);
}

/* A recorded process has no arenas to read. */
static int read_inside(const struct request *request, const struct measurement *measurement, struct inside *inside)
{
	struct proc proc;
	int error;

	if (!request->heap)
		return 0;
	if (!tool_proc(&proc, NULL))
		return -EIO;
	error = inside_read(inside, &proc, measurement);
	proc_close(&proc);
	if (inside->cut)
		tool_error("%zu process%s more than is looked through of one process: arenas and figures may be missing",
		           inside->cut, inside->cut == 1 ? " holds" : "es hold");
	if (inside->missing)
		tool_error("%zu process%s ended, or could not be read, before %s arenas were: they are missing", inside->missing,
		           inside->missing == 1 ? "" : "es", inside->missing == 1 ? "its" : "their");
	return error;
}

static int print(const struct request *request, const struct measurement *measurement)
{
	struct inside inside = { .count = 0 };
	struct rows rows;
	int code;

	if (measure_rows(measurement, request->group, request->fold, &rows) || read_inside(request, measurement, &inside) ||
	    inside_fill(&inside, measurement, request->group, request->fold, &rows)) {
		tool_error("not enough memory");
		return EXIT_FAILED;
	}
	rows_sort(&rows, request->sort);
	if (request->lines && (request->json || request->csv))
		rows_cut(&rows, request->lines);
	if (request->json) {
		code = print_json(request, measurement, &inside, &rows);
	} else if (request->csv) {
		table_csv_header(stdout, "", &request->table);
		rows_print_csv(stdout, "", &rows, &request->table);
		code = tool_finish(EXIT_DONE);
	} else {
		code = print_text(request, measurement, &inside, &rows);
	}
	rows_free(&rows);
	inside_free(&inside);
	return code;
}

static int measure_file(const struct request *request, struct measurement *measurement)
{
	bool standard = request->input >= 0;
	const char *name = standard ? "standard input" : request->smaps;
	int fd = standard ? request->input : open(request->smaps, O_RDONLY | O_CLOEXEC);
	int error = fd < 0 ? -errno : tool_is_device(fd) ? -ENODEV : measure_smaps(measurement, fd);

	if (fd >= 0)
		close(fd);
	if (error == -ENODEV) {
		tool_error("%s is a device. Give a copy of /proc/PID/smaps.", name);
		return EXIT_FAILED;
	}
	if (error) {
		tool_error("%s: %s", name, strerror(-error));
		return EXIT_FAILED;
	}
	if (!measurement->names.totals.figures.value[FIG_VMAS]) {
		tool_error("%s holds no VMA. Give a copy of /proc/PID/smaps.", name);
		return EXIT_FAILED;
	}
	return EXIT_DONE;
}

static int measure(struct request *request, struct measurement *measurement)
{
	int code = request->smaps ? measure_file(request, measurement)
	                          : select_measure(&request->selection, request->root, request->mode, measurement);

	measure_end(measurement);
	return code;
}

/* How many of those formats are asked for. */
static int has_own_rows(const struct request *request)
{
	return request->folded + request->pprof + request->openmetrics + request->html;
}

/* One of the formats that are lines by process and name, not rows of a table. */
static bool has_one_format(const struct request *request)
{
	if (request->json + request->csv + has_own_rows(request) > 1)
		tool_error("give one of: --json, --csv, --html, --folded, --pprof, --openmetrics");
	else if (request->group != &groups[0])
		tool_error("--by is for rows; --html, --folded, --pprof and --openmetrics have their own");
	else if ((request->folded || request->pprof) && request->sort->is_text)
		tool_error("--sort %s: a stack has a number. Give rss, pss, uss, swap or size.", request->sort->id);
	else
		return true;
	return false;
}

/* --heap, or columns of it: of processes that run, in a table or JSON. */
static bool heap_is_there(struct request *request)
{
	request->heap = request->heap || column_is_heap(request->sort);
	for (size_t i = 0; i < request->table.columns; i++)
		request->heap = request->heap || column_is_heap(request->table.column[i]);
	if (!request->heap || !(request->smaps || request->root || tool_has_core() || (has_own_rows(request) && !request->html))) {
		/* room: nothing was asked for by -o. */
		if (request->heap && request->table.room)
			columns_default_heap(&request->table);
		return true;
	}
	tool_error("--heap and its columns are read from processes that run: they do not go with %s",
	           request->root ? "--root" : tool_has_core() ? "--core" : request->smaps ? "a copy of smaps" : "--folded, --pprof or --openmetrics");
	return false;
}

static int report_folded(struct request *request)
{
	struct folded folded = { .out = stdout, .figure = request->sort->index, .fold = request->fold };
	const struct wants wants = {
		.comm = true, .figures = FIG_BIT(folded.figure), .each = folded_process, .context = &folded,
	};
	struct measurement measurement;
	int code;

	measure_begin(&measurement, &wants);
	code = measure(request, &measurement);
	measure_free(&measurement);
	if (folded.unknown)
		tool_error("%zu lines are missing: their %s cannot be known here", folded.unknown, request->sort->header);
	return tool_finish(code);
}

static int report_pprof(struct request *request)
{
	struct pprof pprof = { .figure = request->sort->index, .fold = request->fold };
	const struct wants wants = {
		.comm = true, .figures = FIG_BIT(pprof.figure), .each = pprof_process, .context = &pprof,
	};
	struct measurement measurement;
	int code;

	measure_begin(&measurement, &wants);
	code = measure(request, &measurement);
	if (code == EXIT_DONE && pprof_write(stdout, &pprof, request->sort->id)) {
		tool_error("not enough memory");
		code = EXIT_FAILED;
	}
	if (pprof.unknown)
		tool_error("%zu stacks are missing: their %s cannot be known here", pprof.unknown, request->sort->header);
	pprof_free(&pprof);
	measure_free(&measurement);
	return tool_finish(code);
}

static int report_page(struct request *request)
{
	struct page_rows rows = { .fold = request->fold };
	const struct wants wants = { .comm = true, .start_time = true, .each = page_process, .context = &rows };
	struct measurement measurement;
	struct inside inside = { .count = 0 };
	int code, printed = EXIT_DONE;

	measure_begin(&measurement, &wants);
	code = measure(request, &measurement);
	request->heap = request->heap || (!request->smaps && !request->root && !tool_has_core() && measurement.count <= PAGE_PROCESSES);
	if (read_inside(request, &measurement, &inside)) {
		tool_error("not enough memory");
		code = EXIT_FAILED;
	} else if (rows.count || code == EXIT_DONE) {
		printed = page_report(stdout, &rows, &measurement, &inside, request->root);
	}
	inside_free(&inside);
	page_rows_free(&rows);
	measure_free(&measurement);
	return code ? code : printed;
}

static int report_openmetrics(struct request *request)
{
	struct openmetrics metrics = { .table = request->table, .limit = request->lines ? request->lines : OPENMETRICS_SETS };
	struct measurement measurement;
	struct wants wants;
	int code;

	/* Not by -o, which leaves none out. */
	if (request->table.room)
		openmetrics_default(&metrics.table);
	openmetrics_wants(&metrics, &wants);
	measure_begin(&measurement, &wants);
	code = measure(request, &measurement);
	if (measurement.count && openmetrics_write(stdout, &metrics, &measurement)) {
		tool_error("not enough memory");
		code = EXIT_FAILED;
	}
	openmetrics_free(&metrics);
	measure_free(&measurement);
	return tool_finish(code);
}

/* A list of process ids has nothing but digits and blanks; a line of smaps soon has something else. */
static bool holds_ids(int fd)
{
	char first[128];
	ssize_t len = pread(fd, first, sizeof(first), 0);

	for (ssize_t i = 0; i < len; i++)
		if (!isdigit((unsigned char)first[i]) && !isspace((unsigned char)first[i]))
			return false;
	return true;
}

static bool take_standard_input(struct request *request)
{
	int fd = tool_rewindable(STDIN_FILENO);
	FILE *file;
	bool ok;

	if (fd < 0) {
		tool_error("standard input: %s", strerror(-fd));
		return false;
	}
	if (!holds_ids(fd)) {
		request->input = fd;
		return true;
	}
	request->smaps = NULL;
	file = fdopen(fd, "r");
	ok = file && select_pids_from(&request->selection, file);
	if (file)
		fclose(file);
	return ok;
}

int tool_report(int argc, char **argv)
{
	struct request request = {
		.group = &groups[0], .mode = PROCESS_FIGURES, .input = -1,
		.table = { .color = terminal_color(), .screen = terminal_width(STDOUT_FILENO) },
	};
	struct selection *selection = &request.selection;
	struct measurement measurement;
	struct wants wants = { 0 };
	uint64_t number;
	int c, sources;

	columns_default(&request.table);
	while ((c = options_next(COMMAND_report, argc, argv)) != OPT_END) {
		switch (c) {
		case OPT_SELECTION:
			if (!select_option(selection, c, optarg))
				return EXIT_USAGE;
			break;
		case OPT_SMAPS: request.smaps = optarg; break;
		case OPT_GENTLE: request.mode = PROCESS_GENTLE; break;
		case OPT_BY:
			if (!(request.group = groups_find(optarg)))
				return EXIT_USAGE;
			break;
		case OPT_FOLD: request.fold = true; break;
		case OPT_HEAP: request.heap = true; break;
		case OPT_OUTPUT:
			if (!columns_parse(optarg, &request.table, true))
				return EXIT_USAGE;
			break;
		case OPT_SORT:
			if (!(request.sort = columns_find_heap(optarg))) {
				tool_error("there is no column '%s'; --help lists them", optarg);
				return EXIT_USAGE;
			}
			break;
		case OPT_LINES:
			if (!tool_number(optarg, SIZE_MAX, "a number of lines", &number))
				return EXIT_USAGE;
			request.lines = number;
			break;
		case OPT_HUMAN: request.table.unit = UNIT_HUMAN; break;
		case OPT_BYTES: request.table.unit = UNIT_BYTES; break;
		case OPT_JSON: request.json = true; break;
		case OPT_CSV: request.csv = true; break;
		case OPT_HTML: request.html = true; break;
		case OPT_STACKS: request.folded = true; break;
		case OPT_PPROF: request.pprof = true; break;
		case OPT_OPENMETRICS: request.openmetrics = true; break;
		case OPT_ROOT: request.root = optarg; break;
		case OPT_HELP:
			options_help(COMMAND_report, "");
			putchar('\n');
			groups_help(stdout);
			columns_help(stdout, true);
			return tool_finish(EXIT_DONE);
		default: return options_rest(COMMAND_report, c);
		}
	}
	/* Nobody shares a core's pages. */
	if (!request.sort)
		request.sort = columns_find(tool_has_core() ? "rss" : "pss");
	if (optind + 1 == argc && !strcmp(argv[optind], "-") && !request.smaps)
		request.smaps = argv[optind++];
	sources = (select_searches(selection) && !(selection->tree && selection->all)) + (request.smaps != NULL) + (optind < argc) + tool_has_core();
	if (sources != 1) {
		tool_error(sources ? "give one of: process ids, what to look for, --smaps, --core"
		                   : "give process ids, --all, --tree PID, --name GLOB, --smaps FILE or --core FILE");
		return tool_usage_error();
	}
	if (!heap_is_there(&request))
		return tool_usage_error();
	if (request.smaps && !strcmp(request.smaps, "-") && !take_standard_input(&request))
		return EXIT_FAILED;
	if (!select_arguments(selection, argc - optind, argv + optind))
		return EXIT_USAGE;
	if (has_own_rows(&request)) {
		if (!has_one_format(&request))
			return tool_usage_error();
		if (request.pprof && !tool_takes_bytes("--pprof"))
			return EXIT_USAGE;
		c = request.folded ? report_folded(&request) : request.pprof ? report_pprof(&request) : request.html ? report_page(&request) : report_openmetrics(&request);
		select_free(selection);
		return c;
	}
	wants.comm = request.json || request.heap || request.group->of_process;
	wants.start_time = request.heap;
	wants.places = request.group->places;
	wants.figures = columns_wanted(&request.table, request.sort);
	measure_begin(&measurement, &wants);
	c = measure(&request, &measurement);
	if (measurement.names.rows || c == EXIT_DONE) {
		int printed = print(&request, &measurement);

		c = c ? c : printed;
	}
	measure_free(&measurement);
	select_free(selection);
	return c;
}
