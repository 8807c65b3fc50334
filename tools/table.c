/* SPDX-License-Identifier: MIT */
/* Tables as text, CSV and JSON. See table.h. */
#include "table.h"

#include "tool.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <wchar.h>

/* What a text that is not the last of its line takes on a terminal, at most. */
#define TEXT_COLUMN_MAX 48

struct cell cell_text(const char *text)
{
	return (struct cell){ .kind = text ? CELL_TEXT : CELL_UNKNOWN, .text = text };
}

struct cell cell_change(enum cell_kind kind, int64_t difference)
{
	return (struct cell){
		.kind = kind, .change = true, .negative = difference < 0,
		.value = difference < 0 ? 0 - (uint64_t)difference : (uint64_t)difference,
	};
}

const char *cell_format(const struct cell *cell, enum unit unit, char *buffer)
{
	const char *tilde = cell->estimate ? "~" : "";
	const char *sign = !cell->change || !cell->value ? "" : cell->negative ? "-" : "+";
	uint64_t value = cell->value;
	char human[16];

	if (cell->kind == CELL_UNKNOWN)
		return "-";
	if (cell->kind == CELL_TEXT)
		return cell->text;
	if (cell->kind == CELL_SIZE && unit == UNIT_HUMAN) {
		snprintf(buffer, CELL_TEXT_MAX, "%s%s%s", tilde, sign, tool_human(value, human));
		return buffer;
	}
	if (cell->kind == CELL_SIZE && unit == UNIT_KIB)
		value = value / 1024 + (value % 1024 >= 512);
	snprintf(buffer, CELL_TEXT_MAX, "%s%s%llu", tilde, sign, (unsigned long long)value);
	return buffer;
}

void table_add(struct table *table, const struct column *column)
{
	if (table->columns < COLUMNS_MAX)
		table->column[table->columns++] = column;
}

/* --- text ---------------------------------------------------------------------- */

size_t terminal_width(int fd)
{
	struct winsize size;

	if (!isatty(fd) || ioctl(fd, TIOCGWINSZ, &size) || !size.ws_col)
		return 0;
	return size.ws_col;
}

bool terminal_color(void)
{
	const char *none = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(none && *none) && term && strcmp(term, "dumb");
}

/* The columns that one character takes, and its bytes. Names were made safe before. */
static size_t character(const char *text, size_t *bytes)
{
	mbstate_t state = { 0 };
	wchar_t wide;
	size_t n = mbrtowc(&wide, text, strlen(text), &state);
	int columns_taken;

	if (n == 0 || n > 4) {
		*bytes = 1;
		return 1;
	}
	*bytes = n;
	columns_taken = wcwidth(wide);
	return columns_taken < 0 ? 1 : (size_t)columns_taken;
}

static size_t text_width(const char *text)
{
	size_t width = 0, bytes;

	for (; *text; text += bytes)
		width += character(text, &bytes);
	return width;
}

/* Prints as much of a text as fits. Returns what is behind it. */
static const char *print_head(FILE *out, const char *text, size_t width, size_t *taken)
{
	size_t bytes;

	for (*taken = 0; *text; text += bytes) {
		size_t one = character(text, &bytes);

		if (*taken + one > width)
			break;
		*taken += one;
		fwrite(text, 1, bytes, out);
	}
	return text;
}

/* Prints a text that is cut in the middle so that it takes at most width columns. Returns what it takes. */
static size_t print_fitted(FILE *out, const char *text, size_t width)
{
	const size_t mark = strlen("..");
	size_t have = text_width(text), taken, left, bytes;

	if (have <= width || width < 2 * mark) {
		/* Nothing to cut, or no room for a mark. */
		print_head(out, text, width, &taken);
		return taken;
	}
	/* The owner stands at the front, what differs at the end: cut between. */
	text = print_head(out, text, (width - mark) / 2, &taken);
	left = have - taken;
	while (*text && left > width - mark - (width - mark) / 2) {
		left -= character(text, &bytes);
		text += bytes;
	}
	fprintf(out, "..%s", text);
	return taken + mark + left;
}

static const char *cell_shown(const struct table *table, size_t i, const void *row, char *buffer)
{
	const struct column *column = table->column[i];
	struct cell cell;

	if (!row)
		return column->header;
	cell = table->cell(row, column);
	return cell_format(&cell, table->unit, buffer);
}

void table_measure(struct table *table, const void *row)
{
	char buffer[CELL_TEXT_MAX];

	for (size_t i = 0; i < table->columns; i++) {
		bool is_text = table->column[i]->is_text;
		size_t width = text_width(cell_shown(table, i, row, buffer));

		if (is_text && table->screen && width > TEXT_COLUMN_MAX)
			width = TEXT_COLUMN_MAX;
		if (!is_text && width < table->least)
			width = table->least;
		if (width > table->width[i])
			table->width[i] = width;
	}
}

/* The column that matters least, or the number of columns. */
static size_t table_least(const struct table *table)
{
	size_t least = table->columns;
	unsigned worst = table->sort ? 0 : 1;

	for (size_t i = 0; i < table->columns; i++) {
		const struct column *column = table->column[i];

		if (!column->is_text && column != table->sort && column->keep > worst) {
			worst = column->keep;
			least = i;
		}
	}
	return least;
}

void table_fit(struct table *table)
{
	while (table->screen && table->room) {
		size_t sum = 0, drop = table_least(table), behind;

		for (size_t i = 0; i + 1 < table->columns; i++)
			sum += table->width[i] + 1;
		if (sum + table->room <= table->screen || drop == table->columns)
			return;
		behind = --table->columns - drop;
		memmove(&table->column[drop], &table->column[drop + 1], behind * sizeof(*table->column));
		memmove(&table->width[drop], &table->width[drop + 1], behind * sizeof(*table->width));
	}
}

void table_line(FILE *out, const struct table *table, const void *row)
{
	char buffer[CELL_TEXT_MAX];
	size_t used = 0;

	for (size_t i = 0; i < table->columns; i++) {
		bool last = i + 1 == table->columns;
		size_t width = table->width[i], taken;
		const char *text = cell_shown(table, i, row, buffer);

		if (i)
			used += (size_t)fprintf(out, " ");
		if (!table->column[i]->is_text) {
			used += (size_t)fprintf(out, "%*s", (int)width, text);
			continue;
		}
		if (last && table->screen)
			width = table->screen > used ? table->screen - used : 1;
		taken = print_fitted(out, text, table->screen ? width : SIZE_MAX);
		if (!last && taken < width)
			taken += (size_t)fprintf(out, "%*s", (int)(width - taken), "");
		used += taken;
	}
}

void table_line_bold(FILE *out, const struct table *table, const void *row)
{
	if (table->color)
		fputs("\033[1m", out);
	table_line(out, table, row);
	fputs(table->color ? "\033[0m\n" : "\n", out);
}

/* --- CSV ----------------------------------------------------------------------- */

void csv_text(FILE *out, const char *text)
{
	if (!text)
		return;
	if (!strpbrk(text, ",\"")) {
		fputs(text, out);
		return;
	}
	fputc('"', out);
	for (; *text; text++) {
		if (*text == '"')
			fputc('"', out);
		fputc(*text, out);
	}
	fputc('"', out);
}

void table_csv_header(FILE *out, const char *before, const struct table *table)
{
	fputs(before, out);
	for (size_t i = 0; i < table->columns; i++)
		fprintf(out, "%s%s", i ? "," : "", table->column[i]->id);
	fputc('\n', out);
}

void table_csv(FILE *out, const char *before, const struct table *table, const void *row)
{
	fputs(before, out);
	for (size_t i = 0; i < table->columns; i++) {
		struct cell cell = table->cell(row, table->column[i]);

		if (i)
			fputc(',', out);
		if (cell.kind == CELL_TEXT)
			csv_text(out, cell.text);
		else if (cell.kind != CELL_UNKNOWN)
			fprintf(out, "%s%llu", cell.negative ? "-" : "", (unsigned long long)cell.value);
	}
	fputc('\n', out);
}

/* --- JSON ---------------------------------------------------------------------- */

static json_t *cell_json(const struct cell *cell)
{
	if (cell->kind == CELL_UNKNOWN)
		return json_null();
	if (cell->kind == CELL_TEXT)
		return json_string(cell->text);
	return json_integer(cell->negative ? -json_bytes(cell->value) : json_bytes(cell->value));
}

void table_json(json_t *json, const struct table *table, const void *row)
{
	for (size_t i = 0; i < table->columns; i++) {
		struct cell cell = table->cell(row, table->column[i]);

		json_object_set_new(json, table->column[i]->id, cell_json(&cell));
	}
}

void table_json_estimate(json_t *json, const struct table *table, const void *row)
{
	json_t *estimate = NULL;

	for (size_t i = 0; i < table->columns; i++) {
		if (!table->cell(row, table->column[i]).estimate)
			continue;
		estimate = estimate ? estimate : json_array();
		json_array_append_new(estimate, json_string(table->column[i]->id));
	}
	if (estimate)
		json_object_set_new(json, "estimate", estimate);
}
