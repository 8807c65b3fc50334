/* SPDX-License-Identifier: MIT */
/* Columns, groups, and rows. See columns.h. */
#include "columns.h"

#include "measure.h"
#include "../src/read/place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

const struct column columns[] = {
	{ "vmas", "VMAS", "memory areas, or parts of them that carry the name", false, FIG_VMAS, 9 },
	{ "size", "SIZE", "address space", false, FIG_SIZE, 4 },
	{ "rss", "RSS", "resident: in memory and mapped", false, FIG_RSS, 2 },
	{ "pss", "PSS", "proportional: each page divided by how often it is mapped", false, FIG_PSS, 1 },
	{ "uss", "USS", "unique: pages that only this process maps", false, FIG_USS, 3 },
	{ "cow", "COW", "anonymous pages still shared with a relative by fork", false, FIG_COW, 6 },
	{ "ksm", "KSM", "pages merged by KSM", false, FIG_KSM, 11 },
	{ "zero", "ZERO", "the zero page: read, never written, not in RSS", false, FIG_ZERO, 12 },
	{ "swap", "SWAP", "swapped out", false, FIG_SWAP, 5 },
	{ "swap_pss", "SWAPPSS", "swapped out, divided by how many share it", false, FIG_SWAP_PSS, 10 },
	{ "thp", "THP", "in huge pages", false, FIG_THP, 7 },
	{ "locked", "LOCKED", "locked by mlock", false, FIG_LOCKED, 8 },
	{ "dirty", "DIRTY", "written: would have to be swapped or written back to be freed", false, FIG_DIRTY, 0 },
	{ "clean", "CLEAN", "the kernel can drop it and read it again", false, FIG_CLEAN, 0 },
	{ "lazyfree", "LAZYFREE", "free already (MADV_FREE): in RSS until the kernel needs it", false, FIG_LAZYFREE, 0 },
	{ "pss_dirty", "PSSDIRTY", "the dirty part of PSS; Linux 6.0", false, FIG_PSS_DIRTY, 0 },
	{ "page_tables", "PAGETABLES", "the kernel's own for the process, beside RSS", false, FIG_PAGE_TABLES, 0 },
	{ "owner", "OWNER", "what stands before the first colon of the name", true, COLUMN_OWNER, 0 },
	{ "kind", "KIND", "arena, heap, stack, bss, mmap, file and so on", true, COLUMN_KIND, 0 },
	{ "name", "NAME", "the name, or whatever --by asks for", true, COLUMN_NAME, 1 },
};
const size_t columns_count = COUNT(columns);

static const struct column heap_columns[] = {
#define HEAP_FIGURE(id, word, header, is_bytes, keep, help) { word, header, help, false, COLUMN_HEAP + HEAP_##id, keep },
#include "../src/heap/heap.def"
};

/* JSON has it, for all that it is no column of -o. */
static const struct column source_column = { .id = "source", .is_text = true, .index = COLUMN_SOURCE };

void columns_default(struct table *table)
{
	table->cell = row_cell;
	table->columns = 0;
	table->room = 20;
	for (size_t i = 0; i < columns_count; i++)
		if (columns[i].keep)
			table_add(table, &columns[i]);
}

void columns_add_heap(struct table *table)
{
	for (size_t i = 0; i < COUNT(heap_columns); i++)
		if (heap_columns[i].keep)
			table_add(table, &heap_columns[i]);
}

void columns_default_heap(struct table *table)
{
	columns_default(table);
	/* Before the name, which is the last. */
	table->columns--;
	columns_add_heap(table);
	table_add(table, columns_find("name"));
}

/* Also by the header: SWAPPSS and swap_pss are the same. */
const struct column *columns_find(const char *id)
{
	for (size_t i = 0; i < columns_count; i++)
		if (!strcasecmp(id, columns[i].id) || !strcasecmp(id, columns[i].header))
			return &columns[i];
	return NULL;
}

const struct column *columns_find_heap(const char *id)
{
	for (size_t i = 0; i < COUNT(heap_columns); i++)
		if (!strcasecmp(id, heap_columns[i].id))
			return &heap_columns[i];
	return columns_find(id);
}

const struct column *columns_figure(enum figure figure)
{
	const struct column *column = columns;

	while (column->is_text || column->index != figure)
		column++;
	return column;
}

bool columns_parse(const char *list, struct table *table, bool heap)
{
	char *copy = strdup(list), *rest = copy, *id;
	bool ok = copy != NULL;

	table->columns = 0;
	table->room = 0;
	while (ok && (id = strsep(&rest, ","))) {
		const struct column *column = heap ? columns_find_heap(id) : columns_find(id);

		if (!column) {
			tool_error("there is no column '%s'; --help lists them", id);
			ok = false;
		} else if (table->columns == COLUMNS_MAX) {
			tool_error("more than %d columns", COLUMNS_MAX);
			ok = false;
		} else {
			table_add(table, column);
		}
	}
	free(copy);
	return ok;
}

void columns_help(FILE *out, bool heap)
{
	fputs("Columns:\n", out);
	for (size_t i = 0; i < columns_count; i++)
		fprintf(out, "  %-11s %s\n", columns[i].id, columns[i].help);
	for (size_t i = 0; heap && i < COUNT(heap_columns); i++)
		fprintf(out, "  %-11s of arenas: %s\n", heap_columns[i].id, heap_columns[i].help);
}

static bool is_figure(const struct column *column)
{
	return !column->is_text && !column_is_heap(column);
}

uint32_t columns_wanted(const struct table *table, const struct column *sort)
{
	uint32_t wanted = is_figure(sort) ? FIG_BIT(sort->index) : 0;

	for (size_t i = 0; i < table->columns; i++)
		if (is_figure(table->column[i]))
			wanted |= FIG_BIT(table->column[i]->index);
	return wanted;
}

struct cell figure_cell(const struct figures *figures, enum figure figure)
{
	if (figures->unknown & FIG_BIT(figure))
		return (struct cell){ .kind = CELL_UNKNOWN };
	return (struct cell){
		.kind = figure == FIG_VMAS ? CELL_COUNT : CELL_SIZE,
		.value = figures->value[figure], .estimate = figures->estimate & FIG_BIT(figure),
	};
}

static const bool is_bytes[HEAP_FIGURES] = {
#define HEAP_FIGURE(id, word, header, is_bytes, keep, help) is_bytes,
#include "../src/heap/heap.def"
};

struct cell heap_cell(const uint64_t *figures, enum heap_figure figure)
{
	if (figures[figure] == HEAP_UNKNOWN)
		return (struct cell){ .kind = CELL_UNKNOWN };
	return (struct cell){ .kind = is_bytes[figure] ? CELL_SIZE : CELL_COUNT, .value = figures[figure] };
}

const char *figure_human(const struct figures *figures, enum figure figure, char *buffer)
{
	struct cell cell = figure_cell(figures, figure);

	return cell_format(&cell, UNIT_HUMAN, buffer);
}

static void key_name(const struct name_row *row, char *buffer, size_t size)
{
	snprintf(buffer, size, "%s", row->name);
}

static void key_kind(const struct name_row *row, char *buffer, size_t size)
{
	snprintf(buffer, size, "%s", name_kind(row));
}

static void key_process(const struct measured *process, char *buffer, size_t size)
{
	if (process->pid)
		snprintf(buffer, size, "%d %s", (int)process->pid, process->comm);
	else
		snprintf(buffer, size, "%s", process->comm);
}

static void key_user(const struct measured *process, char *buffer, size_t size)
{
	snprintf(buffer, size, "%s", process->user ? process->user : "-");
}

static const char *cgroup_of(const struct measured *process)
{
	return process->cgroup ? process->cgroup : "-";
}

static void key_cgroup(const struct measured *process, char *buffer, size_t size)
{
	snprintf(buffer, size, "%s", cgroup_of(process));
}

static void key_unit(const struct measured *process, char *buffer, size_t size)
{
	place_unit(cgroup_of(process), buffer, size);
}

static void key_container(const struct measured *process, char *buffer, size_t size)
{
	place_container(cgroup_of(process), buffer, size);
}

const struct group groups[] = {
	{ "name", "each name", key_name, NULL, 0 },
	{ "owner", "what stands before the first colon", name_owner, NULL, 0 },
	{ "kind", "arena, heap, stack, file and so on", key_kind, NULL, 0 },
	{ "thread", "the tid in the name", name_thread, NULL, 0 },
	{ "library", "the library in the name, or the mapped file", name_library, NULL, 0 },
	{ "process", "each process", NULL, key_process, 0 },
	{ "user", "the real user of each process", NULL, key_user, PLACE_USER },
	{ "cgroup", "the control group", NULL, key_cgroup, PLACE_CGROUP },
	{ "unit", "the systemd unit, from the control group's path", NULL, key_unit, PLACE_CGROUP },
	{ "container", "the container, from the control group's path", NULL, key_container, PLACE_CGROUP },
};
const size_t groups_count = COUNT(groups);

const struct group *groups_find(const char *id)
{
	for (size_t i = 0; i < COUNT(groups); i++)
		if (!strcmp(id, groups[i].id))
			return &groups[i];
	tool_error("--by '%s' is not known; --help lists what is", id);
	return NULL;
}

void groups_help(FILE *out)
{
	fputs("What --by makes rows of:\n", out);
	for (size_t i = 0; i < COUNT(groups); i++)
		fprintf(out, "  %-9s %s\n", groups[i].id, groups[i].help);
}

/* A row with its key, for sorting by key. */
struct keyed {
	char *key;
	const struct name_row *from;
};

static int keyed_order(const void *a, const void *b)
{
	return strcmp(((const struct keyed *)a)->key, ((const struct keyed *)b)->key);
}

static bool same(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

static int merge_keyed(struct keyed *keyed, size_t count, bool by_name, struct rows *rows)
{
	char owner[NAME_PART_MAX];

	for (size_t i = 0; i < count; i++) {
		const char *kind = name_kind(keyed[i].from);
		struct row *row = rows->count ? &rows->row[rows->count - 1] : NULL;

		name_owner(keyed[i].from, owner, sizeof(owner));
		/* With --by name, two kinds of memory that share a name stay two rows. */
		if (row && !strcmp(row->name, keyed[i].key) && (!by_name || same(row->kind, kind))) {
			if (!same(row->owner, owner)) {
				free(row->owner);
				row->owner = NULL;
			}
			if (!same(row->kind, kind))
				row->kind = NULL;
		} else {
			row = &rows->row[rows->count++];
			memset(row, 0, sizeof(*row));
			row->name = strdup(keyed[i].key);
			row->owner = strdup(owner);
			row->kind = kind;
			if (!row->name || !row->owner)
				return -ENOMEM;
		}
		row->sources |= keyed[i].from->sources;
		figures_add(&row->figures, &keyed[i].from->figures);
	}
	return 0;
}

/* The row of what found none, by whatever the rows are made. */
static int add_rest(const struct name_table *table, struct rows *rows)
{
	uint64_t regions = table->rest.figures.value[FIG_VMAS];
	struct row *row = &rows->row[rows->count];

	if (!regions)
		return 0;
	*row = (struct row){ .kind = name_kind_find(""), .figures = table->rest.figures };
	if (asprintf(&row->name, "[%llu more regions]", (unsigned long long)regions) < 0) {
		row->name = NULL;
		return -ENOMEM;
	}
	rows->count++;
	return 0;
}

int rows_make(const struct name_table *table, const struct group *group, bool fold, struct rows *rows)
{
	struct keyed *keyed = calloc(table->rows + 1, sizeof(*keyed));
	char key[NAME_PART_MAX], folded[NAME_PART_MAX];
	int error = keyed ? 0 : -ENOMEM;

	rows->count = 0;
	rows->row = calloc(table->rows + 2, sizeof(*rows->row));
	if (!rows->row)
		error = -ENOMEM;
	for (size_t i = 0; !error && i < table->rows; i++) {
		const struct name_row *row = &table->row[i];

		group->key(row, key, sizeof(key));
		/* A file's name is not ours to fold. */
		if (fold && !name_is_file(row))
			name_fold(key, folded, sizeof(folded));
		keyed[i].key = strdup(fold && !name_is_file(row) ? folded : key);
		keyed[i].from = row;
		if (!keyed[i].key)
			error = -ENOMEM;
	}
	if (!error && table->rows)
		qsort(keyed, table->rows, sizeof(*keyed), keyed_order);
	if (!error)
		error = merge_keyed(keyed, table->rows, group->key == key_name, rows);
	if (!error)
		error = add_rest(table, rows);
	for (size_t i = 0; keyed && i < table->rows; i++)
		free(keyed[i].key);
	free(keyed);
	if (error)
		rows_free(rows);
	return error;
}

int rows_name_order(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : strcmp(x->kind ? x->kind : "", y->kind ? y->kind : "");
}

static void free_row(struct row *row)
{
	free(row->name);
	free(row->owner);
	free(row->heap);
}

void rows_merge_same(struct rows *rows)
{
	size_t kept = 0;

	if (rows->count)
		qsort(rows->row, rows->count, sizeof(*rows->row), rows_name_order);
	for (size_t i = 0; i < rows->count; i++) {
		if (kept && !rows_name_order(&rows->row[kept - 1], &rows->row[i])) {
			rows->row[kept - 1].sources |= rows->row[i].sources;
			figures_add(&rows->row[kept - 1].figures, &rows->row[i].figures);
			free_row(&rows->row[i]);
		} else {
			rows->row[kept++] = rows->row[i];
		}
	}
	rows->count = kept;
}

void rows_cut(struct rows *rows, size_t count)
{
	while (rows->count > count)
		free_row(&rows->row[--rows->count]);
}

void rows_free(struct rows *rows)
{
	rows_cut(rows, 0);
	free(rows->row);
	rows->row = NULL;
}

static const char *row_text(const struct row *row, enum column_text column)
{
	const char *text = column == COLUMN_NAME ? row->name : column == COLUMN_OWNER ? row->owner : row->kind;

	return text ? text : "-";
}

/* What is unknown is sorted as 0. */
static uint64_t figure_of(const struct row *row, const struct column *column)
{
	uint64_t value;

	if (!column_is_heap(column))
		return row->figures.value[column->index];
	value = row->heap ? row->heap[column->index - COLUMN_HEAP] : HEAP_UNKNOWN;
	return value == HEAP_UNKNOWN ? 0 : value;
}

static int row_order(const void *a, const void *b, void *context)
{
	const struct column *column = context;
	const struct row *x = a, *y = b;

	if (!column->is_text) {
		uint64_t m = figure_of(x, column), n = figure_of(y, column);

		if (m != n)
			return m < n ? 1 : -1;
		m = x->figures.value[FIG_SIZE];
		n = y->figures.value[FIG_SIZE];
		if (m != n)
			return m < n ? 1 : -1;
	} else if (column->index != COLUMN_NAME) {
		int order = strcmp(row_text(x, column->index), row_text(y, column->index));

		if (order)
			return order;
	}
	return strcmp(x->name, y->name);
}

void rows_sort(struct rows *rows, const struct column *column)
{
	struct column copy = *column;

	if (rows->count)
		qsort_r(rows->row, rows->count, sizeof(*rows->row), row_order, &copy);
}

/* A cell does not own its text: each combination has a place. */
const char *sources_text(unsigned sources)
{
	static char texts[1 << NAME_SOURCES][sizeof("kernel,registry,outside")];
	char *text = texts[sources];
	size_t at = 0;

	for (unsigned i = NAME_KERNEL; i < NAME_SOURCES; i++)
		if (sources & NAME_BIT(i))
			at += (size_t)snprintf(text + at, sizeof(*texts) - at, "%s%s", at ? "," : "", source_names[i]);
	return *text ? text : NULL;
}

struct cell row_cell(const void *one, const struct column *column)
{
	const struct row *row = one;

	if (column_is_heap(column))
		return row->heap ? heap_cell(row->heap, column->index - COLUMN_HEAP) : (struct cell){ .kind = CELL_UNKNOWN };
	if (!column->is_text)
		return figure_cell(&row->figures, column->index);
	switch ((enum column_text)column->index) {
	case COLUMN_NAME: return cell_text(row->name);
	case COLUMN_OWNER: return cell_text(row->owner);
	case COLUMN_KIND: return cell_text(row->kind);
	case COLUMN_SOURCE: break;
	}
	return cell_text(sources_text(row->sources));
}

void rows_print_text(FILE *out, const struct rows *rows, const struct row *total, const struct table *asked,
                     size_t limit)
{
	size_t shown = limit && limit < rows->count ? limit : rows->count;
	struct table table = *asked;

	table_measure(&table, NULL);
	for (size_t i = 0; i < shown; i++)
		table_measure(&table, &rows->row[i]);
	if (total)
		table_measure(&table, total);
	table_fit(&table);
	table_line_bold(out, &table, NULL);
	for (size_t i = 0; i < shown; i++) {
		table_line(out, &table, &rows->row[i]);
		fputc('\n', out);
	}
	if (total)
		table_line_bold(out, &table, total);
}

void rows_print_csv(FILE *out, const char *before, const struct rows *rows, const struct table *table)
{
	for (size_t i = 0; i < rows->count; i++)
		table_csv(out, before, table, &rows->row[i]);
}

static void add_figures(struct table *table)
{
	for (size_t i = 0; i < columns_count; i++)
		if (!columns[i].is_text)
			table_add(table, &columns[i]);
}

json_t *figures_json(const struct figures *figures)
{
	struct table table = { .cell = row_cell };
	struct row row = { .figures = *figures };
	json_t *json = json_object();

	add_figures(&table);
	table_json(json, &table, &row);
	table_json_estimate(json, &table, &row);
	return json;
}

json_t *row_json(const struct row *row)
{
	struct table table = { .cell = row_cell };
	json_t *json = json_object();

	table_add(&table, columns_find("name"));
	table_add(&table, columns_find("owner"));
	table_add(&table, columns_find("kind"));
	table_add(&table, &source_column);
	add_figures(&table);
	table_json(json, &table, row);
	table_json_estimate(json, &table, row);
	return json;
}

void rows_json(struct json_out *json, const struct rows *rows)
{
	json_list_begin(json, "names");
	for (size_t i = 0; i < rows->count; i++)
		json_put(json, NULL, row_json(&rows->row[i]));
	json_list_end(json);
}

static json_t *by_source_json(const struct name_totals *totals)
{
	json_t *json = json_object();

	for (unsigned i = NAME_KERNEL; i < NAME_SOURCES; i++)
		json_object_set_new(json, source_names[i],
		                    totals->rss_unknown ? json_null() : json_integer(json_bytes(totals->by_source[i])));
	return json;
}

void named_json(json_t *json, const struct name_totals *totals)
{
	double labelled = names_labelled(totals);

	json_object_set_new(json, "anon_rss",
	                    totals->rss_unknown ? json_null() : json_integer(json_bytes(totals->anon_rss)));
	json_object_set_new(json, "named_rss",
	                    totals->rss_unknown ? json_null() : json_integer(json_bytes(totals->named_rss)));
	json_object_set_new(json, "labelled", labelled < 0 ? json_null() : json_real(labelled));
	json_object_set_new(json, "by_source", by_source_json(totals));
}

json_t *totals_json(const struct name_totals *totals)
{
	json_t *json = figures_json(&totals->figures);

	named_json(json, totals);
	return json;
}
