/* SPDX-License-Identifier: MIT */
/*
 * anonname record: writes a recording (recording.h). To read the memory of a
 * process costs milliseconds, and most processes do not change in a second. So at
 * each moment only /proc/PID/stat is read of all: a process whose page faults, size
 * and resident pages are what they were is left alone. Those that changed are read
 * as far as the share of a CPU allows that was set aside, who waited longest first;
 * and where even stat is too much, moments come less often.
 *
 * Each moment is one transaction, synced to the disk: whoever kills the recorder or
 * pulls the plug loses the moment that was being written.
 */
#include "measure.h"
#include "options.h"
#include "preload.h"
#include "recording.h"
#include "select.h"

#include "../src/read/place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SHARE       0.01                /* of a CPU, after the first reading */
#define CREDIT_MOST 200000000.0         /* ns of CPU: what a quiet time saves for a busy one */
#define STALE_NS    60000000000ULL      /* PSS changes by what others do: after this a process is read again, if there is time */
#define DENIED_NS   60000000000ULL      /* when one that may not be read is tried again */
#define THIN_NS     60000000000ULL      /* how often --keep looks */
#define NAMES_KNOWN 65536               /* texts whose ids are kept in memory */

/* What was written last for a name of a process. */
struct held {
	int64_t name;
	struct figures figures;
};

struct known {
	pid_t pid;
	unsigned long long start_time;
	char comm[64];
	unsigned long long faults, size, resident; /* of when it was seen last */
	int64_t id;                 /* 0: not written yet */
	struct held *held;          /* by name */
	size_t helds;
	uint64_t read_at, changed_at; /* ns; read_at 0: never; changed_at 0: it did not */
	bool seen, denied;
};

enum statement {
	BEGIN, COMMIT, ROLLBACK, ADD_MOMENT, END_MOMENT, ADD_PROCESS, END_PROCESS, FIND_NAME, ADD_NAME, ADD_CHANGE, ADD_CUT, STATEMENTS
};

static const char *const statement_sql[STATEMENTS] = {
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
	[ADD_MOMENT] = "INSERT INTO moment(id, at, processes, waiting) VALUES(?, ?, 0, 0)",
	[END_MOMENT] = "UPDATE moment SET processes = ?2, waiting = ?3, rss = ?4, pss = ?5, uss = ?6, swap = ?7 WHERE id = ?1",
	[ADD_PROCESS] = "INSERT INTO process(pid, start, comm, unit, cgroup, container, first) VALUES(?, ?, ?, ?, ?, ?, ?)",
	[END_PROCESS] = "UPDATE process SET ended = ?2 WHERE id = ?1",
	[FIND_NAME] = "SELECT id FROM name WHERE name = ? AND kind = ?",
	[ADD_NAME] = "INSERT INTO name(name, kind, owner, thing, detail) VALUES(?, ?, ?, ?, ?)",
	[ADD_CHANGE] = "INSERT INTO change VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[ADD_CUT] = "INSERT OR IGNORE INTO names_cut VALUES(?, ?)",
};

struct recorder {
	struct selection selection;
	const char *path, *root;
	enum process_mode mode;
	uint64_t interval, duration, keep; /* ns; duration and keep 0: no end */
	bool fold;
	char **command;             /* NULL: none */
	pid_t child;

	struct proc proc;
	sqlite3 *db;
	int lock;
	sqlite3_stmt *statement[STATEMENTS];
	int64_t moment;

	struct known *known;        /* by pid */
	size_t count;
	struct name_table names;    /* texts, for their ids */
	int64_t *name_id;           /* of each row of names */
	size_t name_ids;

	double credit;              /* ns of CPU that may be spent */
	double one;                 /* ns that a process takes to read */
	uint64_t spent;             /* ns of CPU */
	size_t waiting;
	bool read_once, failed;
};

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	stopped = signal;
}

/* --- the database ------------------------------------------------------------------ */

/* Says it once: what comes after is a consequence. */
static bool db_failed(struct recorder *recorder)
{
	int code = sqlite3_errcode(recorder->db);

	if (!recorder->failed)
		tool_error(code == SQLITE_FULL ? "%s: the disk is full (%s). What was recorded until now is kept." : "%s: %s",
		           recorder->path, sqlite3_errmsg(recorder->db));
	recorder->failed = true;
	return false;
}

static bool step(struct recorder *recorder, enum statement which)
{
	sqlite3_stmt *statement = recorder->statement[which];
	int result = sqlite3_step(statement);

	if (result != SQLITE_DONE && result != SQLITE_ROW)
		db_failed(recorder);
	if (result != SQLITE_ROW)
		sqlite3_reset(statement);
	return result == SQLITE_DONE || result == SQLITE_ROW;
}

static void bind(struct recorder *recorder, enum statement which, int at, int64_t value)
{
	sqlite3_bind_int64(recorder->statement[which], at, value);
}

/* The text must be there until the step. */
static void bind_text(struct recorder *recorder, enum statement which, int at, const char *text)
{
	sqlite3_bind_text(recorder->statement[which], at, text, -1, SQLITE_STATIC);
}

static void bind_figure(struct recorder *recorder, enum statement which, int at, const struct figures *figures, enum figure figure)
{
	if (figures->unknown & FIG_BIT(figure))
		sqlite3_bind_null(recorder->statement[which], at);
	else
		bind(recorder, which, at, json_bytes(figures->value[figure]));
}

static bool execute(struct recorder *recorder, const char *sql)
{
	return !sqlite3_exec(recorder->db, sql, NULL, NULL, NULL) || db_failed(recorder);
}

/* An empty file becomes a recording; one that is goes on. Anything else is left alone. */
static bool make_tables(struct recorder *recorder)
{
	int64_t id = recording_number(recorder->db, "PRAGMA application_id", -1);
	int64_t version = recording_number(recorder->db, "PRAGMA user_version", -1);
	int64_t tables = recording_number(recorder->db, "SELECT count(*) FROM sqlite_master", -1);
	char sql[128];

	if (tables < 0)
		return db_failed(recorder);
	if (id == RECORDING_ID && version == RECORDING_VERSION)
		return execute(recorder, recording_schema_cut);
	if (tables || id) {
		tool_error("%s is no recording of this version, and stays as it is. Give another file with -o.", recorder->path);
		return false;
	}
	snprintf(sql, sizeof(sql), "PRAGMA application_id = %d; PRAGMA user_version = %d;", RECORDING_ID, RECORDING_VERSION);
	return execute(recorder, "BEGIN IMMEDIATE") && execute(recorder, recording_schema) && execute(recorder, sql) && execute(recorder, "COMMIT");
}

/* Two recorders would each take the other's processes for ended. The lock goes with the process that holds it. */
static bool is_alone(struct recorder *recorder)
{
	recorder->lock = open(recorder->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (recorder->lock >= 0 && !flock(recorder->lock, LOCK_EX | LOCK_NB))
		return true;
	tool_error(errno == EWOULDBLOCK ? "%s is being recorded by another anonname record" : "%s: %s", recorder->path, strerror(errno));
	return false;
}

static bool open_database(struct recorder *recorder)
{
	int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW;

	if (sqlite3_open_v2(recorder->path, &recorder->db, flags, NULL))
		return db_failed(recorder);
	sqlite3_busy_timeout(recorder->db, 5000);
	if (!make_tables(recorder) || !is_alone(recorder) || !execute(recorder, "PRAGMA journal_mode = WAL") ||
	    !execute(recorder, "PRAGMA synchronous = FULL"))
		return false;
	for (size_t i = 0; i < STATEMENTS; i++)
		if (sqlite3_prepare_v3(recorder->db, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &recorder->statement[i], NULL))
			return db_failed(recorder);
	recorder->moment = recording_number(recorder->db, "SELECT max(id) FROM moment", 0);
	return true;
}

static void close_database(struct recorder *recorder)
{
	for (size_t i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(recorder->statement[i]);
	sqlite3_close(recorder->db);
	/* Last: to close any descriptor of the file takes SQLite's own locks away. */
	if (recorder->lock >= 0)
		close(recorder->lock);
}

/* --- names ------------------------------------------------------------------------- */

static int64_t stored_name(struct recorder *recorder, const struct name_row *row)
{
	static struct name_parts parts;
	char folded[NAME_PART_MAX];
	const char *name = row->name;
	int64_t id = 0;

	if (recorder->fold && !name_is_file(row)) {
		name_fold(row->name, folded, sizeof(folded));
		name = folded;
	}
	bind_text(recorder, FIND_NAME, 1, name);
	bind_text(recorder, FIND_NAME, 2, name_kind(row));
	if (sqlite3_step(recorder->statement[FIND_NAME]) == SQLITE_ROW)
		id = sqlite3_column_int64(recorder->statement[FIND_NAME], 0);
	sqlite3_reset(recorder->statement[FIND_NAME]);
	if (id)
		return id;
	name_split(row, recorder->fold, &parts);
	bind_text(recorder, ADD_NAME, 1, name);
	bind_text(recorder, ADD_NAME, 2, name_kind(row));
	bind_text(recorder, ADD_NAME, 3, parts.owner);
	bind_text(recorder, ADD_NAME, 4, parts.thing);
	bind_text(recorder, ADD_NAME, 5, parts.detail);
	return step(recorder, ADD_NAME) ? sqlite3_last_insert_rowid(recorder->db) : 0;
}

static void forget_names(struct recorder *recorder)
{
	names_free(&recorder->names);
	free(recorder->name_id);
	recorder->name_id = NULL;
	recorder->name_ids = 0;
}

/* Of a text that was met before without asking the database. 0: no. */
static int64_t name_of(struct recorder *recorder, const struct name_row *row)
{
	int made;

	if (recorder->names.rows >= NAMES_KNOWN)
		forget_names(recorder);
	made = names_add_row(&recorder->names, row);
	if (made < 0)
		return 0;
	if (recorder->name_ids < recorder->names.room) {
		int64_t *grown = realloc(recorder->name_id, recorder->names.room * sizeof(*grown));

		if (!grown)
			return 0;
		recorder->name_id = grown;
		recorder->name_ids = recorder->names.room;
	}
	if (made)
		recorder->name_id[recorder->names.last] = stored_name(recorder, row);
	return recorder->name_id[recorder->names.last];
}

/* --- a process that was read --------------------------------------------------------- */

static int known_order(const void *a, const void *b)
{
	const struct known *x = a, *y = b;

	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

static struct known *find_known(struct recorder *recorder, pid_t pid)
{
	const struct known wanted = { .pid = pid };

	return recorder->count ? bsearch(&wanted, recorder->known, recorder->count, sizeof(wanted), known_order) : NULL;
}

static const char *place(const char *text)
{
	return strcmp(text, "-") ? text : NULL;
}

static bool add_process(struct recorder *recorder, struct known *known, const struct measured *process)
{
	const char *cgroup = process->cgroup ? process->cgroup : "-";
	char unit[PLACE_MAX], container[PLACE_MAX];

	place_unit(cgroup, unit, sizeof(unit));
	place_container(cgroup, container, sizeof(container));
	bind(recorder, ADD_PROCESS, 1, known->pid);
	bind(recorder, ADD_PROCESS, 2, (int64_t)known->start_time);
	bind_text(recorder, ADD_PROCESS, 3, known->comm);
	bind_text(recorder, ADD_PROCESS, 4, place(unit));
	bind_text(recorder, ADD_PROCESS, 5, place(cgroup));
	bind_text(recorder, ADD_PROCESS, 6, place(container));
	bind(recorder, ADD_PROCESS, 7, recorder->moment);
	if (!step(recorder, ADD_PROCESS))
		return false;
	known->id = sqlite3_last_insert_rowid(recorder->db);
	return true;
}

static int held_order(const void *a, const void *b)
{
	const struct held *x = a, *y = b;

	return x->name < y->name ? -1 : x->name > y->name;
}

/* Its rows by name; two that are one in the database (a named mapping and a shared one) are added up. */
static struct held *cells_of(struct recorder *recorder, const struct measured *process, size_t *count)
{
	static char more[] = NAME_REST;
	struct name_row rest = process->names.rest;
	struct held *cell = calloc(process->names.rows + 1, sizeof(*cell));
	size_t all = process->names.rows + (rest.figures.value[FIG_VMAS] != 0);

	rest.class = VMA_SPECIAL;
	rest.name = rest.raw = more;
	rest.raw_len = sizeof(more) - 1;
	*count = 0;
	for (size_t i = 0; cell && i < all; i++) {
		const struct name_row *row = i < process->names.rows ? &process->names.row[i] : &rest;

		cell[i] = (struct held){ .name = name_of(recorder, row), .figures = row->figures };
		if (!cell[i].name) {
			free(cell);
			return NULL;
		}
	}
	if (cell && all)
		qsort(cell, all, sizeof(*cell), held_order);
	for (size_t i = 0; cell && i < all; i++)
		if (*count && cell[*count - 1].name == cell[i].name)
			figures_add(&cell[*count - 1].figures, &cell[i].figures);
		else
			cell[(*count)++] = cell[i];
	return cell;
}

static bool add_change(struct recorder *recorder, const struct known *known, int64_t name, const struct figures *figures)
{
	bind(recorder, ADD_CHANGE, 1, recorder->moment);
	bind(recorder, ADD_CHANGE, 2, known->id);
	bind(recorder, ADD_CHANGE, 3, name);
	for (int i = 0; i < RECORDED; i++)
		bind_figure(recorder, ADD_CHANGE, 4 + i, figures, recorded_figures[i]);
	return step(recorder, ADD_CHANGE);
}

/*
 * PSS alone moves whenever any process starts or ends that maps the same files: it
 * is written when it is off by a 64th. All else that changes is written.
 */
static bool is_change(const struct figures *before, const struct figures *after)
{
	uint64_t a = before->value[FIG_PSS], b = after->value[FIG_PSS];

	for (int i = 0; i < RECORDED; i++) {
		enum figure figure = recorded_figures[i];
		bool unknown = before->unknown & FIG_BIT(figure);

		if (unknown != !!(after->unknown & FIG_BIT(figure)))
			return true;
		if (!unknown && figure != FIG_PSS && before->value[figure] != after->value[figure])
			return true;
	}
	return !(before->unknown & FIG_BIT(FIG_PSS)) && (a > b ? a - b : b - a) > a / 64;
}

/* Both by name. What is not written keeps the figures that are, so that small steps add up to a change. */
static bool write_changes(struct recorder *recorder, struct known *known, struct held *cell, size_t cells)
{
	static const struct figures nothing;
	size_t i = 0, j = 0;
	bool ok = true;

	while (ok && (i < known->helds || j < cells)) {
		int order = i == known->helds ? 1 : j == cells ? -1 : held_order(&known->held[i], &cell[j]);

		if (order < 0)
			ok = add_change(recorder, known, known->held[i].name, &nothing);
		else if (order > 0 || is_change(&known->held[i].figures, &cell[j].figures))
			ok = add_change(recorder, known, cell[j].name, &cell[j].figures);
		else
			cell[j].figures = known->held[i].figures;
		i += order <= 0;
		j += order >= 0;
	}
	free(known->held);
	known->held = cell;
	known->helds = cells;
	return ok;
}

static bool add_cut(struct recorder *recorder, const struct known *known)
{
	bind(recorder, ADD_CUT, 1, known->id);
	bind(recorder, ADD_CUT, 2, recorder->moment);
	return step(recorder, ADD_CUT);
}

static int take_process(void *context, const struct measured *process)
{
	struct recorder *recorder = context;
	struct known *known = find_known(recorder, process->pid);
	struct held *cell;
	size_t cells;

	/* Another process has its number since it was looked at: the next moment meets it. */
	if (known && process->start_time && known->start_time != process->start_time)
		return 0;
	if (!known || (!known->id && !add_process(recorder, known, process)))
		return known ? -EIO : 0;
	cell = cells_of(recorder, process, &cells);
	if (!cell)
		return recorder->failed ? -EIO : -ENOMEM;
	if (!write_changes(recorder, known, cell, cells) || (process->names_cut && !add_cut(recorder, known)))
		return -EIO;
	known->read_at = clock_ns();
	known->changed_at = 0;
	known->denied = false;
	return 0;
}

/* --- who is there, and who has changed ----------------------------------------------- */

static void end_process(struct recorder *recorder, struct known *known)
{
	if (known->id) {
		bind(recorder, END_PROCESS, 1, known->id);
		bind(recorder, END_PROCESS, 2, recorder->moment);
		step(recorder, END_PROCESS);
	}
	free(known->held);
}

static void look_at(struct known *known, const struct proc_identity *identity, uint64_t now)
{
	if (!known->changed_at && (known->faults != identity->faults || known->size != identity->size || known->resident != identity->resident))
		known->changed_at = now;
	known->faults = identity->faults;
	known->size = identity->size;
	known->resident = identity->resident;
	known->seen = true;
}

/* Those that were there before keep their entry; the list stays in order. A program that exec starts is another process. */
static bool look_at_all(struct recorder *recorder, const pid_t *pids, size_t count)
{
	struct known *all = calloc(count + 1, sizeof(*all));
	uint64_t now = clock_ns();
	size_t n = 0;

	for (size_t i = 0; all && i < count; i++) {
		struct known *known = find_known(recorder, pids[i]);
		struct proc_identity identity;

		if (proc_identify(&recorder->proc, pids[i], &identity) || identity.kernel_thread || identity.state == 'Z')
			continue;
		if (known && !known->seen && known->start_time == identity.start_time && !strcmp(known->comm, identity.comm)) {
			known->seen = true;
			all[n] = *known;
		} else {
			all[n] = (struct known){ .pid = pids[i], .start_time = identity.start_time, .changed_at = now };
			memcpy(all[n].comm, identity.comm, sizeof(all[n].comm));
		}
		look_at(&all[n++], &identity, now);
	}
	if (!all)
		return false;
	for (size_t i = 0; i < recorder->count; i++)
		if (!recorder->known[i].seen)
			end_process(recorder, &recorder->known[i]);
	free(recorder->known);
	recorder->known = all;
	recorder->count = n;
	for (size_t i = 0; i < n; i++)
		all[i].seen = false;
	if (n)
		qsort(all, n, sizeof(*all), known_order);
	return true;
}

/* Since when it wants to be read, 0: not now. */
static uint64_t wants_reading(const struct known *known, uint64_t now)
{
	if (known->denied)
		return now - known->read_at > DENIED_NS ? now : 0;
	if (!known->read_at)
		return 1;
	if (known->changed_at)
		return known->changed_at;
	return now - known->read_at > STALE_NS ? now : 0;
}

struct wish {
	uint64_t since;
	pid_t pid;
};

static int wish_order(const void *a, const void *b)
{
	const struct wish *x = a, *y = b;

	return x->since < y->since ? -1 : x->since > y->since;
}

/* The ids to read now. The first time all; later as many as may be paid for, but one in any case that there is credit. */
static pid_t *choose(struct recorder *recorder, size_t *count)
{
	struct wish *wish = calloc(recorder->count + 1, sizeof(*wish));
	pid_t *pids = calloc(recorder->count + 1, sizeof(*pids));
	uint64_t now = clock_ns();
	size_t wishes = 0, most = recorder->count;

	if (recorder->read_once)
		most = recorder->credit <= 0 ? 0 : 1 + (size_t)(recorder->credit / (recorder->one > 1 ? recorder->one : 1));
	*count = 0;
	for (size_t i = 0; wish && i < recorder->count; i++) {
		wish[wishes] = (struct wish){ wants_reading(&recorder->known[i], now), recorder->known[i].pid };
		wishes += wish[wishes].since != 0;
	}
	if (wishes)
		qsort(wish, wishes, sizeof(*wish), wish_order);
	while (pids && *count < wishes && *count < most) {
		pids[*count] = wish[*count].pid;
		++*count;
	}
	recorder->waiting = wishes - *count;
	free(wish);
	return pids;
}

/* What could not be read is tried again later. */
static void note_errors(struct recorder *recorder, const pid_t *pids, const int *errors, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct known *known = find_known(recorder, pids[i]);

		if (!known || !errors[i])
			continue;
		known->read_at = clock_ns();
		known->denied = true;
	}
}

static bool read_processes(struct recorder *recorder, const pid_t *pids, size_t count)
{
	const struct wants wants = {
		.comm = true, .start_time = true, .places = PLACE_CGROUP, .each = take_process, .context = recorder, .quiet = true,
	};
	struct measurement measurement;
	uint64_t began = tool_cpu_ns();
	int *errors = calloc(count + 1, sizeof(*errors)), error = errors ? 0 : -ENOMEM;
	double one;

	if (!count) {
		free(errors);
		return errors != NULL;
	}
	measure_begin(&measurement, &wants);
	if (!error)
		error = measure_processes(&measurement, &recorder->proc, pids, count, recorder->mode, errors);
	measure_end(&measurement);
	if (!error)
		note_errors(recorder, pids, errors, count);
	if (!error && !recorder->read_once)
		measure_complain(&measurement);
	measure_free(&measurement);
	free(errors);
	one = (double)(tool_cpu_ns() - began) / (double)count;
	recorder->one = recorder->one > 0 ? (3 * recorder->one + one) / 4 : one;
	if (error && !recorder->failed)
		tool_error("%s", strerror(-error));
	return !error;
}

/* --- a moment ------------------------------------------------------------------------ */

static bool end_moment(struct recorder *recorder)
{
	struct figures sum = { .unknown = 0 };
	size_t processes = 0;

	for (size_t i = 0; i < recorder->count; i++) {
		processes += recorder->known[i].id != 0;
		for (size_t k = 0; k < recorder->known[i].helds; k++)
			figures_add(&sum, &recorder->known[i].held[k].figures);
	}
	bind(recorder, END_MOMENT, 1, recorder->moment);
	bind(recorder, END_MOMENT, 2, (int64_t)processes);
	bind(recorder, END_MOMENT, 3, (int64_t)recorder->waiting);
	bind_figure(recorder, END_MOMENT, 4, &sum, FIG_RSS);
	bind_figure(recorder, END_MOMENT, 5, &sum, FIG_PSS);
	bind_figure(recorder, END_MOMENT, 6, &sum, FIG_USS);
	bind_figure(recorder, END_MOMENT, 7, &sum, FIG_SWAP);
	return step(recorder, END_MOMENT);
}

static int64_t wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool write_moment(struct recorder *recorder, const pid_t *pids, size_t count)
{
	pid_t *chosen;
	size_t many;
	bool ok;

	recorder->moment++;
	bind(recorder, ADD_MOMENT, 1, recorder->moment);
	bind(recorder, ADD_MOMENT, 2, wall_ms());
	if (!step(recorder, BEGIN) || !step(recorder, ADD_MOMENT))
		return false;
	if (!look_at_all(recorder, pids, count)) {
		tool_error("not enough memory");
		return false;
	}
	chosen = choose(recorder, &many);
	ok = chosen && read_processes(recorder, chosen, many);
	free(chosen);
	return ok && end_moment(recorder) && step(recorder, COMMIT);
}

/* --- --keep -------------------------------------------------------------------------- */

/*
 * The moments before the edge go. What held at the edge and was written before is
 * written there, so each later moment is what it was.
 */
static bool thin(struct recorder *recorder)
{
	int64_t before = wall_ms() - (int64_t)(recorder->keep / 1000000);
	char sql[1600];

	snprintf(sql, sizeof(sql),
		"BEGIN IMMEDIATE;\n"
		"CREATE TEMP TABLE edge AS SELECT min(id) AS id FROM moment WHERE at >= %lld;\n"
		"INSERT OR IGNORE INTO change SELECT (SELECT id FROM edge), process, name, vmas, size, rss, pss, uss, swap FROM\n"
		"  (SELECT process, name, max(moment), vmas, size, rss, pss, uss, swap FROM change WHERE moment < (SELECT id FROM edge) GROUP BY process, name)\n"
		"  AS held JOIN process ON process.id = held.process WHERE vmas IS NOT 0 AND (ended IS NULL OR ended > (SELECT id FROM edge));\n"
		"DELETE FROM change WHERE moment < (SELECT id FROM edge);\n"
		"DELETE FROM moment WHERE id < (SELECT id FROM edge);\n"
		"DELETE FROM process WHERE ended <= (SELECT id FROM edge);\n"
		"DELETE FROM name WHERE id NOT IN (SELECT name FROM change);\n"
		"DROP TABLE edge;\n"
		"COMMIT;", (long long)before);
	/* An id that was deleted may be met again. */
	forget_names(recorder);
	return execute(recorder, sql);
}

/* Some are older, and one is not: what holds is written there. */
static bool is_due(const struct recorder *recorder)
{
	int64_t before = wall_ms() - (int64_t)(recorder->keep / 1000000);

	return recording_number(recorder->db, "SELECT min(at) FROM moment", INT64_MAX) < before &&
	       recording_number(recorder->db, "SELECT max(at) FROM moment", 0) >= before;
}

/* --- the whole ----------------------------------------------------------------------- */

static void show_progress(const struct recorder *recorder, uint64_t began)
{
	if (!isatty(STDERR_FILENO))
		return;
	fprintf(stderr, "\r%.0f s, %lld moments, %zu processes, %.2f %% of a CPU; Ctrl-C ends\033[K", (double)(clock_ns() - began) / 1e9,
	        (long long)recorder->moment, recorder->count, 100.0 * (double)recorder->spent / (double)(clock_ns() - began + 1));
}

/* How long until the next moment: longer where the looking alone takes more than its share. */
static uint64_t pause_ns(const struct recorder *recorder)
{
	double owed = recorder->credit < 0 ? -recorder->credit / SHARE : 0;

	return owed > (double)recorder->interval ? (uint64_t)owed : recorder->interval;
}

/* Earns what went by, pays what it took. The first reading is of all, and is free. */
static void account(struct recorder *recorder, uint64_t elapsed, uint64_t cost)
{
	recorder->spent += cost;
	if (!recorder->read_once) {
		recorder->credit = CREDIT_MOST;
		recorder->read_once = true;
		return;
	}
	recorder->credit += SHARE * (double)elapsed - (double)cost;
	if (recorder->credit > CREDIT_MOST)
		recorder->credit = CREDIT_MOST;
}

static bool is_over(const struct recorder *recorder, uint64_t began)
{
	int status;

	if (stopped || (recorder->duration && clock_ns() - began >= recorder->duration))
		return true;
	if (recorder->child && waitpid(recorder->child, &status, WNOHANG))
		return true;
	/* What was given by number and has ended does not come back. */
	return !recorder->count && (recorder->selection.pids || (recorder->selection.tree && !recorder->child));
}

static void sleep_for(const struct recorder *recorder, uint64_t began, uint64_t ns)
{
	uint64_t gone = clock_ns() - began;
	struct timespec pause;

	if (recorder->duration && gone + ns > recorder->duration)
		ns = gone < recorder->duration ? recorder->duration - gone : 0;
	pause = (struct timespec){ (time_t)(ns / 1000000000), (long)(ns % 1000000000) };
	if (!stopped)
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
}

static int record(struct recorder *recorder)
{
	uint64_t began = clock_ns(), before = began, cpu = tool_cpu_ns(), thinned = 0;
	bool ok;

	do {
		pid_t *pids = NULL;
		size_t count = 0;

		ok = select_now(&recorder->selection, &recorder->proc, &pids, &count);
		if (ok && !recorder->read_once && !count) {
			tool_error("no process is like that");
			return EXIT_NO_PROCESS;
		}
		ok = ok && write_moment(recorder, pids, count);
		free(pids);
		if (ok && recorder->keep && clock_ns() - thinned > THIN_NS && is_due(recorder)) {
			thinned = clock_ns();
			ok = thin(recorder);
		}
		account(recorder, clock_ns() - before, tool_cpu_ns() - cpu);
		before = clock_ns();
		cpu = tool_cpu_ns();
		show_progress(recorder, began);
		if (ok && !is_over(recorder, began))
			sleep_for(recorder, began, pause_ns(recorder));
	} while (ok && !is_over(recorder, began));
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	return ok ? EXIT_DONE : EXIT_FAILED;
}

/* In the child the signals are as they were. */
static bool start_command(struct recorder *recorder)
{
	char library[PATH_MAX];
	int why;

	if (!preload_find_library(preload_is_by_library(), library, sizeof(library)) || !preload_add(library))
		return false;
	recorder->child = preload_start(recorder->command, NULL, NULL, &why);
	if (why)
		tool_error("%s cannot be run: %s", recorder->command[0], strerror(why));
	if (recorder->child < 0 || why) {
		recorder->child = 0;
		return false;
	}
	unsetenv("LD_PRELOAD");
	recorder->selection.tree = recorder->child;
	return true;
}

static int run(struct recorder *recorder)
{
	struct sigaction end = { .sa_handler = stop };
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	int code = EXIT_FAILED;

	if (!tool_proc(&recorder->proc, recorder->root))
		return EXIT_FAILED;
	for (size_t i = 0; i < recorder->selection.pids; i++) {
		int error = proc_exists(&recorder->proc, recorder->selection.pid[i]);
		pid_t thread;

		error = process_why_not(&recorder->proc, recorder->selection.pid[i], error, &thread);
		if (error) {
			proc_close(&recorder->proc);
			return tool_process_error(recorder->selection.pid[i], error);
		}
	}
	if (open_database(recorder) && (!recorder->command || start_command(recorder))) {
		for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
			sigaction(signals[i], &end, NULL);
		/* Whoever was there when an earlier recorder ended: nobody looked since. */
		if (recorder->moment) {
			char sql[96];

			snprintf(sql, sizeof(sql), "UPDATE process SET ended = %lld WHERE ended IS NULL", (long long)recorder->moment + 1);
			code = execute(recorder, sql) ? record(recorder) : EXIT_FAILED;
		} else {
			code = record(recorder);
		}
	}
	close_database(recorder);
	proc_close(&recorder->proc);
	for (size_t i = 0; i < recorder->count; i++)
		free(recorder->known[i].held);
	free(recorder->known);
	forget_names(recorder);
	return code;
}

int tool_record(int argc, char **argv)
{
	struct recorder recorder = { .path = "anonname.db", .mode = PROCESS_FIGURES, .interval = 1000000000, .lock = -1 };
	struct selection *selection = &recorder.selection;
	int c;

	while ((c = options_next(COMMAND_record, argc, argv)) != OPT_END) {
		switch (c) {
		case OPT_SELECTION:
			if (!select_option(selection, c, optarg))
				return EXIT_USAGE;
			break;
		case OPT_INTERVAL:
			if (!tool_time(optarg, &recorder.interval))
				return EXIT_USAGE;
			break;
		case OPT_DURATION:
			if (!tool_time(optarg, &recorder.duration))
				return EXIT_USAGE;
			break;
		case OPT_KEEP:
			if (!tool_time(optarg, &recorder.keep))
				return EXIT_USAGE;
			break;
		case OPT_OUTPUT: recorder.path = optarg; break;
		case OPT_FOLD: recorder.fold = true; break;
		case OPT_GENTLE: recorder.mode = PROCESS_GENTLE; break;
		case OPT_ROOT: recorder.root = optarg; break;
		default: return options_rest(COMMAND_record, c);
		}
	}
	if (optind < argc && !strcmp(argv[optind - 1], "--"))
		recorder.command = argv + optind;
	else if (!select_arguments(selection, argc - optind, argv + optind))
		return EXIT_USAGE;
	if (!!recorder.command + (selection->pids != 0) + select_searches(selection) != 1) {
		tool_error("give one of: process ids, --all, --tree PID, --name GLOB or --cgroup GROUP, -- COMMAND");
		return tool_usage_error();
	}
	c = run(&recorder);
	select_free(selection);
	return c;
}
