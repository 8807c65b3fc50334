/* SPDX-License-Identifier: MIT */
/* Prints arenas. See arenas.h. */
#include "arenas.h"
#include "advice.h"
#include "columns.h"
#include "tool.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The largest first; what is not known comes last. */
static int by_resident(const void *a, const void *b)
{
	uint64_t x = ((const struct heap_arena *)a)->figure[HEAP_RESIDENT] + 1, y = ((const struct heap_arena *)b)->figure[HEAP_RESIDENT] + 1;

	return x > y ? -1 : x < y;
}

void arenas_sort(struct heaps *heaps)
{
	if (heaps->count)
		qsort(heaps->arena, heaps->count, sizeof(*heaps->arena), by_resident);
}

/* --- the tables ----------------------------------------------------------------- */

enum { ARENA_ALLOCATOR = HEAP_FIGURES, ARENA_NAME };

static const struct column arena_columns[] = {
#define HEAP_FIGURE(id, word, header, is_bytes, keep, help) { word, header, help, false, HEAP_##id, 1 },
#include "../src/heap/heap.def"
	{ "allocator", "ALLOCATOR", "whose arena it is", true, ARENA_ALLOCATOR, 0 },
	{ "name", "NAME", "its name", true, ARENA_NAME, 1 },
};
#define COLUMNS (sizeof(arena_columns) / sizeof(*arena_columns))

static struct cell arena_cell(const void *row, const struct column *column)
{
	const struct heap_arena *arena = row;

	if (column->index == ARENA_NAME)
		return cell_text(arena->name);
	if (column->index == ARENA_ALLOCATOR)
		return cell_text(heap_allocator(arena->kind));
	return heap_cell(arena->figure, column->index);
}

enum { SIZE_SIZE, SIZE_LIVE, SIZE_LIVE_CHUNKS, SIZE_FREE, SIZE_FREE_CHUNKS, SIZE_NAME };

static const struct column size_columns[] = {
	{ "size", "SIZE", "", false, SIZE_SIZE, 1 },
	{ "live", "LIVE", "", false, SIZE_LIVE, 1 },
	{ "live_chunks", "CHUNKS", "", false, SIZE_LIVE_CHUNKS, 1 },
	{ "free", "FREE", "", false, SIZE_FREE, 1 },
	{ "free_chunks", "CHUNKS", "", false, SIZE_FREE_CHUNKS, 1 },
	{ "name", "NAME", "", true, SIZE_NAME, 1 },
};

struct size_row {
	const struct heap_size *size;
	const char *name;
};

static struct cell size_cell(const void *row, const struct column *column)
{
	const struct size_row *of = row;

	switch (column->index) {
	case SIZE_SIZE: return (struct cell){ .kind = CELL_COUNT, .value = of->size->size };
	case SIZE_LIVE: return (struct cell){ .kind = CELL_SIZE, .value = of->size->live_bytes };
	case SIZE_LIVE_CHUNKS: return (struct cell){ .kind = CELL_COUNT, .value = of->size->live };
	case SIZE_FREE: return (struct cell){ .kind = CELL_SIZE, .value = of->size->free_bytes };
	case SIZE_FREE_CHUNKS: return (struct cell){ .kind = CELL_COUNT, .value = of->size->free };
	default: return cell_text(of->name);
	}
}

/* --- text ------------------------------------------------------------------------- */

static void print_line(FILE *out, const struct table *table, const void *row)
{
	table_line(out, table, row);
	putc('\n', out);
}

static struct heap_arena total_of(const struct heaps *heaps)
{
	struct heap_arena total = { .name = "TOTAL" };

	for (unsigned i = 0; i < HEAP_FIGURES; i++)
		total.figure[i] = heaps_sum(heaps, i);
	return total;
}

static void print_arenas(FILE *out, const struct heaps *heaps, enum unit unit)
{
	struct table table = { .cell = arena_cell, .unit = unit, .color = terminal_color(), .screen = terminal_width(STDOUT_FILENO) };
	struct heap_arena total = total_of(heaps);

	for (size_t i = 0; i < COLUMNS; i++)
		if (arena_columns[i].keep)
			table_add(&table, &arena_columns[i]);
	table_measure(&table, NULL);
	for (size_t i = 0; i < heaps->count; i++)
		table_measure(&table, &heaps->arena[i]);
	table_measure(&table, &total);
	table_fit(&table);
	table_line_bold(out, &table, NULL);
	for (size_t i = 0; i < heaps->count; i++)
		print_line(out, &table, &heaps->arena[i]);
	table_line_bold(out, &table, &total);
}

static void print_sizes(FILE *out, const struct heaps *heaps, enum unit unit)
{
	struct table table = { .cell = size_cell, .unit = unit, .color = terminal_color(), .screen = terminal_width(STDOUT_FILENO) };

	for (size_t i = 0; i < sizeof(size_columns) / sizeof(*size_columns); i++)
		table_add(&table, &size_columns[i]);
	/* Once to measure, once to print. */
	table_measure(&table, NULL);
	for (unsigned round = 0; round < 2; round++) {
		for (size_t i = 0; i < heaps->count; i++)
			for (size_t k = 0; k < heaps->arena[i].sizes; k++) {
				const struct size_row row = { &heaps->arena[i].size[k], heaps->arena[i].name };

				if (round)
					print_line(out, &table, &row);
				else
					table_measure(&table, &row);
			}
		if (round)
			break;
		table_fit(&table);
		putc('\n', out);
		table_line_bold(out, &table, NULL);
	}
}

static void say_line(void *context, const char *sentence)
{
	fprintf(context, "%s\n", sentence);
}

void arenas_print_text(FILE *out, const struct heaps *heaps, enum unit unit, bool sizes)
{
	print_arenas(out, heaps, unit);
	if (sizes)
		print_sizes(out, heaps, unit);
	putc('\n', out);
	advice_give(heaps, say_line, out);
}

/* --- CSV and JSON ----------------------------------------------------------------- */

static struct table all_columns(void)
{
	struct table table = { .cell = arena_cell, .unit = UNIT_BYTES };

	table_add(&table, &arena_columns[COLUMNS - 1]);
	for (size_t i = COLUMNS - 1; i-- > COLUMNS - 2;)
		table_add(&table, &arena_columns[i]);
	for (size_t i = 0; i < COLUMNS - 2; i++)
		table_add(&table, &arena_columns[i]);
	return table;
}

void arenas_print_csv(FILE *out, const struct heaps *heaps)
{
	struct table table = all_columns();

	table_csv_header(out, "", &table);
	for (size_t i = 0; i < heaps->count; i++)
		table_csv(out, "", &table, &heaps->arena[i]);
}

static json_t *sizes_json(const struct heap_arena *arena)
{
	struct table table = { .cell = size_cell };
	json_t *list = json_array();

	for (unsigned i = 0; i < SIZE_NAME; i++)
		table_add(&table, &size_columns[i]);
	for (size_t i = 0; i < arena->sizes; i++) {
		const struct size_row row = { &arena->size[i], arena->name };
		json_t *size = json_object();

		table_json(size, &table, &row);
		json_array_append_new(list, size);
	}
	return list;
}

static void say_json(void *context, const char *sentence)
{
	json_put(context, NULL, json_string(sentence));
}

json_t *arena_json(const struct heap_arena *arena, bool sizes)
{
	struct table table = all_columns();
	json_t *json = json_object();

	table_json(json, &table, arena);
	if (sizes)
		json_object_set_new(json, "sizes", sizes_json(arena));
	return json;
}

void arenas_json(struct json_out *json, const struct heaps *heaps, bool sizes)
{
	json_list_begin(json, "arenas");
	for (size_t i = 0; i < heaps->count; i++)
		json_put(json, NULL, arena_json(&heaps->arena[i], sizes));
	json_list_end(json);
	json_list_begin(json, "advice");
	advice_give(heaps, say_json, json);
	json_list_end(json);
}

void arenas_help(FILE *out)
{
	fputs("Columns:\n", out);
	for (size_t i = 0; i < COLUMNS; i++)
		if (arena_columns[i].keep)
			fprintf(out, "  %-10s %s\n", arena_columns[i].header, arena_columns[i].help);
}
