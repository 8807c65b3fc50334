/* SPDX-License-Identifier: MIT */
/* anonname label: names that were recognised in a process, put into the kernel. */
#include "options.h"
#include "remote.h"
#include "tool.h"

#include "../src/read/list.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

/* include/uapi/linux/prctl.h; libc may be older. */
#define SET_VMA           0x53564d41
#define SET_VMA_ANON_NAME 0

/* Where vm.max_map_count cannot be read: its default. */
#define MAPS_MAX 65530

struct names {
	struct remote_name *name;
	size_t count, room;
};

static int keep(void *context, const struct region *region)
{
	struct names *names = context;
	struct remote_name *last = names->count ? &names->name[names->count - 1] : NULL, *grown;
	struct remote_name new = { .start = 0 };

	if (!region) {
		names->count = 0;
		return 0;
	}
	if (region->source != NAME_OUTSIDE || region->vma.name.len >= sizeof(new.name))
		return 0;
	new.start = region->vma.start;
	new.end = region->vma.end;
	memcpy(new.name, region->vma.name.at, region->vma.name.len);
	if (last && last->end == new.start && !strcmp(last->name, new.name)) {
		last->end = new.end;
		return 0;
	}
	grown = list_grown(names->name, names->count, &names->room, sizeof(*grown), 64, LIST_ENDLESS);
	if (!grown)
		return -ENOMEM;
	names->name = grown;
	names->name[names->count++] = new;
	return 0;
}

static bool kernel_has_names(void)
{
	long size = sysconf(_SC_PAGESIZE);
	void *page = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool has = page != MAP_FAILED && !prctl(SET_VMA, SET_VMA_ANON_NAME, page, size, "anonname:label");

	if (page != MAP_FAILED)
		munmap(page, (size_t)size);
	return has;
}

/* Each name may cut a mapping in three, and a process has no more of them than the kernel allows: half of that is left to it. */
static bool has_room(const struct proc *proc, const struct process *process, size_t count)
{
	long most = proc_number(proc, 0, "sys/vm/max_map_count");

	return process->vmas + 2 * count <= (most > 0 ? (uint64_t)most : MAPS_MAX) / 2;
}

static int label(const struct proc *proc, pid_t pid, const struct names *names)
{
	struct remote_result result;
	char longest[24];
	int error = remote_label(proc, pid, names->name, names->count, &result);

	if (error)
		return tool_process_error(pid, error);
	printf("%zu of %zu ranges named", result.named, names->count);
	if (result.stops)
		printf(", in %zu %s, the longest %s", result.stops, result.stops == 1 ? "stop" : "stops",
		       tool_duration(result.longest_ns, longest));
	putchar('\n');
	if (result.why)
		tool_error("process %d %s", (int)pid, result.why);
	return tool_finish(result.why ? EXIT_FAILED : EXIT_DONE);
}

static int recognise_and_label(const struct proc *proc, pid_t pid, struct names *names)
{
	struct process process;
	int error = process_read_apart(proc, pid, PROCESS_NAMES, NULL, keep, names, &process);

	if (error)
		return tool_process_error(pid, error);
	if (!names->count) {
		tool_error("process %d has nothing that is recognised and has no name yet", (int)pid);
		return EXIT_FAILED;
	}
	if (!has_room(proc, &process, names->count)) {
		tool_error("process %d would have too many mappings with %zu more names (vm.max_map_count)", (int)pid, names->count);
		return EXIT_FAILED;
	}
	return label(proc, pid, names);
}

int tool_label(int argc, char **argv)
{
	struct names names = { 0 };
	struct proc proc;
	pid_t pid;
	int c = options_next(COMMAND_label, argc, argv);

	if (c != OPT_END)
		return options_rest(COMMAND_label, c);
	c = tool_one_process(argc, argv, NULL, &pid, &proc);
	if (c != EXIT_DONE)
		return c;
	if (kernel_has_names()) {
		c = recognise_and_label(&proc, pid, &names);
	} else {
		tool_error("this kernel has no names for memory (CONFIG_ANON_VMA_NAME); 'anonname check' says more");
		c = EXIT_FAILED;
	}
	proc_close(&proc);
	free(names.name);
	return c;
}
