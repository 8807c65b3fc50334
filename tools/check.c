/* SPDX-License-Identifier: MIT */
/* anonname check: what works here, what works in a process, and what to do about the rest. */
#include "columns.h"
#include "options.h"
#include "preload.h"
#include "tool.h"

#include "../src/read/names.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

static const struct {
	const char *name, *help;
} parts[PART_COUNT] = {
#define PART(id, name, what) [PART_##id] = { name, what },
#include "../src/format/parts.def"
};

static const char *const states[] = {
	[PART_UNTRIED] = "untried", [PART_ACTIVE] = "active", [PART_DECLINED] = "declined",
};

/* In words, and what can be done about it; NULL: nothing needs to be. */
static const struct {
	const char *name, *why, *advice;
} reasons[REASON_COUNT] = {
#define REASON(id, name, why, advice) [REASON_##id] = { name, why, advice },
#include "../src/format/parts.def"
};

static const struct {
	const char *name, *help;
} counters[COUNT_COUNT] = {
#define COUNTER(id, name, what) [COUNT_##id] = { name, what },
#include "../src/format/parts.def"
};

#define LARGEST 5
#define ADVICE  16

struct unnamed {
	uint64_t start, end, rss;
	char perms[5];
};

struct check {
	int kernel_error;           /* of our own probe */
	bool probed;
	bool started;               /* we started the process to look at it */
	bool looked;                /* at a process */
	struct process process;
	struct name_table names;
	uint64_t regions, special_rss; /* special: [heap] and [stack] */
	struct unnamed largest[LARGEST];
	uint64_t last_end, free_from, free_size; /* the largest piece of address space between VMAs */
	long max_map_count;
	const char *advice[ADVICE];
	size_t advices;
};

static int probe_kernel(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int error;

	if (p == MAP_FAILED)
		return -errno;
	error = prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, page, "anonname:check") ? -errno : 0;
	munmap(p, page);
	return error;
}

static void advise(struct check *check, const char *text)
{
	for (size_t i = 0; i < check->advices; i++)
		if (!strcmp(check->advice[i], text))
			return;
	if (check->advices < ADVICE)
		check->advice[check->advices++] = text;
}

/* Not up to what lies in the kernel's half ([vsyscall]): nothing can be mapped there. */
static void take_gap(struct check *check, const struct vma *vma)
{
	if (!(vma->start >> 63) && vma->start - check->last_end > check->free_size) {
		check->free_from = check->last_end;
		check->free_size = vma->start - check->last_end;
	}
	check->last_end = vma->end;
}

static int take_region(void *context, const struct region *region)
{
	struct check *check = context;
	uint64_t rss;
	unsigned i;

	if (!region) {
		names_free(&check->names);
		memset(check->largest, 0, sizeof(check->largest));
		check->regions = check->special_rss = 0;
		check->last_end = check->free_from = check->free_size = 0;
		return 0;
	}
	rss = region->vma.figures.value[FIG_RSS];
	check->regions++;
	take_gap(check, &region->vma);
	if (vma_is_anonymous(&region->vma) && region->vma.class != VMA_NAMED && region->source == NAME_KERNEL)
		check->special_rss += rss;
	if (region->vma.class == VMA_UNNAMED && rss) {
		for (i = LARGEST; i && check->largest[i - 1].rss < rss; i--)
			if (i < LARGEST)
				check->largest[i] = check->largest[i - 1];
		if (i < LARGEST) {
			check->largest[i] = (struct unnamed){ region->vma.start, region->vma.end, rss, "" };
			memcpy(check->largest[i].perms, region->vma.perms, 5);
		}
	}
	return names_add(&check->names, region);
}

/* The kernel's module (patches/module), built for this kernel by dkms. */
static bool module_is_installed(const char *release)
{
	static const char *const packed[] = { "", ".xz", ".zst", ".gz" };
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(packed) / sizeof(*packed); i++) {
		snprintf(path, sizeof(path), "/lib/modules/%s/updates/dkms/anonname.ko%s", release, packed[i]);
		if (access(path, F_OK) == 0)
			return true;
	}
	return false;
}

/* A module gives names to a 6.1 that was built without them. */
static void advise_on_module(struct check *check)
{
	struct utsname uts;

	uname(&uts);
	if (module_is_installed(uts.release))
		advise(check, "The module that lets this kernel name memory is installed and not loaded. As root: modprobe "
		              "anonname (where that fails, dmesg says why).");
	else if (!strncmp(uts.release, "6.1.", 4) && !strcmp(uts.machine, "x86_64"))
		advise(check, "For Linux 6.1 on x86-64, as Debian 12 has it, there is a module that lets it name memory "
		              "without building the kernel anew: the package anonname-dkms, or patches/module in the "
		              "source of anonname.");
}

static void find_advice(struct check *check)
{
	const struct library *library = &check->process.library;
	double labelled = names_labelled(&check->names.totals);

	if (check->probed && check->kernel_error == -EINVAL) {
		advise(check, "This kernel was built without CONFIG_ANON_VMA_NAME (or is older than 5.17). Names are "
		              "kept inside the process instead: read them with anonname maps and anonname report.");
		advise_on_module(check);
	}
	if (!check->looked)
		return;
	switch (library->state) {
	case LIBRARY_ABSENT:
		if (labelled >= 0 && labelled < 0.95)
			advise(check, "The process runs without libanonname. Start it with: anonname run COMMAND");
		break;
	case LIBRARY_UNREADABLE:
		advise(check, "The memory of the process may not be read, and the names in it are there. Run as root, or "
		              "allow the owner: sysctl kernel.yama.ptrace_scope=0");
		break;
	case LIBRARY_UNREADY:
		advise(check, "The library has not started in this process. Ask again; if it stays so, the program "
		              "replaced the dynamic linker's start-up.");
		break;
	case LIBRARY_FOREIGN:
		advise(check, "The libanonname in the process is of another version than this command. Use the "
		              "command that came with it.");
		break;
	case LIBRARY_READY:
		for (unsigned i = 0; i < PART_COUNT; i++) {
			unsigned reason = library->root.part_reason[i];

			/* Without the inside of libc, but by other ways, most can be named all the same. */
			if (reason == REASON_SANDBOX && labelled >= 0.95)
				continue;
			if (library->root.part_state[i] == PART_DECLINED && reason < REASON_COUNT &&
			    reasons[reason].advice)
				advise(check, reasons[reason].advice);
		}
		if (library->root.sink == ROOT_SINK_NONE)
			advise(check, "The library names nothing: ANONNAME_SINK is off. Unset it and start the program again.");
		if (library->root.sandbox)
			advise(check, "A seccomp filter keeps the library from prctl(PR_SET_VMA). Its names are in the "
			              "registry: read them with anonname maps.");
		if (library->root.counter[COUNT_DROPPED])
			advise(check, "Names were lost. Fewer different names help: set coarser templates, such as "
			              "ANONNAME_ARENA=%a:arena.");
		if (library->root.counter[COUNT_COARSE] || library->root.counter[COUNT_SKIPPED])
			advise(check, "The process came near vm.max_map_count, and names were made coarser. Raise it: "
			              "sysctl vm.max_map_count=262144");
		if (check->process.registry_error || check->process.registry_torn)
			advise(check, "Part of the registry changed while it was read. Ask again.");
		break;
	}
	if (check->max_map_count > 0 && check->process.vmas > (uint64_t)check->max_map_count * 3 / 4)
		advise(check, "The process has used more than three quarters of vm.max_map_count. Raise it: "
		              "sysctl vm.max_map_count=262144");
	if (library->state == LIBRARY_READY && labelled >= 0 && labelled < 0.95 && check->largest[0].rss)
		advise(check, "Much is still unnamed, see the largest regions. Memory that was mapped by inline system "
		              "calls, or before the library started, keeps no name.");
}

static const char *sink_name(uint32_t sink)
{
	static const char *const names[] = { "none", "kernel", "registry", "both" };

	return sink < 4 ? names[sink] : "unknown";
}

static const char *const library_states[] = {
	[LIBRARY_ABSENT] = "absent", [LIBRARY_UNREADABLE] = "unreadable", [LIBRARY_UNREADY] = "unready",
	[LIBRARY_FOREIGN] = "foreign", [LIBRARY_READY] = "ready",
};

static void print_library(const struct check *check)
{
	const struct library *library = &check->process.library;
	const struct root *root = &library->root;

	printf("  library            ");
	if (library->state == LIBRARY_ABSENT) {
		puts("not in the process");
		return;
	}
	printf("%s", library->path);
	if (library->state == LIBRARY_UNREADABLE)
		printf(": its memory may not be read (%s)\n", strerror(-library->error));
	else if (library->state == LIBRARY_UNREADY)
		puts(": not started");
	else if (library->state == LIBRARY_FOREIGN)
		puts(": of another version, or no libanonname");
	if (library->state != LIBRARY_READY)
		return;
	printf("\n  names go to        %s", sink_name(root->sink));
	if (root->kernel_error)
		printf(" (the kernel cannot: %s)", strerror(root->kernel_error));
	else if (root->sandbox)
		printf(" (a seccomp filter forbids the prctl)");
	putchar('\n');
	for (unsigned i = 0; i < PART_COUNT; i++) {
		unsigned state = root->part_state[i], reason = root->part_reason[i];
		const char *why = reason < REASON_COUNT ? reasons[reason].why : "unknown reason";

		printf("  %-18s %s%s%s  (%s)\n", parts[i].name,
		       state <= PART_DECLINED ? states[state] : "unknown",
		       why ? ": " : "", why ? why : "", parts[i].help);
	}
	for (unsigned i = 0; i < COUNT_COUNT; i++)
		if (root->counter[i])
			printf("  %-18s %llu  (%s)\n", counters[i].name,
			       (unsigned long long)root->counter[i], counters[i].help);
	if (check->process.registry_error)
		printf("  registry           could not be read: %s\n", tool_names_error(check->process.registry_error));
	else if (root->sink & ROOT_SINK_REGISTRY)
		printf("  registry           %zu ranges read, %zu changing, %zu refused\n",
		       check->process.registry_ranges, check->process.registry_torn,
		       check->process.registry_refused);
}

static void print_text(const struct check *check)
{
	const struct name_totals *totals = &check->names.totals;
	double labelled = names_labelled(totals);
	char a[16], b[16], c[16], d[16], e[16];
	struct utsname uts;

	if (check->probed) {
		uname(&uts);
		printf("kernel %s: ", uts.release);
		if (!check->kernel_error)
			puts("names anonymous memory");
		else
			printf("does not name anonymous memory (%s)\n", strerror(-check->kernel_error));
	}
	if (check->looked) {
		if (check->started)
			puts("a program that is started here:");
		else
			printf("process %d (%s):\n", (int)check->process.pid, check->process.identity.comm);
		print_library(check);
		printf("  VMAs               %llu", (unsigned long long)check->process.vmas);
		if (check->max_map_count > 0)
			printf(" of %ld (vm.max_map_count)", check->max_map_count);
		printf("\n  address space      the largest free piece has %s, from %llx on",
		       tool_human(check->free_size, a), (unsigned long long)check->free_from);
		printf("\n  regions            %llu, with %zu names\n", (unsigned long long)check->regions,
		       check->names.rows);
		if (totals->rss_unknown)
			puts("  anonymous RSS      -");
		else if (labelled < 0)
			puts("  anonymous RSS      0, named -");
		else
			printf("  anonymous RSS      %s, named %.1f %% (%s by the kernel, %s by the registry, "
			       "%s from outside, %s heap and stack)\n", tool_human(totals->anon_rss, a), 100 * labelled,
			       tool_human(totals->by_source[NAME_KERNEL] - check->special_rss, b),
			       tool_human(totals->by_source[NAME_REGISTRY], c),
			       tool_human(totals->by_source[NAME_OUTSIDE], d), tool_human(check->special_rss, e));
		for (unsigned i = 0; i < LARGEST && check->largest[i].rss; i++)
			printf("  %s %llx-%llx %s %s\n", i ? "                  " : "largest unnamed   ",
			       (unsigned long long)check->largest[i].start,
			       (unsigned long long)check->largest[i].end, check->largest[i].perms,
			       tool_human(check->largest[i].rss, a));
	}
	for (size_t i = 0; i < check->advices; i++)
		printf("%s%s\n", i ? "- " : "what to do:\n- ", check->advice[i]);
}

static json_t *library_json(const struct check *check)
{
	const struct library *library = &check->process.library;
	const struct root *root = &library->root;
	json_t *json = json_pack("{s:s, s:s?}", "state", library_states[library->state],
	                         "path", *library->path ? library->path : NULL);
	json_t *list;

	if (library->state != LIBRARY_READY)
		return json;
	json_object_set_new(json, "sink", json_string(sink_name(root->sink)));
	json_object_set_new(json, "kernel_error",
	                    root->kernel_error ? json_string(strerror(root->kernel_error)) : json_null());
	json_object_set_new(json, "sandbox", json_boolean(root->sandbox));
	list = json_object();
	for (unsigned i = 0; i < PART_COUNT; i++) {
		unsigned state = root->part_state[i], reason = root->part_reason[i];

		json_object_set_new(list, parts[i].name, json_pack("{s:s, s:s}",
			"state", state <= PART_DECLINED ? states[state] : "unknown",
			"reason", reason < REASON_COUNT ? reasons[reason].name : "unknown"));
	}
	json_object_set_new(json, "parts", list);
	list = json_object();
	for (unsigned i = 0; i < COUNT_COUNT; i++)
		json_object_set_new(list, counters[i].name, json_integer((json_int_t)root->counter[i]));
	json_object_set_new(json, "counters", list);
	json_object_set_new(json, "registry", json_pack("{s:s?, s:I, s:I, s:I}",
		"error", check->process.registry_error ? tool_names_error(check->process.registry_error) : NULL,
		"ranges", (json_int_t)check->process.registry_ranges,
		"torn", (json_int_t)check->process.registry_torn,
		"refused", (json_int_t)check->process.registry_refused));
	return json;
}

static json_t *check_json(const struct check *check)
{
	json_t *json = json_pack("{s:s, s:i}", "format", "anonname-check", "version", 1);
	json_t *list = json_array();

	json_object_set_new(json, "kernel_names",
	                    check->probed ? json_boolean(!check->kernel_error) : json_null());
	if (check->looked) {
		json_t *largest = json_array();

		json_object_set_new(json, "pid", check->started ? json_null() : json_integer(check->process.pid));
		json_object_set_new(json, "comm", json_string(check->process.identity.comm));
		json_object_set_new(json, "library", library_json(check));
		json_object_set_new(json, "vmas", json_integer((json_int_t)check->process.vmas));
		json_object_set_new(json, "max_map_count",
		                    check->max_map_count > 0 ? json_integer(check->max_map_count) : json_null());
		json_object_set_new(json, "largest_free", json_integer(json_bytes(check->free_size)));
		json_object_set_new(json, "regions", json_integer((json_int_t)check->regions));
		json_object_set_new(json, "names", json_integer((json_int_t)check->names.rows));
		named_json(json, &check->names.totals);
		for (unsigned i = 0; i < LARGEST && check->largest[i].rss; i++)
			json_array_append_new(largest, json_pack("{s:I, s:I, s:s, s:I}",
				"start", (json_int_t)check->largest[i].start, "end", (json_int_t)check->largest[i].end,
				"perms", check->largest[i].perms, "rss", json_bytes(check->largest[i].rss)));
		json_object_set_new(json, "largest_unnamed", largest);
	}
	for (size_t i = 0; i < check->advices; i++)
		json_array_append_new(list, json_string(check->advice[i]));
	json_object_set_new(json, "advice", list);
	return json;
}

/* A line for each value: "library.parts.walk.state,active". */
static void print_csv(const char *path, json_t *json)
{
	char below[256], *text;
	const char *key;
	json_t *value;
	size_t i;

	if (json_is_object(json)) {
		json_object_foreach(json, key, value) {
			snprintf(below, sizeof(below), "%s%s%s", path, *path ? "." : "", key);
			print_csv(below, value);
		}
	} else if (json_is_array(json)) {
		json_array_foreach(json, i, value) {
			snprintf(below, sizeof(below), "%s.%zu", path, i);
			print_csv(below, value);
		}
	} else {
		text = json_is_string(json) || json_is_null(json) ? NULL : json_dumps(json, JSON_ENCODE_ANY);
		printf("%s,", path);
		csv_text(stdout, text ? text : json_string_value(json));
		putchar('\n');
		free(text);
	}
}

static int look_at(struct check *check, const struct proc *proc, pid_t pid)
{
	/* RSS is all that it takes, and mostly pagemap has it: that does not hold the process up as smaps does. */
	int error = process_read_apart(proc, pid, PROCESS_GENTLE, NULL, take_region, check, &check->process);

	/* A second reading of one that takes too long would take as long again. */
	if (!error && check->names.totals.rss_unknown && !check->process.late) {
		take_region(check, NULL);
		error = process_read_apart(proc, pid, PROCESS_FIGURES, NULL, take_region, check, &check->process);
	}
	if (!error)
		proc_identify(proc, pid, &check->process.identity);
	check->max_map_count = proc_number(proc, 0, "sys/vm/max_map_count");
	check->looked = !error;
	return error;
}

static int ignore_region(void *context, const struct region *region)
{
	(void)context;
	(void)region;
	return 0;
}

/* Starts cat under the library, waits until the library is up, and looks at it. */
static int look_at_new_program(struct check *check, const struct proc *proc)
{
	extern char **environ;
	char *argv[] = { (char[]){ "cat" }, NULL };
	char library[PATH_MAX];
	posix_spawn_file_actions_t actions;
	struct process found;
	int hold[2], status, error;
	pid_t pid;

	if (!preload_find_library(preload_is_by_library(), library, sizeof(library)))
		return 0;               /* it said so; the kernel's part is still worth printing */
	if (!preload_add(library) || pipe(hold))
		return -errno;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, hold[0], STDIN_FILENO);
	posix_spawn_file_actions_addclose(&actions, hold[0]);
	posix_spawn_file_actions_addclose(&actions, hold[1]);
	error = -posix_spawnp(&pid, "cat", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(hold[0]);
	if (!error) {
		/* Its state is "sleeping" once it waits for input, long after the library's start. */
		for (unsigned i = 0; i < 200; i++) {
			struct proc_identity identity;

			process_read_apart(proc, pid, PROCESS_NAMES, NULL, ignore_region, NULL, &found);
			if (found.library.state == LIBRARY_READY && !proc_identify(proc, pid, &identity) &&
			    identity.state == 'S')
				break;
			poll(NULL, 0, 10);
		}
		check->started = true;
		error = look_at(check, proc, pid);
	}
	close(hold[1]);
	if (check->started)
		waitpid(pid, &status, 0);
	return error;
}

int tool_check(int argc, char **argv)
{
	struct check check = { .names.limit = NAMES_OF_ONE };
	const char *root = NULL;
	bool json = false, csv = false;
	struct proc proc;
	pid_t pid = 0;
	int c, error = 0;

	while ((c = options_next(COMMAND_check, argc, argv)) != OPT_END) {
		switch (c) {
		case OPT_JSON: json = true; break;
		case OPT_CSV: csv = true; break;
		case OPT_ROOT: root = optarg; break;
		default: return options_rest(COMMAND_check, c);
		}
	}
	if (optind + 1 < argc || (root && optind == argc)) {
		tool_error(root ? "give one process id with --root" : "give one process id, or none");
		return tool_usage_error();
	}
	if (optind < argc && !(pid = tool_pid(argv[optind])))
		return EXIT_USAGE;
	if (pid ? !tool_proc(&proc, root) : !tool_own_proc(&proc))
		return EXIT_FAILED;
	check.probed = proc.live;
	if (check.probed)
		check.kernel_error = probe_kernel();
	if (pid && !(error = proc_bind(&proc, &proc, pid)))
		error = look_at(&check, &proc, pid);
	else if (!pid)
		error = look_at_new_program(&check, &proc);
	proc_close(&proc);
	if (error && pid) {
		names_free(&check.names);
		return tool_process_error(pid, error);
	}
	if (error)
		tool_error("a program under libanonname could not be looked at: %s", strerror(-error));
	find_advice(&check);
	if (json) {
		c = tool_print_json(check_json(&check));
	} else if (csv) {
		json_t *all = check_json(&check);

		puts("member,value");
		print_csv("", all);
		json_decref(all);
		c = tool_finish(EXIT_DONE);
	} else {
		print_text(&check);
		c = tool_finish(EXIT_DONE);
	}
	names_free(&check.names);
	return error ? EXIT_FAILED : c;
}
