/* SPDX-License-Identifier: MIT */
/* anonname report: who has the memory, of one process, some, or all. */
#include "measure.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"Usage: anonname report [OPTION...] PID...\n"
	"       anonname report [OPTION...] --all | --tree PID | --smaps FILE | -\n"
	"Show the memory of processes by name, in KiB, largest PSS first.\n\n"
	"  -a, --all            every process\n"
	"  -t, --tree PID       a process and all below it\n"
	"  -s, --smaps FILE     a copy of /proc/PID/smaps; - is standard input\n"
	"  -g, --gentle         never hold up the process: maps and pagemap in place of smaps\n"
	"      --by WHAT        name, owner, kind, thread, library or process\n"
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
	bool fold, json, csv, all;
	size_t lines;
	pid_t tree;
	const char *smaps, *root;
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
		code = tool_print_json(measure_json(measurement, "anonname-report", request->group, &rows));
	} else if (request->csv) {
		rows_print_csv(stdout, &rows, &request->choice);
		code = tool_finish(EXIT_DONE);
	} else {
		if (labelled < 0)
			snprintf(name, sizeof(name), "TOTAL");
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
	bool standard = !strcmp(request->smaps, "-");
	int fd = standard ? STDIN_FILENO : open(request->smaps, O_RDONLY | O_CLOEXEC);
	int error = fd < 0 ? -errno : measure_smaps(measurement, fd);

	if (fd >= 0 && !standard)
		close(fd);
	if (error) {
		tool_error("%s: %s", standard ? "standard input" : request->smaps, strerror(-error));
		return EXIT_FAILED;
	}
	if (!measurement->names.rows) {
		tool_error("%s holds no VMA. Give a copy of /proc/PID/smaps.",
		           standard ? "standard input" : request->smaps);
		return EXIT_FAILED;
	}
	return EXIT_DONE;
}

/* Returns the exit code; processes that were asked for by number must be there. */
static int measure_processes(const struct request *request, int count, char **argv,
                             struct measurement *measurement)
{
	struct proc proc;
	pid_t *pids = NULL;
	size_t n = 0;
	int code = EXIT_DONE, error = 0;

	if (!tool_proc(&proc, request->root))
		return EXIT_FAILED;
	if (request->all)
		error = proc_pids(&proc, &pids, &n);
	else if (request->tree)
		error = measure_tree(&proc, request->tree, &pids, &n);
	if (error) {
		code = request->tree ? tool_process_error(request->tree, error) : EXIT_FAILED;
		if (!request->tree)
			tool_error("/proc: %s", strerror(-error));
	}
	for (size_t i = 0; i < n; i++)
		/* One that ended meanwhile is nobody's fault. */
		measure_process(measurement, &proc, pids[i], request->mode);
	for (int i = 0; i < count; i++) {
		pid_t pid = tool_pid(argv[i]);

		if (!pid) {
			code = EXIT_USAGE;
			break;
		}
		error = measure_listed(measurement, &proc, pid, request->mode);
		if (error)
			code = tool_process_error(pid, error);
	}
	free(pids);
	proc_close(&proc);
	if (!request->all && measurement->kernel_threads && !measurement->count)
		tool_error("a kernel thread has no memory of its own");
	if (request->all || request->tree)
		measure_complain(measurement);
	else if (code == EXIT_DONE)
		measure_complain(measurement);
	return code;
}

int tool_report(int argc, char **argv)
{
	enum { OPT_BY = 256, OPT_SORT, OPT_BYTES, OPT_CSV, OPT_ROOT, OPT_HELP, OPT_VERSION };
	static const struct option options[] = {
		{ "all", no_argument, NULL, 'a' },
		{ "tree", required_argument, NULL, 't' },
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
		.group = &groups[0], .sort = columns_find("pss"), .mode = PROCESS_FIGURES,
	};
	struct measurement measurement;
	uint64_t number;
	int c, sources;

	columns_default(&request.choice);
	while ((c = getopt_long(argc, argv, "at:s:gfo:n:hJ", options, NULL)) != -1) {
		switch (c) {
		case 'a': request.all = true; break;
		case 't':
			if (!(request.tree = tool_pid(optarg)))
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
	sources = request.all + (request.tree != 0) + (request.smaps != NULL) + (optind < argc);
	if (sources != 1) {
		tool_error(sources ? "give one of: process ids, --all, --tree, --smaps"
		                   : "give process ids, --all, --tree PID, or --smaps FILE");
		return tool_usage_error();
	}
	measure_begin(&measurement, request.json || !request.group->key);
	c = request.smaps ? measure_file(&request, &measurement)
	                  : measure_processes(&request, argc - optind, argv + optind, &measurement);
	measure_end(&measurement);
	if (measurement.names.rows || c == EXIT_DONE) {
		int printed = print(&request, &measurement);

		c = c ? c : printed;
	}
	measure_free(&measurement);
	return c;
}
