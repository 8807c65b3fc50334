/* SPDX-License-Identifier: MIT */
/*
 * anonname watch: writes a snapshot when memory becomes tight, before the kernel
 * kills somebody. It looks often and at little: a control group's counters, and
 * of a process /proc/PID/stat. What has become tight is read in full, once; again
 * only after the cool-down, and only if it is worse than it was then.
 */
#include "cgroups.h"
#include "options.h"
#include "select.h"
#include "snapshot.h"

#include "../src/read/list.h"
#include "../src/read/place.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SHARE     100           /* of a CPU: one part in so many */
#define SEARCH_NS 5000000000ULL /* how often it is asked which control groups there are */
#define WHO_MAX   100           /* of a file's name */
#define WHY_MAX   (PLACE_MAX + 200)

enum reason { NEAR, PRESSURE, ABOVE, GROWS, REASONS };

/* What may become tight: a group (path), a process (pid), or with neither the machine. */
struct subject {
	char *path;
	pid_t pid;
	unsigned long long start_time;
	uint64_t base;              /* what growth counts from */
	uint64_t written_at;        /* ns; 0: never */
	uint64_t worst[REASONS];    /* when it was written; 0: it was well since */
};

struct subjects {
	struct subject *one;        /* in order */
	size_t count, room;
};

struct watch {
	struct selection selection;
	const char *directory, *root;
	enum process_mode mode;
	uint64_t near, pressure;    /* percent; 0: not looked at */
	uint64_t above, grows;      /* bytes; 0: not looked at */
	uint64_t interval, cooldown; /* ns */
	uint64_t most;              /* snapshots; 0: no end */
	bool of_groups;             /* control groups are looked at, and the machine */

	struct proc proc;
	struct cgroups cgroups;
	struct subjects group, process;
	struct subject machine;
	uint64_t search_at;         /* ns: when it is asked again which control groups there are */
	uint64_t written;           /* snapshots */
	uint64_t cost;              /* ns of CPU that they and the searches took */
	bool failed;
};

static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	stopped = signal;
}

/* --- a snapshot ------------------------------------------------------------------------ */

/* For a file's name: of a control group the last part, as anybody may have called it. */
static void subject_name(const struct watch *watch, const struct subject *subject, char *name)
{
	char comm[64];

	if (subject->path) {
		snprintf(name, WHO_MAX, "%s", strrchr(subject->path, '/') + 1);
	} else if (subject->pid) {
		proc_comm(&watch->proc, subject->pid, comm, sizeof(comm));
		snprintf(name, WHO_MAX, "%s.%d", comm, (int)subject->pid);
	} else {
		snprintf(name, WHO_MAX, "machine");
	}
	for (; *name; name++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_@", *name))
			*name = '_';
}

static int subject_pids(const struct watch *watch, const struct subject *subject, pid_t **pids, size_t *count)
{
	if (subject->path)
		return cgroup_pids(&watch->cgroups, subject->path, pids, count);
	if (!subject->pid)
		return proc_pids(&watch->proc, pids, count);
	*pids = malloc(sizeof(**pids));
	*count = *pids != NULL;
	if (*pids)
		**pids = subject->pid;
	return *pids ? 0 : -ENOMEM;
}

/* DIR/anonname-20261126-143000.123-WHO.json */
static bool file_name(const struct watch *watch, const struct subject *subject, char *path)
{
	char who[WHO_MAX], when[32];
	struct timespec now;
	struct tm local;

	clock_gettime(CLOCK_REALTIME, &now);
	if (!localtime_r(&now.tv_sec, &local) || !strftime(when, sizeof(when), "%Y%m%d-%H%M%S", &local))
		return false;
	subject_name(watch, subject, who);
	return snprintf(path, PATH_MAX, "%s/anonname-%s.%03ld-%s.json", watch->directory, when, now.tv_nsec / 1000000, who) < PATH_MAX;
}

static bool write_file(const struct watch *watch, const struct subject *subject, const struct measurement *measurement, const char *why)
{
	char path[PATH_MAX], new[PATH_MAX + 4];
	FILE *file;

	if (!file_name(watch, subject, path)) {
		tool_error("%s: no file can have a name there", watch->directory);
		return false;
	}
	snprintf(new, sizeof(new), "%s.new", path);
	file = tool_create(new);
	if (!file)
		return false;
	if (snapshot_write(file, measurement, why))
		tool_error("not enough memory: the snapshot is not whole");
	if (tool_place(file, new, path))
		return false;
	printf("%s: %s\n", path, why);
	fflush(stdout);
	return true;
}

static void take_snapshot(struct watch *watch, const struct subject *subject, const char *why)
{
	const struct wants wants = { .comm = true, .quiet = true };
	struct measurement measurement;
	uint64_t began = tool_cpu_ns();
	pid_t *pids = NULL;
	size_t count = 0;
	int error = subject_pids(watch, subject, &pids, &count);

	measure_begin(&measurement, &wants);
	if (!error)
		error = measure_processes(&measurement, &watch->proc, pids, count, watch->mode, NULL);
	measure_end(&measurement);
	if (error)
		tool_error("%s: %s", why, strerror(-error));
	if (error || !write_file(watch, subject, &measurement, why))
		watch->failed = true;
	else
		watch->written++;
	measure_free(&measurement);
	free(pids);
	watch->cost += tool_cpu_ns() - began;
}

/* --- when it is due -------------------------------------------------------------------- */

/* A limit is passed now: for the first time, or by more than when it was written, and the cool-down is over. */
static bool is_due(const struct watch *watch, struct subject *subject, enum reason reason, bool passed, uint64_t value)
{
	uint64_t now = clock_ns();

	if (!passed) {
		subject->worst[reason] = 0;
		return false;
	}
	if (value <= subject->worst[reason] || (subject->written_at && now - subject->written_at < watch->cooldown))
		return false;
	subject->worst[reason] = value;
	subject->written_at = now;
	return true;
}

/* Percent. */
static double share_of(const struct cgroup_memory *memory)
{
	if (memory->limit == CGROUP_NO_LIMIT)
		return 0;
	return memory->limit ? 100.0 * (double)memory->used / (double)memory->limit : 100;
}

static void look_at_limit(struct watch *watch, struct subject *group)
{
	struct cgroup_memory memory;
	char why[WHY_MAX], shown[PLACE_MAX], used[16], limit[16];
	double percent;

	if (!watch->near || !cgroup_memory(&watch->cgroups, group->path, &memory))
		return;
	percent = share_of(&memory);
	if (percent >= (double)watch->near) {
		memory.used -= cgroup_idle(&watch->cgroups, group->path, memory.used);
		percent = share_of(&memory);
	}
	if (!is_due(watch, group, NEAR, percent >= (double)watch->near, (uint64_t)(percent * 1000)))
		return;
	text_clean(shown, sizeof(shown), (struct text){ group->path, strlen(group->path) });
	snprintf(why, sizeof(why), "%s uses %s, %.0f %% of its %s of %s", shown, tool_human(memory.used, used), percent, memory.limit_file,
	         tool_human(memory.limit, limit));
	take_snapshot(watch, group, why);
}

static bool machine_pressure(const struct watch *watch, double *percent)
{
	struct proc_text text;
	bool told;

	if (proc_read(&watch->proc, 0, "pressure/memory", &text))
		return false;
	told = cgroup_pressure_in(text.text, percent);
	proc_text_free(&text);
	return told;
}

static void look_at_pressure(struct watch *watch, struct subject *subject)
{
	char why[WHY_MAX], shown[PLACE_MAX] = "the machine";
	double percent;

	if (!watch->pressure ||
	    !(subject->path ? cgroup_pressure(&watch->cgroups, subject->path, &percent) : machine_pressure(watch, &percent)))
		return;
	if (!is_due(watch, subject, PRESSURE, percent >= (double)watch->pressure, (uint64_t)(percent * 100)))
		return;
	if (subject->path)
		text_clean(shown, sizeof(shown), (struct text){ subject->path, strlen(subject->path) });
	snprintf(why, sizeof(why), "tasks of %s waited for memory %.0f %% of the last ten seconds", shown, percent);
	take_snapshot(watch, subject, why);
}

static void look_at_process(struct watch *watch, struct subject *process, const struct proc_identity *identity)
{
	uint64_t rss = identity->resident * (uint64_t)sysconf(_SC_PAGESIZE), growth = rss > process->base ? rss - process->base : 0;
	char why[WHY_MAX], is[16], was[16];

	if (is_due(watch, process, ABOVE, watch->above && rss >= watch->above, rss))
		snprintf(why, sizeof(why), "process %d (%s) has %s resident", (int)process->pid, identity->comm, tool_human(rss, is));
	else if (is_due(watch, process, GROWS, watch->grows && growth >= watch->grows, growth))
		snprintf(why, sizeof(why), "process %d (%s) has grown from %s to %s resident", (int)process->pid, identity->comm,
		         tool_human(process->base, was), tool_human(rss, is));
	else
		return;
	process->base = rss;
	process->worst[GROWS] = 0;
	take_snapshot(watch, process, why);
}

/* --- who is there ---------------------------------------------------------------------- */

static int subject_order(const void *a, const void *b)
{
	const struct subject *x = a, *y = b;

	if (x->path && y->path)
		return strcmp(x->path, y->path);
	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

static struct subject *find_subject(const struct subjects *subjects, const struct subject *wanted)
{
	return subjects->count ? bsearch(wanted, subjects->one, subjects->count, sizeof(*wanted), subject_order) : NULL;
}

static void free_subjects(struct subjects *subjects)
{
	for (size_t i = 0; i < subjects->count; i++)
		free(subjects->one[i].path);
	free(subjects->one);
	*subjects = (struct subjects){ 0 };
}

static bool add_subject(struct subjects *subjects, const struct subject *subject)
{
	struct subject *grown = list_grown(subjects->one, subjects->count, &subjects->room, sizeof(*grown), 64, LIST_ENDLESS);

	if (!grown)
		return false;
	subjects->one = grown;
	subjects->one[subjects->count++] = *subject;
	return true;
}

struct search {
	struct watch *watch;
	struct subjects all;
};

/* One without a limit only if its pressure is asked for by name. */
static bool is_watched(const struct watch *watch, const char *path)
{
	struct cgroup_memory memory;

	if (!select_takes_cgroup(&watch->selection, path))
		return false;
	return (watch->pressure && watch->selection.filters) ||
	       (cgroup_memory(&watch->cgroups, path, &memory) && memory.limit != CGROUP_NO_LIMIT);
}

static bool found_group(void *context, const char *path)
{
	struct search *search = context;
	struct subject group = { .path = strdup(path) };
	const struct subject *known;

	if (!group.path || !is_watched(search->watch, path)) {
		free(group.path);
		return true;
	}
	known = find_subject(&search->watch->group, &group);
	if (known) {
		group.written_at = known->written_at;
		memcpy(group.worst, known->worst, sizeof(group.worst));
	}
	if (!add_subject(&search->all, &group))
		free(group.path);
	return true;
}

static void search_groups(struct watch *watch)
{
	struct search search = { .watch = watch };
	uint64_t began = tool_cpu_ns(), cost;

	if (!watch->of_groups || clock_ns() < watch->search_at)
		return;
	cgroups_walk(&watch->cgroups, found_group, &search);
	if (search.all.count)
		qsort(search.all.one, search.all.count, sizeof(*search.all.one), subject_order);
	free_subjects(&watch->group);
	watch->group = search.all;
	cost = tool_cpu_ns() - began;
	watch->cost += cost;
	watch->search_at = clock_ns() + (cost * (SHARE - 1) > SEARCH_NS ? cost * (SHARE - 1) : SEARCH_NS);
}

static void look_at_groups(struct watch *watch)
{
	search_groups(watch);
	for (size_t i = 0; i < watch->group.count && !stopped; i++) {
		look_at_limit(watch, &watch->group.one[i]);
		look_at_pressure(watch, &watch->group.one[i]);
	}
	if (watch->of_groups && !watch->selection.filters)
		look_at_pressure(watch, &watch->machine);
}

/* What a process was when it was seen last, or what it begins as. */
static struct subject known_process(const struct watch *watch, pid_t pid, const struct proc_identity *identity)
{
	struct subject process = { .pid = pid, .start_time = identity->start_time };
	const struct subject *known = find_subject(&watch->process, &process);

	if (known && known->start_time == identity->start_time)
		return *known;
	process.base = identity->resident * (uint64_t)sysconf(_SC_PAGESIZE);
	return process;
}

/* False where nobody is left of those that were given, or all goes wrong. */
static bool look_at_processes(struct watch *watch)
{
	struct subjects all = { 0 };
	pid_t *pids = NULL;
	size_t count = 0;

	if (!watch->above && !watch->grows)
		return true;
	if (!select_now(&watch->selection, &watch->proc, &pids, &count))
		return false;
	for (size_t i = 0; i < count && !stopped; i++) {
		struct proc_identity identity;
		struct subject process;

		if (proc_identify(&watch->proc, pids[i], &identity) || identity.kernel_thread || identity.state == 'Z')
			continue;
		process = known_process(watch, pids[i], &identity);
		look_at_process(watch, &process, &identity);
		add_subject(&all, &process);
	}
	free(pids);
	free_subjects(&watch->process);
	watch->process = all;
	if (all.count)
		qsort(all.one, all.count, sizeof(*all.one), subject_order);
	return all.count || !(watch->selection.pids || watch->selection.tree);
}

/* --- the whole ------------------------------------------------------------------------- */

/* The looking takes its share and no more: where it costs more, it is done less often. */
static void sleep_after(const struct watch *watch, uint64_t cost)
{
	uint64_t ns = cost * (SHARE - 1) > watch->interval ? cost * (SHARE - 1) : watch->interval;
	struct timespec pause = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };

	if (!stopped)
		clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
}

static bool is_enough(const struct watch *watch)
{
	return stopped || (watch->most && watch->written >= watch->most);
}

static int watch_on(struct watch *watch)
{
	bool there;

	do {
		uint64_t began = tool_cpu_ns(), written = watch->cost;

		look_at_groups(watch);
		there = look_at_processes(watch);
		if (there && !is_enough(watch))
			sleep_after(watch, tool_cpu_ns() - began - (watch->cost - written));
	} while (there && !is_enough(watch));
	return tool_finish(watch->failed ? EXIT_FAILED : EXIT_DONE);
}

/* What cannot work is said at the start, and not when it is too late. */
static bool can_watch(struct watch *watch)
{
	double percent;

	if (access(watch->directory, W_OK | X_OK)) {
		tool_error("%s: %s", watch->directory, strerror(errno));
		return false;
	}
	if (watch->of_groups && cgroups_open(&watch->cgroups, watch->root)) {
		tool_error("there are no control groups in /sys/fs/cgroup");
		return false;
	}
	if (!watch->of_groups || !watch->pressure || machine_pressure(watch, &percent))
		return true;
	tool_error("this kernel does not say how long tasks wait for memory (/proc/pressure/memory). Leave out --pressure, or start it with psi=1.");
	return false;
}

static int run(struct watch *watch)
{
	const struct sigaction end = { .sa_handler = stop };
	int code = EXIT_FAILED;

	if (!tool_proc(&watch->proc, watch->root))
		return EXIT_FAILED;
	sigaction(SIGINT, &end, NULL);
	sigaction(SIGTERM, &end, NULL);
	sigaction(SIGHUP, &end, NULL);
	if (can_watch(watch))
		code = watch_on(watch);
	free_subjects(&watch->group);
	free_subjects(&watch->process);
	cgroups_close(&watch->cgroups);
	proc_close(&watch->proc);
	return code;
}

static bool percent_of(const char *text, uint64_t *percent)
{
	return tool_number(text, 100, "a share in percent. Give a number from 1 to 100.", percent);
}

/* False after an error message. */
static bool take_value(struct watch *watch, int option, const char *value)
{
	switch (option) {
	case OPT_NEAR: return percent_of(value, &watch->near);
	case OPT_PRESSURE: return percent_of(value, &watch->pressure);
	case OPT_ABOVE: return tool_size(value, &watch->above);
	case OPT_GROWS: return tool_size(value, &watch->grows);
	case OPT_COOLDOWN: return tool_time(value, &watch->cooldown);
	case OPT_INTERVAL: return tool_time(value, &watch->interval);
	case OPT_ITERATIONS: return tool_number(value, UINT64_MAX, "a number of snapshots", &watch->most);
	default: return select_option(&watch->selection, option, value);
	}
}

/* With processes chosen by anything but their control group, groups are not meant. */
static bool means_groups(const struct selection *selection)
{
	for (size_t i = 0; i < selection->filters; i++)
		if (selection->filter[i].by != FILTER_CGROUP)
			return false;
	return !selection->pids && !selection->tree;
}

int tool_watch(int argc, char **argv)
{
	struct watch watch = {
		.directory = ".", .mode = PROCESS_FIGURES, .near = 90, .interval = 200000000, .cooldown = 300000000000, .cgroups.mount = -1,
	};
	int c;

	while ((c = options_next(COMMAND_watch, argc, argv)) != OPT_END) {
		switch (c) {
		case OPT_OUTPUT: watch.directory = optarg; break;
		case OPT_GENTLE: watch.mode = PROCESS_GENTLE; break;
		case OPT_ROOT: watch.root = optarg; break;
		case OPT_BAD: case OPT_NAMES: case OPT_HELP: case OPT_VERSION: return options_rest(COMMAND_watch, c);
		default:
			if (!take_value(&watch, c, optarg))
				return EXIT_USAGE;
		}
	}
	if (!select_arguments(&watch.selection, argc - optind, argv + optind))
		return EXIT_USAGE;
	watch.of_groups = means_groups(&watch.selection);
	if (!watch.of_groups && !watch.above && !watch.grows) {
		tool_error("of processes there is a size to give: --above SIZE or --grows SIZE");
		return tool_usage_error();
	}
	if (!watch.selection.pids && !select_searches(&watch.selection))
		watch.selection.all = true;
	c = run(&watch);
	select_free(&watch.selection);
	return c;
}
