/* SPDX-License-Identifier: MIT */
/* anonname maps: the kernel's map of a process, with the names that the kernel does not know. */
#include "address.h"
#include "columns.h"
#include "options.h"
#include "tool.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Where the kernel puts the name: fs/proc/task_mmu.c, 25 + sizeof(void *) * 6 - 1. */
#define NAME_COLUMN 73
/* What stands before it may be longer: seven numbers. */
#define LINE_MAX_   (7 * 24)

struct output {
	FILE *out;
	bool first;
	/* For a whole map. What comes before the regions waits for the first: an error comes without. */
	region_function *print;
	pid_t pid;
	bool named_only;            /* the kernel's names are not wanted */
};

/* A number of at least so many digits, 16 or fewer. printf would be half the work of a map of 20,000 lines. */
static char *put_number(char *at, uint64_t value, unsigned base, unsigned least)
{
	char digits[24];
	unsigned count = 0;

	do {
		digits[count++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value || count < least);
	while (count)
		*at++ = digits[--count];
	return at;
}

/* All in front of the name, as the kernel writes it. */
static size_t put_line(char line[LINE_MAX_], const struct vma *vma)
{
	char *at = put_number(line, vma->start, 16, 8);

	*at++ = '-';
	at = put_number(at, vma->end, 16, 8);
	*at++ = ' ';
	at = stpcpy(at, vma->perms);
	*at++ = ' ';
	at = put_number(at, vma->offset, 16, 8);
	*at++ = ' ';
	at = put_number(at, vma->major, 16, 2);
	*at++ = ':';
	at = put_number(at, vma->minor, 16, 2);
	*at++ = ' ';
	at = put_number(at, vma->inode, 10, 1);
	*at++ = ' ';
	return (size_t)(at - line);
}

static int print_text(void *context, const struct region *region)
{
	struct output *output = context;
	const struct vma *vma = &region->vma;
	const char *before = vma->class == VMA_NAMED ? "[anon:" :
	                     vma->class == VMA_SHARED_NAMED ? "[anon_shmem:" : "";
	char name[NAME_SHOWN_MAX], line[LINE_MAX_];
	size_t width = put_line(line, vma);

	fwrite(line, 1, width, output->out);
	text_clean(name, sizeof(name), vma->name);
	if (vma->class != VMA_UNNAMED && (*name || *before))
		fprintf(output->out, "%*s%s%s%s%s", width < NAME_COLUMN ? (int)(NAME_COLUMN - width) : 1, "",
		        before, name, *before ? "]" : "", region->source == NAME_OUTSIDE && !output->named_only ? " (outside)" : "");
	fputc('\n', output->out);
	return ferror(output->out) ? -EPIPE : 0;
}

/* By hand, one region at a time: a process may have a million. */
static int print_json(void *context, const struct region *region)
{
	struct output *output = context;
	const struct vma *vma = &region->vma;
	char name[NAME_SHOWN_MAX];

	text_clean(name, sizeof(name), vma->name);
	fprintf(output->out, "%s{\"start\":%llu,\"end\":%llu,\"offset\":%llu,\"inode\":%llu,\"perms\":",
	        output->first ? "\n  " : ",\n  ", (unsigned long long)vma->start, (unsigned long long)vma->end,
	        (unsigned long long)vma->offset, (unsigned long long)vma->inode);
	output->first = false;
	json_text(output->out, vma->perms);
	fprintf(output->out, ",\"device\":\"%02llx:%02llx\",\"name\":", (unsigned long long)vma->major,
	        (unsigned long long)vma->minor);
	json_text(output->out, region->source != NAME_NONE ? name : NULL);
	fputs(",\"source\":", output->out);
	json_text(output->out, sources_text(NAME_BIT(region->source)));
	fprintf(output->out, ",\"anonymous\":%s}", vma_is_anonymous(vma) ? "true" : "false");
	return ferror(output->out) ? -EPIPE : 0;
}

static int print_csv(void *context, const struct region *region)
{
	struct output *output = context;
	const struct vma *vma = &region->vma;
	const char *source = sources_text(NAME_BIT(region->source));
	char name[NAME_SHOWN_MAX] = "";

	if (region->source != NAME_NONE)
		text_clean(name, sizeof(name), vma->name);
	fprintf(output->out, "%llu,%llu,%s,%llu,%02llx:%02llx,%llu,", (unsigned long long)vma->start,
	        (unsigned long long)vma->end, vma->perms, (unsigned long long)vma->offset,
	        (unsigned long long)vma->major, (unsigned long long)vma->minor, (unsigned long long)vma->inode);
	csv_text(output->out, name);
	fprintf(output->out, ",%s,%s\n", source ? source : "", vma_is_anonymous(vma) ? "true" : "false");
	return ferror(output->out) ? -EPIPE : 0;
}

static void print_head(region_function *print, pid_t pid)
{
	if (print == print_json)
		printf("{\n \"format\": \"anonname-maps\",\n \"version\": 1,\n \"pid\": %d,\n \"regions\": [",
		       (int)pid);
	else if (print == print_csv)
		puts("start,end,perms,offset,device,inode,name,source,anonymous");
}

static int print_with_head(void *context, const struct region *region)
{
	struct output *output = context;

	/* The process's first thread ended meanwhile, and what is printed cannot be taken back. */
	if (!region)
		return -ESRCH;
	/* Without the kernel's names only what the others know is asked for. */
	if (output->named_only && region->source <= NAME_KERNEL)
		return 0;
	if (output->pid)
		print_head(output->print, output->pid);
	output->pid = 0;
	return output->print(output, region);
}

/* --- one address -------------------------------------------------------------- */

static void print_holder(const struct address *found)
{
	const struct vma *vma = &found->holds.region.vma;
	struct table table = { .color = terminal_color(), .screen = terminal_width(STDOUT_FILENO) };
	char name[NAME_SHOWN_MAX];
	struct row row = { .name = name, .figures = vma->figures };
	struct rows rows = { .row = &row, .count = 1 };

	text_clean(name, sizeof(name), vma->name);
	if (!*name)
		snprintf(name, sizeof(name), "-");
	printf("# %llx is %llu bytes into it\n", (unsigned long long)found->at, (unsigned long long)(found->at - vma->start));
	columns_default(&table);
	rows_print_text(stdout, &rows, NULL, &table, 0);
}

static void print_figures(const struct figures *figures)
{
	struct figures of_region = *figures;
	json_t *json;

	of_region.unknown |= FIG_BIT(FIG_PAGE_TABLES);
	json = figures_json(&of_region);
	json_dumpf(json, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(json);
}

static int print_address(const struct address *found, pid_t pid, region_function *print)
{
	const struct neighbour *all[] = { &found->before, &found->holds, &found->after };
	struct output output = { .out = stdout, .first = true };

	print_head(print, pid);
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (all[i]->there)
			print(&output, &all[i]->region);
	if (print == print_text && found->holds.there)
		print_holder(found);
	if (print == print_json) {
		printf("%s],\n \"address\": %llu,\n \"offset\": ", output.first ? "" : "\n ", (unsigned long long)found->at);
		if (found->holds.there)
			printf("%llu,\n \"figures\": ", (unsigned long long)(found->at - found->holds.region.vma.start));
		else
			printf("null,\n \"figures\": ");
		if (found->holds.there)
			print_figures(&found->holds.region.vma.figures);
		else
			fputs("null", stdout);
		fputs("\n}\n", stdout);
	}
	if (!found->holds.there)
		tool_error("%llx lies in no region of process %d", (unsigned long long)found->at, (int)pid);
	return tool_finish(found->holds.there ? EXIT_DONE : EXIT_FAILED);
}

int tool_maps(int argc, char **argv)
{
	struct output output = { .out = stdout, .first = true };
	const char *root = NULL, *address;
	region_function *print;
	struct process process;
	struct proc proc;
	bool json = false, csv = false;
	pid_t pid;
	int c, error;

	while ((c = options_next(COMMAND_maps, argc, argv)) != OPT_END) {
		switch (c) {
		case OPT_JSON: json = true; break;
		case OPT_CSV: csv = true; break;
		case OPT_ROOT: root = optarg; break;
		default: return options_rest(COMMAND_maps, c);
		}
	}
	address = argc - optind == 2 - tool_has_core() ? argv[--argc] : NULL;
	c = tool_one_process(argc, argv, root, &pid, &proc);
	if (c != EXIT_DONE)
		return c;
	print = json ? print_json : csv ? print_csv : print_text;
	if (address) {
		static struct address found;

		c = address_find(&proc, pid, address, &found);
		proc_close(&proc);
		return c == EXIT_DONE ? print_address(&found, pid, print) : c;
	}
	output.print = print;
	output.pid = pid;
	output.named_only = proc.unwanted & NAME_BIT(NAME_KERNEL);
	error = process_read_apart(&proc, pid, PROCESS_NAMES, NULL, print_with_head, &output, &process);
	proc_close(&proc);
	if (ferror(stdout))
		return tool_finish(EXIT_FAILED);
	/* Nothing of what was asked for: an empty list. */
	if (!error && output.pid)
		print_head(print, pid);
	if (json && !error)
		fputs(process.recognise_error == -EDQUOT ? "\n ],\n \"names_cut\": true\n}\n" : "\n ]\n}\n", stdout);
	if (error)
		return tool_process_error(pid, error);
	if (process.library.state == LIBRARY_UNREADABLE)
		tool_error("libanonname is in process %d, but its memory may not be read (%s), so only the "
		           "kernel's names are shown. %s",
		           (int)pid, strerror(-process.library.error), tool_nameless_advice());
	else if (process.registry_error)
		tool_error("the names inside process %d could not be read: %s. Only the kernel's are shown.",
		           (int)pid, tool_names_error(process.registry_error));
	if (process.recognise_error == -EDQUOT)
		tool_error("process %d holds more than is looked through of one process: names from outside may be missing",
		           (int)pid);
	return tool_finish(EXIT_DONE);
}
