/* SPDX-License-Identifier: MIT */
/*
 * anonname snapshot: the figures of one moment, for anonname diff. A snapshot is
 * the JSON of a report with another format name, so that it can be kept and read
 * by other tools.
 */
#include "snapshot.h"

#include "options.h"
#include "select.h"

#include <errno.h>
#include <string.h>

static int sorted_rows(const struct measurement *measurement, struct rows *rows)
{
	int error = measure_rows(measurement, &groups[0], false, rows);

	if (!error)
		rows_sort(rows, columns_find("name"));
	return error;
}

int snapshot_write(FILE *out, const struct measurement *measurement, const char *why)
{
	struct json_out json = { .out = out };
	struct rows rows;

	if (sorted_rows(measurement, &rows))
		return -ENOMEM;
	json_object_begin(&json, NULL);
	measure_json(&json, measurement, SNAPSHOT_FORMAT, &groups[0]);
	if (why)
		json_put(&json, "reason", json_string(why));
	rows_json(&json, &rows);
	json_object_end(&json);
	rows_free(&rows);
	return json.failed ? -ENOMEM : 0;
}

static int write_csv(const struct measurement *measurement)
{
	struct table table = { 0 };
	struct rows rows;

	if (sorted_rows(measurement, &rows))
		return -ENOMEM;
	columns_default(&table);
	table_csv_header(stdout, "", &table);
	rows_print_csv(stdout, "", &rows, &table);
	rows_free(&rows);
	return 0;
}

int tool_snapshot(int argc, char **argv)
{
	const struct wants wants = { .comm = true };
	enum process_mode mode = PROCESS_FIGURES;
	struct selection selection = { 0 };
	struct measurement measurement;
	const char *root = NULL;
	bool csv = false;
	int c;

	while ((c = options_next(COMMAND_snapshot, argc, argv)) != OPT_END) {
		switch (c) {
		case OPT_SELECTION:
			if (!select_option(&selection, c, optarg))
				return EXIT_USAGE;
			break;
		case OPT_GENTLE: mode = PROCESS_GENTLE; break;
		case OPT_JSON: csv = false; break;
		case OPT_CSV: csv = true; break;
		case OPT_ROOT: root = optarg; break;
		default: return options_rest(COMMAND_snapshot, c);
		}
	}
	if (!select_arguments(&selection, argc - optind, argv + optind) || !select_family(&selection))
		return tool_usage_error();
	if ((selection.pids || select_searches(&selection)) == tool_has_core()) {
		tool_error(tool_has_core() ? "--core takes the place of a process id" : "give process ids, --all or --name GLOB");
		return tool_usage_error();
	}
	measure_begin(&measurement, &wants);
	c = select_measure(&selection, root, mode, &measurement);
	measure_end(&measurement);
	select_free(&selection);
	if (c == EXIT_DONE && (csv ? write_csv(&measurement) : snapshot_write(stdout, &measurement, NULL))) {
		tool_error("not enough memory");
		c = EXIT_FAILED;
	}
	if (c == EXIT_DONE)
		c = tool_finish(c);
	measure_free(&measurement);
	return c;
}
