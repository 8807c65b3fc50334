/* SPDX-License-Identifier: MIT */
/* anonname heap: what is live and free inside the arenas of a process, and what to do. */
#include "advice.h"
#include "columns.h"
#include "options.h"
#include "tool.h"

#include "../src/heap/heap.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct request {
	enum unit unit;
	bool json, csv, sizes;
};

static const struct {
	const char *word, *header, *help;
	bool is_bytes;
} figures[HEAP_FIGURES] = {
#define HEAP_FIGURE(id, word, header, is_bytes, help) { word, header, help, is_bytes },
#include "../src/heap/heap.def"
};

/* The largest first; what is not known comes last. */
static int by_resident(const void *a, const void *b)
{
	uint64_t x = ((const struct heap_arena *)a)->figure[HEAP_RESIDENT] + 1, y = ((const struct heap_arena *)b)->figure[HEAP_RESIDENT] + 1;

	return x > y ? -1 : x < y;
}

/* --- text --------------------------------------------------------------------- */

static const char *cell(uint64_t value, bool is_bytes, enum unit unit, char *buffer, size_t size)
{
	if (value == HEAP_UNKNOWN)
		snprintf(buffer, size, "-");
	else if (is_bytes && unit == UNIT_HUMAN)
		tool_human(value, buffer);
	else
		snprintf(buffer, size, "%llu", (unsigned long long)(is_bytes && unit == UNIT_KIB ? (value + 512) / 1024 : value));
	return buffer;
}

static void print_row(const char *name, const uint64_t *values, enum unit unit)
{
	char buffer[32];

	for (unsigned i = 0; i < HEAP_FIGURES; i++)
		printf("%*s ", (int)strlen(figures[i].header) > 9 ? (int)strlen(figures[i].header) : 9,
		       values ? cell(values[i], figures[i].is_bytes, unit, buffer, sizeof(buffer)) : figures[i].header);
	puts(name);
}

static void print_sizes(const struct heaps *heaps, enum unit unit)
{
	char buffer[4][32];

	printf("\n%9s %10s %10s %10s %10s %s\n", "SIZE", "LIVE", "CHUNKS", "FREE", "CHUNKS", "NAME");
	for (size_t i = 0; i < heaps->count; i++)
		for (size_t k = 0; k < heaps->arena[i].sizes; k++) {
			const struct heap_size *size = &heaps->arena[i].size[k];

			printf("%9llu %10s %10s %10s %10s %s\n", (unsigned long long)size->size,
			       cell(size->live_bytes, true, unit, buffer[0], 32), cell(size->live, false, unit, buffer[1], 32),
			       cell(size->free_bytes, true, unit, buffer[2], 32), cell(size->free, false, unit, buffer[3], 32),
			       heaps->arena[i].name);
		}
}

static void say_line(void *context, const char *sentence)
{
	fprintf(context, "%s\n", sentence);
}

static void print_text(const struct heaps *heaps, const struct request *request)
{
	uint64_t total[HEAP_FIGURES];

	print_row("NAME", NULL, request->unit);
	for (size_t i = 0; i < heaps->count; i++)
		print_row(heaps->arena[i].name, heaps->arena[i].figure, request->unit);
	for (unsigned i = 0; i < HEAP_FIGURES; i++)
		total[i] = heaps_sum(heaps, i);
	print_row("TOTAL", total, request->unit);
	if (request->sizes)
		print_sizes(heaps, request->unit);
	putchar('\n');
	advice_give(heaps, say_line, stdout);
}

/* --- CSV and JSON ------------------------------------------------------------- */

static void print_csv(const struct heaps *heaps)
{
	char buffer[32];

	fputs("name,allocator", stdout);
	for (unsigned i = 0; i < HEAP_FIGURES; i++)
		printf(",%s", figures[i].word);
	putchar('\n');
	for (size_t i = 0; i < heaps->count; i++) {
		csv_text(stdout, heaps->arena[i].name);
		printf(",%s", heap_allocator(heaps->arena[i].kind));
		for (unsigned k = 0; k < HEAP_FIGURES; k++) {
			uint64_t value = heaps->arena[i].figure[k];

			printf(",%s", value == HEAP_UNKNOWN ? "" : cell(value, false, UNIT_BYTES, buffer, sizeof(buffer)));
		}
		putchar('\n');
	}
}

static json_t *number(uint64_t value)
{
	return value == HEAP_UNKNOWN ? json_null() : json_integer(json_bytes(value));
}

static void put_sizes(struct json_out *json, const struct heap_arena *arena)
{
	json_list_begin(json, "sizes");
	for (size_t i = 0; i < arena->sizes; i++) {
		const struct heap_size *size = &arena->size[i];

		json_object_begin(json, NULL);
		json_put(json, "size", number(size->size));
		json_put(json, "live", number(size->live_bytes));
		json_put(json, "live_chunks", number(size->live));
		json_put(json, "free", number(size->free_bytes));
		json_put(json, "free_chunks", number(size->free));
		json_object_end(json);
	}
	json_list_end(json);
}

static void say_json(void *context, const char *sentence)
{
	json_put(context, NULL, json_string(sentence));
}

static int print_json(const struct heaps *heaps, const struct request *request, pid_t pid)
{
	struct json_out json = { .out = stdout };

	json_object_begin(&json, NULL);
	json_put(&json, "format", json_string("anonname-heap"));
	json_put(&json, "version", json_integer(1));
	json_put(&json, "pid", json_integer(pid));
	json_list_begin(&json, "arenas");
	for (size_t i = 0; i < heaps->count; i++) {
		json_object_begin(&json, NULL);
		json_put(&json, "name", json_string(heaps->arena[i].name));
		json_put(&json, "allocator", json_string(heap_allocator(heaps->arena[i].kind)));
		for (unsigned k = 0; k < HEAP_FIGURES; k++)
			json_put(&json, figures[k].word, number(heaps->arena[i].figure[k]));
		if (request->sizes)
			put_sizes(&json, &heaps->arena[i]);
		json_object_end(&json);
	}
	json_list_end(&json);
	json_list_begin(&json, "advice");
	advice_give(heaps, say_json, &json);
	json_list_end(&json);
	json_object_end(&json);
	return json_finish(&json);
}

/* --- the command ---------------------------------------------------------------- */

int tool_heap(int argc, char **argv)
{
	struct request request = { .unit = UNIT_KIB };
	struct heaps heaps = { 0 };
	struct proc proc;
	pid_t pid;
	int c, error;

	while ((c = options_next(COMMAND_heap, argc, argv)) != OPT_END) {
		switch (c) {
		case OPT_SIZES: request.sizes = true; break;
		case OPT_HUMAN: request.unit = UNIT_HUMAN; break;
		case OPT_BYTES: request.unit = UNIT_BYTES; break;
		case OPT_JSON: request.json = true; break;
		case OPT_CSV: request.csv = true; break;
		default: return options_rest(COMMAND_heap, c);
		}
	}
	c = tool_one_process(argc, argv, NULL, &pid, &proc);
	if (c != EXIT_DONE)
		return c;
	error = heap_read_apart(&proc, pid, &heaps);
	proc_close(&proc);
	if (error) {
		heaps_free(&heaps);
		return tool_process_error(pid, error);
	}
	if (heaps.count)
		qsort(heaps.arena, heaps.count, sizeof(*heaps.arena), by_resident);
	c = EXIT_DONE;
	if (request.json)
		c = print_json(&heaps, &request, pid);
	else if (request.csv)
		print_csv(&heaps);
	else
		print_text(&heaps, &request);
	heaps_free(&heaps);
	return tool_finish(c);
}
