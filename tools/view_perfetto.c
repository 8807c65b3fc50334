/* SPDX-License-Identifier: MIT */
/*
 * A recording as a trace for Perfetto: its processes, a counter for each owner,
 * and of each process the rows by name at the start, the peak and the end, as
 * Perfetto's own reader of smaps packs them. A trace is a run of packets; the
 * numbers are those of perfetto's protos/perfetto/trace.
 */
#include "view_perfetto.h"

#include "protobuf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_MS 1000000
#define SEQUENCE  1             /* all packets are of one writer */

enum trace_field { TRACE_PACKET = 1 };
enum packet_field { PACKET_CLOCKS = 6, PACKET_PROCESSES = 2, PACKET_TIME = 8, PACKET_SEQUENCE = 10, PACKET_EVENT = 11, PACKET_TRACK = 60,
	PACKET_SMAPS = 68 };
enum clocks_field { CLOCKS_CLOCK = 1 };
enum clock_field { CLOCK_ID = 1, CLOCK_TIME = 2 };
enum clock_id { CLOCK_ID_REALTIME = 1, CLOCK_ID_BOOTTIME = 6 };
enum processes_field { PROCESSES_PROCESS = 1 };
enum process_field { PROCESS_PID = 1, PROCESS_COMMAND = 3 };
enum track_field { TRACK_ID = 1, TRACK_NAME = 2, TRACK_COUNTER = 8 };
enum counter_field { COUNTER_UNIT = 3 };
enum { UNIT_SIZE_BYTES = 3 };
enum event_field { EVENT_TYPE = 9, EVENT_TRACK = 11, EVENT_VALUE = 30 };
enum { EVENT_IS_COUNTER = 4 };
enum smaps_field { SMAPS_PID = 1, SMAPS_PACKED = 3 };
enum packed_field { PACKED_NAME = 1, PACKED_TYPE = 16 };
enum { TYPE_STANDALONE = 1 };

/* The figures of a row: their columns in the statement below, and their fields. */
static const struct {
	int column;
	unsigned field;
	unsigned unit;              /* bytes */
} row_columns[] = {
	{ 2, 3, 1 },                /* VMAs */
	{ 3, 4, 1024 },             /* size */
	{ 4, 5, 1024 },             /* RSS */
	{ 5, 13, 1024 },            /* PSS */
	{ 6, 7, 1024 },             /* swap */
};
#define COLUMNS (sizeof(row_columns) / sizeof(*row_columns))

struct owner {
	const char *name;
	uint64_t now, shown;
	bool unknown;               /* of one of its names it cannot be had: then there is no counter */
	bool begun;
};

struct trace {
	FILE *out;
	const struct recording *recording;
	struct owner *owner;        /* by name */
	size_t owners;
	size_t *owner_of;           /* of each name */
	bool failed;                /* no memory */
};

/* A file may hold any time. */
static uint64_t time_ns(int64_t at)
{
	if (at < 0)
		return 0;
	return at > INT64_MAX / NS_PER_MS ? INT64_MAX : (uint64_t)at * NS_PER_MS;
}

/* Takes what the body holds. */
static void put_packet(struct trace *trace, int64_t at, enum packet_field field, struct message *body)
{
	struct message packet = { 0 }, whole = { 0 };

	message_number(&packet, PACKET_TIME, time_ns(at));
	message_number(&packet, PACKET_SEQUENCE, SEQUENCE);
	message_put(&packet, field, body);
	message_put(&whole, TRACE_PACKET, &packet);
	if (whole.failed)
		trace->failed = true;
	else
		fwrite(whole.bytes, 1, whole.len, trace->out);
	message_free(&packet);
	message_free(&whole);
}

/* Times are of the clock that runs from the start of a machine; here it shows what clocks on the wall did. */
static void put_clocks(struct trace *trace)
{
	static const enum clock_id ids[] = { CLOCK_ID_REALTIME, CLOCK_ID_BOOTTIME };
	struct message clocks = { 0 }, clock = { 0 };

	for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
		message_number(&clock, CLOCK_ID, ids[i]);
		message_number(&clock, CLOCK_TIME, time_ns(trace->recording->began));
		message_put(&clocks, CLOCKS_CLOCK, &clock);
	}
	put_packet(trace, trace->recording->began, PACKET_CLOCKS, &clocks);
	message_free(&clocks);
	message_free(&clock);
}

static struct text safe_text(sqlite3_stmt *row, int column, char *buffer, size_t size)
{
	const char *text = (const char *)sqlite3_column_text(row, column);

	return (struct text){ buffer, text_clean(buffer, size, (struct text){ text ? text : "", text ? strlen(text) : 0 }) };
}

/* A process, at the moment from which it is there. */
static void put_process(struct trace *trace, sqlite3_stmt *row)
{
	struct message processes = { 0 }, process = { 0 };
	char comm[NAME_PART_MAX];

	message_number(&process, PROCESS_PID, (uint32_t)sqlite3_column_int64(row, 0));
	message_text(&process, PROCESS_COMMAND, safe_text(row, 1, comm, sizeof(comm)));
	message_put(&processes, PROCESSES_PROCESS, &process);
	put_packet(trace, sqlite3_column_int64(row, 2), PACKET_PROCESSES, &processes);
	message_free(&process);
	message_free(&processes);
}

static int put_processes(struct trace *trace)
{
	static const char sql[] = "SELECT pid, comm, at FROM process JOIN moment ON moment.id = max(first, (SELECT min(id) FROM moment)) ORDER BY process.id";
	sqlite3_stmt *row = NULL;
	int step = SQLITE_ERROR;

	if (!sqlite3_prepare_v2(trace->recording->db, sql, -1, &row, NULL))
		while ((step = sqlite3_step(row)) == SQLITE_ROW)
			put_process(trace, row);
	sqlite3_finalize(row);
	return step == SQLITE_DONE ? 0 : -EIO;
}

/* --- counters --------------------------------------------------------------------------- */

static int owner_order(const void *a, const void *b)
{
	const struct owner *x = a, *y = b;

	return strcmp(x->name, y->name);
}

/* Their list, each once. The names are the replay's. */
static int find_owners(struct trace *trace, const struct replay *replay)
{
	size_t kept = 0;

	trace->owner = calloc(replay->names + 1, sizeof(*trace->owner));
	trace->owner_of = calloc(replay->names + 1, sizeof(*trace->owner_of));
	if (!trace->owner || !trace->owner_of)
		return -ENOMEM;
	for (size_t i = 0; i < replay->names; i++)
		trace->owner[i].name = replay->name[i].owner;
	if (replay->names)
		qsort(trace->owner, replay->names, sizeof(*trace->owner), owner_order);
	for (size_t i = 0; i < replay->names; i++)
		if (!kept || strcmp(trace->owner[kept - 1].name, trace->owner[i].name))
			trace->owner[kept++] = trace->owner[i];
	trace->owners = kept;
	for (size_t i = 0; i < replay->names; i++) {
		const struct owner wanted = { .name = replay->name[i].owner };
		struct owner *owner = bsearch(&wanted, trace->owner, kept, sizeof(wanted), owner_order);

		trace->owner_of[i] = (size_t)(owner - trace->owner);
		owner->unknown = owner->unknown || replay->name[i].unknown;
	}
	return 0;
}

static void put_track(struct trace *trace, uint64_t id, const char *name, bool is_rss)
{
	struct message track = { 0 }, counter = { 0 };
	char shown[NAME_PART_MAX + 8];

	snprintf(shown, sizeof(shown), "%s, %s", name, is_rss ? "RSS" : "PSS");
	message_number(&track, TRACK_ID, id);
	message_text(&track, TRACK_NAME, (struct text){ shown, strlen(shown) });
	message_number(&counter, COUNTER_UNIT, UNIT_SIZE_BYTES);
	message_put(&track, TRACK_COUNTER, &counter);
	put_packet(trace, trace->recording->began, PACKET_TRACK, &track);
	message_free(&track);
	message_free(&counter);
}

static void put_value(struct trace *trace, int64_t at, uint64_t id, uint64_t value)
{
	struct message event = { 0 };

	message_number(&event, EVENT_TYPE, EVENT_IS_COUNTER);
	message_number(&event, EVENT_TRACK, id);
	message_number(&event, EVENT_VALUE, (uint64_t)json_bytes(value));
	put_packet(trace, at, PACKET_EVENT, &event);
	message_free(&event);
}

static int put_moment(void *context, int64_t at, const struct replay *replay)
{
	struct trace *trace = context;

	for (size_t i = 0; i < trace->owners; i++)
		trace->owner[i].now = 0;
	for (size_t i = 0; i < replay->names; i++)
		figure_add(&trace->owner[trace->owner_of[i]].now, replay->name[i].now);
	for (size_t i = 0; i < trace->owners; i++) {
		struct owner *owner = &trace->owner[i];

		if (owner->unknown || (owner->begun && owner->now == owner->shown))
			continue;
		/* 0 is the number of no track. */
		if (!owner->begun)
			put_track(trace, i + 1, owner->name, replay->is_rss);
		put_value(trace, at, i + 1, owner->now);
		owner->begun = true;
		owner->shown = owner->now;
	}
	return trace->failed ? -ENOMEM : 0;
}

/* Twice: what is unknown anywhere is known at the end only. */
static int put_counters(struct trace *trace)
{
	struct replay names, replay = { 0 };
	int error = recording_replay(trace->recording, NULL, NULL, &names);

	if (error)
		return error;
	error = find_owners(trace, &names);
	if (!error) {
		error = recording_replay(trace->recording, put_moment, trace, &replay);
		replay_free(&replay);
	}
	replay_free(&names);
	return error;
}

/* --- rows by name ------------------------------------------------------------------------- */

struct packed {
	int64_t process;
	pid_t pid;
	struct message names, column[COLUMNS];
	bool unknown[COLUMNS];
};

/* The first name is the empty one: what has none. */
static void add_row(struct packed *packed, struct text name, sqlite3_stmt *row)
{
	message_text(&packed->names, PACKED_NAME, name);
	for (size_t i = 0; i < COLUMNS; i++) {
		int64_t value = row ? sqlite3_column_int64(row, row_columns[i].column) : 0;

		if (value < 0 || (row && sqlite3_column_type(row, row_columns[i].column) == SQLITE_NULL))
			packed->unknown[i] = true;
		message_varint(&packed->column[i], value < 0 ? 0 : (uint64_t)value / row_columns[i].unit);
	}
}

static void end_packed(struct trace *trace, int64_t at, struct packed *packed)
{
	struct message smaps = { 0 };

	for (size_t i = 0; i < COLUMNS; i++) {
		if (packed->unknown[i])
			packed->column[i].len = 0;
		else
			message_put(&packed->names, row_columns[i].field, &packed->column[i]);
		message_free(&packed->column[i]);
	}
	message_number(&packed->names, PACKED_TYPE, TYPE_STANDALONE);
	message_number(&smaps, SMAPS_PID, (uint32_t)packed->pid);
	message_put(&smaps, SMAPS_PACKED, &packed->names);
	if (packed->process)
		put_packet(trace, at, PACKET_SMAPS, &smaps);
	message_free(&packed->names);
	message_free(&smaps);
	*packed = (struct packed){ 0 };
}

static void take_row(struct trace *trace, int64_t at, struct packed *packed, sqlite3_stmt *row)
{
	static const struct text none = { "", 0 };
	char buffer[NAME_PART_MAX];
	struct text name = safe_text(row, 1, buffer, sizeof(buffer));
	bool unnamed = text_is(name, "[anon]");

	if (packed->process != sqlite3_column_int64(row, 7)) {
		end_packed(trace, at, packed);
		packed->process = sqlite3_column_int64(row, 7);
		packed->pid = (pid_t)sqlite3_column_int64(row, 0);
		if (!unnamed)
			add_row(packed, none, NULL);
	}
	add_row(packed, unnamed ? none : name, row);
}

static int put_smaps(struct trace *trace, int64_t moment)
{
	static const char sql[] =
		"SELECT pid, name.name, vmas, size, rss, pss, swap, process.id FROM\n"
		"(SELECT process, name, max(moment), vmas, size, rss, pss, swap FROM change WHERE moment <= ?1 GROUP BY process, name) AS held\n"
		"JOIN process ON process.id = held.process JOIN name ON name.id = held.name\n"
		"WHERE (ended IS NULL OR ended > ?1) AND vmas IS NOT 0 ORDER BY process.id, name.name <> '[anon]', name.name";
	int64_t at = recording_at(trace->recording, moment);
	struct packed packed = { 0 };
	sqlite3_stmt *row = NULL;
	int step = SQLITE_ERROR;

	if (!sqlite3_prepare_v2(trace->recording->db, sql, -1, &row, NULL) && !sqlite3_bind_int64(row, 1, moment))
		while ((step = sqlite3_step(row)) == SQLITE_ROW)
			take_row(trace, at, &packed, row);
	end_packed(trace, at, &packed);
	sqlite3_finalize(row);
	return step == SQLITE_DONE ? 0 : -EIO;
}

/* --- the whole -------------------------------------------------------------------------- */

static int put_all(struct trace *trace)
{
	const struct recording *recording = trace->recording;
	int error;

	put_clocks(trace);
	error = put_processes(trace);
	if (!error)
		error = put_counters(trace);
	if (!error)
		error = put_smaps(trace, recording->first);
	if (!error && recording->peak && recording->peak != recording->first && recording->peak != recording->last)
		error = put_smaps(trace, recording->peak);
	if (!error && recording->last != recording->first)
		error = put_smaps(trace, recording->last);
	return error ? error : trace->failed ? -ENOMEM : 0;
}

int view_perfetto(FILE *out, const struct recording *recording)
{
	struct trace trace = { .out = out, .recording = recording };
	int error = put_all(&trace);

	free(trace.owner);
	free(trace.owner_of);
	if (error)
		tool_error("%s: %s", recording->path, error == -EIO ? sqlite3_errmsg(recording->db) : strerror(-error));
	return tool_finish(error ? EXIT_FAILED : EXIT_DONE);
}
