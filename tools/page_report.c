/* SPDX-License-Identifier: MIT */
/* The page of a report: its rows, and the address spaces of a few processes. See page.h. */
#include "page.h"

#include "../src/read/list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What is more makes a page slow: the smallest rows become one. */
#define ROWS_MOST    4000
#define REGIONS_MOST 20000

struct page_row {
	pid_t pid;
	char *name, *owner, *thing, *detail;
	const char *kind;
	struct figures figures;
};

static const enum figure page_figures[] = { FIG_VMAS, FIG_SIZE, FIG_RSS, FIG_PSS, FIG_USS, FIG_SWAP };
#define FIGURES (sizeof(page_figures) / sizeof(*page_figures))

static int add_row(void *context, const struct measured *process, const struct name_row *from)
{
	static struct name_parts parts;
	struct page_rows *rows = context;
	struct page_row *row = list_grown(rows->row, rows->count, &rows->room, sizeof(*row), 256, LIST_ENDLESS);

	if (!row)
		return -ENOMEM;
	rows->row = row;
	name_split(from, rows->fold, &parts);
	row = &rows->row[rows->count++];
	*row = (struct page_row){
		.pid = process->pid, .name = strdup(from->name ? from->name : parts.owner), .owner = strdup(parts.owner),
		.thing = strdup(parts.thing), .detail = strdup(parts.detail), .kind = from->name ? name_kind(from) : name_kind_find(""),
		.figures = from->figures,
	};
	return row->name && row->owner && row->thing && row->detail ? 0 : -ENOMEM;
}

int page_process(void *context, const struct measured *process)
{
	return measured_each_row(process, add_row, context);
}

static void free_row(struct page_row *row)
{
	free(row->name);
	free(row->owner);
	free(row->thing);
	free(row->detail);
}

void page_rows_free(struct page_rows *rows)
{
	for (size_t i = 0; i < rows->count; i++)
		free_row(&rows->row[i]);
	free(rows->row);
	rows->row = NULL;
	rows->count = rows->room = 0;
}

static int pss_order(const void *a, const void *b)
{
	const struct figures *x = &((const struct page_row *)a)->figures, *y = &((const struct page_row *)b)->figures;

	if (x->value[FIG_PSS] != y->value[FIG_PSS])
		return x->value[FIG_PSS] < y->value[FIG_PSS] ? 1 : -1;
	return x->value[FIG_SIZE] < y->value[FIG_SIZE] ? 1 : x->value[FIG_SIZE] > y->value[FIG_SIZE] ? -1 : 0;
}

/* What is beyond the limit is added up in the last row. */
static void cut_rows(struct page_rows *rows)
{
	if (rows->count)
		qsort(rows->row, rows->count, sizeof(*rows->row), pss_order);
	if (rows->count <= ROWS_MOST)
		return;
	for (size_t i = ROWS_MOST; i < rows->count; i++) {
		figures_add(&rows->row[ROWS_MOST - 1].figures, &rows->row[i].figures);
		free_row(&rows->row[i]);
	}
	rows->count = ROWS_MOST;
	free_row(&rows->row[ROWS_MOST - 1]);
	rows->row[ROWS_MOST - 1] = (struct page_row){
		.name = strdup("[left out]"), .owner = strdup("[left out]"), .thing = strdup(""), .detail = strdup(""),
		.kind = name_kind_find(""), .figures = rows->row[ROWS_MOST - 1].figures,
	};
}

/* --- the table ---------------------------------------------------------------------- */

static void print_table(FILE *out, const struct page_rows *rows, const struct figures *total)
{
	fputs("<table id=\"rows\">\n<thead><tr><th>PID</th><th>VMAs</th><th>Size</th><th>RSS</th><th>PSS</th><th>USS</th><th>Swap</th>"
	      "<th class=\"text\">Name</th></tr></thead>\n<tbody>\n", out);
	for (size_t i = 0; i <= rows->count; i++) {
		const struct figures *figures = i < rows->count ? &rows->row[i].figures : total;

		if (i < rows->count && rows->row[i].pid)
			fprintf(out, "<tr><td>%d</td>", (int)rows->row[i].pid);
		else
			fputs("<tr><td></td>", out);
		for (size_t k = 0; k < FIGURES; k++) {
			char human[16];

			fprintf(out, "<td>%s</td>", figures->unknown & FIG_BIT(page_figures[k]) ? "-" : page_figures[k] == FIG_VMAS
			        ? (snprintf(human, sizeof(human), "%llu", (unsigned long long)figures->value[FIG_VMAS]), human)
			        : tool_human(figures->value[page_figures[k]], human));
		}
		fputs("<td class=\"text\">", out);
		page_text(out, i < rows->count ? rows->row[i].name : "TOTAL");
		fputs("</td></tr>\n", out);
	}
	fputs("</tbody>\n</table>\n", out);
}

/* --- the data ------------------------------------------------------------------------ */

static void print_rows(FILE *out, const struct page_rows *rows)
{
	fputs("\"rows\":[", out);
	for (size_t i = 0; i < rows->count; i++) {
		const struct page_row *row = &rows->row[i];
		const char *texts[] = { row->owner, row->thing, row->detail, row->kind, row->name };

		fprintf(out, "%s[%d", i ? ",\n" : "\n", (int)row->pid);
		for (size_t k = 0; k < sizeof(texts) / sizeof(*texts); k++) {
			putc(',', out);
			page_string(out, texts[k] ? texts[k] : "");
		}
		for (size_t k = 0; k < FIGURES; k++) {
			putc(',', out);
			page_figure(out, &row->figures, page_figures[k]);
		}
		putc(']', out);
	}
	fputs("],\n", out);
}

static void print_processes(FILE *out, const struct measurement *measurement)
{
	fputs("\"processes\":{", out);
	for (size_t i = 0, n = 0; i < measurement->count; i++) {
		const struct measured *process = &measurement->process[i];

		if (process->error)
			continue;
		fprintf(out, "%s\"%d\":", n++ ? "," : "", (int)process->pid);
		page_string(out, process->comm);
	}
	fputs("},\n", out);
}

struct regions {
	FILE *out;
	struct name_table names;    /* for a number of each name */
	size_t count;
};

/* Only the numbers are kept: a name is printed when it is met first. */
static int print_region(void *context, const struct region *region)
{
	struct regions *regions = context;
	struct name_row key = { .figures = { .unknown = 0 } };
	int made;

	/* Read again from the start: what was printed of it stays, the page shows the last of each address. */
	if (!region || regions->count >= REGIONS_MOST)
		return 0;
	key.class = region->vma.class;
	key.raw = (char *)(uintptr_t)region->vma.name.at;
	key.raw_len = (uint32_t)region->vma.name.len;
	made = names_add_row(&regions->names, &key);
	if (made < 0)
		return made;
	fprintf(regions->out, "%s[\"%llx\",%llu,%zu", regions->count++ ? ",\n" : "", (unsigned long long)region->vma.start,
	        (unsigned long long)(region->vma.end - region->vma.start) / 1024, regions->names.last);
	if (made) {
		putc(',', regions->out);
		page_string(regions->out, regions->names.row[regions->names.last].name);
	}
	putc(']', regions->out);
	return 0;
}

/* The address space of each process, in order: maps alone, which takes a moment. */
static void print_regions(FILE *out, const struct measurement *measurement, const char *root)
{
	struct regions regions = { .out = out };
	struct proc proc;
	bool more = false;

	fputs("\"regions\":{", out);
	if (measurement->count <= PAGE_PROCESSES && measurement->count && measurement->process[0].pid && tool_proc(&proc, root)) {
		for (size_t i = 0; i < measurement->count; i++) {
			struct process process;
			struct cost cost = { 0 };
			struct proc one;

			if (measurement->process[i].error || measured_bind(&one, &proc, &measurement->process[i]))
				continue;
			fprintf(out, "%s\"%d\":[", more ? "],\n" : "", (int)measurement->process[i].pid);
			more = true;
			regions.count = 0;
			process_read_apart(&one, measurement->process[i].pid, PROCESS_NAMES, &cost, print_region, &regions, &process);
			proc_unbind(&one);
		}
		proc_close(&proc);
	}
	fputs(more ? "]}" : "}", out);
	names_free(&regions.names);
}

int page_report(FILE *out, struct page_rows *rows, const struct measurement *measurement, const struct inside *inside, const char *root)
{
	char about[256], when[32], host[72] = "", size[16], title[160];
	const struct figures *total = &measurement->names.totals.figures;
	double labelled = names_labelled(&measurement->names.totals);
	time_t now = time(NULL);
	struct tm local;

	cut_rows(rows);
	gethostname(host, sizeof(host) - 1);
	strftime(when, sizeof(when), "%F %T", localtime_r(&now, &local));
	if (measurement->count == 1)
		snprintf(title, sizeof(title), "Memory of %.64s %d", measurement->process[0].comm, (int)measurement->process[0].pid);
	else
		snprintf(title, sizeof(title), "Memory of %zu processes", measurement->count);
	snprintf(about, sizeof(about), "%s, %s. PSS %s", host, when,
	         total->unknown & FIG_BIT(FIG_PSS) ? "-" : tool_human(total->value[FIG_PSS], size));
	if (labelled >= 0)
		snprintf(about + strlen(about), sizeof(about) - strlen(about), ", %.1f %% of anonymous RSS named", 100 * labelled);
	page_begin(out, title, about);
	print_table(out, rows, total);
	page_arenas_table(out, inside, measurement);
	page_data(out);
	fputs("{\"kind\":\"report\",\n", out);
	print_processes(out, measurement);
	print_rows(out, rows);
	page_arenas_data(out, inside, measurement);
	print_regions(out, measurement, root);
	fputs("}", out);
	page_end(out);
	return tool_finish(EXIT_DONE);
}
