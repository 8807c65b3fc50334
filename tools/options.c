/* SPDX-License-Identifier: MIT */
/* getopt's arguments and the text of --help, made from options.def. See options.h. */
#include "options.h"
#include "tool.h"

#include <getopt.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

static const struct {
	const char *order, *before, *behind;
} commands[] = {
#define COMMAND(name, order, help, before, behind) { order, before, behind },
#include "options.def"
};

static const struct {
	char letter;
	const char *word;
} names[] = {
#define OPTION(id, letter, word) { letter, word },
#include "options.def"
};

struct taken {
	enum command command;
	enum option_id id;
	const char *value, *help;
};

static const struct taken taken[] = {
#define TAKES(command, option, value, help) { COMMAND_##command, OPT_##option, value, help },
#include "options.def"
};

static char letter_of(const struct taken *option)
{
	return names[option->id - OPT_BEFORE_FIRST - 1].letter;
}

static const char *word_of(const struct taken *option)
{
	return names[option->id - OPT_BEFORE_FIRST - 1].word;
}

/* --- reading ------------------------------------------------------------------ */

/* For getopt_long(): "+ab:c", and the words. */
struct parser {
	char letters[2 * COUNT(names) + 2];
	struct option words[COUNT(names) + 1];
};

static void parser_make(struct parser *parser, enum command command)
{
	char *letter = stpcpy(parser->letters, commands[command].order);
	struct option *word = parser->words;

	for (size_t i = 0; i < COUNT(taken); i++) {
		if (taken[i].command != command)
			continue;
		*word++ = (struct option){ word_of(&taken[i]), taken[i].value ? required_argument : no_argument, NULL, (int)taken[i].id };
		if (letter_of(&taken[i]))
			*letter++ = letter_of(&taken[i]);
		if (letter_of(&taken[i]) && taken[i].value)
			*letter++ = ':';
	}
	*letter = '\0';
	memset(word, 0, sizeof(*word));
}

/* The word stands before the next one; of a short option we know the letter only. */
static void bad_option(char *const *argv, const char *letters)
{
	const char *word = argv[optind - 1];

	if (strncmp(word, "--", 2) && optopt)
		tool_error(strchr(letters, optopt) ? "option '-%c' needs a value" : "there is no option '-%c'; --help lists them", optopt);
	else if (!optopt)
		tool_error("'%s' is no option, or may be more than one; --help lists them", word);
	else
		tool_error(strchr(word, '=') ? "option '%s' takes no value" : "option '%s' needs a value", word);
}

/* getopt gives the letter for a letter, and the number that we gave for a word. */
static int id_of(enum command command, int c)
{
	for (size_t i = 0; i < COUNT(taken); i++)
		if (taken[i].command == command && c > 0 && letter_of(&taken[i]) == c)
			return (int)taken[i].id;
	return c;
}

int options_next(enum command command, int argc, char **argv)
{
	struct parser parser;
	int c;

	parser_make(&parser, command);
	/* getopt's own words would show what was given as it is. */
	opterr = 0;
	do {
		c = id_of(command, getopt_long(argc, argv, parser.letters, parser.words, NULL));
	} while ((c == OPT_NAMES && tool_choose_names(optarg)) || (c == OPT_CORE && tool_choose_core(optarg)));
	if (c == OPT_BAD)
		bad_option(argv, parser.letters);
	return c;
}

/* --- explaining --------------------------------------------------------------- */

/* "  -t, --tree PID"; its length. */
static size_t format_head(const struct taken *option, char *buffer, size_t size)
{
	char letter[] = { '-', letter_of(option), ',', '\0' };

	return (size_t)snprintf(buffer, size, "  %3s --%s%s%s", letter[1] ? letter : "", word_of(option),
	                        option->value ? " " : "", option->value ? option->value : "");
}

/* Two blanks behind the longest. */
static int help_column(enum command command)
{
	char head[64];
	size_t longest = 0;

	for (size_t i = 0; i < COUNT(taken); i++) {
		size_t len = taken[i].command == command ? format_head(&taken[i], head, sizeof(head)) : 0;

		longest = len > longest ? len : longest;
	}
	return (int)longest + 2;
}

static void print_help(const char *help, int column, const char *list)
{
	for (; *help; help++) {
		if (*help == '%' && help[1] == 's') {
			fputs(list, stdout);
			help++;
		} else if (*help == '\n') {
			printf("\n%*s", column, "");
		} else {
			putchar(*help);
		}
	}
	putchar('\n');
}

void options_help(enum command command, const char *list)
{
	int column = help_column(command);
	char head[64];

	printf("%s\n", commands[command].before);
	for (size_t i = 0; i < COUNT(taken); i++) {
		if (taken[i].command != command)
			continue;
		format_head(&taken[i], head, sizeof(head));
		printf("%-*s", column, head);
		print_help(taken[i].help, column, list);
	}
	if (*commands[command].behind)
		printf("\n%s", commands[command].behind);
}

int options_rest(enum command command, int id)
{
	if (id == OPT_VERSION)
		return tool_version();
	if (id == OPT_NAMES)
		return EXIT_USAGE;
	if (id != OPT_HELP)
		return tool_usage_error();
	options_help(command, "");
	return tool_finish(EXIT_DONE);
}
