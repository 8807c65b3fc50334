/* SPDX-License-Identifier: MIT */
/* The anonname command: finds the subcommand and runs it. */
#include "tool.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/*
 * A program of its own, as it alone draws: to load what that takes would cost
 * each report as much as a small process costs to read.
 */
int tool_top(int argc, char **argv)
{
	char directory[PATH_MAX], path[PATH_MAX + 16];

	(void)argc;
	/* A build tree has it beside this one. */
	if (tool_directory(directory, sizeof(directory))) {
		snprintf(path, sizeof(path), "%s/anonname-top", directory);
		execv(path, argv);
	}
	snprintf(path, sizeof(path), "%s/anonname-top", ANONNAME_LIBEXECDIR);
	execv(path, argv);
	tool_error("cannot start %s: %s. It is installed together with anonname.", path, strerror(errno));
	return EXIT_FAILED;
}

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} tools[] = {
#define COMMAND(name, order, help, before, behind) { #name, tool_##name, help },
#include "options.def"
};

static int help(FILE *out)
{
	fputs("Usage: anonname COMMAND [ARGUMENT...]\n"
	      "Show who owns the anonymous memory of a process.\n\n"
	      "Commands:\n", out);
	for (size_t i = 0; i < sizeof(tools) / sizeof(*tools); i++)
		fprintf(out, "  %-10s %s\n", tools[i].name, tools[i].help);
	fputs("\n"
	      "      --help     this text; 'anonname COMMAND --help' for a command\n"
	      "      --version  the version\n\n"
	      "Exit status: 0 done, 1 failed, 2 wrong usage, 42 no such process.\n"
	      "More: man anonname\n", out);
	return EXIT_DONE;
}

int main(int argc, char **argv)
{
	tool_begin();
	if (argc < 2) {
		help(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help"))
		return tool_finish(help(stdout));
	if (!strcmp(argv[1], "--version"))
		return tool_version();
	for (size_t i = 0; i < sizeof(tools) / sizeof(*tools); i++)
		if (!strcmp(argv[1], tools[i].name)) {
			char title[64];

			snprintf(title, sizeof(title), "anonname %s", tools[i].name);
			tool_name = tools[i].name;
			/* getopt prints this before what is wrong. */
			argv[1] = title;
			return tools[i].run(argc - 1, argv + 1);
		}
	tool_error("there is no command '%s'", argv[1]);
	return tool_usage_error();
}
