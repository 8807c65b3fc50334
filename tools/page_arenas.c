/* SPDX-License-Identifier: MIT */
/* What is inside the arenas of a report's processes, for its page: a table that needs no JavaScript, and the data. See page.h. */
#include "page.h"

#include "../src/heap/heap.h"

/* What page.js draws, in the order in which it expects it. */
static const enum heap_figure shown[] = { HEAP_RESIDENT, HEAP_LIVE, HEAP_FREE, HEAP_TRIMMABLE, HEAP_PINNED, HEAP_CHUNKS };
static const char *const headers[] = { "Resident", "Live", "Free", "Trimmable", "Pinned", "Chunks" };
#define SHOWN (sizeof(shown) / sizeof(*shown))

static void print_cell(FILE *out, const struct heap_arena *arena, enum heap_figure figure)
{
	struct cell cell = heap_cell(arena->figure, figure);
	char human[CELL_TEXT_MAX];

	fprintf(out, "<td>%s</td>", cell_format(&cell, UNIT_HUMAN, human));
}

static void print_row(FILE *out, const struct measured *process, const struct heap_arena *arena)
{
	fprintf(out, "<tr><td>%d</td>", (int)process->pid);
	for (size_t i = 0; i < SHOWN; i++)
		print_cell(out, arena, shown[i]);
	fputs("<td class=\"text\">", out);
	page_text(out, arena->name);
	fputs("</td></tr>\n", out);
}

static void print_sentence(void *context, const char *sentence)
{
	FILE *out = context;

	fputs("<li>", out);
	page_text(out, sentence);
	fputs("</li>\n", out);
}

void page_arenas_table(FILE *out, const struct inside *inside, const struct measurement *measurement)
{
	if (!inside->any)
		return;
	fputs("<div id=\"inside\">\n<h2>Inside the heaps</h2>\n<table>\n<thead><tr><th>PID</th>", out);
	for (size_t i = 0; i < SHOWN; i++)
		fprintf(out, "<th>%s</th>", headers[i]);
	fputs("<th class=\"text\">Arena</th></tr></thead>\n<tbody>\n", out);
	for (size_t i = 0; i < inside->count; i++)
		for (size_t k = 0; k < inside->of[i].count; k++)
			print_row(out, &measurement->process[i], &inside->of[i].arena[k]);
	fputs("</tbody>\n</table>\n<ul>\n", out);
	inside_advise(inside, measurement, print_sentence, out);
	fputs("</ul>\n</div>\n", out);
}

void page_arenas_data(FILE *out, const struct inside *inside, const struct measurement *measurement)
{
	size_t printed = 0;

	fputs("\"arenas\":[", out);
	for (size_t i = 0; i < inside->count; i++)
		for (size_t k = 0; k < inside->of[i].count; k++) {
			const struct heap_arena *arena = &inside->of[i].arena[k];

			fprintf(out, "%s[%d,", printed++ ? ",\n" : "\n", (int)measurement->process[i].pid);
			page_string(out, arena->name);
			putc(',', out);
			page_string(out, arena->label);
			for (size_t f = 0; f < SHOWN; f++) {
				putc(',', out);
				page_number(out, arena->figure[shown[f]] != HEAP_UNKNOWN, arena->figure[shown[f]]);
			}
			putc(']', out);
		}
	fputs("],\n", out);
}
