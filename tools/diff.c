/* SPDX-License-Identifier: MIT */
/* anonname diff: reads two moments, from files or from processes, and shows what grew between them. */
#include "measure.h"
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define VERSION_READ 1

/* The figures of one moment, sorted by name and kind. */
struct moment {
	struct rows rows;
	struct figures total;
};

static void figures_from_json(const json_t *json, struct figures *figures)
{
	const json_t *estimates = json_object_get(json, "estimate"), *one;
	size_t n;

	memset(figures, 0, sizeof(*figures));
	for (size_t i = 0; i < columns_count; i++) {
		const json_t *value;

		if (columns[i].is_text)
			continue;
		value = json_object_get(json, columns[i].id);
		if (json_is_integer(value) && json_integer_value(value) >= 0)
			figures->value[columns[i].index] = (uint64_t)json_integer_value(value);
		else
			figures->unknown |= FIG_BIT(columns[i].index);
	}
	json_array_foreach(estimates, n, one) {
		const struct column *column = json_is_string(one) ? columns_find(json_string_value(one)) : NULL;

		if (column && !column->is_text)
			figures->estimate |= FIG_BIT(column->index);
	}
}

/* A row does not own its kind. */
static const char *keep_kind(const char *kind)
{
	return name_kind_find(kind ? kind : "");
}

static bool take_row(struct moment *moment, const char *path, const json_t *json, bool fold)
{
	const char *name = json_string_value(json_object_get(json, "name"));
	struct row *row = &moment->rows.row[moment->rows.count];
	char safe[NAME_PART_MAX], folded[NAME_PART_MAX];

	if (!name) {
		tool_error("%s: a row has no name", path);
		return false;
	}
	/* A file may come from anywhere. */
	text_clean(safe, sizeof(safe), (struct text){ name, strlen(name) });
	row->kind = keep_kind(json_string_value(json_object_get(json, "kind")));
	if (fold && strcmp(row->kind, "file"))
		name_fold(safe, folded, sizeof(folded));
	row->name = strdup(fold && strcmp(row->kind, "file") ? folded : safe);
	if (!row->name) {
		tool_error("not enough memory");
		return false;
	}
	figures_from_json(json, &row->figures);
	moment->rows.count++;
	return true;
}

/* Is it a document that can be compared? */
static bool is_comparable(const char *path, const json_t *json)
{
	const char *format = json_string_value(json_object_get(json, "format"));
	const char *by = json_string_value(json_object_get(json, "by"));

	if (!format || (strcmp(format, SNAPSHOT_FORMAT) && strcmp(format, MOMENT_FORMAT) && strcmp(format, "anonname-report")) ||
	    !json_is_array(json_object_get(json, "names"))) {
		tool_error("%s is no file of anonname snapshot or anonname report --json", path);
		return false;
	}
	if (json_integer_value(json_object_get(json, "version")) != VERSION_READ) {
		tool_error("%s is of another version of %s; this one reads version %d", path, format, VERSION_READ);
		return false;
	}
	if (by && strcmp(by, "name")) {
		tool_error("%s is a report by something else than name. Make one without --by.", path);
		return false;
	}
	return true;
}

/* A report that was cut by --lines would show names as gone that are not. */
static bool has_all_rows(const char *path, const struct moment *moment)
{
	uint64_t vmas = 0;

	for (size_t i = 0; i < moment->rows.count; i++)
		figure_add(&vmas, moment->rows.row[i].figures.value[FIG_VMAS]);
	if (vmas == moment->total.value[FIG_VMAS])
		return true;
	tool_error("%s does not have all of its rows. Make it without --lines.", path);
	return false;
}

static bool moment_from_json(const char *path, FILE *file, bool fold, struct moment *moment)
{
	char safe[NAME_PART_MAX];
	json_error_t where;
	json_t *json = json_loadf(file, 0, &where), *one;
	const json_t *names;
	bool ok;
	size_t i;

	if (!json) {
		/* The message quotes the file. */
		text_clean(safe, sizeof(safe), (struct text){ where.text, strlen(where.text) });
		tool_error("%s is no whole file of anonname snapshot: line %d: %s", path, where.line, safe);
		return false;
	}
	ok = is_comparable(path, json);
	if (ok) {
		names = json_object_get(json, "names");
		figures_from_json(json_object_get(json, "total"), &moment->total);
		moment->rows.row = calloc(json_array_size(names) + 1, sizeof(*moment->rows.row));
		ok = moment->rows.row != NULL;
		if (!ok)
			tool_error("not enough memory");
		for (i = 0; ok && (one = json_array_get(names, i)); i++)
			ok = take_row(moment, path, one, fold);
		ok = ok && has_all_rows(path, moment);
	}
	json_decref(json);
	return ok;
}

/* The rows of a measurement, which is freed. */
static int moment_from_measurement(struct measurement *measurement, bool fold, struct moment *moment)
{
	int error = measure_rows(measurement, &groups[0], fold, &moment->rows);

	moment->total = measurement->names.totals.figures;
	for (size_t i = 0; i < moment->rows.count; i++)
		moment->rows.row[i].kind = keep_kind(moment->rows.row[i].kind);
	measure_free(measurement);
	return error;
}

static bool moment_from_smaps(const char *path, int fd, bool fold, struct moment *moment)
{
	const struct wants wants = { .comm = true };
	struct measurement measurement;
	int error;

	measure_begin(&measurement, &wants);
	error = measure_smaps(&measurement, fd);
	measure_end(&measurement);
	if (!error && !measurement.names.rows) {
		measure_free(&measurement);
		tool_error("%s is neither JSON of anonname snapshot or report nor a copy of /proc/PID/smaps", path);
		return false;
	}
	if (!error)
		error = moment_from_measurement(&measurement, fold, moment);
	else
		measure_free(&measurement);
	if (error)
		tool_error("%s: %s", path, strerror(-error));
	return !error;
}

/* What a file holds is told by its first character: JSON, or the first line of smaps. */
static bool moment_from_file(const char *path, bool fold, struct moment *moment)
{
	int pipe = open(path, O_RDONLY | O_CLOEXEC);
	int fd = pipe < 0 ? -errno : tool_is_device(pipe) ? -ENODEV : tool_rewindable(pipe);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	char first = '\0';
	bool ok = false;

	memset(moment, 0, sizeof(*moment));
	if (pipe >= 0)
		close(pipe);
	if (!file) {
		tool_error("%s: %s", path, fd == -ENODEV ? "it is a device" : strerror(fd < 0 ? -fd : errno));
		return false;
	}
	for (off_t at = 0; pread(fd, &first, 1, at) == 1 && isspace((unsigned char)first); at++)
		;
	ok = first == '{' ? moment_from_json(path, file, fold, moment) : moment_from_smaps(path, fd, fold, moment);
	if (!ok)
		rows_free(&moment->rows);
	fclose(file);
	return ok;
}

static int moment_from_process(const struct proc *proc, pid_t pid, bool fold, struct moment *moment)
{
	static pid_t complained;    /* once for the two moments of a process */
	struct measurement measurement;
	const struct wants wants = { .comm = true };
	int error, reading;

	memset(moment, 0, sizeof(*moment));
	measure_begin(&measurement, &wants);
	error = measure_processes(&measurement, proc, &pid, 1, PROCESS_FIGURES, &reading);
	error = error ? error : reading;
	measure_end(&measurement);
	if (!error && pid != complained)
		measure_complain(&measurement);
	complained = pid;
	if (!error)
		return moment_from_measurement(&measurement, fold, moment);
	measure_free(&measurement);
	return error;
}

struct change {
	const char *name, *kind;
	const struct figures *before, *after; /* NULL: not there then */
};

static const struct figures nothing;

static int64_t change_of(const struct change *change, enum figure figure)
{
	const struct figures *a = change->before ? change->before : &nothing;
	const struct figures *b = change->after ? change->after : &nothing;

	return (int64_t)(b->value[figure] - a->value[figure]);
}

static bool change_known(const struct change *change, enum figure figure)
{
	const struct figures *a = change->before ? change->before : &nothing;
	const struct figures *b = change->after ? change->after : &nothing;

	return !((a->unknown | b->unknown) & FIG_BIT(figure));
}

static int change_order(const void *a, const void *b, void *context)
{
	enum figure figure = *(const enum figure *)context;
	int64_t x = change_of(a, figure), y = change_of(b, figure);

	if (x != y)
		return x < y ? 1 : -1;
	return strcmp(((const struct change *)a)->name, ((const struct change *)b)->name);
}

static const char *change_state(const struct change *change)
{
	return !change->before ? "new" : !change->after ? "gone" : "";
}

static const struct column state_column = { .id = "state", .header = "", .is_text = true };

static struct cell change_cell(const void *row, const struct column *column)
{
	const struct change *change = row;
	struct cell cell;

	if (column == &state_column)
		return cell_text(change_state(change));
	if (column->is_text)
		return cell_text(column->index == COLUMN_NAME ? change->name : change->kind);
	if (!change_known(change, column->index))
		return (struct cell){ .kind = CELL_UNKNOWN };
	cell = cell_change(column->index == FIG_VMAS ? CELL_COUNT : CELL_SIZE, change_of(change, column->index));
	cell.estimate = (change->before && change->before->estimate & FIG_BIT(column->index)) ||
	                (change->after && change->after->estimate & FIG_BIT(column->index));
	return cell;
}

struct diff {
	struct change *change;
	size_t count;
	struct change total;
	const struct column *column;
	enum unit unit;
};

/* In what both moments know. */
static bool differs(const struct change *change)
{
	for (unsigned k = 0; k < FIG_COUNT; k++)
		if (change_known(change, k) && change_of(change, k))
			return true;
	return false;
}

static int find_changes(const struct moment *a, const struct moment *b, struct diff *diff)
{
	size_t i = 0, j = 0;
	enum figure figure = diff->column->index;

	diff->count = 0;
	diff->change = calloc(a->rows.count + b->rows.count + 1, sizeof(*diff->change));
	if (!diff->change)
		return -ENOMEM;
	while (i < a->rows.count || j < b->rows.count) {
		const struct row *x = i < a->rows.count ? &a->rows.row[i] : NULL;
		const struct row *y = j < b->rows.count ? &b->rows.row[j] : NULL;
		int order = !x ? 1 : !y ? -1 : rows_name_order(x, y);
		struct change *change = &diff->change[diff->count];

		*change = (struct change){
			.name = order <= 0 ? x->name : y->name, .kind = order <= 0 ? x->kind : y->kind,
			.before = order <= 0 ? &x->figures : NULL, .after = order >= 0 ? &y->figures : NULL,
		};
		i += order <= 0;
		j += order >= 0;
		/* What neither came, went nor changed is not worth a line. */
		if (order || differs(change))
			diff->count++;
	}
	diff->total = (struct change){ "TOTAL", "", &a->total, &b->total };
	if (diff->count)
		qsort_r(diff->change, diff->count, sizeof(*diff->change), change_order, &figure);
	return 0;
}

static void print_text(const struct diff *diff)
{
	static const enum figure shown[] = { FIG_VMAS, FIG_SIZE, FIG_RSS, FIG_PSS, FIG_USS, FIG_SWAP };
	struct table table = {
		.cell = change_cell, .unit = diff->unit, .screen = terminal_width(STDOUT_FILENO), .room = 20,
		.sort = diff->column,
	};

	for (size_t i = 0; i < sizeof(shown) / sizeof(*shown); i++)
		table_add(&table, columns_figure(shown[i]));
	table_add(&table, &state_column);
	table_add(&table, columns_find("name"));
	table.width[table.columns - 2] = strlen("gone");
	for (size_t i = 0; i < diff->count; i++)
		table_measure(&table, &diff->change[i]);
	table_measure(&table, NULL);
	table_measure(&table, &diff->total);
	table_fit(&table);
	table_line_bold(stdout, &table, NULL);
	for (size_t i = 0; i < diff->count; i++)
		table_line_bold(stdout, &table, &diff->change[i]);
	table_line_bold(stdout, &table, &diff->total);
}

/* What JSON and CSV have of a change; without texts: of the total. */
static void add_columns(struct table *table, bool with_texts)
{
	table->cell = change_cell;
	if (with_texts) {
		table_add(table, columns_find("name"));
		table_add(table, columns_find("kind"));
		table_add(table, &state_column);
	}
	for (unsigned k = 0; k < FIG_COUNT; k++)
		table_add(table, columns_figure(k));
}

static void print_csv(const struct diff *diff)
{
	struct table table = { 0 };

	add_columns(&table, true);
	table_csv_header(stdout, "", &table);
	for (size_t i = 0; i < diff->count; i++)
		table_csv(stdout, "", &table, &diff->change[i]);
}

static json_t *change_json(const struct change *change, bool with_texts)
{
	struct table table = { 0 };
	json_t *json = json_object();

	add_columns(&table, with_texts);
	table_json(json, &table, change);
	if (with_texts && !*change_state(change))
		json_object_set_new(json, "state", json_string("changed"));
	return json;
}

static int print_diff_json(const struct diff *diff)
{
	struct json_out json = { .out = stdout };

	json_object_begin(&json, NULL);
	json_put(&json, "format", json_string("anonname-diff"));
	json_put(&json, "version", json_integer(1));
	json_put(&json, "total", change_json(&diff->total, false));
	json_list_begin(&json, "names");
	for (size_t i = 0; i < diff->count; i++)
		json_put(&json, NULL, change_json(&diff->change[i], true));
	json_list_end(&json);
	json_object_end(&json);
	return json_finish(&json);
}

static int peek_byte(FILE *file)
{
	int c = getc(file);

	return c == EOF ? c : ungetc(c, file);
}

/* Only anonname view knows the tables of a recording: it prints the moment as a snapshot. */
static int moment_from_recording(const char *path, const char *when, bool fold, struct moment *moment)
{
	char *argv[] = { (char []){ "anonname view" }, (char []){ "--at" }, strdup(when), (char []){ "--" }, strdup(path), NULL };
	int ends[2] = { -1, -1 }, status = -1;
	FILE *file = NULL;
	pid_t child = -1;
	bool ok = false;

	memset(moment, 0, sizeof(*moment));
	if (argv[2] && argv[4] && !pipe2(ends, O_CLOEXEC) && (file = fdopen(ends[0], "r")))
		child = fork();
	if (!child) {
		dup2(ends[1], STDOUT_FILENO);
		tool_start("anonname-record", argv);
		_exit(EXIT_FAILED);
	}
	if (ends[1] >= 0)
		close(ends[1]);
	/* Where it failed it has said why. */
	if (child < 0)
		tool_error("%s: %s", path, strerror(errno));
	else if (peek_byte(file) != EOF)
		ok = moment_from_json(path, file, fold, moment);
	if (file)
		fclose(file);
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (!ok)
		rows_free(&moment->rows);
	free(argv[2]);
	free(argv[4]);
	return ok && !status ? EXIT_DONE : EXIT_FAILED;
}

static bool is_recording(const char *path)
{
	static const char magic[16] = "SQLite format 3";
	char first[sizeof(magic)] = "";
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	bool is = fd >= 0 && pread(fd, first, sizeof(first), 0) == sizeof(first) && !memcmp(first, magic, sizeof(magic));

	if (fd >= 0)
		close(fd);
	return is;
}

/* FILE@TIME, or FILE for its end. A file whose own name is that goes before. False: it is no recording. */
static bool find_recording(const char *argument, char *path, size_t size, const char **when)
{
	const char *at = strrchr(argument, '@');

	snprintf(path, size, "%s", argument);
	*when = "end";
	if (is_recording(argument) || !at || !access(argument, F_OK))
		return is_recording(argument);
	path[(size_t)(at - argument) < size ? (size_t)(at - argument) : 0] = '\0';
	*when = at + 1;
	return is_recording(path);
}

/* One argument of diff: a number is a process id, whatever files there are. Of a file it is written as a path, ./1234. */
static int read_moment(const char *argument, const struct proc *proc, bool fold, struct moment *moment)
{
	struct text rest = { argument, strlen(argument) };
	char path[PATH_MAX];
	const char *when;
	uint64_t number;
	pid_t pid;
	int error;

	if (find_recording(argument, path, sizeof(path), &when))
		return moment_from_recording(path, when, fold, moment);
	if (!text_u64(&rest, 10, &number) || rest.len)
		return moment_from_file(argument, fold, moment) ? EXIT_DONE : EXIT_FAILED;
	pid = tool_pid(argument);
	if (!pid)
		return EXIT_USAGE;
	error = moment_from_process(proc, pid, fold, moment);
	if (error && access(argument, F_OK) == 0)
		tool_error("a number is a process id; the file is ./%s", argument);
	return error ? tool_process_error(pid, error) : EXIT_DONE;
}

static void wait_for_user(uint64_t seconds)
{
	if (seconds) {
		sleep((unsigned)seconds);
		return;
	}
	if (isatty(STDIN_FILENO))
		fputs("Press Enter for the second moment.\n", stderr);
	for (int c = getchar(); c != EOF && c != '\n'; c = getchar())
		;
}

int tool_diff(int argc, char **argv)
{
	struct diff diff = { .column = columns_find("pss") };
	struct moment a = { 0 }, b = { 0 };
	bool fold = false, json = false, csv = false, limited = false;
	uint64_t seconds = 0, limit = 0;
	const char *root = NULL;
	struct proc proc;
	int c;

	while ((c = options_next(COMMAND_diff, argc, argv)) != OPT_END) {
		switch (c) {
		case OPT_WAIT:
			if (!tool_number(optarg, 1U << 30, "a number of seconds", &seconds))
				return EXIT_USAGE;
			break;
		case OPT_SORT:
			diff.column = columns_find(optarg);
			if (!diff.column || diff.column->is_text) {
				tool_error("'%s' is not a column with figures; use rss, pss, uss, swap or size", optarg);
				return EXIT_USAGE;
			}
			break;
		case OPT_FOLD: fold = true; break;
		case OPT_FAIL_ABOVE:
			if (!tool_size(optarg, &limit))
				return EXIT_USAGE;
			limited = true;
			break;
		case OPT_HUMAN: diff.unit = UNIT_HUMAN; break;
		case OPT_BYTES: diff.unit = UNIT_BYTES; break;
		case OPT_JSON: json = true; break;
		case OPT_CSV: csv = true; break;
		case OPT_ROOT: root = optarg; break;
		default: return options_rest(COMMAND_diff, c);
		}
	}
	if (argc - optind != 1 && argc - optind != 2) {
		tool_error("give two snapshots or process ids, or one process id");
		return tool_usage_error();
	}
	if (!tool_proc(&proc, root))
		return EXIT_FAILED;
	c = read_moment(argv[optind], &proc, fold, &a);
	if (!c && argc - optind == 1)
		wait_for_user(seconds);
	if (!c)
		c = read_moment(argv[argc - 1], &proc, fold, &b);
	proc_close(&proc);
	if (!c) {
		rows_merge_same(&a.rows);
		rows_merge_same(&b.rows);
		if (find_changes(&a, &b, &diff)) {
			tool_error("not enough memory");
			c = EXIT_FAILED;
		}
	}
	if (!c) {
		if (json)
			c = print_diff_json(&diff);
		else if (csv)
			print_csv(&diff);
		else
			print_text(&diff);
		c = c ? c : tool_finish(EXIT_DONE);
	}
	if (!c && limited) {
		if (!change_known(&diff.total, diff.column->index)) {
			tool_error("the %s is not known, so --fail-above cannot be answered", diff.column->header);
			c = EXIT_FAILED;
		} else if (change_of(&diff.total, diff.column->index) > (int64_t)(limit < INT64_MAX ? limit : INT64_MAX)) {
			char grown[16], allowed[16];

			tool_error("%s grew by %s, more than %s", diff.column->header,
			           tool_human((uint64_t)change_of(&diff.total, diff.column->index), grown),
			           tool_human(limit, allowed));
			c = EXIT_FAILED;
		}
	}
	free(diff.change);
	rows_free(&a.rows);
	rows_free(&b.rows);
	return c;
}
