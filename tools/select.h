/* SPDX-License-Identifier: MIT */
/*
 * Which processes a command is about: those whose ids are given, all, a
 * family, or those with a name, a user or a control group. report, top and
 * snapshot choose alike.
 */
#ifndef ANONNAME_TOOLS_SELECT_H
#define ANONNAME_TOOLS_SELECT_H

#include "measure.h"

enum filter_by { FILTER_NAME, FILTER_USER, FILTER_CGROUP };

struct filter {
	enum filter_by by;
	const char *pattern;
	uid_t uid;
};

#define FILTERS_MAX 32

struct selection {
	bool all;
	pid_t tree;
	bool family;                /* --tree without a value: of the one process that is given */
	struct filter filter[FILTERS_MAX];
	size_t filters;
	pid_t *pid;                 /* given by number */
	size_t pids, room;
};

/* Each adds to what is selected; false after an error message. select_option: one of OPT_SELECTION. */
bool select_option(struct selection *selection, int id, const char *value);
bool select_pid(struct selection *selection, const char *argument);
/* Process ids apart by blanks and newlines, as pgrep prints them. */
bool select_pids_from(struct selection *selection, FILE *file);
/* The arguments behind the options: process ids, or - for standard input. None is fine. */
bool select_arguments(struct selection *selection, int argc, char **argv);
/* After them: --tree without a value takes the process that was given. */
bool select_family(struct selection *selection);
void select_free(struct selection *selection);

/* Processes to look for, beside those that were given by number. */
static inline bool select_searches(const struct selection *selection)
{
	return selection->all || selection->tree || selection->filters;
}

/* Does a process pass the filters? Of one kind any is enough, of different kinds each must. */
bool select_takes(const struct selection *selection, const struct proc *proc, pid_t pid);

/* The same of a control group: without such a filter it takes each. */
bool select_takes_cgroup(const struct selection *selection, const char *path);

/* What is searched for, in order; the caller frees it. 0 or a negative errno. */
int select_search(const struct selection *selection, const struct proc *proc, pid_t **pids, size_t *count);

/* Those that were given, or are found now: an empty list where none is. False after an error message. The caller frees it. */
bool select_now(const struct selection *selection, const struct proc *proc, pid_t **pids, size_t *count);

/*
 * Measures what is selected. Says what could not be read; returns the exit
 * code: those that were given by number must be there.
 */
int select_measure(const struct selection *selection, const char *root, enum process_mode mode,
                   struct measurement *measurement);

#endif
