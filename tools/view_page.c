/* SPDX-License-Identifier: MIT */
/*
 * The page of a recording: of each name the bytes at some hundred moments, as
 * changes. So many that a page stays small: where names change often there are
 * fewer moments.
 */
#include "view_page.h"

#include "page.h"

#include "../src/read/list.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define MOMENTS_MOST 480
#define CHANGES_MOST 120000
#define NAMES_MOST   2000           /* those with the highest peaks */

/* A name's bytes from a moment on. */
struct step {
	uint32_t moment, name;
	uint64_t bytes;
};

struct timeline {
	const struct recording *recording;
	size_t moments_most;
	int64_t *at;                /* of each moment, ms */
	size_t moments;
	uint64_t *held;             /* of each name, as written last */
	struct step *step;
	size_t steps, room;
};

static int add_step(struct timeline *timeline, size_t name, uint64_t bytes)
{
	struct step *grown = list_grown(timeline->step, timeline->steps, &timeline->room, sizeof(*grown), 4096, LIST_ENDLESS);

	if (!grown)
		return -ENOMEM;
	timeline->step = grown;
	timeline->step[timeline->steps++] = (struct step){ (uint32_t)(timeline->moments - 1), (uint32_t)name, bytes };
	timeline->held[name] = bytes;
	return 0;
}

/* Moments are apart by a share of the whole time; the first and the last one are always there. */
static bool is_wanted(const struct timeline *timeline, int64_t at)
{
	const struct recording *recording = timeline->recording;
	int64_t all = recording->ended - recording->began, apart = all / (int64_t)timeline->moments_most;

	return !timeline->moments || at >= recording->ended || at - timeline->at[timeline->moments - 1] > apart;
}

static int take_moment(void *context, int64_t at, const struct replay *replay)
{
	struct timeline *timeline = context;
	int error = 0;

	if (!timeline->held)
		timeline->held = calloc(replay->names + 1, sizeof(*timeline->held));
	if (!timeline->held)
		return -ENOMEM;
	/* A clock that was set back may bring more than there is room for. */
	if (!is_wanted(timeline, at) || timeline->moments > timeline->moments_most + 1)
		return 0;
	timeline->at[timeline->moments++] = at;
	for (size_t i = 0; !error && i < replay->names; i++)
		if (replay->name[i].now != timeline->held[i])
			error = add_step(timeline, i, replay->name[i].now);
	return error;
}

/* Again with fewer moments until the changes are few enough. */
static int read_timeline(struct timeline *timeline, struct replay *replay)
{
	int error;

	for (timeline->moments_most = MOMENTS_MOST;; timeline->moments_most /= 2) {
		timeline->moments = timeline->steps = 0;
		free(timeline->at);
		free(timeline->held);
		timeline->held = NULL;
		timeline->at = calloc(timeline->moments_most + 3, sizeof(*timeline->at));
		if (!timeline->at)
			return -ENOMEM;
		error = recording_replay(timeline->recording, take_moment, timeline, replay);
		if (error || timeline->steps <= CHANGES_MOST || timeline->moments_most <= 30)
			return error;
		replay_free(replay);
	}
}

static int step_order(const void *a, const void *b)
{
	const struct step *x = a, *y = b;

	if (x->name != y->name)
		return x->name < y->name ? -1 : 1;
	return x->moment < y->moment ? -1 : x->moment > y->moment;
}

static void print_steps(FILE *out, const struct timeline *timeline, size_t name)
{
	struct step key = { .name = (uint32_t)name };
	size_t low = 0, high = timeline->steps;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (step_order(&timeline->step[middle], &key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (bool more = false; low < timeline->steps && timeline->step[low].name == name; low++, more = true)
		fprintf(out, "%s%u,%" PRIu64, more ? "," : "", timeline->step[low].moment, timeline->step[low].bytes);
}

static void print_table(FILE *out, const struct replay *replay, const size_t *order, size_t count)
{
	char first[16], last[16], peak[16], time[32];

	fputs("<table id=\"rows\">\n<thead><tr><th>First</th><th>Last</th><th>Peak</th><th>Peak at</th><th class=\"text\">Name</th></tr></thead>\n<tbody>\n", out);
	for (size_t i = 0; i < count; i++) {
		const struct replayed *name = &replay->name[order[i]];

		fprintf(out, "<tr><td>%s</td><td>%s</td><td>%s</td><td>%s</td><td class=\"text\">", name->unknown ? "-" : tool_human(name->first, first),
		        name->unknown ? "-" : tool_human(name->last, last), name->unknown ? "-" : tool_human(name->peak, peak),
		        recording_time(name->peak_at, time));
		page_text(out, name->name);
		fputs("</td></tr>\n", out);
	}
	fputs("</tbody>\n</table>\n", out);
}

static void print_names(FILE *out, const struct timeline *timeline, const struct replay *replay, const size_t *order, size_t count)
{
	fputs("\"rows\":[", out);
	for (size_t i = 0; i < count; i++) {
		const struct replayed *name = &replay->name[order[i]];
		const char *texts[] = { name->owner, name->thing, name->detail, name->kind, name->name };

		fputs(i ? ",\n[" : "\n[", out);
		for (size_t k = 0; k < sizeof(texts) / sizeof(*texts); k++) {
			page_string(out, texts[k]);
			putc(',', out);
		}
		putc('[', out);
		print_steps(out, timeline, order[i]);
		fputs("]]", out);
	}
	fputs("],\n\"at\":[", out);
	for (size_t i = 0; i < timeline->moments; i++)
		fprintf(out, "%s%" PRId64, i ? "," : "", timeline->at[i]);
	putc(']', out);
}

static int peak_order(const void *a, const void *b, void *context)
{
	const struct replay *replay = context;
	uint64_t x = replay->name[*(const size_t *)a].peak, y = replay->name[*(const size_t *)b].peak;

	return x < y ? 1 : x > y ? -1 : 0;
}

static int print_page(FILE *out, const struct timeline *timeline, struct replay *replay)
{
	const struct recording *recording = timeline->recording;
	size_t count = replay->names < NAMES_MOST ? replay->names : NAMES_MOST, *order = calloc(replay->names + 1, sizeof(*order));
	char began[32], ended[32], about[224];

	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < replay->names; i++)
		order[i] = i;
	if (replay->names)
		qsort_r(order, replay->names, sizeof(*order), peak_order, replay);
	snprintf(about, sizeof(about), "%s to %s, %" PRId64 " moments, %zu of %zu names.%s", recording_time(recording->began, began),
	         recording_time(recording->ended, ended), recording_number(recording->db, "SELECT count(*) FROM moment", 0), count, replay->names,
	         recording_cut(recording, INT64_MAX) ? " Names from outside may be missing." : "");
	page_begin(out, replay->is_rss ? "RSS by name, over time" : "Memory by name, over time", about);
	print_table(out, replay, order, count);
	page_data(out);
	fprintf(out, "{\"kind\":\"recording\",\"figure\":\"%s\",\n", replay->is_rss ? "RSS" : "PSS");
	print_names(out, timeline, replay, order, count);
	fputs("}", out);
	page_end(out);
	free(order);
	return 0;
}

int view_page(FILE *out, const struct recording *recording)
{
	struct timeline timeline = { .recording = recording };
	struct replay replay = { .names = 0 };
	int error = read_timeline(&timeline, &replay);

	if (!error && timeline.steps)
		qsort(timeline.step, timeline.steps, sizeof(*timeline.step), step_order);
	if (!error)
		error = print_page(out, &timeline, &replay);
	replay_free(&replay);
	free(timeline.at);
	free(timeline.held);
	free(timeline.step);
	if (error)
		tool_error("%s: %s", recording->path, error == -EIO ? sqlite3_errmsg(recording->db) : strerror(-error));
	return error ? EXIT_FAILED : tool_finish(EXIT_DONE);
}
