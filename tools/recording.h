/* SPDX-License-Identifier: MIT */
/*
 * A recording: an SQLite database of who had how much memory when. anonname
 * record writes it, anonname view reads it, and people ask it by hand. A name is
 * kept once, and a row is written only when it changes:
 *
 *   moment   1 -----------------------> 2 -------------------> 3
 *   change   process 1, name 1: 4 MiB    process 1, name 1: 5 MiB
 *            process 1, name 2: 1 MiB                           process 1, name 2: gone (0 VMAs)
 *
 * What holds at a moment is therefore the latest change of each process and name
 * up to it, of the processes that had not ended.
 */
#ifndef ANONNAME_TOOLS_RECORDING_H
#define ANONNAME_TOOLS_RECORDING_H

#include "columns.h"

#include <sqlite3.h>

/* "anon"; and what changes when the tables do. */
#define RECORDING_ID      0x616e6f6e
#define RECORDING_VERSION 1

/* The figures that are kept, in the order of the columns of the table change. */
#define RECORDED 6
extern const enum figure recorded_figures[RECORDED];

/* The tables and the views; and a table that older recordings lack. */
extern const char recording_schema[], recording_schema_cut[];

/* The number that a statement returns, or fallback. */
int64_t recording_number(sqlite3 *db, const char *sql, int64_t fallback);

/* --- reading -------------------------------------------------------------------- */

struct recording {
	const char *path;
	sqlite3 *db;
	int64_t first, last, peak;  /* moments: their ids; peak is the one with the highest PSS */
	int64_t began, ended;       /* ms since 1970 */
};

/* Opens it for reading, also while it is recorded. False after an error message. */
bool recording_open(struct recording *recording, const char *path);
void recording_close(struct recording *recording);

/* When a moment was, ms since 1970. */
int64_t recording_at(const struct recording *recording, int64_t moment);

/* Of how many processes names from outside may be missing, at a moment, or with INT64_MAX at any. */
int64_t recording_cut(const struct recording *recording, int64_t moment);

/*
 * The moment that text means: "start", "end", "peak", "+10m" from the start,
 * "-10m" from the end, "2026-11-26 03:00:00" or "03:00" of the last day; of a
 * time, the last moment up to it. 0 after an error message.
 */
int64_t recording_find(const struct recording *recording, const char *text);

/* The rows that hold at a moment, by name and kind, and their sum. 0 or a negative errno. */
int recording_rows(const struct recording *recording, int64_t moment, struct rows *rows, struct figures *total);

/* --- all of it, a moment after the other ----------------------------------------- */

/* What a name had over all processes, in bytes of PSS, or of RSS where PSS is not known. */
struct replayed {
	char *name, *owner, *thing, *detail; /* safe to show */
	const char *kind;
	uint64_t now;               /* at the moment that is replayed */
	uint64_t first, last, peak;
	int64_t peak_at;            /* ms since 1970 */
	bool unknown;               /* some of it could not be had */
};

struct replay {
	struct replayed *name;
	size_t names;
	bool is_rss;
};

/* After the changes of each moment; not 0 ends it. NULL: only the sums are wanted. */
typedef int replay_function(void *context, int64_t at, const struct replay *replay);

/* 0, or a negative errno, or what each returned. */
int recording_replay(const struct recording *recording, replay_function *each, void *context, struct replay *replay);
void replay_free(struct replay *replay);

/* "2026-11-26 03:00:00". Buffer of 32. */
const char *recording_time(int64_t at, char *buffer);

#endif
