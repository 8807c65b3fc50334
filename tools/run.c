/* SPDX-License-Identifier: MIT */
/* anonname run: starts a program under libanonname.so. */
#include "peak.h"
#include "preload.h"
#include "program.h"
#include "tool.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"Usage: anonname run [OPTION...] [--] COMMAND [ARGUMENT...]\n"
	"Start COMMAND with libanonname.so in front of LD_PRELOAD, so that its anonymous\n"
	"memory carries names. Without --peak, COMMAND takes the place of this process.\n"
	"Signals and the exit status are its own.\n\n"
	"  -a, --allocator NAME  use this malloc: %s\n"
	"  -l, --library FILE    preload this library, too; may be given several times\n"
	"      --peak            wait for COMMAND, then print the report of the moment when\n"
	"                        its PSS was highest, and of the end, on standard error\n"
	"  -i, --interval MS     with --peak: look this often, default 20\n"
	"  -o, --output FILE     with --peak: print to FILE\n"
	"  -J, --json            with --peak: print JSON\n"
	"      --csv             with --peak: print CSV\n"
	"      --help            this text\n"
	"      --version         the version\n\n"
	"ANONNAME_LIBRARY is the path of libanonname.so when it is not beside this program\n"
	"or where it was installed. Exit status: 125 anonname failed, 126 COMMAND cannot be\n"
	"run, 127 COMMAND not found, else that of COMMAND.\n";

/* What the library reads from the environment, from the table that it reads it by. */
static void print_variables(void)
{
	static const struct {
		const char *name, *standard, *choices, *help;
	} variables[] = {
#define TEMPLATE(id, variable, standard, glibc, android, help) { variable, standard, NULL, help },
#define CHOICE(id, variable, standard, choices, help) { variable, standard, choices, help },
#define TEXT(id, variable, help) { variable, "", NULL, help },
#include "format/options.def"
#undef TEMPLATE
#undef CHOICE
	};

	printf("\nVariables of the library, with their defaults; libanonname(7) says more:\n");
	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
		printf("  %s=%s\n        %s", variables[i].name, variables[i].standard, variables[i].help);
		if (variables[i].choices)
			printf(" (%s)", variables[i].choices);
		putchar('\n');
	}
}

/* As env(1) and timeout(1) do, so that it cannot be taken for COMMAND's. */
enum { EXIT_RUN_FAILED = 125, EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127 };

int tool_run(int argc, char **argv)
{
	enum { OPT_PEAK = 256, OPT_CSV, OPT_HELP, OPT_VERSION };
	static const struct option options[] = {
		{ "allocator", required_argument, NULL, 'a' },
		{ "library", required_argument, NULL, 'l' },
		{ "peak", no_argument, NULL, OPT_PEAK },
		{ "interval", required_argument, NULL, 'i' },
		{ "output", required_argument, NULL, 'o' },
		{ "json", no_argument, NULL, 'J' },
		{ "csv", no_argument, NULL, OPT_CSV },
		{ "help", no_argument, NULL, OPT_HELP },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ 0 },
	};
	char library[PATH_MAX], allocator[PATH_MAX] = "", list[128];
	const char *extra[64];
	struct peak_options peak_options = { .interval_ms = 20 };
	bool peak = false, peak_only = false;
	size_t extras = 0;
	uint64_t number;
	int c;

	/* "+": options behind COMMAND are COMMAND's. */
	while ((c = tool_getopt(argc, argv, "+a:l:i:o:J", options)) != -1) {
		switch (c) {
		case 'a':
			if (!preload_find_allocator(optarg, allocator, sizeof(allocator)))
				return EXIT_RUN_FAILED;
			break;
		case 'l':
			if (extras == sizeof(extra) / sizeof(*extra)) {
				tool_error("more than %zu libraries", extras);
				return EXIT_RUN_FAILED;
			}
			extra[extras++] = optarg;
			break;
		case OPT_PEAK:
			peak = true;
			break;
		case 'i':
			if (!tool_number(optarg, 3600000, "an interval in milliseconds", &number))
				return EXIT_USAGE;
			peak_options.interval_ms = (unsigned)number;
			peak_only = true;
			break;
		case 'o':
			peak_options.output = optarg;
			peak_only = true;
			break;
		case 'J':
			peak_options.json = true;
			peak_only = true;
			break;
		case OPT_CSV:
			peak_options.csv = true;
			peak_only = true;
			break;
		case OPT_HELP:
			preload_list_allocators(list, sizeof(list));
			printf(help, list);
			print_variables();
			return tool_finish(EXIT_DONE);
		case OPT_VERSION:
			return tool_version();
		default:
			return tool_usage_error();
		}
	}
	if (optind == argc) {
		tool_error("give a command to run");
		return tool_usage_error();
	}
	if (peak_only && !peak) {
		tool_error("-i, -o, -J and --csv go with --peak");
		return tool_usage_error();
	}
	if (!preload_find_library(library, sizeof(library)))
		return EXIT_RUN_FAILED;
	program_warn(argv + optind);
	/* Each goes in front of what is there: ours first, so that its mmap is the one that counts. */
	while (extras)
		if (!preload_add(extra[--extras]))
			return EXIT_RUN_FAILED;
	if ((*allocator && !preload_add(allocator)) || !preload_add(library))
		return EXIT_RUN_FAILED;
	if (peak)
		return peak_run(argv + optind, &peak_options);
	execvp(argv[optind], argv + optind);
	c = errno;
	tool_error("%s cannot be run: %s", argv[optind], strerror(c));
	return c == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
}
