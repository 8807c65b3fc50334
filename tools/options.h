/* SPDX-License-Identifier: MIT */
/* Options of the commands, read and explained by one table: options.def. */
#ifndef ANONNAME_TOOLS_OPTIONS_H
#define ANONNAME_TOOLS_OPTIONS_H

enum command {
#define COMMAND(name, order, help, before, behind) COMMAND_##name,
#include "options.def"
	COMMAND_COUNT
};

/* Above every letter, as getopt has both in one number. */
enum option_id {
	OPT_END = -1,               /* no more options */
	OPT_BAD = '?',
	OPT_BEFORE_FIRST = 255,
#define OPTION(id, letter, word) OPT_##id,
#include "options.def"
};

/* What chooses processes: for a switch, which hands them to select_option(). */
#define OPT_SELECTION OPT_ALL ... OPT_CGROUP

/*
 * The next option, its value in optarg. OPT_BAD after an error message in which
 * nothing unprintable is left. --names means the same in each command and is
 * taken here; OPT_NAMES says that its value was refused, with a message.
 */
int options_next(enum command command, int argc, char **argv);

/* --help on standard output; list takes the place of the %s in a help text. */
void options_help(enum command command, const char *list);

/* For what a command does not take itself: --help, --version, what is wrong or was refused. Returns the exit code. */
int options_rest(enum command command, int id);

#endif
