/* SPDX-License-Identifier: MIT */
/* The tables of a recording, and reading them. See recording.h. */
#include "recording.h"

#include "../src/read/list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const enum figure recorded_figures[RECORDED] = { FIG_VMAS, FIG_SIZE, FIG_RSS, FIG_PSS, FIG_USS, FIG_SWAP };

/* A recording that was begun before there was this table gets it. */
#define RECORDING_CUT \
	"CREATE TABLE IF NOT EXISTS names_cut(\n" \
	"  process INTEGER PRIMARY KEY, -- names from outside may be missing: a limit ended the search for them\n" \
	"  moment INTEGER NOT NULL);    -- from then on\n"

const char recording_schema_cut[] = RECORDING_CUT;

const char recording_schema[] =
	"CREATE TABLE moment(\n"
	"  id INTEGER PRIMARY KEY,\n"
	"  at INTEGER NOT NULL,        -- milliseconds since 1970\n"
	"  processes INTEGER NOT NULL, -- that were there\n"
	"  waiting INTEGER NOT NULL,   -- of them had changed and were not read yet, to keep the cost low\n"
	"  rss INTEGER, pss INTEGER, uss INTEGER, swap INTEGER); -- bytes, of all; NULL: unknown\n"
	"CREATE TABLE process(\n"
	"  id INTEGER PRIMARY KEY,\n"
	"  pid INTEGER NOT NULL,\n"
	"  start INTEGER NOT NULL,     -- as in /proc/PID/stat\n"
	"  comm TEXT NOT NULL, unit TEXT, cgroup TEXT, container TEXT,\n"
	"  first INTEGER NOT NULL,     -- moment\n"
	"  ended INTEGER);             -- the moment at which it was not there any more; NULL: it still is\n"
	"CREATE TABLE name(\n"
	"  id INTEGER PRIMARY KEY,\n"
	"  name TEXT NOT NULL, kind TEXT NOT NULL, owner TEXT NOT NULL, thing TEXT NOT NULL, detail TEXT NOT NULL,\n"
	"  UNIQUE(name, kind));\n"
	"CREATE TABLE change(\n"
	"  moment INTEGER NOT NULL, process INTEGER NOT NULL, name INTEGER NOT NULL,\n"
	"  vmas INTEGER, size INTEGER, rss INTEGER, pss INTEGER, uss INTEGER, swap INTEGER, -- bytes; NULL: unknown; 0 vmas: gone\n"
	"  PRIMARY KEY(moment, process, name)) WITHOUT ROWID;\n"
	RECORDING_CUT
	/* SQLite takes the other columns from the row that has the maximum. */
	"CREATE VIEW latest AS SELECT pid, comm, unit, container, name.name, kind, owner, moment, vmas, size, rss, pss, uss, swap FROM\n"
	"  (SELECT process, name, max(moment) AS moment, vmas, size, rss, pss, uss, swap FROM change GROUP BY process, name) AS held\n"
	"  JOIN process ON process.id = held.process JOIN name ON name.id = held.name\n"
	"  WHERE ended IS NULL AND vmas IS NOT 0 ORDER BY pss DESC;\n"
	"CREATE VIEW growth AS SELECT pid, comm, name.name, kind, owner,\n"
	"  iif(began.moment = (SELECT min(id) FROM moment), began.pss, 0) AS first, iif(ended IS NULL, held.pss, 0) AS last,\n"
	"  iif(ended IS NULL, held.pss, 0) - iif(began.moment = (SELECT min(id) FROM moment), began.pss, 0) AS growth, peak FROM\n"
	"  (SELECT process, name, min(moment) AS moment, pss FROM change GROUP BY process, name) AS began\n"
	"  JOIN (SELECT process, name, max(moment) AS moment, pss FROM change GROUP BY process, name) AS held USING (process, name)\n"
	"  JOIN (SELECT process, name, max(pss) AS peak FROM change GROUP BY process, name) AS highest USING (process, name)\n"
	"  JOIN process ON process.id = began.process JOIN name ON name.id = began.name ORDER BY growth DESC;\n"
	"CREATE VIEW timeline AS SELECT datetime(at / 1000, 'unixepoch', 'localtime') AS time, processes, rss, pss, uss, swap\n"
	"  FROM moment ORDER BY id;\n";

int64_t recording_number(sqlite3 *db, const char *sql, int64_t fallback)
{
	sqlite3_stmt *statement;

	if (!sqlite3_prepare_v2(db, sql, -1, &statement, NULL) && sqlite3_step(statement) == SQLITE_ROW &&
	    sqlite3_column_type(statement, 0) == SQLITE_INTEGER)
		fallback = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return fallback;
}

/* --- opening ---------------------------------------------------------------------- */

static bool is_recording(const struct recording *recording)
{
	int64_t id = recording_number(recording->db, "PRAGMA application_id", -1);
	int64_t version = recording_number(recording->db, "PRAGMA user_version", -1);

	if (id == RECORDING_ID && version == RECORDING_VERSION)
		return true;
	if (id == RECORDING_ID)
		tool_error("%s is a recording of version %lld; this one reads version %d", recording->path, (long long)version, RECORDING_VERSION);
	else
		tool_error("%s is no recording of anonname record", recording->path);
	return false;
}

bool recording_open(struct recording *recording, const char *path)
{
	*recording = (struct recording){ .path = path };
	if (access(path, R_OK)) {
		tool_error("%s: %s", path, strerror(errno));
		return false;
	}
	if (sqlite3_open_v2(path, &recording->db, SQLITE_OPEN_READONLY, NULL)) {
		tool_error("%s: %s", path, sqlite3_errmsg(recording->db));
		recording_close(recording);
		return false;
	}
	sqlite3_busy_timeout(recording->db, 5000);
	/* A database from elsewhere may hold views and triggers that call functions. */
	sqlite3_db_config(recording->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(recording->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	/* All that follows is about one state of it, also while it is recorded. */
	sqlite3_exec(recording->db, "BEGIN", NULL, NULL, NULL);
	if (is_recording(recording)) {
		recording->first = recording_number(recording->db, "SELECT min(id) FROM moment", 0);
		recording->last = recording_number(recording->db, "SELECT max(id) FROM moment", 0);
		recording->peak = recording_number(recording->db, "SELECT id FROM moment ORDER BY pss DESC, id LIMIT 1", 0);
		recording->began = recording_at(recording, recording->first);
		recording->ended = recording_at(recording, recording->last);
		if (recording->last)
			return true;
		tool_error("%s holds no moment yet", path);
	}
	recording_close(recording);
	return false;
}

void recording_close(struct recording *recording)
{
	sqlite3_close(recording->db);
	recording->db = NULL;
}

/* --- moments ---------------------------------------------------------------------- */

static int64_t number_of(const struct recording *recording, const char *sql, int64_t value)
{
	sqlite3_stmt *statement;
	int64_t number = 0;

	if (!sqlite3_prepare_v2(recording->db, sql, -1, &statement, NULL) && !sqlite3_bind_int64(statement, 1, value) &&
	    sqlite3_step(statement) == SQLITE_ROW)
		number = sqlite3_column_int64(statement, 0);
	sqlite3_finalize(statement);
	return number;
}

int64_t recording_at(const struct recording *recording, int64_t moment)
{
	return number_of(recording, "SELECT at FROM moment WHERE id = ?", moment);
}

int64_t recording_cut(const struct recording *recording, int64_t moment)
{
	return number_of(recording, "SELECT count(*) FROM names_cut JOIN process ON process.id = names_cut.process "
	                            "WHERE moment <= ?1 AND (ended IS NULL OR ended > ?1 OR ?1 = 9223372036854775807)", moment);
}

const char *recording_time(int64_t at, char *buffer)
{
	time_t seconds = (time_t)(at / 1000);
	struct tm local;

	if (!localtime_r(&seconds, &local) || !strftime(buffer, 32, "%F %T", &local))
		strcpy(buffer, "-");
	return buffer;
}

/* A date and time, or a time of the last day; ms since 1970, or -1. */
static int64_t parse_clock(const struct recording *recording, const char *text)
{
	static const char *const formats[] = { "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%H:%M:%S", "%H:%M" };
	time_t seconds = (time_t)(recording->ended / 1000);
	struct tm local;

	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
		const char *end;

		if (!localtime_r(&seconds, &local))
			return -1;
		local.tm_sec = 0;
		local.tm_isdst = -1;
		end = strptime(text, formats[i], &local);
		/* To the end of that second. */
		if (end && !*end)
			return (int64_t)mktime(&local) * 1000 + (strchr(formats[i], 'S') ? 999 : 0);
	}
	return -1;
}

int64_t recording_find(const struct recording *recording, const char *text)
{
	int64_t at = -1, moment;
	uint64_t ns;

	if (!strcmp(text, "start"))
		return recording->first;
	if (!strcmp(text, "end"))
		return recording->last;
	if (!strcmp(text, "peak"))
		return recording->peak;
	if (*text == '+' || *text == '-') {
		if (!tool_time(text + 1, &ns))
			return 0;
		at = *text == '+' ? recording->began + (int64_t)(ns / 1000000) : recording->ended - (int64_t)(ns / 1000000);
	} else {
		at = parse_clock(recording, text);
	}
	if (at < 0) {
		tool_error("'%s' is no moment. Give start, end, peak, +10m (from the start), -10m (from the end), 14:30 or "
		           "'2026-11-26 14:30:00'.", text);
		return 0;
	}
	moment = number_of(recording, "SELECT id FROM moment WHERE at <= ? ORDER BY at DESC LIMIT 1", at);
	if (!moment)
		tool_error("%s begins after %s", recording->path, text);
	return moment;
}

/* --- the rows of a moment ----------------------------------------------------------- */

static void take_figures(sqlite3_stmt *statement, int column, struct figures *figures)
{
	figures->unknown = FIG_ALL;
	for (int i = 0; i < RECORDED; i++) {
		if (sqlite3_column_type(statement, column + i) != SQLITE_INTEGER || sqlite3_column_int64(statement, column + i) < 0)
			continue;
		figures->unknown &= ~FIG_BIT(recorded_figures[i]);
		figures->value[recorded_figures[i]] = (uint64_t)sqlite3_column_int64(statement, column + i);
	}
}

static int take_row(sqlite3_stmt *statement, struct rows *rows, size_t *room)
{
	const char *name = (const char *)sqlite3_column_text(statement, 0), *kind = (const char *)sqlite3_column_text(statement, 1);
	char safe[NAME_PART_MAX];
	struct row *row = list_grown(rows->row, rows->count, room, sizeof(*row), 256, LIST_ENDLESS);

	if (!row)
		return -ENOMEM;
	rows->row = row;
	row = &rows->row[rows->count];
	memset(row, 0, sizeof(*row));
	/* A file may come from anywhere. */
	text_clean(safe, sizeof(safe), (struct text){ name ? name : "", name ? strlen(name) : 0 });
	row->name = strdup(safe);
	if (!row->name)
		return -ENOMEM;
	row->kind = name_kind_find(kind ? kind : "");
	take_figures(statement, 2, &row->figures);
	rows->count++;
	return 0;
}

int recording_rows(const struct recording *recording, int64_t moment, struct rows *rows, struct figures *total)
{
	static const char sql[] =
		"SELECT name.name, kind, vmas, size, rss, pss, uss, swap FROM\n"
		"(SELECT process, name, max(moment), vmas, size, rss, pss, uss, swap FROM change WHERE moment <= ?1 GROUP BY process, name) AS held\n"
		"JOIN process ON process.id = held.process JOIN name ON name.id = held.name\n"
		"WHERE (ended IS NULL OR ended > ?1) AND vmas IS NOT 0";
	sqlite3_stmt *statement = NULL;
	size_t room = 0;
	int error = 0, step = SQLITE_ERROR;

	memset(rows, 0, sizeof(*rows));
	memset(total, 0, sizeof(*total));
	if (!sqlite3_prepare_v2(recording->db, sql, -1, &statement, NULL) && !sqlite3_bind_int64(statement, 1, moment))
		while (!error && (step = sqlite3_step(statement)) == SQLITE_ROW) {
			error = take_row(statement, rows, &room);
			if (!error)
				figures_add(total, &rows->row[rows->count - 1].figures);
		}
	sqlite3_finalize(statement);
	if (!error && step != SQLITE_DONE)
		error = -EIO;
	if (!error)
		rows_merge_same(rows);
	else
		rows_free(rows);
	if (!rows->count)
		total->unknown = FIG_ALL;
	return error;
}

/* --- replaying ---------------------------------------------------------------------- */

/* What a process has of a name. The hash table is open; process 0 is free. */
struct share {
	int64_t process, name;
	uint64_t bytes;
	bool unknown;
};

struct shares {
	struct share *share;
	size_t count, room;
};

static size_t part_slot(const struct shares *parts, int64_t process, int64_t name)
{
	uint64_t hash = text_hash_mix((uint64_t)process * 2654435761U ^ (uint64_t)name, 0x9e3779b97f4a7c15U);
	size_t at = hash & (parts->room - 1);

	while (parts->share[at].process && (parts->share[at].process != process || parts->share[at].name != name))
		at = (at + 1) & (parts->room - 1);
	return at;
}

static int parts_grow(struct shares *parts)
{
	struct shares grown = { .count = parts->count, .room = parts->room ? 2 * parts->room : 1024 };

	grown.share = calloc(grown.room, sizeof(*grown.share));
	if (!grown.share)
		return -ENOMEM;
	for (size_t i = 0; i < parts->room; i++)
		if (parts->share[i].process)
			grown.share[part_slot(&grown, parts->share[i].process, parts->share[i].name)] = parts->share[i];
	free(parts->share);
	*parts = grown;
	return 0;
}

struct replaying {
	const struct recording *recording;
	struct replay *replay;
	int64_t *id;                /* of each name, in order */
	struct shares parts;
	sqlite3_stmt *moments, *changes, *ends;
	bool changes_left, ends_left;
};

static char *safe_text(sqlite3_stmt *statement, int column)
{
	const char *text = (const char *)sqlite3_column_text(statement, column);
	char safe[NAME_PART_MAX];

	text_clean(safe, sizeof(safe), (struct text){ text ? text : "", text ? strlen(text) : 0 });
	return strdup(safe);
}

static int load_names(struct replaying *replaying)
{
	struct replay *replay = replaying->replay;
	int64_t count = recording_number(replaying->recording->db, "SELECT count(*) FROM name", 0);
	sqlite3_stmt *statement = NULL;
	int error = 0;

	replay->name = calloc((size_t)count + 1, sizeof(*replay->name));
	replaying->id = calloc((size_t)count + 1, sizeof(*replaying->id));
	if (!replay->name || !replaying->id)
		return -ENOMEM;
	if (sqlite3_prepare_v2(replaying->recording->db, "SELECT id, name, owner, thing, detail, kind FROM name ORDER BY id", -1, &statement, NULL))
		error = -EIO;
	while (!error && replay->names < (size_t)count && sqlite3_step(statement) == SQLITE_ROW) {
		struct replayed *name = &replay->name[replay->names];
		const char *kind = (const char *)sqlite3_column_text(statement, 5);

		replaying->id[replay->names++] = sqlite3_column_int64(statement, 0);
		name->name = safe_text(statement, 1);
		name->owner = safe_text(statement, 2);
		name->thing = safe_text(statement, 3);
		name->detail = safe_text(statement, 4);
		name->kind = name_kind_find(kind ? kind : "");
		if (!name->name || !name->owner || !name->thing || !name->detail)
			error = -ENOMEM;
	}
	sqlite3_finalize(statement);
	return error;
}

static int id_order(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static struct replayed *name_with(const struct replaying *replaying, int64_t id)
{
	int64_t *found = replaying->replay->names ? bsearch(&id, replaying->id, replaying->replay->names, sizeof(id), id_order) : NULL;

	return found ? &replaying->replay->name[found - replaying->id] : NULL;
}

/* A part has other bytes now, and with it the sum of its name. */
static void part_set(struct replayed *name, struct share *part, uint64_t bytes, bool unknown)
{
	name->now -= part->bytes;
	figure_add(&name->now, bytes);
	name->unknown |= unknown;
	part->bytes = bytes;
	part->unknown = unknown;
}

static int take_change(struct replaying *replaying)
{
	sqlite3_stmt *row = replaying->changes;
	int64_t process = sqlite3_column_int64(row, 1), id = sqlite3_column_int64(row, 2), bytes = sqlite3_column_int64(row, 3);
	bool unknown = sqlite3_column_type(row, 3) == SQLITE_NULL;
	struct replayed *name = name_with(replaying, id);
	struct share *part;

	if (!name || process <= 0)
		return 0;
	if (2 * replaying->parts.count >= replaying->parts.room && parts_grow(&replaying->parts))
		return -ENOMEM;
	part = &replaying->parts.share[part_slot(&replaying->parts, process, id)];
	if (!part->process) {
		*part = (struct share){ .process = process, .name = id };
		replaying->parts.count++;
	}
	part_set(name, part, bytes < 0 ? 0 : (uint64_t)bytes, unknown);
	return 0;
}

static void end_process(struct replaying *replaying, int64_t process)
{
	for (size_t i = 0; i < replaying->parts.room; i++)
		if (replaying->parts.share[i].process == process)
			part_set(name_with(replaying, replaying->parts.share[i].name), &replaying->parts.share[i], 0, false);
}

static bool next_row(sqlite3_stmt *statement)
{
	return sqlite3_step(statement) == SQLITE_ROW;
}

/* All that happened up to a moment. Processes end before others begin: an id may be used again. */
static int take_moment(struct replaying *replaying, int64_t moment)
{
	int error = 0;

	while (replaying->ends_left && sqlite3_column_int64(replaying->ends, 0) <= moment) {
		end_process(replaying, sqlite3_column_int64(replaying->ends, 1));
		replaying->ends_left = next_row(replaying->ends);
	}
	while (!error && replaying->changes_left && sqlite3_column_int64(replaying->changes, 0) <= moment) {
		error = take_change(replaying);
		replaying->changes_left = next_row(replaying->changes);
	}
	return error;
}

static void note_moment(struct replay *replay, bool is_first, int64_t at)
{
	for (size_t i = 0; i < replay->names; i++) {
		struct replayed *name = &replay->name[i];

		if (is_first)
			name->first = name->now;
		name->last = name->now;
		if (name->now > name->peak || is_first) {
			name->peak = name->now;
			name->peak_at = at;
		}
	}
}

static int prepare(struct replaying *replaying)
{
	sqlite3 *db = replaying->recording->db;
	const char *changes = replaying->replay->is_rss ? "SELECT moment, process, name, rss FROM change ORDER BY moment"
	                                                : "SELECT moment, process, name, pss FROM change ORDER BY moment";

	if (sqlite3_prepare_v2(db, "SELECT id, at FROM moment ORDER BY id", -1, &replaying->moments, NULL) ||
	    sqlite3_prepare_v2(db, changes, -1, &replaying->changes, NULL) ||
	    sqlite3_prepare_v2(db, "SELECT ended, id FROM process WHERE ended IS NOT NULL ORDER BY ended", -1, &replaying->ends, NULL))
		return -EIO;
	replaying->changes_left = next_row(replaying->changes);
	replaying->ends_left = next_row(replaying->ends);
	return 0;
}

int recording_replay(const struct recording *recording, replay_function *each, void *context, struct replay *replay)
{
	struct replaying replaying = { .recording = recording, .replay = replay };
	int error;

	*replay = (struct replay){ .is_rss = !recording_number(recording->db, "SELECT EXISTS(SELECT 1 FROM change WHERE pss IS NOT NULL)", 0) };
	error = load_names(&replaying);
	if (!error)
		error = prepare(&replaying);
	while (!error && next_row(replaying.moments)) {
		int64_t moment = sqlite3_column_int64(replaying.moments, 0), at = sqlite3_column_int64(replaying.moments, 1);

		error = take_moment(&replaying, moment);
		if (!error)
			note_moment(replay, moment == recording->first, at);
		if (!error && each)
			error = each(context, at, replay);
	}
	sqlite3_finalize(replaying.moments);
	sqlite3_finalize(replaying.changes);
	sqlite3_finalize(replaying.ends);
	free(replaying.id);
	free(replaying.parts.share);
	if (error)
		replay_free(replay);
	return error;
}

void replay_free(struct replay *replay)
{
	for (size_t i = 0; i < replay->names; i++) {
		free(replay->name[i].name);
		free(replay->name[i].owner);
		free(replay->name[i].thing);
		free(replay->name[i].detail);
	}
	free(replay->name);
	*replay = (struct replay){ .names = 0 };
}
