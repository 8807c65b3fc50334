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

static void print_line(struct folded *folded, const struct measured *process, const struct name_parts *parts,
                       const struct figures *figures)
{
	if (figures->unknown & FIG_BIT(folded->figure)) {
		folded->unknown++;
		return;
	}
	/* A frame of no bytes has no width. */
	if (!figures->value[folded->figure])
		return;
	print_process(folded, process);
	for (const char *frame = parts->owner; frame; frame = frame == parts->owner ? parts->thing : frame == parts->thing ? parts->detail : NULL)
		if (*frame) {
			putc(';', folded->out);
			print_frame(folded->out, frame);
		}
	fprintf(folded->out, " %llu\n", (unsigned long long)figures->value[folded->figure]);
}

int folded_process(void *context, const struct measured *process)
{
	static struct name_parts parts;
	struct folded *folded = context;

	for (size_t i = 0; i < process->names.rows; i++) {
		name_split(&process->names.row[i], folded->fold, &parts);
		print_line(folded, process, &parts, &process->names.row[i].figures);
	}
	if (process->names.rest.figures.value[FIG_VMAS]) {
		parts = (struct name_parts){ .owner = "[more regions]" };
		print_line(folded, process, &parts, &process->names.rest.figures);
	}
	return 0;
}
