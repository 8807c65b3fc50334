/* SPDX-License-Identifier: MIT */
/* The anonname command: finds the subcommand and runs it. */
#include "options.h"
#include "tool.h"

#include <string.h>

/*
 * Programs of their own, as they alone draw or need SQLite: to load what that
 * takes would cost each report as much as a small process costs to read.
 */
int tool_top(int argc, char **argv)
{
	(void)argc;
	tool_start("anonname-top", argv);
	return EXIT_FAILED;
}

/* Without SQLite there is no such program, but what it would be can be asked. */
static int start_record(enum command command, int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--help"))
		return options_rest(command, OPT_HELP);
	tool_start("anonname-record", argv);
	return EXIT_FAILED;
}

int tool_record(int argc, char **argv)
{
	return start_record(COMMAND_record, argc, argv);
}

int tool_view(int argc, char **argv)
{
	return start_record(COMMAND_view, argc, argv);
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
