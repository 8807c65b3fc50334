/* SPDX-License-Identifier: MIT */
/* Chooses processes. See select.h. */
#include "select.h"
#include "options.h"
#include "progress.h"

#include "../src/read/core.h"
#include "../src/read/list.h"
#include "../src/read/place.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

static bool find_user(const char *name, uid_t *uid)
{
	const struct passwd *entry = getpwnam(name);
	struct text rest = { name, strlen(name) };
	uint64_t number;

	if (entry) {
		*uid = entry->pw_uid;
		return true;
	}
	if (text_u64(&rest, 10, &number) && !rest.len && number < UINT32_MAX) {
		*uid = (uid_t)number;
		return true;
	}
	tool_error("there is no user '%s'. Give a name or a number.", name);
	return false;
}

static bool add_filter(struct selection *selection, enum filter_by by, const char *pattern)
{
	struct filter filter = { .by = by, .pattern = pattern };

	if (!*pattern) {
		tool_error("an empty %s matches nothing", by == FILTER_NAME ? "name" : by == FILTER_USER ? "user" : "control group");
		return false;
	}
	if (by == FILTER_USER && !find_user(pattern, &filter.uid))
		return false;
	if (selection->filters == FILTERS_MAX) {
		tool_error("more than %d names, users and control groups", FILTERS_MAX);
		return false;
	}
	selection->filter[selection->filters++] = filter;
	return true;
}

bool select_option(struct selection *selection, int id, const char *value)
{
	switch (id) {
	case OPT_ALL:
		selection->all = true;
		return true;
	case OPT_TREE:
		selection->family = !value;
		selection->tree = value ? tool_pid(value) : 0;
		return selection->family || selection->tree;
	case OPT_NAME:
		return add_filter(selection, FILTER_NAME, value);
	case OPT_USER:
		return add_filter(selection, FILTER_USER, value);
	default:
		return add_filter(selection, FILTER_CGROUP, value);
	}
}

bool select_pid(struct selection *selection, const char *argument)
{
	pid_t pid = tool_pid(argument), *grown;

	if (!pid)
		return false;
	grown = list_grown(selection->pid, selection->pids, &selection->room, sizeof(*grown), 16, LIST_ENDLESS);
	if (!grown) {
		tool_error("not enough memory");
		return false;
	}
	selection->pid = grown;
	selection->pid[selection->pids++] = pid;
	return true;
}

bool select_pids_from(struct selection *selection, FILE *file)
{
	char word[32];
	int c;

	do {
		size_t len = 0;

		while ((c = getc(file)) != EOF && !isspace(c))
			if (len + 1 < sizeof(word))
				word[len++] = (char)c;
		word[len] = '\0';
		if (len && !select_pid(selection, word))
			return false;
	} while (c != EOF);
	if (selection->pids)
		return true;
	tool_error("standard input names no process");
	return false;
}

bool select_arguments(struct selection *selection, int argc, char **argv)
{
	if (argc == 1 && !strcmp(argv[0], "-"))
		return select_pids_from(selection, stdin);
	for (int i = 0; i < argc; i++)
		if (!select_pid(selection, argv[i]))
			return false;
	return true;
}

bool select_family(struct selection *selection)
{
	if (!selection->family)
		return true;
	if (selection->pids != 1) {
		tool_error("--tree is of one process id");
		return false;
	}
	selection->tree = selection->pid[0];
	selection->pids = 0;
	return true;
}

void select_free(struct selection *selection)
{
	free(selection->pid);
	selection->pid = NULL;
	selection->pids = selection->room = 0;
}

/* What of a process the filters ask for, read once. */
struct subject {
	const struct proc *proc;
	pid_t pid;
	char comm[64], cgroup[PLACE_MAX];
	bool have_comm, have_cgroup;
};

static bool filter_takes(const struct filter *filter, struct subject *subject)
{
	uid_t uid;

	switch (filter->by) {
	case FILTER_NAME:
		if (!subject->have_comm)
			proc_comm(subject->proc, subject->pid, subject->comm, sizeof(subject->comm));
		subject->have_comm = true;
		return !fnmatch(filter->pattern, subject->comm, 0);
	case FILTER_USER:
		return place_user_id(subject->proc, subject->pid, &uid) && uid == filter->uid;
	default:
		if (!subject->have_cgroup)
			place_cgroup(subject->proc, subject->pid, subject->cgroup, sizeof(subject->cgroup));
		subject->have_cgroup = true;
		return place_is_in(subject->cgroup, filter->pattern);
	}
}

bool select_takes(const struct selection *selection, const struct proc *proc, pid_t pid)
{
	struct subject subject = { .proc = proc, .pid = pid };
	unsigned asked = 0, passed = 0;

	for (size_t i = 0; i < selection->filters; i++) {
		unsigned bit = 1U << selection->filter[i].by;

		asked |= bit;
		if (!(passed & bit) && filter_takes(&selection->filter[i], &subject))
			passed |= bit;
	}
	return passed == asked;
}

bool select_takes_cgroup(const struct selection *selection, const char *path)
{
	bool asked = false;

	for (size_t i = 0; i < selection->filters; i++)
		if (selection->filter[i].by == FILTER_CGROUP) {
			asked = true;
			if (place_is_in(path, selection->filter[i].pattern))
				return true;
		}
	return !asked;
}

int select_search(const struct selection *selection, const struct proc *proc, pid_t **pids, size_t *count)
{
	size_t kept = 0;
	int error;

	*pids = NULL;
	*count = 0;
	if (!select_searches(selection))
		return 0;
	error = selection->tree ? measure_tree(proc, selection->tree, pids, count) : proc_pids(proc, pids, count);
	if (error)
		return error;
	for (size_t i = 0; i < *count; i++)
		if (select_takes(selection, proc, (*pids)[i]))
			(*pids)[kept++] = (*pids)[i];
	*count = kept;
	return 0;
}

bool select_now(const struct selection *selection, const struct proc *proc, pid_t **pids, size_t *count)
{
	int error;

	if (selection->pids) {
		*count = selection->pids;
		*pids = calloc(*count, sizeof(**pids));
		if (*pids)
			memcpy(*pids, selection->pid, *count * sizeof(**pids));
		return *pids != NULL;
	}
	error = select_search(selection, proc, pids, count);
	if (error == -ESRCH || error == -ENOENT) {
		*pids = NULL;
		*count = 0;
	} else if (error) {
		tool_error("%s", strerror(-error));
	}
	return !error || error == -ESRCH || error == -ENOENT;
}

static int search_failed(const struct selection *selection, int error)
{
	if (selection->tree)
		return tool_process_error(selection->tree, error);
	tool_error("/proc: %s", strerror(-error));
	return EXIT_FAILED;
}

/* Those that were given by number must be there. Returns the exit code. */
static int measure_given(const struct selection *selection, const struct proc *proc, enum process_mode mode,
                         struct measurement *measurement)
{
	int *errors = calloc(selection->pids + 1, sizeof(*errors)), code = EXIT_DONE;

	int error = errors ? measure_listed(measurement, proc, selection->pid, selection->pids, mode, errors) : -ENOMEM;
	bool done = !error || error == -EINTR;

	for (size_t i = 0; done && i < selection->pids; i++)
		if (errors[i] && errors[i] != -EINTR && errors[i] != -EAGAIN)
			code = tool_process_error(selection->pid[i], errors[i]);
	free(errors);
	if (!done)
		tool_error("not enough memory");
	return done ? code : EXIT_FAILED;
}

/* The one process of a core. */
static int measure_core(const struct proc *proc, enum process_mode mode, struct measurement *measurement)
{
	pid_t pid = core_pid(proc->core);
	const struct selection selection = { .pid = &pid, .pids = 1 };

	return measure_given(&selection, proc, mode, measurement);
}

int select_measure(const struct selection *selection, const char *root, enum process_mode mode,
                   struct measurement *measurement)
{
	struct proc proc;
	pid_t *pids = NULL;
	size_t count = 0;
	int code = EXIT_DONE, error;

	if (!tool_proc(&proc, root))
		return EXIT_FAILED;
	error = select_search(selection, &proc, &pids, &count);
	if (error) {
		code = search_failed(selection, error);
	} else if (selection->filters && !count) {
		tool_error("no process is like that");
		code = EXIT_NO_PROCESS;
	}
	measurement->may_stop = true;
	progress_begin();
	/* One that ended meanwhile is nobody's fault. */
	error = measure_processes(measurement, &proc, pids, count, mode, NULL);
	if (error && error != -EINTR) {
		tool_error("not enough memory");
		code = EXIT_FAILED;
	}
	if (proc.core)
		code = measure_core(&proc, mode, measurement);
	else if (selection->pids && code == EXIT_DONE && !error)
		code = measure_given(selection, &proc, mode, measurement);
	progress_end();
	if (measurement->unread) {
		tool_error("interrupted: %zu process%s not read, and missing below", measurement->unread,
		           measurement->unread == 1 ? " was" : "es were");
		code = EXIT_FAILED;
	}
	free(pids);
	proc_close(&proc);
	if (!measurement->wants.quiet && (select_searches(selection) || code == EXIT_DONE))
		measure_complain(measurement);
	return code;
}
