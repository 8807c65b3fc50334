/* SPDX-License-Identifier: MIT */
/* What the subcommands of anonname share: exit codes, messages, arguments, output. */
#ifndef ANONNAME_TOOLS_TOOL_H
#define ANONNAME_TOOLS_TOOL_H

#include "../src/read/process.h"
#include "json.h"

#include <getopt.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* A path of PATH_MAX bytes with some of them escaped; what is longer is cut. */
#define NAME_SHOWN_MAX 4400

enum tool_exit {
	EXIT_DONE = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_NO_PROCESS = 42,       /* as pmap */
};

/* The commands. */
#define COMMAND(name, order, help, before, behind) int tool_##name(int argc, char **argv);
#include "options.def"

/* What each program of ours does first. */
void tool_begin(void);

/* "anonname COMMAND: ..." on standard error, one line; what cannot be shown is escaped. */
extern const char *tool_name;
void tool_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* After a message of what is wrong with the arguments: where to look. Returns EXIT_USAGE. */
int tool_usage_error(void);
int tool_version(void);

/* Says why a process could not be read, and what to do. Returns the exit code. */
int tool_process_error(pid_t pid, int error);

/* Why the names inside a process could not be read. */
const char *tool_names_error(int error);

/* What can be done when a process, or its memory with the names, may not be read. */
const char *tool_denied_advice(void);
const char *tool_nameless_advice(void);

/* A process id, or 0 after an error message. */
pid_t tool_pid(const char *text);

/* For commands about one process: its id, the only argument, and /proc opened. EXIT_DONE, or what to exit with. */
int tool_one_process(int argc, char **argv, const char *root, pid_t *pid, struct proc *proc);

/* A number from 1 to most; false after an error message: "'text' is not what". */
bool tool_number(const char *text, uint64_t most, const char *what, uint64_t *number);

/* How long: a number of seconds, or with ms, s, m, h or d, in ns; false after an error message. */
bool tool_time(const char *text, uint64_t *ns);

/* A size with an optional unit K, M, G (1024), in bytes; false after an error message. */
bool tool_size(const char *text, uint64_t *bytes);

/* --names: a list of sources, for every /proc that is opened from then on; false after an error message. */
bool tool_choose_names(const char *list);

/* --core: what is opened in place of /proc from then on. Always true. */
bool tool_choose_core(const char *path);
bool tool_has_core(void);

/* Opens /proc or --root's tree; false after an error message. */
bool tool_proc(struct proc *proc, const char *root);

/* This machine's, for a process that we start ourselves. */
bool tool_own_proc(struct proc *proc);

/* The directory of the program that runs, without a / at its end; false where /proc does not say. */
bool tool_directory(char *path, size_t size);

/* Becomes a program that is installed together with anonname. Returns after an error message. */
void tool_start(const char *program, char **argv);

/* Whether it is a device: it has no end, or is no text. What is typed at a terminal has one. */
bool tool_is_device(int fd);

/* A file that can be read twice, from its start: it is itself, or a copy of a pipe. A descriptor or a negative errno. */
int tool_rewindable(int fd);

/* A file to write to; NULL after an error message. Follows no link in a directory that others may write to. */
FILE *tool_create(const char *path);

/* Closes what tool_create() made and gives it its own name; EXIT_FAILED after an error message, and it is gone. */
int tool_place(FILE *file, const char *written, const char *path);

/* Before what is not text: false after an error message where standard output is a terminal. */
bool tool_takes_bytes(const char *option);

/* CPU time that we took, with that of the children that have ended. */
uint64_t tool_cpu_ns(void);

/* Flushes standard output; returns code, or EXIT_FAILED after an error message. */
int tool_finish(int code);

/* A JSON document on standard output, and drops the reference. */
int tool_print_json(json_t *json);

/* A size for people: "12.3M". Buffer of 16. */
const char *tool_human(uint64_t bytes, char *buffer);

/* How long, for people: "1.2 ms". Buffer of 24. */
const char *tool_duration(uint64_t ns, char *buffer);

#endif
