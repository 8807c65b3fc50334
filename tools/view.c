/* SPDX-License-Identifier: MIT */
/* anonname view: what a recording holds: its moments, and of each name what it had at the start, the end and the most. */
#include "measure.h"
#include "options.h"
#include "recording.h"
#include "view_page.h"
#include "view_perfetto.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Moments that the text shows, evenly chosen; the JSON has all. */
#define MOMENTS_SHOWN 12

struct request {
	struct recording recording;
	enum unit unit;
	size_t lines;               /* names; 0: all */
	bool json, csv, html, perfetto;
};

static const char *bytes_text(const struct request *request, int64_t bytes, char *buffer)
{
	uint64_t size = bytes < 0 ? 0 - (uint64_t)bytes : (uint64_t)bytes;
	const char *sign = bytes < 0 ? "-" : "";
	char human[16];

	if (request->unit == UNIT_BYTES)
		snprintf(buffer, 32, "%s%" PRIu64, sign, size);
	else if (request->unit == UNIT_HUMAN)
		snprintf(buffer, 32, "%s%s", sign, tool_human(size, human));
	else
		snprintf(buffer, 32, "%s%" PRIu64, sign, size / 1024);
	return buffer;
}

static int64_t growth_of(const struct replayed *name)
{
	return (int64_t)(name->last - name->first);
}

static int growth_order(const void *a, const void *b)
{
	const struct replayed *x = a, *y = b;
	int64_t m = growth_of(x), n = growth_of(y);

	if (m != n)
		return m < n ? 1 : -1;
	if (x->peak != y->peak)
		return x->peak < y->peak ? 1 : -1;
	return strcmp(x->name, y->name);
}

/* --- moments ---------------------------------------------------------------------- */

static const char moments_sql[] = "SELECT id, at, processes, waiting, rss, pss, uss, swap FROM moment ORDER BY id";

static void print_moment(const struct request *request, sqlite3_stmt *row)
{
	char time[32], cell[32];

	printf("%-19s %9" PRId64, recording_time(sqlite3_column_int64(row, 1), time), (int64_t)sqlite3_column_int64(row, 2));
	for (int i = 4; i < 8; i++)
		printf(" %9s", sqlite3_column_type(row, i) == SQLITE_NULL ? "-" : bytes_text(request, sqlite3_column_int64(row, i), cell));
	puts(sqlite3_column_int64(row, 0) == request->recording.peak ? "  highest PSS" : "");
}

static void print_moments(const struct request *request)
{
	int64_t count = recording_number(request->recording.db, "SELECT count(*) FROM moment", 0), n = 0, shown = 0;
	sqlite3_stmt *row;

	printf("%-19s %9s %9s %9s %9s %9s\n", "MOMENT", "PROCESSES", "RSS", "PSS", "USS", "SWAP");
	if (sqlite3_prepare_v2(request->recording.db, moments_sql, -1, &row, NULL))
		return;
	for (; sqlite3_step(row) == SQLITE_ROW; n++)
		if (n * (MOMENTS_SHOWN - 1) >= shown * (count - 1) || sqlite3_column_int64(row, 0) == request->recording.peak) {
			print_moment(request, row);
			shown += n * (MOMENTS_SHOWN - 1) >= shown * (count - 1);
		}
	sqlite3_finalize(row);
}

static void moments_json(struct json_out *json, const struct request *request)
{
	static const char *const members[] = { "rss", "pss", "uss", "swap" };
	sqlite3_stmt *row;

	json_list_begin(json, "moments");
	if (!sqlite3_prepare_v2(request->recording.db, moments_sql, -1, &row, NULL))
		while (sqlite3_step(row) == SQLITE_ROW) {
			json_t *one = json_pack("{s:f, s:I, s:I}", "at", (double)sqlite3_column_int64(row, 1) / 1000, "processes",
			                        (json_int_t)sqlite3_column_int64(row, 2), "waiting", (json_int_t)sqlite3_column_int64(row, 3));

			for (int i = 0; i < 4; i++)
				json_object_set_new(one, members[i], sqlite3_column_type(row, 4 + i) == SQLITE_NULL ? json_null()
				                    : json_integer(sqlite3_column_int64(row, 4 + i)));
			json_put(json, NULL, one);
		}
	sqlite3_finalize(row);
	json_list_end(json);
}

/* --- names ------------------------------------------------------------------------ */

static void print_name(const struct request *request, const struct replayed *name)
{
	char cell[32], time[32];

	if (name->unknown)
		printf("%9s %9s %9s %9s %-19s %s\n", "-", "-", "-", "-", "-", name->name);
	else {
		printf("%9s ", bytes_text(request, (int64_t)name->first, cell));
		printf("%9s ", bytes_text(request, (int64_t)name->last, cell));
		printf("%9s ", bytes_text(request, growth_of(name), cell));
		printf("%9s %-19s %s\n", bytes_text(request, (int64_t)name->peak, cell), recording_time(name->peak_at, time), name->name);
	}
}

static size_t names_shown(const struct request *request, const struct replay *replay)
{
	return request->lines && request->lines < replay->names ? request->lines : replay->names;
}

static void print_text(const struct request *request, const struct replay *replay)
{
	char began[32], ended[32];

	printf("%s to %s, %" PRId64 " moments, %" PRId64 " processes, %zu names\n\n",
	       recording_time(request->recording.began, began), recording_time(request->recording.ended, ended),
	       recording_number(request->recording.db, "SELECT count(*) FROM moment", 0),
	       recording_number(request->recording.db, "SELECT count(*) FROM process", 0), replay->names);
	print_moments(request);
	printf("\n%9s %9s %9s %9s %-19s NAME, by growth of its %s\n", "FIRST", "LAST", "GROWTH", "PEAK", "PEAK AT", replay->is_rss ? "RSS" : "PSS");
	for (size_t i = 0; i < names_shown(request, replay); i++)
		print_name(request, &replay->name[i]);
}

static void print_csv(const struct request *request, const struct replay *replay)
{
	puts("name,kind,first,last,growth,peak,peak_at");
	for (size_t i = 0; i < names_shown(request, replay); i++) {
		const struct replayed *name = &replay->name[i];

		csv_text(stdout, name->name);
		if (name->unknown)
			printf(",%s,,,,,\n", name->kind);
		else
			printf(",%s,%" PRIu64 ",%" PRIu64 ",%" PRId64 ",%" PRIu64 ",%.3f\n", name->kind, name->first, name->last, growth_of(name),
			       name->peak, (double)name->peak_at / 1000);
	}
}

static json_t *name_json(const struct replayed *name)
{
	json_t *json = json_pack("{s:s, s:s, s:s}", "name", name->name, "owner", name->owner, "kind", name->kind);

	json_object_set_new(json, "first", name->unknown ? json_null() : json_integer(json_bytes(name->first)));
	json_object_set_new(json, "last", name->unknown ? json_null() : json_integer(json_bytes(name->last)));
	json_object_set_new(json, "growth", name->unknown ? json_null() : json_integer(growth_of(name)));
	json_object_set_new(json, "peak", name->unknown ? json_null() : json_integer(json_bytes(name->peak)));
	json_object_set_new(json, "peak_at", name->unknown ? json_null() : json_real((double)name->peak_at / 1000));
	return json;
}

static int print_json(const struct request *request, const struct replay *replay)
{
	struct json_out json = { .out = stdout };

	json_object_begin(&json, NULL);
	json_put(&json, "format", json_string("anonname-recording"));
	json_put(&json, "version", json_integer(1));
	json_put(&json, "figure", json_string(replay->is_rss ? "rss" : "pss"));
	if (recording_cut(&request->recording, INT64_MAX))
		json_put(&json, "names_cut", json_true());
	moments_json(&json, request);
	json_list_begin(&json, "names");
	for (size_t i = 0; i < names_shown(request, replay); i++)
		json_put(&json, NULL, name_json(&replay->name[i]));
	json_list_end(&json);
	json_object_end(&json);
	return json_finish(&json);
}

static void say_cut(const struct request *request, int64_t moment)
{
	int64_t cut = recording_cut(&request->recording, moment);

	if (cut)
		tool_error("%" PRId64 " process%s held more than is looked through of one process: names from outside may be missing", cut,
		           cut == 1 ? "" : "es");
}

static int view(const struct request *request)
{
	struct replay replay;
	int code = EXIT_DONE, error = recording_replay(&request->recording, NULL, NULL, &replay);

	if (error) {
		tool_error("%s: %s", request->recording.path, error == -EIO ? sqlite3_errmsg(request->recording.db) : strerror(-error));
		return EXIT_FAILED;
	}
	say_cut(request, INT64_MAX);
	if (replay.names)
		qsort(replay.name, replay.names, sizeof(*replay.name), growth_order);
	if (request->json)
		code = print_json(request, &replay);
	else if (request->csv)
		print_csv(request, &replay);
	else
		print_text(request, &replay);
	replay_free(&replay);
	return code ? code : tool_finish(EXIT_DONE);
}

/* --- one moment ------------------------------------------------------------------- */

/* Like a snapshot, with what a recording keeps: anonname diff reads it. */
static int print_at(const struct request *request, const char *when)
{
	int64_t moment = recording_find(&request->recording, when);
	struct json_out json = { .out = stdout };
	struct figures total;
	struct rows rows;
	int error;

	if (!moment)
		return EXIT_FAILED;
	error = recording_rows(&request->recording, moment, &rows, &total);
	if (error) {
		tool_error("%s: %s", request->recording.path, error == -EIO ? sqlite3_errmsg(request->recording.db) : strerror(-error));
		return EXIT_FAILED;
	}
	json_object_begin(&json, NULL);
	json_put(&json, "format", json_string(MOMENT_FORMAT));
	json_put(&json, "version", json_integer(1));
	json_put(&json, "by", json_string("name"));
	json_put(&json, "at", json_real((double)recording_at(&request->recording, moment) / 1000));
	say_cut(request, moment);
	if (recording_cut(&request->recording, moment))
		json_put(&json, "names_cut", json_true());
	json_put(&json, "total", figures_json(&total));
	rows_json(&json, &rows);
	json_object_end(&json);
	rows_free(&rows);
	return json_finish(&json);
}

int tool_view(int argc, char **argv)
{
	struct request request = { .unit = UNIT_KIB };
	const char *at = NULL;
	uint64_t number;
	int c;

	while ((c = options_next(COMMAND_view, argc, argv)) != OPT_END) {
		switch (c) {
		case OPT_AT: at = optarg; break;
		case OPT_LINES:
			if (!tool_number(optarg, SIZE_MAX, "a number of lines", &number))
				return EXIT_USAGE;
			request.lines = number;
			break;
		case OPT_HUMAN: request.unit = UNIT_HUMAN; break;
		case OPT_BYTES: request.unit = UNIT_BYTES; break;
		case OPT_JSON: request.json = true; break;
		case OPT_CSV: request.csv = true; break;
		case OPT_HTML: request.html = true; break;
		case OPT_PERFETTO: request.perfetto = true; break;
		default: return options_rest(COMMAND_view, c);
		}
	}
	if (optind + 1 != argc) {
		tool_error("give one file of anonname record");
		return tool_usage_error();
	}
	if (request.perfetto && !tool_takes_bytes("--perfetto"))
		return EXIT_USAGE;
	if (!recording_open(&request.recording, argv[optind]))
		return EXIT_FAILED;
	c = at ? print_at(&request, at) : request.perfetto ? view_perfetto(stdout, &request.recording) : request.html ? view_page(stdout, &request.recording) : view(&request);
	recording_close(&request.recording);
	return c;
}
