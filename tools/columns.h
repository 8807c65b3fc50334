/* SPDX-License-Identifier: MIT */
/*
 * Rows of figures: one table of their columns, from which -o, --sort, --help and
 * what table.h prints are made; and one table of keys for --by.
 */
#ifndef ANONNAME_TOOLS_COLUMNS_H
#define ANONNAME_TOOLS_COLUMNS_H

#include "table.h"
#include "tool.h"

#include "../src/heap/heap.h"
#include "../src/read/names.h"

enum column_text { COLUMN_NAME, COLUMN_OWNER, COLUMN_KIND, COLUMN_SOURCE };

extern const struct column columns[];
extern const size_t columns_count;

/* What is inside the arenas of a row (inside.h): the index of their columns is one of enum heap_figure behind this. */
#define COLUMN_HEAP 64
static inline bool column_is_heap(const struct column *column) { return column->index >= COLUMN_HEAP; }

/* A table of rows with the columns that are shown unless others are asked for. */
void columns_default(struct table *table);
/* The same with those of arenas. */
void columns_default_heap(struct table *table);
void columns_add_heap(struct table *table);
/* The columns of -o instead, none of which is left out. heap: those of arenas, too. */
bool columns_parse(const char *list, struct table *table, bool heap);
const struct column *columns_find(const char *id);
const struct column *columns_find_heap(const char *id);
/* The one of a figure. */
const struct column *columns_figure(enum figure figure);
void columns_help(FILE *out, bool heap);
/* FIG_BIT() of each figure that is shown or sorted by. */
uint32_t columns_wanted(const struct table *table, const struct column *sort);

struct cell figure_cell(const struct figures *figures, enum figure figure);
/* As 12.3M. Buffer of CELL_TEXT_MAX. */
const char *figure_human(const struct figures *figures, enum figure figure, char *buffer);

/* A figure of an arena, or of a sum of them. */
struct cell heap_cell(const uint64_t *figures, enum heap_figure figure);

struct row {
	char *name;
	char *owner;                /* NULL where the names of a group differ in it */
	const char *kind;
	unsigned sources;           /* of its names, NAME_BIT() of each */
	struct figures figures;
	uint64_t *heap;             /* by enum heap_figure, what its arenas have; NULL: unknown, or none is there */
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
/* Only the first ones stay. */
void rows_cut(struct rows *rows, size_t count);
void rows_free(struct rows *rows);

/* What a struct row has in one of the columns: for a table. */
struct cell row_cell(const void *row, const struct column *column);

/* At most limit rows, 0: all. total may be NULL. */
void rows_print_text(FILE *out, const struct rows *rows, const struct row *total, const struct table *table,
                     size_t limit);
void rows_print_csv(FILE *out, const char *before, const struct rows *rows, const struct table *table);

json_t *figures_json(const struct figures *figures);
json_t *row_json(const struct row *row);
/* The member "names": a list. */
void rows_json(struct json_out *json, const struct rows *rows);
/* "kernel", "registry,outside", ...; NULL where there is no name. */
const char *sources_text(unsigned sources);

/* The members anon_rss, named_rss, labelled and by_source. */
void named_json(json_t *json, const struct name_totals *totals);
/* figures with those */
json_t *totals_json(const struct name_totals *totals);

#endif
