/* SPDX-License-Identifier: MIT */
/*
 * Reads one or many processes into sums by name, and keeps who could not be
 * read and why. What report, snapshot, diff and run --peak have in common.
 */
#ifndef ANONNAME_TOOLS_MEASURE_H
#define ANONNAME_TOOLS_MEASURE_H

#include "columns.h"
#include "tool.h"

struct measured {
	pid_t pid;                  /* 0: a recorded file */
	char comm[64];
	char *user, *cgroup;        /* NULL: not asked for */
	unsigned long long start_time; /* 0: not asked for, see wants.start_time */
	int error;                  /* 0, or why it is not in the sums */
	bool left_out;              /* it has ended, or is a kernel thread: it gets no entry in the end */
	bool late;                  /* it took too long: some of its figures are unknown */
	size_t rows_left;           /* how many new names it may bring; SIZE_MAX: not asked yet */
	bool names_cut;             /* recognising did not get to its end: names from outside may be missing */
	int library_error;          /* libanonname is there, but its names could not be read */
	struct name_totals totals;
	struct name_table names;    /* its own rows, only where wants.each is given, and only in that call */
};

/* A process was read: its rows, which are freed afterwards. Not 0: all reading ends with it. */
typedef int measured_function(void *context, const struct measured *process);

/* Calls it for each of its rows, and for what found none (its name is NULL), until it returns what is not 0. */
typedef int measured_row_function(void *context, const struct measured *process, const struct name_row *row);
int measured_each_row(const struct measured *process, measured_row_function *each, void *context);

/* What is read of each process beside its figures. */
struct wants {
	bool comm;
	bool start_time;            /* by which somebody will know whether it is still the same process */
	unsigned places;            /* enum place */
	uint32_t figures;           /* FIG_BIT() of those that are shown; some take a slower way */
	measured_function *each;    /* takes the rows of each process; measurement.names then has the totals alone */
	void *context;
	bool quiet;                 /* select_measure() says nothing of what could not be read */
};

struct measurement {
	struct wants wants;
	struct measured *process;
	size_t count, room;
	struct name_table names;
	struct cost cost;
	struct cost recognised;     /* what recognising cost: longest_ns is all of its time */
	uint64_t began, took;       /* ns */
	uint64_t malformed;         /* lines that made no sense */
	bool library_met;           /* some process has it */
	bool may_stop;              /* progress.h is in use */
	size_t unread;              /* processes that Ctrl-C came before */
	size_t without_smaps;       /* processes of which there is none */
};

void measure_begin(struct measurement *measurement, const struct wants *wants);

/*
 * Adds processes. An error of reading one is kept in its entry, and in errors[]
 * where that is not NULL: -ESRCH of one that has no entry any more. Returns what
 * else went wrong.
 */
int measure_processes(struct measurement *measurement, const struct proc *proc, const pid_t *pids, size_t count,
                      enum process_mode mode, int *errors);
/* The same for a list by hand: given twice, or by the id of a thread, one is counted once. */
int measure_listed(struct measurement *measurement, const struct proc *proc, const pid_t *pids, size_t count,
                   enum process_mode mode, int *errors);
int measure_smaps(struct measurement *measurement, int fd);
void measure_end(struct measurement *measurement);
void measure_free(struct measurement *measurement);

/* As proc_bind(), to the process that was measured: -ESRCH when it has ended, whoever has its number now (wants.start_time). */
int measured_bind(struct proc *bound, const struct proc *proc, const struct measured *process);

/* The processes below pid, itself first; the caller frees them. */
int measure_tree(const struct proc *proc, pid_t pid, pid_t **pids, size_t *count);

int measure_rows(const struct measurement *measurement, const struct group *group, bool fold,
                 struct rows *rows);

/* One line on standard error for those that may not be read, one for those whose names may not. */
void measure_complain(const struct measurement *measurement);

void measure_print_cost(FILE *out, const struct measurement *measurement);

/* The format of a report that anonname snapshot writes and anonname diff reads. */
#define SNAPSHOT_FORMAT "anonname-snapshot"
/* The same of a moment of a recording, which has the sums by name alone. */
#define MOMENT_FORMAT "anonname-moment"

/* The members of the object of report --json and of a snapshot, but for the rows: rows_json(). */
void measure_json(struct json_out *json, const struct measurement *measurement, const char *format,
                  const struct group *group);

#endif
