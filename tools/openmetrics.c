/* SPDX-License-Identifier: MIT */
/* Prints OpenMetrics text. See openmetrics.h. */
#include "openmetrics.h"

#include "../src/read/place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void openmetrics_default(struct table *table)
{
	*table = (struct table){
		.column = { columns_find("pss"), columns_find("rss"), columns_find("swap") }, .columns = 3,
	};
}

void openmetrics_wants(struct openmetrics *metrics, struct wants *wants)
{
	*wants = (struct wants){
		.comm = true, .places = PLACE_CGROUP, .each = openmetrics_process, .context = metrics,
		.figures = columns_wanted(&metrics->table, columns_find("pss")),
	};
}

/* --- the labels of a row ---------------------------------------------------------- */

/* name="value", with what the format escapes. An empty label is the same as none. */
static void put_label(FILE *out, const char *name, const char *value)
{
	if (!*value)
		return;
	fprintf(out, "%s%s=\"", ftell(out) ? "," : "", name);
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			putc('\\', out);
		putc(*value, out);
	}
	putc('"', out);
}

/* Where there is none, place_unit() and place_container() answer "-". */
static const char *place(const char *text)
{
	return strcmp(text, "-") ? text : "";
}

/* What all rows of a process have. */
static void put_process(FILE *out, const struct measured *process)
{
	const char *cgroup = process->cgroup ? process->cgroup : "-";
	char text[PLACE_MAX];

	put_label(out, "process", process->comm);
	place_unit(cgroup, text, sizeof(text));
	put_label(out, "unit", place(text));
	put_label(out, "cgroup", place(cgroup));
	place_container(cgroup, text, sizeof(text));
	put_label(out, "container", place(text));
}

/* All mapped files are one name: what they are is in their packages, and they are most rows of a process. */
static void put_name(FILE *out, const struct name_row *row)
{
	char text[NAME_PART_MAX];

	if (name_is_file(row)) {
		put_label(out, "name", "[file]");
		put_label(out, "owner", "[file]");
		return;
	}
	name_fold(row->name, text, sizeof(text));
	put_label(out, "name", text);
	name_owner(row, text, sizeof(text));
	put_label(out, "owner", text);
}

static char *labels_of(const struct measured *process, const struct name_row *row)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	bool failed;

	if (!out)
		return NULL;
	if (row->name) {
		put_name(out, row);
		put_label(out, "kind", name_kind(row));
	} else {
		put_label(out, "name", NAME_REST);
	}
	put_process(out, process);
	failed = ferror(out);
	if (!fclose(out) && !failed)
		return text;
	free(text);
	return NULL;
}

/* --- rows ------------------------------------------------------------------------- */

/* Processes of one program bring the same labels: putting these together makes most of the room. */
static int make_room(struct openmetrics *metrics)
{
	size_t room = metrics->room ? 2 * metrics->room : 256;
	struct row *grown;

	rows_merge_same(&metrics->rows);
	if (2 * metrics->rows.count < metrics->room)
		return 0;
	grown = realloc(metrics->rows.row, room * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	metrics->rows.row = grown;
	metrics->room = room;
	return 0;
}

static int add_row(void *context, const struct measured *process, const struct name_row *from)
{
	struct openmetrics *metrics = context;
	struct row row = { .name = labels_of(process, from), .figures = from->figures };

	if (!row.name)
		return -ENOMEM;
	if (metrics->rows.count == metrics->room && make_room(metrics)) {
		free(row.name);
		return -ENOMEM;
	}
	metrics->rows.row[metrics->rows.count++] = row;
	return 0;
}

int openmetrics_process(void *context, const struct measured *process)
{
	return measured_each_row(process, add_row, context);
}

/* What is beyond the limit becomes the last row. */
static int cut_rows(struct openmetrics *metrics)
{
	struct rows *rows = &metrics->rows;
	size_t last = metrics->limit - 1;
	char *name;

	metrics->left_out = 0;
	if (rows->count <= metrics->limit)
		return 0;
	name = strdup("name=\"[left out]\"");
	if (!name)
		return -ENOMEM;
	free(rows->row[last].name);
	rows->row[last].name = name;
	for (size_t i = metrics->limit; i < rows->count; i++) {
		figures_add(&rows->row[last].figures, &rows->row[i].figures);
		free(rows->row[i].name);
	}
	metrics->left_out = rows->count - last;
	rows->count = metrics->limit;
	return 0;
}

/* --- the document ------------------------------------------------------------------- */

static void begin_metric(FILE *out, const char *name, const char *unit, const char *help)
{
	fprintf(out, "# TYPE %s gauge\n", name);
	if (unit)
		fprintf(out, "# UNIT %s %s\n", name, unit);
	fprintf(out, "# HELP %s %s\n", name, help);
}

/* Of a figure that is unknown there is no sample: 0 would be another meaning. */
static void put_figure(FILE *out, const struct rows *rows, const struct column *column)
{
	const char *unit = column->index == FIG_VMAS ? NULL : "bytes";
	char name[64], help[160];

	snprintf(name, sizeof(name), "anonname_%s%s", column->id, unit ? "_bytes" : "");
	snprintf(help, sizeof(help), "Memory by name: %s.", column->help);
	begin_metric(out, name, unit, help);
	for (size_t i = 0; i < rows->count; i++)
		if (!(rows->row[i].figures.unknown & FIG_BIT(column->index)))
			fprintf(out, "%s{%s} %llu\n", name, rows->row[i].name, (unsigned long long)rows->row[i].figures.value[column->index]);
}

static void put_share(FILE *out, const struct name_totals *totals)
{
	if (totals->rss_unknown)
		return;
	begin_metric(out, "anonname_anonymous_rss_bytes", "bytes", "Anonymous memory of all processes that were read.");
	fprintf(out, "anonname_anonymous_rss_bytes %llu\n", (unsigned long long)totals->anon_rss);
	begin_metric(out, "anonname_named_rss_bytes", "bytes", "The part of it that carries a name.");
	fprintf(out, "anonname_named_rss_bytes %llu\n", (unsigned long long)totals->named_rss);
}

static void put_reading(FILE *out, const struct openmetrics *metrics, const struct measurement *measurement)
{
	size_t unread = 0;

	for (size_t i = 0; i < measurement->count; i++)
		unread += measurement->process[i].error != 0;
	begin_metric(out, "anonname_processes", NULL, "Processes, by whether they could be read.");
	fprintf(out, "anonname_processes{state=\"read\"} %zu\n", measurement->count - unread);
	fprintf(out, "anonname_processes{state=\"unread\"} %zu\n", unread);
	begin_metric(out, "anonname_left_out", NULL, "Sets of labels that are in the one with the name [left out].");
	fprintf(out, "anonname_left_out %zu\n", metrics->left_out);
	begin_metric(out, "anonname_reading_seconds", "seconds", "How long the reading took.");
	fprintf(out, "anonname_reading_seconds %.6f\n", (double)measurement->took / 1e9);
}

int openmetrics_write(FILE *out, struct openmetrics *metrics, const struct measurement *measurement)
{
	rows_merge_same(&metrics->rows);
	rows_sort(&metrics->rows, columns_find("pss"));
	if (cut_rows(metrics))
		return -ENOMEM;
	for (size_t i = 0; i < metrics->table.columns; i++)
		if (!metrics->table.column[i]->is_text)
			put_figure(out, &metrics->rows, metrics->table.column[i]);
	put_share(out, &measurement->names.totals);
	put_reading(out, metrics, measurement);
	fputs("# EOF\n", out);
	return 0;
}

void openmetrics_free(struct openmetrics *metrics)
{
	rows_free(&metrics->rows);
	metrics->room = 0;
}
