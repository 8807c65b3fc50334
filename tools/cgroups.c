/* SPDX-License-Identifier: MIT */
/* Control groups and their memory. See cgroups.h. */
#include "cgroups.h"

#include "../src/read/list.h"
#include "../src/read/place.h"
#include "../src/read/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define GROUPS_MAX 4096
#define DEPTH_MAX  32
#define PIDS_MAX   4194304      /* the kernel's own, PID_MAX_LIMIT */
#define FILE_MAX   8192         /* memory.stat has some 2 KiB */

/* Version 1 says "none" with the most that its counter holds. */
#define LIMIT_MOST (UINT64_C(1) << 62)

/* By version. */
static const struct {
	const char *used, *stat;
	const char *limits[3];
} files[] = {
	{ "memory.usage_in_bytes", "total_inactive_file", { "memory.limit_in_bytes" } },
	{ "memory.current", "inactive_file", { "memory.high", "memory.max" } },
};

/* What lies in a recorded tree may be a pipe: it is not waited for. */
static int open_file(const struct cgroups *cgroups, const char *path, const char *name)
{
	char whole[PLACE_MAX];

	if ((size_t)snprintf(whole, sizeof(whole), ".%s/%s", path, name) >= sizeof(whole))
		return -1;
	return openat(cgroups->mount, whole, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
}

/* The beginning of a file; false where it cannot be read. */
static bool read_file(const struct cgroups *cgroups, const char *path, const char *name, char *buffer)
{
	int fd = open_file(cgroups, path, name);
	ssize_t got = fd < 0 ? -1 : read(fd, buffer, FILE_MAX - 1);

	if (fd >= 0)
		close(fd);
	if (got < 0)
		return false;
	buffer[got] = '\0';
	return true;
}

static bool read_number(const struct cgroups *cgroups, const char *path, const char *name, uint64_t *number)
{
	char buffer[FILE_MAX];
	struct text text = { buffer, 0 };

	if (!read_file(cgroups, path, name, buffer))
		return false;
	text.len = strlen(buffer);
	if (text_starts(text, "max"))
		*number = CGROUP_NO_LIMIT;
	else if (!text_u64(&text, 10, number))
		return false;
	return true;
}

/* The number behind a word at the start of a line; 0 where there is none. */
static uint64_t number_of(const char *buffer, const char *key)
{
	struct text rest = { buffer, strlen(buffer) };
	uint64_t number;

	while (rest.len) {
		struct text line = text_cut(&rest, '\n');

		if (text_is(text_cut(&line, ' '), key) && text_u64(&line, 10, &number))
			return number;
	}
	return 0;
}

static void find_limit(const struct cgroups *cgroups, const char *path, struct cgroup_memory *memory)
{
	const char *const *name = files[cgroups->unified].limits;
	uint64_t limit;

	memory->limit = CGROUP_NO_LIMIT;
	memory->limit_file = NULL;
	for (; *name; name++)
		if (read_number(cgroups, path, *name, &limit) && limit < LIMIT_MOST && limit < memory->limit) {
			memory->limit = limit;
			memory->limit_file = *name;
		}
}

bool cgroup_memory(const struct cgroups *cgroups, const char *path, struct cgroup_memory *memory)
{
	if (!read_number(cgroups, path, files[cgroups->unified].used, &memory->used))
		return false;
	find_limit(cgroups, path, memory);
	return true;
}

uint64_t cgroup_idle(const struct cgroups *cgroups, const char *path, uint64_t used)
{
	char stat[FILE_MAX];
	uint64_t idle = read_file(cgroups, path, "memory.stat", stat) ? number_of(stat, files[cgroups->unified].stat) : 0;

	return idle < used ? idle : used;
}

/* "some avg10=1.23 avg60=..." */
bool cgroup_pressure_in(const char *text, double *percent)
{
	static const char key[] = "some avg10=";
	struct text rest = { text, strlen(text) };
	uint64_t whole, hundredths;

	if (!text_starts(rest, key))
		return false;
	rest.at += strlen(key);
	rest.len -= strlen(key);
	if (!text_u64(&rest, 10, &whole) || !text_char(&rest, '.') || !text_u64(&rest, 10, &hundredths))
		return false;
	*percent = (double)whole + (double)hundredths / 100;
	return true;
}

bool cgroup_pressure(const struct cgroups *cgroups, const char *path, double *percent)
{
	char buffer[FILE_MAX];

	return read_file(cgroups, path, "memory.pressure", buffer) && cgroup_pressure_in(buffer, percent);
}

/* --- all of them ---------------------------------------------------------------------- */

struct walk {
	cgroup_function *each;
	void *context;
	char path[PLACE_MAX];
	size_t count;
	bool ended;
};

static void walk_below(struct walk *walk, int directory, size_t len, unsigned depth);

/* A directory in one that is at len of the path. */
static void walk_into(struct walk *walk, int parent, const char *name, size_t len, unsigned depth)
{
	size_t more = strlen(name) + 1;

	if (*name == '.' || depth >= DEPTH_MAX || walk->count >= GROUPS_MAX || len + more >= sizeof(walk->path))
		return;
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return;
	walk->path[len] = '/';
	memcpy(walk->path + len + 1, name, more);
	walk->count++;
	walk->ended = !walk->each(walk->context, walk->path);
	walk_below(walk, fd, len + more, depth + 1);
	walk->path[len] = '\0';
}

/* Takes the descriptor. */
static void walk_below(struct walk *walk, int directory, size_t len, unsigned depth)
{
	DIR *dir = fdopendir(directory);
	struct dirent *entry;

	if (!dir) {
		close(directory);
		return;
	}
	while (!walk->ended && (entry = readdir(dir)))
		if (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN)
			walk_into(walk, directory, entry->d_name, len, depth);
	closedir(dir);
}

/* Those below a group. */
static void walk_from(const struct cgroups *cgroups, const char *path, cgroup_function *each, void *context)
{
	struct walk walk = { .each = each, .context = context };
	int fd = open_file(cgroups, path, ".");

	if (fd < 0)
		return;
	snprintf(walk.path, sizeof(walk.path), "%s", path);
	walk_below(&walk, fd, strlen(walk.path), 0);
}

void cgroups_walk(const struct cgroups *cgroups, cgroup_function *each, void *context)
{
	walk_from(cgroups, "", each, context);
}

struct pids {
	const struct cgroups *cgroups;
	pid_t *pid;
	size_t count, room;
	int error;
};

/* One of another PID namespace is 0 here, and is left out; the processes of a threaded group are in the group above it. */
static bool add_pids(void *context, const char *path)
{
	static struct lines lines;
	struct pids *pids = context;
	struct text line;
	uint64_t pid;
	int fd = open_file(pids->cgroups, path, "cgroup.procs");

	if (fd < 0)
		return true;
	lines_open(&lines, (struct text){ 0 }, fd, NULL);
	while (!pids->error && lines_next(&lines, &line)) {
		pid_t *grown = list_grown(pids->pid, pids->count, &pids->room, sizeof(*grown), 64, PIDS_MAX);

		if (!grown)
			pids->error = -ENOMEM;
		else
			pids->pid = grown;
		if (grown && text_u64(&line, 10, &pid) && pid && pid <= INT_MAX)
			pids->pid[pids->count++] = (pid_t)pid;
	}
	close(fd);
	return !pids->error;
}

int cgroup_pids(const struct cgroups *cgroups, const char *path, pid_t **pids, size_t *count)
{
	struct pids found = { .cgroups = cgroups };

	if (add_pids(&found, path))
		walk_from(cgroups, path, add_pids, &found);
	if (found.error) {
		free(found.pid);
		found.pid = NULL;
		found.count = 0;
	}
	*pids = found.pid;
	*count = found.count;
	return found.error;
}

/* --- where they are --------------------------------------------------------------------- */

static int open_directory(const char *root, const char *below)
{
	char path[PATH_MAX];

	if ((size_t)snprintf(path, sizeof(path), "%s/sys/fs/cgroup%s", root ? root : "", below) >= sizeof(path))
		return -ENAMETOOLONG;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int cgroups_open(struct cgroups *cgroups, const char *root)
{
	cgroups->mount = open_directory(root, "/memory");
	/* A group of version 2 may have that name, too. */
	cgroups->unified = cgroups->mount < 0 || faccessat(cgroups->mount, "memory.usage_in_bytes", F_OK, 0);
	if (!cgroups->unified)
		return 0;
	cgroups_close(cgroups);
	cgroups->mount = open_directory(root, "");
	return cgroups->mount < 0 ? cgroups->mount : 0;
}

void cgroups_close(struct cgroups *cgroups)
{
	if (cgroups->mount >= 0)
		close(cgroups->mount);
	cgroups->mount = -1;
}
