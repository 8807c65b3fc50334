/* SPDX-License-Identifier: MIT */
/* anonname report: who has the memory, of one process, some, or all. */
#include "measure.h"
#include "select.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"Usage: anonname report [OPTION...] PID...\n"
	"       anonname report [OPTION...] --all | --tree PID | --name GLOB | --smaps FILE | -\n"
	"Show the memory of processes by name, in KiB, largest PSS first.\n"
	"- is standard input: process ids, as pgrep prints them, or a copy of smaps.\n\n"
	"  -a, --all            every process\n"
	"  -t, --tree PID       a process and all below it\n"
	"      --name GLOB      processes with such a name, as ps -o comm shows it\n"
	"      --user USER      processes of this user, a name or a number\n"
	"      --cgroup GROUP   processes in this control group and below: a path, or\n"
	"                       without a / a pattern for a part of it, as nginx.service\n"
	"  -s, --smaps FILE     a copy of /proc/PID/smaps; - is standard input\n"
	"  -g, --gentle         never hold up the process: maps and pagemap in place of smaps\n"
	"      --by WHAT        what rows are: name, owner, kind, process, user, unit ...\n"
	"  -f, --fold           take names that differ in a number, such as a tid, as one\n"
	"  -o, --output LIST    these columns\n"
	"      --sort COLUMN    sort by this column\n"
	"  -n, --lines N        only the first N rows; TOTAL is still of all\n"
	"  -h, --human          sizes as 12.3M\n"
	"      --bytes          sizes in bytes\n"
	"  -J, --json           print JSON\n"
	"      --csv            print CSV\n"
	"      --root DIR       read a recorded tree instead of /proc\n"
	"      --help           this text\n"
	"      --version        the version\n\n"
	"~ marks an estimate, - what cannot be known here. The last line is what it cost.\n\n";

struct request {
	const struct group *group;
	const struct column *sort;
	struct columns_choice choice;
	enum process_mode mode;
	enum unit unit;
	bool fold, json, csv;
	size_t lines;
	struct selection selection;
	const char *smaps, *root;
	int input;                  /* standard input, from its start, when it holds smaps; else -1 */
};

static int print(const struct request *request, const struct measurement *measurement)
{
	struct rows rows;
	struct row total = { .figures = measurement->names.totals.figures };
	struct rows_style style = {
		.choice = &request->choice, .unit = request->unit, .color = terminal_color(),
		.width = terminal_width(STDOUT_FILENO), .limit = request->lines,
	};
	double labelled = names_labelled(&measurement->names.totals);
	char name[96];
	int code;

	if (measure_rows(measurement, request->group, request->fold, &rows)) {
		tool_error("not enough memory");
		return EXIT_FAILED;
	}
	rows_sort(&rows, request->sort);
	if (request->lines && request->lines < rows.count && (request->json || request->csv)) {
		for (size_t i = request->lines; i < rows.count; i++) {
			free(rows.row[i].name);
			free(rows.row[i].owner);
		}
		rows.count = request->lines;
	}
	if (request->json) {
		struct json_out json = { .out = stdout };

		json_object_begin(&json, NULL);
		measure_json(&json, measurement, "anonname-report", request->group);
		rows_json(&json, &rows);
		json_object_end(&json);
		code = json_finish(&json);
	} else if (request->csv) {
		rows_print_csv(stdout, &rows, &request->choice);
		code = tool_finish(EXIT_DONE);
	} else {
		if (labelled < 0)
			snprintf(name, sizeof(name), "TOTAL, - of anonymous RSS named");
		else
			snprintf(name, sizeof(name), "TOTAL, %.1f %% of anonymous RSS named", 100 * labelled);
		total.name = name;
		rows_print_text(stdout, &rows, &total, &style);
		measure_print_cost(stdout, measurement);
		code = tool_finish(EXIT_DONE);
	}
	rows_free(&rows);
	return code;
}

static int measure_file(const struct request *request, struct measurement *measurement)
{
	bool standard = request->input >= 0;
	const char *name = standard ? "standard input" : request->smaps;
	int fd = standard ? request->input : open(request->smaps, O_RDONLY | O_CLOEXEC);
	int error = fd < 0 ? -errno : measure_smaps(measurement, fd);

	if (fd >= 0)
		close(fd);
	if (error) {
		tool_error("%s: %s", name, strerror(-error));
		return EXIT_FAILED;
	}
	if (!measurement->names.rows) {
		tool_error("%s holds no VMA. Give a copy of /proc/PID/smaps.", name);
		return EXIT_FAILED;
	}
	return EXIT_DONE;
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
	enum { OPT_BY = 256, OPT_NAME, OPT_USER, OPT_CGROUP, OPT_SORT, OPT_BYTES, OPT_CSV, OPT_ROOT, OPT_HELP, OPT_VERSION };
	static const struct option options[] = {
		{ "all", no_argument, NULL, 'a' },
		{ "tree", required_argument, NULL, 't' },
		{ "name", required_argument, NULL, OPT_NAME },
		{ "user", required_argument, NULL, OPT_USER },
		{ "cgroup", required_argument, NULL, OPT_CGROUP },
		{ "smaps", required_argument, NULL, 's' },
		{ "gentle", no_argument, NULL, 'g' },
		{ "by", required_argument, NULL, OPT_BY },
		{ "fold", no_argument, NULL, 'f' },
		{ "output", required_argument, NULL, 'o' },
		{ "sort", required_argument, NULL, OPT_SORT },
		{ "lines", required_argument, NULL, 'n' },
		{ "human", no_argument, NULL, 'h' },
		{ "bytes", no_argument, NULL, OPT_BYTES },
		{ "json", no_argument, NULL, 'J' },
		{ "csv", no_argument, NULL, OPT_CSV },
		{ "root", required_argument, NULL, OPT_ROOT },
		{ "help", no_argument, NULL, OPT_HELP },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ 0 },
	};
	struct request request = {
		.group = &groups[0], .sort = columns_find("pss"), .mode = PROCESS_FIGURES, .input = -1,
	};
	struct selection *selection = &request.selection;
	struct measurement measurement;
	struct wants wants = { 0 };
	uint64_t number;
	int c, sources;

	columns_default(&request.choice);
	while ((c = tool_getopt(argc, argv, "at:s:gfo:n:hJ", options)) != -1) {
		switch (c) {
		case 'a': selection->all = true; break;
		case 't':
			if (!(selection->tree = tool_pid(optarg)))
				return EXIT_USAGE;
			break;
		case OPT_NAME: case OPT_USER: case OPT_CGROUP:
			if (!select_filter(selection, (enum filter_by)(c - OPT_NAME), optarg))
				return EXIT_USAGE;
			break;
		case 's': request.smaps = optarg; break;
		case 'g': request.mode = PROCESS_GENTLE; break;
		case OPT_BY:
			if (!(request.group = groups_find(optarg)))
				return EXIT_USAGE;
			break;
		case 'f': request.fold = true; break;
		case 'o':
			if (!columns_parse(optarg, &request.choice))
				return EXIT_USAGE;
			break;
		case OPT_SORT:
			if (!(request.sort = columns_find(optarg))) {
				tool_error("there is no column '%s'; --help lists them", optarg);
				return EXIT_USAGE;
			}
			break;
		case 'n':
			if (!tool_number(optarg, SIZE_MAX, "a number of lines", &number))
				return EXIT_USAGE;
			request.lines = number;
			break;
		case 'h': request.unit = UNIT_HUMAN; break;
		case OPT_BYTES: request.unit = UNIT_BYTES; break;
		case 'J': request.json = true; break;
		case OPT_CSV: request.csv = true; break;
		case OPT_ROOT: request.root = optarg; break;
		case OPT_HELP:
			fputs(help, stdout);
			groups_help(stdout);
			columns_help(stdout);
			return tool_finish(EXIT_DONE);
		case OPT_VERSION: return tool_version();
		default: return tool_usage_error();
		}
	}
	if (optind + 1 == argc && !strcmp(argv[optind], "-") && !request.smaps)
		request.smaps = argv[optind++];
	sources = (select_searches(selection) && !(selection->tree && selection->all)) + (request.smaps != NULL) + (optind < argc);
	if (sources != 1) {
		tool_error(sources ? "give one of: process ids, what to look for, --smaps"
		                   : "give process ids, --all, --tree PID, --name GLOB or --smaps FILE");
		return tool_usage_error();
	}
	if (request.smaps && !strcmp(request.smaps, "-") && !take_standard_input(&request))
		return EXIT_FAILED;
	if (!select_arguments(selection, argc - optind, argv + optind))
		return EXIT_USAGE;
	wants.comm = request.json || request.group->of_process;
	wants.places = request.group->places;
	wants.figures = columns_wanted(&request.choice, request.sort);
	measure_begin(&measurement, &wants);
	c = request.smaps ? measure_file(&request, &measurement)
	                  : select_measure(selection, request.root, request.mode, &measurement);
	measure_end(&measurement);
	if (measurement.names.rows || c == EXIT_DONE) {
		int printed = print(&request, &measurement);

		c = c ? c : printed;
	}
	measure_free(&measurement);
	select_free(selection);
	return c;
}
