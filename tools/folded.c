/* SPDX-License-Identifier: MIT */
/* Prints folded stacks. See folded.h. */
#include "folded.h"

#include <string.h>

/* The format has no escape. What parts frames becomes what text_clean() would have made of it. */
static void print_frame(FILE *out, const char *text)
{
	for (; *text; text++)
		if (*text == ';')
			fputs("\\x3b", out);
		else
			putc(*text, out);
}

static void print_process(const struct folded *folded, const struct measured *process)
{
	print_frame(folded->out, *process->comm ? process->comm : "?");
	if (!folded->fold && process->pid)
		fprintf(folded->out, " %d", (int)process->pid);
}

static int print_row(void *context, const struct measured *process, const struct name_row *row)
{
	static struct name_parts parts;
	struct folded *folded = context;

	if (row->figures.unknown & FIG_BIT(folded->figure)) {
		folded->unknown++;
		return 0;
	}
	/* A frame of no bytes has no width. */
	if (!row->figures.value[folded->figure])
		return 0;
	name_split(row, folded->fold, &parts);
	print_process(folded, process);
	for (const char *frame = parts.owner; frame; frame = frame == parts.owner ? parts.thing : frame == parts.thing ? parts.detail : NULL)
		if (*frame) {
			putc(';', folded->out);
			print_frame(folded->out, frame);
		}
	fprintf(folded->out, " %llu\n", (unsigned long long)row->figures.value[folded->figure]);
	return 0;
}

int folded_process(void *context, const struct measured *process)
{
	return measured_each_row(process, print_row, context);
}
