/* SPDX-License-Identifier: MIT */
/*
 * anonname top, a program of its own that the anonname command starts: a report
 * that goes on. It takes its own CPU time into account: when a reading costs
 * more than 2 % of the interval, the interval grows.
 */
#include "inside.h"
#include "measure.h"
#include "options.h"
#include "select.h"

#include <errno.h>
#include <inttypes.h>
#include <ncurses.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CPU_SHARE 0.02

/* PSS of a row against the start, and against the last reading. */
static const struct column growth_column = { .id = "growth", .header = "GROWTH", .keep = 1 };
static const struct column rate_column = { .id = "growth_per_second", .header = "PER SEC", .keep = 2 };

/* Cells in the order in which they stand, and the keys that sort by them. */
enum cell_id { CELL_PSS, CELL_RSS, CELL_USS, CELL_SWAP, CELL_GROWTH, CELL_RATE, CELL_NAME, CELL_IDS };

static const struct {
	const char *id, *title;
	char key;
	const struct column *column; /* NULL: that of the id */
} cells[CELL_IDS] = {
	[CELL_PSS] = { "pss", "PSS", 'p', NULL },
	[CELL_RSS] = { "rss", "RSS", 'r', NULL },
	[CELL_USS] = { "uss", "USS", 'u', NULL },
	[CELL_SWAP] = { "swap", "swap", 's', NULL },
	[CELL_GROWTH] = { "growth", "growth of PSS since the start", 'g', &growth_column },
	[CELL_RATE] = { "rate", "growth of PSS per second", 't', &rate_column },
	[CELL_NAME] = { "name", "name", 'n', NULL },
};

static const struct column *cell_column(enum cell_id id)
{
	return cells[id].column ? cells[id].column : columns_find(cells[id].id);
}

/* PSS of a row at the start and at the last reading. Sorted by name and kind: two kinds may share a name. */
struct history {
	char *name;
	const char *kind;           /* "" when there is none */
	uint64_t first, last;
};

struct line {
	const struct row *row;
	int64_t growth, rate;
	bool known;
};

struct top {
	struct proc proc;
	const struct group *group;
	enum cell_id sort;
	enum process_mode mode;
	bool fold, batch, json, csv, frozen, helping, heap;
	char filter[64];
	double delay;
	uint64_t iterations;
	struct selection selection;
	int error;                  /* of the search, or the first process that was given, as of the last reading */

	struct measurement measurement;
	struct inside inside;       /* with --heap */
	bool have;
	struct rows rows;
	struct line *line;
	size_t lines, scroll;
	struct history *history;
	size_t histories;
	uint64_t previous_ns;       /* when the last reading was */
	double interval, cost;      /* seconds; share of a CPU */
};

static int history_order(const void *a, const void *b)
{
	const struct history *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	return order ? order : strcmp(x->kind, y->kind);
}

static void history_forget(struct top *top)
{
	for (size_t i = 0; i < top->histories; i++)
		free(top->history[i].name);
	free(top->history);
	top->history = NULL;
	top->histories = 0;
}

/* Compares the rows with what was, and remembers what is. */
static bool take_growth(struct top *top, double seconds)
{
	struct history *next = calloc(top->rows.count + 1, sizeof(*next));
	bool first_time = !top->history;

	free(top->line);
	top->line = calloc(top->rows.count + 1, sizeof(*top->line));
	top->lines = 0;
	if (!next || !top->line) {
		free(next);
		return false;
	}
	for (size_t i = 0; i < top->rows.count; i++) {
		const struct row *row = &top->rows.row[i];
		struct history key = { .name = row->name, .kind = row->kind ? row->kind : "" };
		struct history *old = first_time ? NULL : bsearch(&key, top->history, top->histories,
		                                                  sizeof(key), history_order);
		uint64_t pss = row->figures.value[FIG_PSS];
		struct line *line = &top->line[top->lines++];

		line->row = row;
		line->known = !(row->figures.unknown & FIG_BIT(FIG_PSS));
		/* What was not there before has grown from nothing. */
		next[i].first = old ? old->first : first_time ? pss : 0;
		next[i].last = pss;
		line->growth = (int64_t)(pss - next[i].first);
		if (!first_time && seconds > 0)
			line->rate = (int64_t)((double)(int64_t)(pss - (old ? old->last : 0)) / seconds);
		next[i].kind = key.kind;
		next[i].name = strdup(row->name);
		if (!next[i].name) {
			while (i--)
				free(next[i].name);
			free(next);
			return false;
		}
	}
	history_forget(top);
	if (top->rows.count)
		qsort(next, top->rows.count, sizeof(*next), history_order);
	top->history = next;
	top->histories = top->rows.count;
	return true;
}

static int line_order(const void *a, const void *b, void *context)
{
	enum cell_id sort = *(const enum cell_id *)context;
	const struct line *x = a, *y = b;
	int64_t m = 0, n = 0;

	if (sort == CELL_GROWTH) {
		m = x->growth;
		n = y->growth;
	} else if (sort == CELL_RATE) {
		m = x->rate;
		n = y->rate;
	} else if (sort != CELL_NAME) {
		m = (int64_t)x->row->figures.value[cell_column(sort)->index];
		n = (int64_t)y->row->figures.value[cell_column(sort)->index];
	}
	if (m != n)
		return m < n ? 1 : -1;
	return strcmp(x->row->name, y->row->name);
}

static void sort_lines(struct top *top)
{
	if (top->lines)
		qsort_r(top->line, top->lines, sizeof(*top->line), line_order, &top->sort);
}

static bool line_is_shown(const struct top *top, const struct line *line)
{
	return !*top->filter || strcasestr(line->row->name, top->filter);
}

/* Makes rows from the last reading, again when a key changes what rows are. */
static bool make_lines(struct top *top, double seconds)
{
	if (top->have)
		rows_free(&top->rows);
	top->have = measure_rows(&top->measurement, top->group, top->fold, &top->rows) == 0;
	if (!top->have || inside_fill(&top->inside, &top->measurement, top->group, top->fold, &top->rows) || !take_growth(top, seconds))
		return false;
	sort_lines(top);
	return true;
}

/* The processes that were given by number; whether any could be read. */
static bool measure_given(struct top *top)
{
	const struct selection *selection = &top->selection;
	int *errors = calloc(selection->pids, sizeof(*errors));
	bool any = false;

	top->error = errors ? measure_listed(&top->measurement, &top->proc, selection->pid, selection->pids, top->mode,
	                                     errors) : -ENOMEM;
	for (size_t i = selection->pids; !top->error && i--; ) {
		any |= !errors[i];
		top->error = i ? 0 : errors[i];
	}
	free(errors);
	return any;
}

/* One reading. False: nothing could be read. */
static bool take_reading(struct top *top)
{
	double began = (double)tool_cpu_ns() / 1e9, seconds;
	pid_t *pids = NULL;
	size_t count = 0;
	uint64_t now = clock_ns();
	bool any = select_searches(&top->selection);
	const struct wants wants = { .comm = true, .start_time = top->heap, .places = top->group->places };

	measure_free(&top->measurement);
	measure_begin(&top->measurement, &wants);
	top->error = select_search(&top->selection, &top->proc, &pids, &count);
	if (top->error)
		return false;
	top->error = measure_processes(&top->measurement, &top->proc, pids, count, top->mode, NULL);
	free(pids);
	if (!top->error && top->selection.pids)
		any |= measure_given(top);
	measure_end(&top->measurement);
	inside_free(&top->inside);
	if (top->heap && inside_read(&top->inside, &top->proc, &top->measurement))
		return false;
	seconds = top->previous_ns ? (double)(now - top->previous_ns) / 1e9 : 0;
	top->previous_ns = now;
	if (!make_lines(top, seconds))
		return false;
	/* Drawing costs, too: a tenth more is ample. */
	top->cost = ((double)tool_cpu_ns() / 1e9 - began) * 1.1;
	top->interval = top->cost / CPU_SHARE > top->delay ? top->cost / CPU_SHARE : top->delay;
	top->cost /= top->interval;
	return any;
}

static struct cell line_cell(const void *one, const struct column *column)
{
	const struct line *line = one;
	int64_t change = column == &growth_column ? line->growth : line->rate;

	if (column != &growth_column && column != &rate_column)
		return row_cell(line->row, column);
	if (!line->known)
		return (struct cell){ .kind = CELL_UNKNOWN };
	/* What does not grow is a plain 0: most rows do not. */
	return cell_change(change ? CELL_SIZE : CELL_COUNT, change);
}

/* A figure takes seven columns whatever it is, so that nothing moves from one reading to the next. */
static void make_table(struct table *table, size_t screen, bool heap)
{
	*table = (struct table){ .cell = line_cell, .unit = UNIT_HUMAN, .least = 7, .room = 16, .screen = screen };
	for (unsigned i = 0; i < CELL_NAME; i++)
		table_add(table, cell_column(i));
	if (heap)
		columns_add_heap(table);
	table_add(table, cell_column(CELL_NAME));
	table_measure(table, NULL);
	table_fit(table);
}

static void format_summary(const struct top *top, char *first, char *second, size_t size)
{
	const struct name_totals *totals = &top->measurement.names.totals;
	double labelled = names_labelled(totals);
	char pss[CELL_TEXT_MAX], rss[CELL_TEXT_MAX], swap[CELL_TEXT_MAX], share[32], clock[16];
	time_t now = time(NULL);
	struct tm local;
	size_t read = 0, denied = 0, cut = top->inside.cut + top->inside.missing;

	for (size_t i = 0; i < top->measurement.count; i++) {
		read += !top->measurement.process[i].error;
		denied += top->measurement.process[i].error != 0;
		cut += top->measurement.process[i].names_cut;
	}
	strftime(clock, sizeof(clock), "%H:%M:%S", localtime_r(&now, &local));
	if (labelled < 0)
		strcpy(share, "-");
	else
		snprintf(share, sizeof(share), "%.1f %%", 100 * labelled);
	snprintf(first, size, "%s  PSS %s, RSS %s, swap %s, named %s%s", clock,
	         figure_human(&totals->figures, FIG_PSS, pss), figure_human(&totals->figures, FIG_RSS, rss),
	         figure_human(&totals->figures, FIG_SWAP, swap), share,
	         top->frozen ? "  FROZEN" : "");
	snprintf(second, size, "%zu process%s%s%s, by %s, every %.1f s, %.1f %% of a CPU%s%s", read,
	         read == 1 ? "" : "es", denied ? " (some not permitted)" : "", cut ? " (some not looked through to the end)" : "", top->group->id, top->interval, 100 * top->cost,
	         *top->filter ? ", filter " : "", top->filter);
}

static void add_growth(struct table *table)
{
	table->cell = line_cell;
	table_add(table, &growth_column);
	table_add(table, &rate_column);
}

static json_t *line_json(const struct line *line)
{
	json_t *row = row_json(line->row);
	struct table table = { 0 };

	add_growth(&table);
	table_json(row, &table, line);
	return row;
}

static void print_json(const struct top *top, double seconds)
{
	struct json_out json = { .out = stdout, .one_line = true };

	json_object_begin(&json, NULL);
	measure_json(&json, &top->measurement, "anonname-top", top->group);
	json_list_begin(&json, "names");
	for (size_t i = 0; i < top->lines; i++)
		if (line_is_shown(top, &top->line[i]))
			json_put(&json, NULL, line_json(&top->line[i]));
	json_list_end(&json);
	if (top->heap)
		inside_json(&json, &top->inside, &top->measurement);
	json_put(&json, "at_seconds", json_real(seconds));
	json_put(&json, "interval_seconds", json_real(top->interval));
	json_put(&json, "cpu_share", json_real(top->cost));
	json_object_end(&json);
}

static void print_csv(const struct top *top, double seconds, bool with_header)
{
	struct table table = { 0 }, rows = { 0 };
	char before[32];

	add_growth(&table);
	if (top->heap)
		columns_default_heap(&rows);
	else
		columns_default(&rows);
	for (size_t i = 0; i < rows.columns; i++)
		table_add(&table, rows.column[i]);
	if (with_header)
		table_csv_header(stdout, "at_seconds,", &table);
	snprintf(before, sizeof(before), "%.3f,", seconds);
	for (size_t i = 0; i < top->lines; i++)
		if (line_is_shown(top, &top->line[i]))
			table_csv(stdout, before, &table, &top->line[i]);
}

static void print_text(const struct top *top, bool first_time)
{
	char first[256], second[256];
	struct table table;

	make_table(&table, 0, top->heap);
	format_summary(top, first, second, sizeof(first));
	printf("%s%s\n%s\n", first_time ? "" : "\n", first, second);
	table_line_bold(stdout, &table, NULL);
	for (size_t i = 0; i < top->lines; i++)
		if (line_is_shown(top, &top->line[i]))
			table_line_bold(stdout, &table, &top->line[i]);
}

/* Nothing can be shown: why. */
static int first_failed(const struct top *top)
{
	const struct selection *selection = &top->selection;
	pid_t pid = selection->pids ? selection->pid[0] : selection->tree;

	if (pid)
		return tool_process_error(pid, top->error ? top->error : -ESRCH);
	tool_error("no process can be read");
	return EXIT_FAILED;
}

static int run_batch(struct top *top)
{
	uint64_t began = clock_ns();

	for (uint64_t i = 0; !top->iterations || i < top->iterations; i++) {
		double seconds;

		if (i)
			poll(NULL, 0, (int)(top->interval * 1000));
		if (!take_reading(top)) {
			if (i == 0)
				return first_failed(top);
			break;
		}
		if (i == 0)
			measure_complain(&top->measurement);
		seconds = (double)(top->previous_ns - began) / 1e9;
		if (top->json)
			print_json(top, seconds);
		else if (top->csv)
			print_csv(top, seconds, i == 0);
		else
			print_text(top, i == 0);
		if (fflush(stdout))
			break;
	}
	return tool_finish(EXIT_DONE);
}

static void draw_help(void)
{
	int row = 1;

	erase();
	attron(A_BOLD);
	mvaddnstr(0, 0, "anonname top", COLS);
	attroff(A_BOLD);
	for (unsigned i = 0; i < CELL_IDS; i++) {
		char line[80];

		snprintf(line, sizeof(line), "  %c  sort by %s", cells[i].key, cells[i].title);
		mvaddnstr(++row, 0, line, COLS);
	}
	mvaddnstr(++row, 0, "  b  what rows are: name, owner, kind, thread, library, process, user, ...", COLS);
	mvaddnstr(++row, 0, "  f  fold numbers such as tids", COLS);
	mvaddnstr(++row, 0, "  /  show only what holds a text; empty shows all", COLS);
	mvaddnstr(++row, 0, "  space  freeze, and go on", COLS);
	mvaddnstr(++row, 0, "  q  quit", COLS);
	mvaddnstr(row + 2, 0, "~ is an estimate, - is not known. Any key goes back.", COLS);
	refresh();
}

/* The table's line, drawn from the left; line NULL is the header. */
static void draw_line(int row, const struct table *table, const struct line *line)
{
	char *text = NULL;
	size_t size;
	FILE *memory = open_memstream(&text, &size);

	if (!memory)
		return;
	table_line(memory, table, line);
	/* A name may have more bytes than it takes columns. */
	if (!fclose(memory))
		mvaddnstr(row, 0, text, line ? -1 : COLS);
	free(text);
}

static void draw(struct top *top)
{
	char first[256], second[256];
	struct table table;
	size_t skipped = 0;
	int row = 3;

	if (top->helping) {
		draw_help();
		return;
	}
	erase();
	make_table(&table, COLS > 0 ? (size_t)COLS : 1, top->heap);
	format_summary(top, first, second, sizeof(first));
	mvaddnstr(0, 0, first, COLS);
	mvaddnstr(1, 0, second, COLS);
	attron(A_REVERSE);
	mvhline(2, 0, ' ', COLS);
	draw_line(2, &table, NULL);
	attroff(A_REVERSE);
	for (size_t i = 0; i < top->lines && row < LINES; i++) {
		if (!line_is_shown(top, &top->line[i]) || skipped++ < top->scroll)
			continue;
		draw_line(row++, &table, &top->line[i]);
	}
	refresh();
}

static void ask_filter(struct top *top)
{
	size_t len = 0;

	*top->filter = '\0';
	top->scroll = 0;
	timeout(-1);
	for (;;) {
		int key;

		draw(top);
		mvhline(LINES - 1, 0, ' ', COLS);
		mvaddnstr(LINES - 1, 0, "filter: ", COLS);
		addnstr(top->filter, COLS - 9 > 0 ? COLS - 9 : 1);
		key = getch();
		if (key == '\n' || key == KEY_ENTER || key == ERR)
			return;
		if (key == 27) {
			*top->filter = '\0';
			return;
		}
		if ((key == KEY_BACKSPACE || key == 127 || key == '\b') && len)
			top->filter[--len] = '\0';
		else if (key >= ' ' && key < 127 && len + 1 < sizeof(top->filter)) {
			top->filter[len++] = (char)key;
			top->filter[len] = '\0';
		}
	}
}

/* False: quit. */
static bool take_key(struct top *top, int key)
{
	size_t page = LINES > 4 ? (size_t)LINES - 4 : 1;

	if (top->helping) {
		top->helping = false;
		return key != 'q';
	}
	for (unsigned i = 0; i < CELL_IDS; i++)
		if (key == cells[i].key) {
			top->sort = i;
			sort_lines(top);
			return true;
		}
	switch (key) {
	case 'q':
		return false;
	case 'h': case '?':
		top->helping = true;
		break;
	case ' ':
		top->frozen = !top->frozen;
		break;
	case '/':
		ask_filter(top);
		break;
	case 'f':
		top->fold = !top->fold;
		history_forget(top);
		make_lines(top, 0);
		break;
	case 'b':
		if (++top->group == groups + groups_count)
			top->group = groups;
		history_forget(top);
		/* What the new rows are about may not have been read yet. */
		if (top->group->places && !top->frozen)
			take_reading(top);
		else
			make_lines(top, 0);
		break;
	case KEY_DOWN: top->scroll++; break;
	case KEY_UP: top->scroll -= top->scroll > 0; break;
	case KEY_NPAGE: top->scroll += page; break;
	case KEY_PPAGE: top->scroll -= top->scroll < page ? top->scroll : page; break;
	case KEY_HOME: top->scroll = 0; break;
	default: break;
	}
	if (top->scroll >= top->lines)
		top->scroll = top->lines ? top->lines - 1 : 0;
	return true;
}

static int run_screen(struct top *top)
{
	uint64_t next = 0, readings = 0;
	bool ended = false;

	if (!take_reading(top))
		return first_failed(top);
	if (!newterm(NULL, stdout, stdin)) {
		tool_error("this terminal (TERM=%s) cannot be drawn on. Use --batch.", getenv("TERM") ? getenv("TERM") : "");
		return EXIT_FAILED;
	}
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	curs_set(0);
	set_escdelay(50);
	for (;;) {
		int key, left;

		if (clock_ns() >= next && !top->frozen && !top->helping) {
			if (readings && !take_reading(top)) {
				ended = true;
				break;
			}
			readings++;
			next = clock_ns() + (uint64_t)(top->interval * 1e9);
		}
		draw(top);
		if (top->iterations && readings >= top->iterations)
			break;
		left = next > clock_ns() ? (int)((next - clock_ns()) / 1000000) + 1 : 0;
		timeout(top->frozen || top->helping ? -1 : left);
		key = getch();
		if (key != ERR && !take_key(top, key))
			break;
		/* The terminal is gone. */
		if (key == ERR && (top->frozen || top->helping))
			break;
	}
	endwin();
	if (ended)
		tool_error("the process%s ended", top->selection.pids == 1 ? "" : "es");
	return EXIT_DONE;
}

static int run(struct top *top)
{
	int code = top->batch || !isatty(STDOUT_FILENO) || !isatty(STDIN_FILENO) ? run_batch(top)
	                                                                        : run_screen(top);

	inside_free(&top->inside);
	measure_free(&top->measurement);
	if (top->have)
		rows_free(&top->rows);
	history_forget(top);
	free(top->line);
	return code;
}

int main(int argc, char **argv)
{
	static struct top top = { .delay = 2, .mode = PROCESS_FIGURES };
	const char *root = NULL;
	char *end;
	unsigned i;
	bool some;
	int c;

	tool_begin();
	tool_name = "top";
	while ((c = options_next(COMMAND_top, argc, argv)) != OPT_END) {
		switch (c) {
		case OPT_SELECTION:
			if (!select_option(&top.selection, c, optarg))
				return EXIT_USAGE;
			break;
		case OPT_BY:
			if (!(top.group = groups_find(optarg)))
				return EXIT_USAGE;
			break;
		case OPT_SORT:
			for (i = 0; i < CELL_IDS && strcasecmp(optarg, cells[i].id); i++)
				;
			if (i == CELL_IDS) {
				tool_error("cannot sort by '%s'; --help lists what can be", optarg);
				return EXIT_USAGE;
			}
			top.sort = i;
			break;
		case OPT_FILTER: snprintf(top.filter, sizeof(top.filter), "%s", optarg); break;
		case OPT_FOLD: top.fold = true; break;
		case OPT_HEAP: top.heap = true; break;
		case OPT_GENTLE: top.mode = PROCESS_GENTLE; break;
		case OPT_DELAY:
			top.delay = strtod(optarg, &end);
			if (*end || !(top.delay >= 0.1 && top.delay <= 1e6)) {
				tool_error("'%s' is not an interval. Give seconds, 0.1 or more.", optarg);
				return EXIT_USAGE;
			}
			break;
		case OPT_BATCH: top.batch = true; break;
		case OPT_JSON: top.batch = top.json = true; break;
		case OPT_CSV: top.batch = top.csv = true; break;
		case OPT_ITERATIONS:
			if (!tool_number(optarg, UINT64_MAX, "a number of readings", &top.iterations))
				return EXIT_USAGE;
			break;
		case OPT_ROOT: root = optarg; break;
		default: return options_rest(COMMAND_top, c);
		}
	}
	if (!select_arguments(&top.selection, argc - optind, argv + optind))
		return EXIT_USAGE;
	some = top.selection.pids || top.selection.tree || top.selection.filters;
	top.selection.all = !some;
	if (!top.group)
		top.group = groups_find(some ? "name" : "process");
	if (top.heap && root) {
		tool_error("--heap reads processes that run: it does not go with --root");
		return tool_usage_error();
	}
	if (!tool_proc(&top.proc, root))
		return EXIT_FAILED;
	c = run(&top);
	proc_close(&top.proc);
	select_free(&top.selection);
	return c;
}
