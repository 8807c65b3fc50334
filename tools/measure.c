/* SPDX-License-Identifier: MIT */
/* Reads processes into sums by name. See measure.h. */
#include "measure.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void measure_begin(struct measurement *measurement)
{
	memset(measurement, 0, sizeof(*measurement));
	measurement->began = clock_ns();
}

static struct measured *new_entry(struct measurement *measurement, pid_t pid)
{
	if (measurement->count == measurement->room) {
		size_t room = measurement->room ? 2 * measurement->room : 16;
		struct measured *grown = realloc(measurement->process, room * sizeof(*grown));

		if (!grown)
			return NULL;
		measurement->process = grown;
		measurement->room = room;
	}
	memset(&measurement->process[measurement->count], 0, sizeof(*measurement->process));
	measurement->process[measurement->count].pid = pid;
	return &measurement->process[measurement->count++];
}

static int take_region(void *context, const struct region *region)
{
	if (region)
		return names_add(context, region);
	names_free(context);
	return 0;
}

int measure_process(struct measurement *measurement, const struct proc *proc, pid_t pid,
                    enum process_mode mode)
{
	struct measured *entry = new_entry(measurement, pid);
	struct name_table names = { 0 };
	struct process process;
	int error = -ENOMEM;

	if (!entry)
		return error;
	/* exec in the middle of a reading starts another program: read that one. */
	for (unsigned tries = 0; tries < 3; tries++) {
		error = process_read(proc, pid, mode, &measurement->cost, take_region, &names, &process);
		if (error != -ESRCH || proc_exists(proc, pid) || process.identity.state == 'Z')
			break;
		names_free(&names);
	}
	memcpy(entry->comm, process.identity.comm, sizeof(entry->comm));
	if (process.library.state == LIBRARY_UNREADABLE)
		entry->library_error = process.library.error;
	else if (process.registry_error)
		entry->library_error = process.registry_error;
	if (!error) {
		measurement->malformed += process.malformed;
		entry->totals = names.totals;
		error = names_merge(&measurement->names, &names);
	}
	names_free(&names);
	entry->error = error;
	/* Neither one that is gone nor a kernel thread has memory to speak of. */
	if (error == -ESRCH || (!error && process.identity.kernel_thread))
		measurement->count--;
	return error;
}

int measure_smaps(struct measurement *measurement, int fd)
{
	struct measured *entry = new_entry(measurement, 0);
	struct process process;
	int error;

	if (!entry)
		return -ENOMEM;
	strcpy(entry->comm, "smaps");
	error = process_read_smaps(fd, &measurement->cost, take_region, &measurement->names, &process);
	measurement->malformed += process.malformed;
	entry->totals = measurement->names.totals;
	entry->error = error;
	return error;
}

void measure_end(struct measurement *measurement)
{
	measurement->took = clock_ns() - measurement->began;
}

void measure_free(struct measurement *measurement)
{
	free(measurement->process);
	names_free(&measurement->names);
	measurement->process = NULL;
	measurement->count = 0;
}

int measure_tree(const struct proc *proc, pid_t pid, pid_t **pids, size_t *count)
{
	struct proc_identity identity;
	pid_t *all = NULL, *parent, *tree;
	size_t n, found = 1;
	int error = proc_exists(proc, pid);

	if (!error)
		error = proc_pids(proc, &all, &n);
	if (error)
		return error;
	parent = calloc(n + 1, sizeof(*parent));
	tree = calloc(n + 1, sizeof(*tree));
	if (!parent || !tree) {
		free(all);
		free(parent);
		free(tree);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++)
		if (!proc_identify(proc, all[i], &identity))
			parent[i] = identity.parent;
	tree[0] = pid;
	for (size_t at = 0; at < found; at++)
		for (size_t i = 0; i < n && found < n; i++)
			/* A parent's number is taken away from the list, so that a loop ends. */
			if (parent[i] == tree[at] && all[i] != pid) {
				parent[i] = 0;
				tree[found++] = all[i];
			}
	free(all);
	free(parent);
	*pids = tree;
	*count = found;
	return 0;
}

static int process_rows(const struct measurement *measurement, struct rows *rows)
{
	rows->count = 0;
	rows->row = calloc(measurement->count + 1, sizeof(*rows->row));
	if (!rows->row)
		return -ENOMEM;
	for (size_t i = 0; i < measurement->count; i++) {
		const struct measured *process = &measurement->process[i];
		struct row *row = &rows->row[rows->count];

		if (process->error || !process->totals.figures.value[FIG_VMAS])
			continue;
		if (asprintf(&row->name, process->pid ? "%d %s" : "%.0d%s", (int)process->pid,
		             process->comm) < 0)
			return -ENOMEM;
		row->figures = process->totals.figures;
		rows->count++;
	}
	return 0;
}

int measure_rows(const struct measurement *measurement, const struct group *group, bool fold,
                 struct rows *rows)
{
	return group->key ? rows_make(&measurement->names, group, fold, rows) : process_rows(measurement, rows);
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

static bool is_nameless(const struct measured *process)
{
	return !process->error && process->library_error;
}

void measure_complain(const struct measurement *measurement)
{
	char list[128];
	size_t found = list_pids(measurement, is_denied, list, sizeof(list));

	if (found)
		tool_error("%zu of %zu processes may not be read (%s). Run as root to see them.", found,
		           measurement->count, list);
	found = list_pids(measurement, is_nameless, list, sizeof(list));
	if (found)
		tool_error("the names inside %zu process%s could not be read (%s): only the kernel's are shown. "
		           "Run as root, or set kernel.yama.ptrace_scope to 0.", found, found > 1 ? "es" : "", list);
	if (measurement->malformed)
		tool_error("%llu lines were neither maps nor smaps and were left out",
		           (unsigned long long)measurement->malformed);
}

void measure_print_cost(FILE *out, const struct measurement *measurement)
{
	char took[24], longest[24];
	size_t read = 0;

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
	totals = totals_json(&process->totals);
	json_object_update(json, totals);
	json_decref(totals);
	return json;
}

json_t *measure_json(const struct measurement *measurement, const char *format, const struct group *group,
                     const struct rows *rows)
{
	json_t *json = json_pack("{s:s, s:i, s:s}", "format", format, "version", 1, "by", group->id);
	json_t *list = json_array();

	for (size_t i = 0; i < measurement->count; i++)
		json_array_append_new(list, process_json(&measurement->process[i]));
	json_object_set_new(json, "processes", list);
	json_object_set_new(json, "total", totals_json(&measurement->names.totals));
	json_object_set_new(json, "names", rows_json(rows));
	json_object_set_new(json, "cost", json_pack("{s:f, s:I, s:f}",
		"seconds", (double)measurement->took / 1e9, "reads", (json_int_t)measurement->cost.reads,
		"longest_read_seconds", (double)measurement->cost.longest_ns / 1e9));
	return json;
}
