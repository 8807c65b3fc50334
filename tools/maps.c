/* SPDX-License-Identifier: MIT */
/* anonname maps: the kernel's map of a process, with the names that the kernel does not know. */
#include "tool.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
	"Usage: anonname maps [OPTION...] PID\n"
	"Print the memory map of a process in the format of /proc/PID/maps. Where the\n"
	"names come from the registry inside the process, a line is cut at their edges.\n\n"
	"  -J, --json      print JSON\n"
	"      --root DIR  read a recorded tree instead of /proc\n"
	"      --help      this text\n"
	"      --version   the version\n";

/* Where the kernel puts the name: fs/proc/task_mmu.c, 25 + sizeof(void *) * 6 - 1. */
#define NAME_COLUMN 73

static const char *const source_names[] = {
	[NAME_NONE] = NULL, [NAME_KERNEL] = "kernel", [NAME_REGISTRY] = "registry",
};

struct output {
	FILE *out;
	bool first;
};

static int print_text(void *context, const struct region *region)
{
	struct output *output = context;
	const struct vma *vma = &region->vma;
	const char *before = vma->class == VMA_NAMED ? "[anon:" :
	                     vma->class == VMA_SHARED_NAMED ? "[anon_shmem:" : "";
	char name[NAME_SHOWN_MAX];
	int width;

	text_clean(name, sizeof(name), vma->name);
	width = fprintf(output->out, "%08llx-%08llx %s %08llx %02llx:%02llx %llu ",
	                (unsigned long long)vma->start, (unsigned long long)vma->end, vma->perms,
	                (unsigned long long)vma->offset, (unsigned long long)vma->major,
	                (unsigned long long)vma->minor, (unsigned long long)vma->inode);
	if (vma->class != VMA_UNNAMED && (*name || *before))
		fprintf(output->out, "%*s%s%s%s", width < NAME_COLUMN ? NAME_COLUMN - width : 1, "",
		        before, name, *before ? "]" : "");
	fputc('\n', output->out);
	return ferror(output->out) ? -EPIPE : 0;
}

static int print_json(void *context, const struct region *region)
{
	struct output *output = context;
	const struct vma *vma = &region->vma;
	char name[NAME_SHOWN_MAX], device[48];
	bool named = region->source != NAME_NONE;
	json_t *json;
	int failed;

	text_clean(name, sizeof(name), vma->name);
	snprintf(device, sizeof(device), "%02llx:%02llx", (unsigned long long)vma->major,
	         (unsigned long long)vma->minor);
	json = json_pack("{s:I, s:I, s:s, s:I, s:s, s:I, s:s?, s:s?, s:b}",
	                 "start", (json_int_t)vma->start, "end", (json_int_t)vma->end,
	                 "perms", vma->perms, "offset", (json_int_t)vma->offset,
	                 "device", device, "inode", (json_int_t)vma->inode,
	                 "name", named ? name : NULL, "source", source_names[region->source],
	                 "anonymous", vma_is_anonymous(vma));
	fputs(output->first ? "\n  " : ",\n  ", output->out);
	output->first = false;
	/* One region at a time: a process may have a million. */
	failed = !json || json_dumpf(json, output->out, JSON_COMPACT | JSON_PRESERVE_ORDER);
	json_decref(json);
	return failed ? -EPIPE : 0;
}

int tool_maps(int argc, char **argv)
{
	enum { OPT_ROOT = 256, OPT_HELP, OPT_VERSION };
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'J' },
		{ "root", required_argument, NULL, OPT_ROOT },
		{ "help", no_argument, NULL, OPT_HELP },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ 0 },
	};
	struct output output = { .out = stdout, .first = true };
	const char *root = NULL;
	struct process process;
	struct proc proc;
	bool json = false;
	pid_t pid;
	int c, error;

	while ((c = getopt_long(argc, argv, "J", options, NULL)) != -1) {
		switch (c) {
		case 'J': json = true; break;
		case OPT_ROOT: root = optarg; break;
		case OPT_HELP: fputs(help, stdout); return tool_finish(EXIT_DONE);
		case OPT_VERSION: return tool_version();
		default: return tool_usage_error();
		}
	}
	c = tool_one_process(argc, argv, root, &pid, &proc);
	if (c != EXIT_DONE)
		return c;
	error = proc_exists(&proc, pid);
	if (!error && json)
		printf("{\n \"format\": \"anonname-maps\",\n \"version\": 1,\n \"pid\": %d,\n \"regions\": [",
		       (int)pid);
	if (!error)
		error = process_read(&proc, pid, PROCESS_NAMES, NULL, json ? print_json : print_text, &output,
		                     &process);
	proc_close(&proc);
	if (ferror(stdout))
		return tool_finish(EXIT_FAILED);
	if (json && !error)
		fputs(output.first ? "]\n}\n" : "\n ]\n}\n", stdout);
	if (error)
		return tool_process_error(pid, error);
	if (process.library.state == LIBRARY_UNREADABLE)
		tool_error("libanonname is in process %d, but its memory may not be read (%s), so only the "
		           "kernel's names are shown. Run as root, or set kernel.yama.ptrace_scope to 0.",
		           (int)pid, strerror(-process.library.error));
	else if (process.registry_error)
		tool_error("the names inside process %d could not be read: %s. Only the kernel's are shown.",
		           (int)pid, strerror(-process.registry_error));
	return tool_finish(EXIT_DONE);
}
