/* SPDX-License-Identifier: MIT */
/* Reads processes into sums by name. See measure.h. */
#include "measure.h"
#include "progress.h"

#include "../src/read/apart.h"
#include "../src/read/list.h"
#include "../src/read/place.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void measure_begin(struct measurement *measurement, const struct wants *wants)
{
	memset(measurement, 0, sizeof(*measurement));
	measurement->wants = *wants;
	measurement->began = clock_ns();
}

static struct measured *new_entry(struct measurement *measurement, pid_t pid)
{
	struct measured *grown = list_grown(measurement->process, measurement->count, &measurement->room, sizeof(*grown), 16,
	                                    LIST_ENDLESS);

	if (!grown)
		return NULL;
	measurement->process = grown;
	memset(&measurement->process[measurement->count], 0, sizeof(*measurement->process));
	measurement->process[measurement->count].pid = pid;
	return &measurement->process[measurement->count++];
}

int measured_each_row(const struct measured *process, measured_row_function *each, void *context)
{
	const struct name_table *names = &process->names;
	int error = 0;

	for (size_t i = 0; !error && i < names->rows; i++)
		error = each(context, process, &names->row[i]);
	return error || !names->rest.figures.value[FIG_VMAS] ? error : each(context, process, &names->rest);
}

static int take_region(void *context, const struct region *region)
{
	if (region)
		return names_add(context, region);
	names_free(context);
	return 0;
}

/* Of no VMA, so no row of the names would have them. */
static int add_page_tables(const struct proc *proc, pid_t pid, struct name_table *names)
{
	static const char name[] = "[page tables]";
	struct region region = { .vma = { .class = VMA_SPECIAL, .name = { name, sizeof(name) - 1 } }, .source = NAME_KERNEL };
	long kib = proc_status(proc, pid, "VmPTE");

	if (kib >= 0)
		region.vma.figures.value[FIG_PAGE_TABLES] = (uint64_t)kib * 1024;
	else
		region.vma.figures.unknown = region.sum_unknown = FIG_BIT(FIG_PAGE_TABLES);
	return names_add(names, &region);
}

static void forget_entry(struct measured *entry)
{
	names_free(&entry->names);
	free(entry->user);
	free(entry->cgroup);
	entry->user = entry->cgroup = NULL;
}

/* Nobody looked, so a sum without them is not 0 but unknown. */
static uint32_t not_read(const struct measurement *measurement)
{
	return FIG_BIT(FIG_PAGE_TABLES) & ~measurement->wants.figures;
}

/* A process that has no memory, or is gone, has no row either: that is nobody's fault. */
static bool has_nothing(int error)
{
	return error == -ESRCH || error == PROCESS_IS_KERNEL || error == PROCESS_IS_ENDED;
}

/*
 * Rows cost memory, and a process can have as many names as it likes. All
 * together get no more than this; each may use half of what is left, so that
 * one that fills it leaves room for the others, and a few in any case.
 */
#define ROWS_MAX   (2 * NAMES_OF_ONE)
#define ROWS_LEAST 512

/* What a child sends of each process: its rows, and then this. */
enum { SENT_ROW, SENT_REST, SENT_USER, SENT_CGROUP, SENT_RESULT };

struct result {
	struct process process;
	struct cost cost;
	struct name_totals totals;
	char comm[64];
	unsigned long long start_time;
};

struct reading {
	struct measurement *measurement;
	const struct proc *proc;
	enum process_mode mode;
	size_t first;               /* the entry of item 0 */
	size_t done;
};

/*
 * Whether a process has the library is asked before it is read when others
 * have it, or when it is one of a few: asking all processes of a machine, for
 * nothing, costs a fiftieth of the report.
 */
#define ASK_FIRST 4

/* In the child, as all below up to work(). Its measurement is a copy that says what it met so far. */
static int read_names(struct reading *reading, const struct proc *proc, size_t item, struct name_table *names, struct result *result)
{
	struct measurement *measurement = reading->measurement;
	pid_t pid = measurement->process[reading->first + item].pid;
	struct proc_identity identity;
	enum process_mode mode = reading->mode;
	int error = 0;

	if (mode == PROCESS_FIGURES && measurement->wants.figures & FIG_ONLY_SMAPS)
		mode = PROCESS_FIGURES_ALL;
	else if (mode == PROCESS_FIGURES && !measurement->library_met && item >= ASK_FIRST)
		mode = PROCESS_FIGURES_PLAIN;
	/* exec in the middle of a reading starts another program: read that one. */
	for (unsigned tries = 0; tries < 3; tries++) {
		error = process_read(proc, pid, mode, &result->cost, take_region, names, &result->process);
		if (error != -ESRCH || proc_exists(proc, pid))
			break;
		names_free(names);
	}
	measurement->library_met |= result->process.library.state != LIBRARY_ABSENT;
	if (measurement->wants.comm)
		proc_comm(proc, pid, result->comm, sizeof(result->comm));
	if (!error && measurement->wants.start_time) {
		error = proc_identify(proc, pid, &identity);
		result->start_time = identity.start_time;
	}
	if (!error && measurement->wants.figures & FIG_BIT(FIG_PAGE_TABLES))
		error = add_page_tables(proc, result->process.thread ? result->process.thread : pid, names);
	return error;
}

static void send_places(const struct proc *proc, pid_t pid, unsigned places, struct apart *out)
{
	char text[PLACE_MAX];
	uid_t uid;

	if (places & PLACE_USER && place_user_id(proc, pid, &uid))
		apart_send(out, SENT_USER, &uid, sizeof(uid), NULL, 0);
	if (places & PLACE_CGROUP) {
		place_cgroup(proc, pid, text, sizeof(text));
		apart_send(out, SENT_CGROUP, text, strlen(text) + 1, NULL, 0);
	}
}

static int work(void *context, size_t item, struct apart *out)
{
	const struct reading *reading = context;
	const struct wants *wants = &reading->measurement->wants;
	pid_t pid = reading->measurement->process[reading->first + item].pid;
	struct name_table names = { .raw_only = true, .limit = NAMES_OF_ONE };
	struct result result = { .cost = { 0 } };
	struct proc proc;
	int error = proc_bind(&proc, reading->proc, pid);

	if (error)
		return error;
	error = read_names(context, &proc, item, &names, &result);
	apart_safe(out);
	if (!error)
		send_places(&proc, pid, wants->places, out);
	proc_unbind(&proc);
	if (!error) {
		names_sum(&names);
		names.totals.figures.unknown |= not_read(reading->measurement);
		result.totals = names.totals;
	}
	for (size_t i = 0; !error && i < names.rows; i++)
		apart_send(out, SENT_ROW, &names.row[i], sizeof(*names.row), names.row[i].raw, names.row[i].raw_len);
	if (!error && names.rest.figures.value[FIG_VMAS])
		apart_send(out, SENT_REST, &names.rest, sizeof(names.rest), NULL, 0);
	apart_send(out, SENT_RESULT, &result, sizeof(result), NULL, 0);
	names_free(&names);
	return error;
}

static int take_row(struct measurement *measurement, struct measured *entry, const void *data, size_t size)
{
	struct name_row row;
	int made;

	memcpy(&row, data, sizeof(row));
	if (row.raw_len != size - sizeof(row))
		return -EBADMSG;
	row.raw = (char *)(uintptr_t)data + sizeof(row);
	if (measurement->wants.each) {
		/* The child has kept to NAMES_OF_ONE. */
		made = names_add_row(&entry->names, &row);
		return made < 0 ? made : 0;
	}
	measurement->names.limit = measurement->names.rows + entry->rows_left;
	made = names_add_row(&measurement->names, &row);
	if (made > 0)
		entry->rows_left--;
	return made < 0 ? made : 0;
}

static void take_result(struct measurement *measurement, struct measured *entry, const struct result *result)
{
	const struct process *process = &result->process;

	cost_merge(&measurement->cost, &result->cost);
	memcpy(entry->comm, result->comm, sizeof(entry->comm));
	entry->start_time = result->start_time;
	measurement->library_met |= process->library.state != LIBRARY_ABSENT;
	if (process->library.state == LIBRARY_UNREADABLE)
		entry->library_error = process->library.error;
	else if (process->registry_error)
		entry->library_error = process->registry_error;
	measurement->recognised.reads += process->recognised.reads;
	measurement->recognised.bytes += process->recognised.bytes;
	measurement->recognised.longest_ns += process->recognised.longest_ns;
	measurement->malformed += process->malformed;
	entry->late = process->late;
	entry->names_cut = process->recognise_error == -EDQUOT;
	entry->totals = result->totals;
	measurement->without_smaps += process->no_smaps;
	names_add_totals(&measurement->names.totals, &result->totals);
}

static int take_user(const struct proc *proc, struct measured *entry, const void *data)
{
	char text[PLACE_MAX];
	uid_t uid;

	memcpy(&uid, data, sizeof(uid));
	place_user_name(uid, !proc->live, text, sizeof(text));
	free(entry->user);
	entry->user = strdup(text);
	return entry->user ? 0 : -ENOMEM;
}

static int take_cgroup(struct measured *entry, const char *text, size_t size)
{
	free(entry->cgroup);
	entry->cgroup = strndup(text, size);
	return entry->cgroup ? 0 : -ENOMEM;
}

static int take(void *context, size_t item, uint32_t kind, const void *data, size_t size)
{
	struct reading *reading = context;
	struct measurement *measurement = reading->measurement;
	struct measured *entry = &measurement->process[reading->first + item];
	size_t left = ROWS_MAX > measurement->names.rows ? (ROWS_MAX - measurement->names.rows) / 2 : 0;

	if (entry->rows_left == SIZE_MAX)
		entry->rows_left = left > ROWS_LEAST ? left : ROWS_LEAST;
	if (kind == SENT_ROW && size >= sizeof(struct name_row))
		return take_row(measurement, entry, data, size);
	if (kind == SENT_USER && size == sizeof(uid_t))
		return take_user(reading->proc, entry, data);
	if (kind == SENT_CGROUP)
		return take_cgroup(entry, data, size);
	if (kind == SENT_REST && size == sizeof(struct name_row))
		names_add_rest(measurement->wants.each ? &entry->names : &measurement->names, data);
	else if (kind == SENT_RESULT && size == sizeof(struct result))
		take_result(measurement, entry, data);
	else
		return -EBADMSG;
	return 0;
}

/* To whoever wants the rows of each process. */
static int hand_out(const struct measurement *measurement, struct measured *entry)
{
	int error = measurement->wants.each ? measurement->wants.each(measurement->wants.context, entry) : 0;

	names_free(&entry->names);
	return error;
}

static int done(void *context, size_t item, int error)
{
	struct reading *reading = context;
	struct measured *entry = &reading->measurement->process[reading->first + item];

	entry->error = error;
	reading->done++;
	entry->left_out = has_nothing(error);
	if (error || entry->left_out)
		return 0;
	return hand_out(reading->measurement, entry);
}

static bool stop(void *context)
{
	const struct reading *reading = context;

	if (!reading->measurement->may_stop)
		return false;
	progress_show(reading->done, reading->measurement->count - reading->first);
	return progress_stopped();
}

/* What was not begun, or not read to its end, has no figures. */
static void leave_unread(struct measurement *measurement, size_t first)
{
	for (size_t i = first; i < measurement->count; i++) {
		struct measured *entry = &measurement->process[i];

		if (entry->error == -EAGAIN || entry->error == -EINTR) {
			entry->left_out = true;
			measurement->unread++;
		}
	}
}

/* Drops the entries of processes that turned out not to be there. */
static void drop_left_out(struct measurement *measurement, size_t first)
{
	size_t kept = first;

	for (size_t i = first; i < measurement->count; i++)
		if (measurement->process[i].left_out)
			forget_entry(&measurement->process[i]);
		else
			measurement->process[kept++] = measurement->process[i];
	measurement->count = kept;
}

int measure_processes(struct measurement *measurement, const struct proc *proc, const pid_t *pids, size_t count,
                      enum process_mode mode, int *errors)
{
	struct reading reading = {
		.measurement = measurement, .proc = proc, .mode = mode, .first = measurement->count,
	};
	const struct apart_job job = { .items = count, .work = work, .take = take, .done = done, .stop = stop, .context = &reading };
	int error;

	for (size_t i = 0; i < count; i++) {
		struct measured *entry = new_entry(measurement, pids[i]);

		if (!entry)
			return -ENOMEM;
		entry->error = -EAGAIN;
		entry->rows_left = SIZE_MAX;
	}
	error = apart_run(&job);
	if (error == -EINTR)
		leave_unread(measurement, reading.first);
	for (size_t i = 0; errors && i < count; i++)
		errors[i] = measurement->process[reading.first + i].error;
	drop_left_out(measurement, reading.first);
	return error;
}

static struct measured *find_entry(const struct measurement *measurement, pid_t pid)
{
	for (size_t i = 0; i < measurement->count; i++)
		if (measurement->process[i].pid == pid)
			return &measurement->process[i];
	return NULL;
}

int measure_listed(struct measurement *measurement, const struct proc *proc, const pid_t *pids, size_t count,
                   enum process_mode mode, int *errors)
{
	pid_t *once = calloc(count + 1, sizeof(*once));
	int *their = calloc(count + 1, sizeof(*their)), error = once && their ? 0 : -ENOMEM;
	size_t n = 0;

	for (size_t i = 0; !error && i < count; i++) {
		/* The id of a thread opens its process. */
		long group = proc_status(proc, pids[i], "Tgid");
		pid_t pid = group > 0 ? (pid_t)group : pids[i];
		const struct measured *entry = find_entry(measurement, pid);
		size_t at = 0;

		errors[i] = entry ? entry->error : 0;
		if (entry)
			continue;
		while (at < n && once[at] != pid)
			at++;
		once[at] = pid;
		n += at == n;
		/* Which of them it is, until its own is known. */
		errors[i] = (int)at + 1;
	}
	if (!error)
		error = measure_processes(measurement, proc, once, n, mode, their);
	for (size_t i = 0; (!error || error == -EINTR) && i < count; i++)
		errors[i] = errors[i] > 0 ? their[errors[i] - 1] : errors[i];
	free(once);
	free(their);
	return error;
}

/* The processes of one file, one behind the other. */
struct several {
	struct measurement *measurement;
	struct measured *entry;
	struct name_table names;    /* of the one that is being read */
};

static int take_several(void *context, const struct region *region)
{
	return names_add(&((struct several *)context)->names, region);
}

static int end_of_one(void *context)
{
	struct several *several = context;
	struct name_table *all = &several->measurement->names;
	int error = 0;

	names_sum(&several->names);
	several->names.totals.figures.unknown |= FIG_BIT(FIG_PAGE_TABLES);
	several->entry->totals = several->names.totals;
	if (several->measurement->wants.each) {
		several->entry->names = several->names;
		several->names = (struct name_table){ .raw_only = false };
		error = hand_out(several->measurement, several->entry);
		names_add_totals(&all->totals, &several->entry->totals);
		return error;
	}
	for (size_t i = 0; error >= 0 && i < several->names.rows; i++)
		error = names_add_row(all, &several->names.row[i]);
	names_add_totals(&all->totals, &several->names.totals);
	names_free(&several->names);
	return error < 0 ? error : 0;
}

static int begin_one(struct several *several)
{
	several->entry = new_entry(several->measurement, 0);
	if (!several->entry)
		return -ENOMEM;
	strcpy(several->entry->comm, "smaps");
	return 0;
}

static int next_one(void *context)
{
	int error = end_of_one(context);

	return error ? error : begin_one(context);
}

int measure_smaps(struct measurement *measurement, int fd)
{
	/* Rows that are merged into others need no name to show. */
	struct several several = { .measurement = measurement, .names = { .raw_only = !measurement->wants.each } };
	struct process process;
	int error = begin_one(&several);

	if (error)
		return error;
	error = process_read_smaps(fd, &measurement->cost, take_several, next_one, &several, &process);
	measurement->malformed += process.malformed;
	if (!error)
		error = end_of_one(&several);
	names_free(&several.names);
	if (several.entry)
		several.entry->error = error;
	return error;
}

int measured_bind(struct proc *bound, const struct proc *proc, const struct measured *process)
{
	struct proc_identity now;
	int error = proc_bind(bound, proc, process->pid);

	if (error || !process->start_time)
		return error;
	error = proc_identify(bound, process->pid, &now);
	if (!error && now.start_time != process->start_time)
		error = -ESRCH;
	if (error)
		proc_unbind(bound);
	return error;
}

void measure_end(struct measurement *measurement)
{
	measurement->took = clock_ns() - measurement->began;
}

void measure_free(struct measurement *measurement)
{
	for (size_t i = 0; i < measurement->count; i++)
		forget_entry(&measurement->process[i]);
	free(measurement->process);
	names_free(&measurement->names);
	measurement->process = NULL;
	measurement->count = 0;
}

/* A list of processes in the order in which they were found, each once. */
struct pid_list {
	pid_t *pid;
	size_t count, room;
	uint32_t *slot;             /* open addressing: index in pid + 1, 0 is free; twice the room */
};

static size_t list_slot(const struct pid_list *list, pid_t pid)
{
	size_t mask = 2 * list->room - 1, at = (uint32_t)pid * 2654435761U & mask;

	while (list->slot[at] && list->pid[list->slot[at] - 1] != pid)
		at = (at + 1) & mask;
	return at;
}

static int list_grow(struct pid_list *list)
{
	size_t room = list->room ? 2 * list->room : 16;
	pid_t *grown = realloc(list->pid, room * sizeof(*grown));
	uint32_t *slot = calloc(2 * room, sizeof(*slot));

	list->pid = grown ? grown : list->pid;
	if (!grown || !slot) {
		free(slot);
		return -ENOMEM;
	}
	free(list->slot);
	list->slot = slot;
	list->room = room;
	for (size_t i = 0; i < list->count; i++)
		slot[list_slot(list, grown[i])] = (uint32_t)i + 1;
	return 0;
}

static int list_add(struct pid_list *list, pid_t pid)
{
	int error = list->count == list->room ? list_grow(list) : 0;
	size_t at;

	if (error)
		return error;
	at = list_slot(list, pid);
	if (list->slot[at])
		return 0;
	list->pid[list->count++] = pid;
	list->slot[at] = (uint32_t)list->count;
	return 0;
}

/* Adds what a file of children lists. -EBADMSG: it holds something else than process ids. */
static int add_listed(const struct proc_text *children, struct pid_list *list)
{
	struct text rest = { children->text, children->len };
	uint64_t child;
	int error = 0;

	for (; !error && text_u64(&rest, 10, &child); text_blanks(&rest))
		error = child && child <= INT_MAX ? list_add(list, (pid_t)child) : -EBADMSG;
	text_char(&rest, '\n');
	return !error && rest.len ? -EBADMSG : error;
}

/*
 * The kernel hands out the children of a thread a page at a time and counts
 * from the first one for each page: when one of those ends in between, another
 * is left out. So a list of more than a page is read until it brings nothing new,
 * or often: the process may make children without end.
 */
static int add_children_of(const struct proc *proc, pid_t pid, pid_t thread, struct pid_list *list)
{
	const size_t page = 4000;
	struct proc_text children;
	size_t before;
	char name[64];
	bool again;
	int error, tries = 16;

	snprintf(name, sizeof(name), "task/%d/children", (int)thread);
	do {
		before = list->count;
		error = proc_read(proc, pid, name, &children);
		if (error)
			return error;
		again = proc->live && children.len > page;
		error = add_listed(&children, list);
		proc_text_free(&children);
	} while (!error && again && list->count > before && --tries);
	return error;
}

/* The children that each thread of a process has; -ENOENT: the kernel does not tell. */
static int add_children(const struct proc *proc, pid_t pid, struct pid_list *list)
{
	pid_t *threads = NULL;
	size_t count = 0;
	int error = proc_tasks(proc, pid, &threads, &count);

	for (size_t i = 0; !error && i < count; i++) {
		error = add_children_of(proc, pid, threads[i], list);
		/* A thread ended meanwhile; its children are another's now. */
		if (error == -ESRCH || (error == -ENOENT && threads[i] != pid))
			error = 0;
	}
	free(threads);
	return error;
}

/* The slow way: every process tells its parent. */
static int add_by_parents(const struct proc *proc, struct pid_list *list)
{
	struct proc_identity identity;
	pid_t *all, *parent;
	size_t n;
	int error = proc_pids(proc, &all, &n);

	if (error)
		return error;
	parent = calloc(n + 1, sizeof(*parent));
	error = parent ? 0 : -ENOMEM;
	for (size_t i = 0; !error && i < n; i++)
		if (!proc_identify(proc, all[i], &identity))
			parent[i] = identity.parent;
	for (size_t at = 0; !error && at < list->count; at++)
		for (size_t i = 0; !error && i < n; i++)
			if (parent[i] == list->pid[at])
				error = list_add(list, all[i]);
	free(all);
	free(parent);
	return error;
}

int measure_tree(const struct proc *proc, pid_t pid, pid_t **pids, size_t *count)
{
	struct pid_list list = { 0 };
	int error = proc_exists(proc, pid), one = 0;

	if (!error)
		error = list_add(&list, pid);
	for (size_t at = 0; !error && !one && at < list.count; at++) {
		one = add_children(proc, list.pid[at], &list);
		/* It ended: its children are somebody else's by now. Or it may not be read, and that will be said of it. */
		if (one == -ESRCH || (at && (one == -EACCES || one == -EPERM)))
			one = 0;
	}
	if (!error && one == -ENOENT)
		error = add_by_parents(proc, &list);
	else if (!error)
		error = one;
	free(list.slot);
	if (error) {
		free(list.pid);
		return error;
	}
	*pids = list.pid;
	*count = list.count;
	return 0;
}

static int process_rows(const struct measurement *measurement, const struct group *group, struct rows *rows)
{
	char key[NAME_PART_MAX];

	rows->count = 0;
	rows->row = calloc(measurement->count + 1, sizeof(*rows->row));
	if (!rows->row)
		return -ENOMEM;
	for (size_t i = 0; i < measurement->count; i++) {
		const struct measured *process = &measurement->process[i];
		struct row *row = &rows->row[rows->count];

		if (process->error || !process->totals.figures.value[FIG_VMAS])
			continue;
		group->of_process(process, key, sizeof(key));
		row->name = strdup(key);
		if (!row->name)
			return -ENOMEM;
		row->figures = process->totals.figures;
		rows->count++;
	}
	rows_merge_same(rows);
	return 0;
}

int measure_rows(const struct measurement *measurement, const struct group *group, bool fold,
                 struct rows *rows)
{
	int error = group->key ? rows_make(&measurement->names, group, fold, rows)
	                       : process_rows(measurement, group, rows);

	for (size_t i = 0; !error && i < rows->count; i++)
		rows->row[i].figures.unknown |= not_read(measurement);
	return error;
}

/* "1, 2, 3, ..." of the processes that the function picks. */
static size_t list_pids(const struct measurement *measurement, bool (*pick)(const struct measured *),
                        char *buffer, size_t size)
{
	size_t found = 0, at = 0;

	*buffer = '\0';
	for (size_t i = 0; i < measurement->count; i++) {
		if (!pick(&measurement->process[i]))
			continue;
		if (found < 8 && at < size)
			at += (size_t)snprintf(buffer + at, size - at, "%s%d", found ? ", " : "",
			                       (int)measurement->process[i].pid);
		else if (found == 8 && at < size)
			at += (size_t)snprintf(buffer + at, size - at, ", ...");
		found++;
	}
	return found;
}

static bool is_denied(const struct measured *process)
{
	return process->error == -EACCES || process->error == -EPERM;
}

static bool is_late(const struct measured *process)
{
	return !process->error && process->late;
}

static bool is_cut(const struct measured *process)
{
	return !process->error && process->names_cut;
}

static bool is_stuck(const struct measured *process)
{
	return process->error == -ETIME;
}

static bool is_broken(const struct measured *process)
{
	return process->error && !is_denied(process) && !is_stuck(process);
}

static int first_error(const struct measurement *measurement)
{
	for (size_t i = 0; i < measurement->count; i++)
		if (is_broken(&measurement->process[i]))
			return measurement->process[i].error;
	return 0;
}

static bool is_nameless(const struct measured *process)
{
	return !process->error && process->library_error;
}

void measure_complain(const struct measurement *measurement)
{
	char list[128];
	size_t found = list_pids(measurement, is_denied, list, sizeof(list));

	if (found)
		tool_error("%zu of %zu processes may not be read (%s). %s", found, measurement->count, list,
		           geteuid() ? "Run as root to see them." : tool_denied_advice());
	found = list_pids(measurement, is_broken, list, sizeof(list));
	if (found)
		tool_error("%zu of %zu processes could not be read (%s): %s", found, measurement->count, list,
		           first_error(measurement) == PROC_NO_FILE ? "a pipe, a device or a directory lies where a file belongs"
		                                                    : strerror(-first_error(measurement)));
	if (measurement->without_smaps)
		tool_error("there is no smaps: the kernel was built without it (CONFIG_PROC_PAGE_MONITOR), or it was "
		           "not recorded. Shown is what maps and pagemap tell.");
	found = list_pids(measurement, is_nameless, list, sizeof(list));
	for (size_t i = 0; found && i < measurement->count; i++)
		if (is_nameless(&measurement->process[i])) {
			tool_error("the names inside %zu process%s (%s) could not be read: %s. Only the kernel's are "
			           "shown. %s", found, found > 1 ? "es" : "", list,
			           tool_names_error(measurement->process[i].library_error), tool_nameless_advice());
			break;
		}
	found = list_pids(measurement, is_stuck, list, sizeof(list));
	if (found && measurement->count > 1)
		tool_error("%zu of %zu processes (%s) did not let themselves be read in time and are left out", found,
		           measurement->count, list);
	found = list_pids(measurement, is_late, list, sizeof(list));
	if (found)
		tool_error("%zu process%s (%s) would have taken too long to read: figures are missing (-)", found,
		           found > 1 ? "es" : "", list);
	found = list_pids(measurement, is_cut, list, sizeof(list));
	if (found)
		tool_error("%zu process%s (%s) hold%s more than is looked through of one process: names from outside may be missing",
		           found, found > 1 ? "es" : "", list, found > 1 ? "" : "s");
	if (measurement->malformed)
		tool_error("%llu lines were neither maps nor smaps and were left out",
		           (unsigned long long)measurement->malformed);
}

/* What share of anonymous RSS has its name from where. */
static void print_sources(FILE *out, const struct measurement *measurement)
{
	const struct name_totals *totals = &measurement->names.totals;
	double all = (double)totals->anon_rss / 100;
	char took[24];

	if (names_labelled(totals) < 0)
		return;
	fprintf(out, "# named by the kernel %.1f %%, by the registry %.1f %%, from outside %.1f %%", (double)totals->by_source[NAME_KERNEL] / all,
	        (double)totals->by_source[NAME_REGISTRY] / all, (double)totals->by_source[NAME_OUTSIDE] / all);
	if (measurement->recognised.longest_ns)
		fprintf(out, ", which took %s and %llu reads", tool_duration(measurement->recognised.longest_ns, took),
		        (unsigned long long)measurement->recognised.reads);
	fputc('\n', out);
}

void measure_print_cost(FILE *out, const struct measurement *measurement)
{
	char took[24], longest[24];
	size_t read = 0;

	print_sources(out, measurement);
	for (size_t i = 0; i < measurement->count; i++)
		read += !measurement->process[i].error;
	fprintf(out, "# %zu process%s in %s, %llu reads, the longest %s\n", read, read == 1 ? "" : "es",
	        tool_duration(measurement->took, took), (unsigned long long)measurement->cost.reads,
	        tool_duration(measurement->cost.longest_ns, longest));
}

static json_t *process_json(const struct measured *process)
{
	json_t *json = json_pack("{s:o, s:s}", "pid", process->pid ? json_integer(process->pid) : json_null(),
	                         "comm", process->comm);
	json_t *totals;

	if (process->error) {
		json_object_set_new(json, "error", json_string(strerror(-process->error)));
		return json;
	}
	if (process->names_cut)
		json_object_set_new(json, "names_cut", json_true());
	totals = totals_json(&process->totals);
	json_object_update(json, totals);
	json_decref(totals);
	return json;
}

void measure_json(struct json_out *json, const struct measurement *measurement, const char *format,
                  const struct group *group)
{
	json_put(json, "format", json_string(format));
	json_put(json, "version", json_integer(1));
	json_put(json, "by", json_string(group->id));
	json_list_begin(json, "processes");
	for (size_t i = 0; i < measurement->count; i++)
		json_put(json, NULL, process_json(&measurement->process[i]));
	json_list_end(json);
	json_put(json, "total", totals_json(&measurement->names.totals));
	json_put(json, "cost", json_pack("{s:f, s:I, s:f}",
		"seconds", (double)measurement->took / 1e9, "reads", (json_int_t)measurement->cost.reads,
		"longest_read_seconds", (double)measurement->cost.longest_ns / 1e9));
}
