/* SPDX-License-Identifier: MIT */
/* The tools' printer: what is unknown, an estimate or a change, in text, CSV and JSON, and what a narrow screen keeps. */
#include <stdlib.h>
#include <string.h>

#include "../../tools/table.h"
#include "run.h"

static const struct column size = { .id = "size", .header = "SIZE", .keep = 1 };
static const struct column grown = { .id = "grown", .header = "GROWN", .keep = 3 };
static const struct column count = { .id = "count", .header = "COUNT", .keep = 2 };
static const struct column name = { .id = "name", .header = "NAME", .is_text = true };

struct line {
	struct cell size, grown, count;
	const char *name;
};

static struct cell cell(const void *one, const struct column *column)
{
	const struct line *line = one;

	return column == &size ? line->size : column == &grown ? line->grown : column == &count ? line->count
	                                                                     : cell_text(line->name);
}

static const struct line known = {
	.size = { .kind = CELL_SIZE, .value = 1536, .estimate = true },
	.grown = { .kind = CELL_SIZE, .value = 2048, .change = true, .negative = true },
	.count = { .kind = CELL_COUNT, .value = 1536 },
	.name = "a \"b\", c",
};
static const struct line unknown;

static struct table make(size_t screen)
{
	struct table table = { .cell = cell, .screen = screen, .room = 10 };

	table_add(&table, &size);
	table_add(&table, &grown);
	table_add(&table, &count);
	table_add(&table, &name);
	table_measure(&table, NULL);
	table_measure(&table, &known);
	table_measure(&table, &unknown);
	table_fit(&table);
	return table;
}

/* What a printing function of one row writes. */
#define WRITTEN(call) do { \
	FILE *out = fmemopen(written, sizeof(written), "w"); \
	ck_assert_ptr_nonnull(out); \
	call; \
	fclose(out); \
} while (0)

static char written[256];

START_TEST(cells)
{
	static const struct {
		struct cell cell;
		const char *kib, *bytes, *human;
	} rows[] = {
		{ { .kind = CELL_UNKNOWN, .value = 5 }, "-", "-", "-" },
		{ { .kind = CELL_SIZE, .value = 1535 }, "1", "1535", "1.5K" },
		{ { .kind = CELL_SIZE, .value = 1536, .estimate = true }, "~2", "~1536", "~1.5K" },
		{ { .kind = CELL_COUNT, .value = 1536 }, "1536", "1536", "1536" },
		{ { .kind = CELL_SIZE, .change = true }, "0", "0", "0B" },
		{ { .kind = CELL_SIZE, .change = true, .value = 1024, .estimate = true }, "~+1", "~+1024", "~+1.0K" },
	};
	char buffer[CELL_TEXT_MAX];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ck_assert_str_eq(cell_format(&rows[i].cell, UNIT_KIB, buffer), rows[i].kib);
		ck_assert_str_eq(cell_format(&rows[i].cell, UNIT_BYTES, buffer), rows[i].bytes);
		ck_assert_str_eq(cell_format(&rows[i].cell, UNIT_HUMAN, buffer), rows[i].human);
	}
	ck_assert(cell_change(CELL_SIZE, INT64_MIN).value == (uint64_t)1 << 63);
}
END_TEST

START_TEST(text)
{
	struct table table = make(0);

	WRITTEN(table_line(out, &table, NULL));
	ck_assert_str_eq(written, "SIZE GROWN COUNT NAME");
	WRITTEN(table_line(out, &table, &known));
	ck_assert_str_eq(written, "  ~2    -2  1536 a \"b\", c");
	WRITTEN(table_line(out, &table, &unknown));
	ck_assert_str_eq(written, "   -     -     - -");
}
END_TEST

/* The highest keep goes first; keep 1 stays, or what is sorted by; nothing goes where no room is asked for. */
START_TEST(narrow)
{
	struct table table = make(27);

	WRITTEN(table_line(out, &table, NULL));
	ck_assert_str_eq(written, "SIZE GROWN COUNT NAME");
	table = make(26);
	WRITTEN(table_line(out, &table, NULL));
	ck_assert_str_eq(written, "SIZE COUNT NAME");
	table = make(12);
	WRITTEN(table_line(out, &table, &known));
	ck_assert_str_eq(written, "  ~2 a .., c");
	table = make(0);
	table.screen = 21;
	table.sort = &grown;
	table_fit(&table);
	WRITTEN(table_line(out, &table, NULL));
	ck_assert_str_eq(written, "SIZE GROWN NAME");
	table.screen = 1;
	table_fit(&table);
	WRITTEN(table_line(out, &table, NULL));
	ck_assert_str_eq(written, "GROWN N");
	table = make(0);
	table.screen = 20;
	table.room = 0;
	table_fit(&table);
	ck_assert_uint_eq(table.columns, 4);
}
END_TEST

START_TEST(csv)
{
	struct table table = make(0);

	WRITTEN(table_csv_header(out, "at,", &table));
	ck_assert_str_eq(written, "at,size,grown,count,name\n");
	WRITTEN(table_csv(out, "1,", &table, &known));
	ck_assert_str_eq(written, "1,1536,-2048,1536,\"a \"\"b\"\", c\"\n");
	WRITTEN(table_csv(out, "", &table, &unknown));
	ck_assert_str_eq(written, ",,,\n");
}
END_TEST

static void check_json(const struct line *line, const char *wanted)
{
	struct table table = make(0);
	json_t *json = json_object();
	char *dumped;

	table_json(json, &table, line);
	table_json_estimate(json, &table, line);
	dumped = json_dumps(json, JSON_COMPACT | JSON_PRESERVE_ORDER);
	ck_assert_str_eq(dumped, wanted);
	free(dumped);
	json_decref(json);
}

START_TEST(json)
{
	check_json(&known, "{\"size\":1536,\"grown\":-2048,\"count\":1536,\"name\":\"a \\\"b\\\", c\",\"estimate\":[\"size\"]}");
	check_json(&unknown, "{\"size\":null,\"grown\":null,\"count\":null,\"name\":null}");
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("table");

	tcase_add_test(tests, cells);
	tcase_add_test(tests, text);
	tcase_add_test(tests, narrow);
	tcase_add_test(tests, csv);
	tcase_add_test(tests, json);
	return run_tests("table", tests);
}
