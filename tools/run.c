/* SPDX-License-Identifier: MIT */
/* anonname run: starts a program under libanonname.so. */
#include "options.h"
#include "peak.h"
#include "preload.h"
#include "program.h"
#include "tool.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
	char library[PATH_MAX], allocator[PATH_MAX] = "", list[128];
	const char *extra[64];
	struct peak_options peak_options = { .interval_ms = 20 };
	bool peak = false, peak_only = false, by_library = false;
	size_t extras = 0;
	uint64_t number;
	int c;

	while ((c = options_next(COMMAND_run, argc, argv)) != OPT_END) {
		switch (c) {
		case OPT_ALLOCATOR:
			if (!preload_find_allocator(optarg, allocator, sizeof(allocator)))
				return EXIT_RUN_FAILED;
			break;
		case OPT_BY_LIBRARY:
			by_library = true;
			break;
		case OPT_LIBRARY:
			if (extras == sizeof(extra) / sizeof(*extra)) {
				tool_error("more than %zu libraries", extras);
				return EXIT_RUN_FAILED;
			}
			extra[extras++] = optarg;
			break;
		case OPT_PEAK:
			peak = true;
			break;
		case OPT_INTERVAL:
			if (!tool_number(optarg, 3600000, "an interval in milliseconds", &number))
				return EXIT_USAGE;
			peak_options.interval_ms = (unsigned)number;
			peak_only = true;
			break;
		case OPT_OUTPUT:
			peak_options.output = optarg;
			peak_only = true;
			break;
		case OPT_JSON:
			peak_options.json = true;
			peak_only = true;
			break;
		case OPT_CSV:
			peak_options.csv = true;
			peak_only = true;
			break;
		case OPT_HELP:
			preload_list_allocators(list, sizeof(list));
			options_help(COMMAND_run, list);
			print_variables();
			return tool_finish(EXIT_DONE);
		default:
			return options_rest(COMMAND_run, c);
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
	if (by_library && !preload_is_by_library())
		setenv("ANONNAME_MALLOC", "library", 1);
	by_library = preload_is_by_library();
	if (by_library && *allocator) {
		tool_error("--by-library (ANONNAME_MALLOC=library) is a malloc of its own: it does not go with -a");
		return tool_usage_error();
	}
	if (!preload_find_library(by_library, library, sizeof(library)))
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
