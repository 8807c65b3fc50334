/* SPDX-License-Identifier: MIT */
/*
 * anonname snapshot: the figures of one moment, for anonname diff. A snapshot is
 * the JSON of a report with another format name, so that it can be kept and read
 * by other tools.
 */
#include "measure.h"
#include "options.h"
#include "select.h"

#include <string.h>

int tool_snapshot(int argc, char **argv)
{
	const struct wants wants = { .comm = true };
	enum process_mode mode = PROCESS_FIGURES;
	struct selection selection = { 0 };
	struct measurement measurement;
	const char *root = NULL;
	struct table table = { 0 };
	bool csv = false;
	struct rows rows;
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
	if (!selection.pids && !select_searches(&selection)) {
		tool_error("give process ids, --all or --name GLOB");
		return tool_usage_error();
	}
	measure_begin(&measurement, &wants);
	c = select_measure(&selection, root, mode, &measurement);
	measure_end(&measurement);
	select_free(&selection);
	if (c != EXIT_DONE || measure_rows(&measurement, &groups[0], false, &rows)) {
		measure_free(&measurement);
		if (c == EXIT_DONE)
			tool_error("not enough memory");
		return c != EXIT_DONE ? c : EXIT_FAILED;
	}
	rows_sort(&rows, columns_find("name"));
	if (csv) {
		columns_default(&table);
		table_csv_header(stdout, "", &table);
		rows_print_csv(stdout, "", &rows, &table);
		c = tool_finish(EXIT_DONE);
	} else {
		struct json_out json = { .out = stdout };

		json_object_begin(&json, NULL);
		measure_json(&json, &measurement, SNAPSHOT_FORMAT, &groups[0]);
		rows_json(&json, &rows);
		json_object_end(&json);
		c = json_finish(&json);
	}
	rows_free(&rows);
	measure_free(&measurement);
	return c;
}
