/* SPDX-License-Identifier: MIT */
/*
 * The one printer of report, top, diff, maps and run --peak. A table is columns,
 * and a function that says what a row has in one of them; the text, the CSV and
 * the members of JSON objects are made from that here.
 */
#ifndef ANONNAME_TOOLS_TABLE_H
#define ANONNAME_TOOLS_TABLE_H

#include "json.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct column {
	const char *id;             /* for -o, --sort, JSON and CSV */
	const char *header;
	const char *help;
	bool is_text;               /* to the left, and cut where there is no room; else a figure, to the right */
	unsigned index;             /* the owner's own: enum column_text or enum figure in columns.c */
	unsigned keep;              /* what a narrow terminal keeps longest: 1; 0: not shown unless asked for */
};

enum cell_kind { CELL_UNKNOWN, CELL_TEXT, CELL_COUNT, CELL_SIZE };

/* What one row has in one column. */
struct cell {
	enum cell_kind kind;
	const char *text;           /* of CELL_TEXT */
	uint64_t value;             /* a number, or bytes */
	bool estimate;
	bool change, negative;      /* a difference: it has a sign, and value is how much */
};

struct cell cell_text(const char *text);    /* NULL: unknown */
struct cell cell_change(enum cell_kind kind, int64_t difference);

enum unit { UNIT_KIB, UNIT_BYTES, UNIT_HUMAN };

/* A figure as text: "~" before an estimate, "-" for what is unknown. Buffer of CELL_TEXT_MAX. */
#define CELL_TEXT_MAX 32
const char *cell_format(const struct cell *cell, enum unit unit, char *buffer);

#define COLUMNS_MAX 32

struct table {
	struct cell (*cell)(const void *row, const struct column *column);
	const struct column *column[COLUMNS_MAX];
	size_t columns;
	enum unit unit;             /* of the text */
	bool color;
	size_t screen;              /* the columns that a line may take; 0: no limit */
	size_t least;               /* what a figure takes at least */
	size_t room;                /* what the columns that are left out leave to the last, a name; 0: none is left out */
	const struct column *sort;  /* never left out; NULL: those with keep 1 are not */
	size_t width[COLUMNS_MAX];  /* the printer's */
};

void table_add(struct table *table, const struct column *column);

/*
 * The text: every row is measured that is to fit, then what matters least is left
 * out until the name has room, then lines are printed; row NULL is the header.
 */
void table_measure(struct table *table, const void *row);
void table_fit(struct table *table);
void table_line(FILE *out, const struct table *table, const void *row);
void table_line_bold(FILE *out, const struct table *table, const void *row);

/* One line of CSV each, behind other cells: before ends with a comma, or is "". */
void table_csv_header(FILE *out, const char *before, const struct table *table);
void table_csv(FILE *out, const char *before, const struct table *table, const void *row);
void csv_text(FILE *out, const char *text);

/* Adds a member for each column, and then "estimate", a list of those that are, where there is one. */
void table_json(json_t *json, const struct table *table, const void *row);
void table_json_estimate(json_t *json, const struct table *table, const void *row);

/* The width of a terminal, 0 when it is none. */
size_t terminal_width(int fd);
/* Whether standard output is a terminal that takes colour. */
bool terminal_color(void);

#endif
