/* SPDX-License-Identifier: MIT */
/*
 * Rows of figures and how they are shown: one table of columns, from which
 * -o, --sort, --help, the text, the CSV and the JSON are made; and one table of
 * keys for --by. report, top, diff and run --peak all print through this file.
 */
#ifndef ANONNAME_TOOLS_COLUMNS_H
#define ANONNAME_TOOLS_COLUMNS_H

#include "tool.h"

#include "../src/read/names.h"

enum column_text { COLUMN_NAME, COLUMN_OWNER, COLUMN_KIND };

struct column {
	const char *id;             /* for -o, --sort, JSON and CSV */
	const char *header;
	const char *help;
	bool is_text;
	unsigned index;             /* enum column_text or enum figure */
	unsigned keep;              /* what a narrow terminal keeps longest: 1; 0: not shown unless asked for */
};

#define COLUMNS_MAX 24
extern const struct column columns[];
extern const size_t columns_count;

struct columns_choice {
	const struct column *column[COLUMNS_MAX];
	size_t count;
	bool by_user;               /* given with -o: nothing is left out */
};

void columns_default(struct columns_choice *choice);
bool columns_parse(const char *list, struct columns_choice *choice);
const struct column *columns_find(const char *id);
void columns_help(FILE *out);
/* FIG_BIT() of each figure that is shown or sorted by; sort may be NULL. */
uint32_t columns_wanted(const struct columns_choice *choice, const struct column *sort);

enum unit { UNIT_KIB, UNIT_BYTES, UNIT_HUMAN };

/* "~" before an estimate, "-" for what is unknown. */
void columns_format(const struct figures *figures, enum figure figure, enum unit unit, char *buffer,
                    size_t size);

struct row {
	char *name;
	char *owner;                /* NULL where the names of a group differ in it */
	const char *kind;
	unsigned sources;           /* of its names, NAME_BIT() of each */
	struct figures figures;
};

struct rows {
	struct row *row;
	size_t count;
};

/* What of a process must be read for its key. */
enum place { PLACE_USER = 1, PLACE_CGROUP = 2 };

struct measured;

/* What the rows are about: something in each name, or something of each process. */
struct group {
	const char *id, *help;
	void (*key)(const struct name_row *row, char *buffer, size_t size);
	void (*of_process)(const struct measured *process, char *buffer, size_t size);
	unsigned places;            /* enum place */
};

extern const struct group groups[];
extern const size_t groups_count;
const struct group *groups_find(const char *id);
void groups_help(FILE *out);

/* Rows of a table, grouped and sorted: largest first, text from A. */
int rows_make(const struct name_table *table, const struct group *group, bool fold, struct rows *rows);
/* For qsort(): by name, then by kind. */
int rows_name_order(const void *a, const void *b);
/* Sorts so, and rows of one name and kind become one. */
void rows_merge_same(struct rows *rows);
void rows_sort(struct rows *rows, const struct column *column);
void rows_free(struct rows *rows);

struct rows_style {
	const struct columns_choice *choice;
	enum unit unit;
	bool color;
	size_t width;               /* of the terminal; 0: no limit */
	size_t limit;               /* rows; 0: all */
};

/* total may be NULL; note follows its name. */
void rows_print_text(FILE *out, const struct rows *rows, const struct row *total,
                     const struct rows_style *style);
void rows_print_csv(FILE *out, const struct rows *rows, const struct columns_choice *choice);
/* One line of it each, behind other cells: before ends with a comma, or is "". */
void csv_header(FILE *out, const char *before, const struct columns_choice *choice);
void csv_row(FILE *out, const char *before, const struct row *row, const struct columns_choice *choice);

json_t *figures_json(const struct figures *figures);
json_t *row_json(const struct row *row);
/* The member "names": a list. */
void rows_json(struct json_out *json, const struct rows *rows);
/* "kernel", "registry,outside", ...; NULL where there is no name. Buffer of SOURCES_TEXT. */
#define SOURCES_TEXT 32
const char *sources_text(unsigned sources, char *buffer);

/* figures with anon_rss, named_rss, labelled and by_source */
json_t *totals_json(const struct name_totals *totals);
void csv_text(FILE *out, const char *text);

/* The width of a terminal, 0 when it is none. */
size_t terminal_width(int fd);
/* Whether standard output is a terminal that takes colour. */
bool terminal_color(void);

/* Cuts text in the middle so that it takes at most width columns. */
void text_fit(const char *text, size_t width, char *buffer, size_t size);
size_t text_width(const char *text);

#endif
