/* SPDX-License-Identifier: MIT */
/* The input is a maps or smaps file; names go on into the table and its parts. */
#include "../../src/read/names.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct state {
	struct name_table table;
	uint64_t last, malformed;
};

static int take(void *context, struct vma *vma)
{
	struct state *state = context;
	struct region region = { .vma = *vma, .source = NAME_KERNEL };

	/* What everything behind it relies on. */
	if (vma->start < state->last || vma->end <= vma->start)
		abort();
	state->last = vma->end;
	return names_add(&state->table, &region);
}

static struct state read_with(struct maps_reader *reader, struct text text, bool with_figures)
{
	struct state state = { 0 };

	if (!reader)
		abort();
	maps_read(reader, text, -1, with_figures, NULL, take, &state, &state.malformed);
	names_sum(&state.table);
	return state;
}

static bool differ(const struct state *a, const struct state *b)
{
	const struct name_totals *x = &a->table.totals, *y = &b->table.totals;

	return a->malformed != b->malformed || a->table.rows != b->table.rows ||
	       memcmp(x->figures.value, y->figures.value, sizeof(x->figures.value)) ||
	       x->figures.unknown != y->figures.unknown || x->figures.estimate != y->figures.estimate ||
	       x->anon_rss != y->anon_rss || x->named_rss != y->named_rss || x->rss_unknown != y->rss_unknown;
}

static void check_names(const struct name_table *table)
{
	char buffer[NAME_PART_MAX], small[8];

	for (size_t i = 0; i < table->rows; i++) {
		const struct name_row *row = &table->row[i];

		for (const char *p = row->name; *p; p++)
			if ((unsigned char)*p < 0x20 || *p == 0x7f)
				abort();
		name_owner(row, buffer, sizeof(buffer));
		name_owner(row, small, sizeof(small));
		name_thread(row, small, sizeof(small));
		name_library(row, small, sizeof(small));
		name_fold(row->name, buffer, sizeof(buffer));
		name_fold(row->name, small, sizeof(small));
		if (!name_kind(row))
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* The first has seen all inputs before: what it kept of them must change nothing. */
	static struct maps_reader *used;
	struct text text = { (const char *)data, size };

	if (!used)
		used = maps_reader_new();
	for (int with_figures = 0; with_figures < 2; with_figures++) {
		/* Not always: it is large. */
		struct maps_reader *fresh = size % 4 ? NULL : maps_reader_new();
		struct state state = read_with(fresh ? fresh : used, text, with_figures), again;

		for (int i = 0; i < 2; i++) {
			again = read_with(used, text, with_figures);
			if (differ(&state, &again))
				abort();
			names_free(&again.table);
		}
		check_names(&state.table);
		names_free(&state.table);
		maps_reader_free(fresh);
	}
	return 0;
}
