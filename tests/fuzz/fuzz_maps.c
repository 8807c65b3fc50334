/* SPDX-License-Identifier: MIT */
/* The input is a maps or smaps file; names go on into the table and its parts. */
#include "../../src/read/names.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct state {
	struct name_table table;
	uint64_t last;
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char buffer[NAME_PART_MAX], small[8];

	for (int with_figures = 0; with_figures < 2; with_figures++) {
		struct state state = { 0 };
		uint64_t malformed;

		maps_read_text((struct text){ (const char *)data, size }, with_figures, take, &state, &malformed);
		for (size_t i = 0; i < state.table.rows; i++) {
			const struct name_row *row = &state.table.row[i];

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
		names_free(&state.table);
	}
	return 0;
}
