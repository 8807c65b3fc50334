/* SPDX-License-Identifier: MIT */
/* Opens and reads files below /proc or a recorded tree. See proc.h. */
#include "proc.h"
#include "core.h"
#include "files.h"
#include "list.h"
#include "maps.h"
#include "shmem.h"
#include "text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef PROC_SUPER_MAGIC
#define PROC_SUPER_MAGIC 0x9fa0
#endif

/*
 * Whether page frame numbers are told to us. That the files open says nothing:
 * root in a container opens them all and reads frame 0 for every page, unless
 * it has CAP_SYS_ADMIN in the first user namespace. So a page of our own is
 * looked at, that of the stack: it was just written to, and has a frame.
 */
static bool frames_are_told(const struct proc *proc)
{
	const uint64_t frame_bits = (1ULL << 55) - 1;
	uint64_t entry = 0;
	off_t at = (off_t)((uintptr_t)&entry / (uintptr_t)sysconf(_SC_PAGESIZE) * sizeof(entry));
	int fd = proc->live ? openat(proc->fd, "self/pagemap", O_RDONLY | O_CLOEXEC) : -1;
	bool read_it;

	/* In a /proc where we are not ourselves it is not known, which is answered with no. */
	if (fd < 0)
		return false;
	read_it = pread(fd, &entry, sizeof(entry), at) == sizeof(entry);
	close(fd);
	return read_it && entry & frame_bits;
}

static bool is_procfs(int fd)
{
	struct statfs st;

	return !fstatfs(fd, &st) && st.f_type == PROC_SUPER_MAGIC;
}

int proc_init(struct proc *proc, const char *root)
{
	int fd = open(root ? root : "/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int inner;

	if (fd < 0)
		return -errno;
	if (root) {
		inner = openat(fd, "proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (inner >= 0) {
			close(fd);
			fd = inner;
		}
	}
	proc->live = is_procfs(fd);
	proc->maps = maps_reader_new();
	proc->shmem = shmem_new(proc->live);
	if (!proc->maps || !proc->shmem) {
		maps_reader_free(proc->maps);
		shmem_free(proc->shmem);
		close(fd);
		return -ENOMEM;
	}
	proc->fd = fd;
	proc->core = NULL;
	proc->kpagecount = proc->kpageflags = -1;
	proc->unwanted = 0;
	proc->recognise = NULL;
	proc->bound = 0;
	proc->directory = -1;
	if (frames_are_told(proc)) {
		proc->kpagecount = openat(fd, "kpagecount", O_RDONLY | O_CLOEXEC);
		proc->kpageflags = openat(fd, "kpageflags", O_RDONLY | O_CLOEXEC);
	}
	return 0;
}

int proc_init_with(struct proc *proc, struct core *core)
{
	*proc = (struct proc){ .fd = -1, .core = core, .kpagecount = -1, .kpageflags = -1, .directory = -1 };
	proc->maps = maps_reader_new();
	proc->shmem = shmem_new(false);
	if (proc->maps && proc->shmem)
		return 0;
	proc_close(proc);
	return -ENOMEM;
}

int proc_init_core(struct proc *proc, const char *path)
{
	struct core *core;
	int error = core_open(path, &core);

	return error ? error : proc_init_with(proc, core);
}

void proc_close(struct proc *proc)
{
	int *fd[] = { &proc->fd, &proc->kpagecount, &proc->kpageflags, &proc->directory };

	for (unsigned i = 0; i < sizeof(fd) / sizeof(*fd); i++) {
		if (*fd[i] >= 0)
			close(*fd[i]);
		*fd[i] = -1;
	}
	proc->bound = 0;
	maps_reader_free(proc->maps);
	shmem_free(proc->shmem);
	core_close(proc->core);
	proc->maps = NULL;
	proc->shmem = NULL;
	proc->core = NULL;
}

int proc_bind(struct proc *bound, const struct proc *proc, pid_t pid)
{
	char path[16];
	int fd;

	if (bound != proc)
		*bound = *proc;
	/* Of a core there is but one, and it stays. */
	if (proc->core)
		return proc_exists(proc, pid);
	snprintf(path, sizeof(path), "%d", (int)pid);
	fd = openat(proc->fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	bound->bound = pid;
	bound->directory = fd;
	return 0;
}

void proc_unbind(struct proc *bound)
{
	if (bound->directory >= 0)
		close(bound->directory);
	bound->bound = 0;
	bound->directory = -1;
}

bool proc_is_own(const struct proc *proc)
{
	char self[16] = "", own[16];

	/* The link knows its reader by the number that the mount knows it by. */
	snprintf(own, sizeof(own), "%d", (int)getpid());
	return readlinkat(proc->fd, "self", self, sizeof(self) - 1) > 0 && !strcmp(self, own);
}

/* In a recorded tree anything may lie: what is no file is not waited for, nor read without an end. */
static int open_file(int directory, const char *path, bool live)
{
	struct stat st;
	int fd = openat(directory, path, O_RDONLY | O_CLOEXEC | (live ? 0 : O_NONBLOCK));

	if (fd < 0)
		return -errno;
	if (live || (!file_stat_of(fd, &st) && S_ISREG(st.st_mode)))
		return fd;
	close(fd);
	return PROC_NO_FILE;
}

/* Where a file of the process is: below which directory, and by which path. */
struct place {
	int directory;
	char path[PATH_MAX];
};

static int find_place(const struct proc *proc, pid_t pid, const char *name, struct place *place)
{
	bool direct = !pid || pid == proc->bound;
	int len = direct ? snprintf(place->path, sizeof(place->path), "%s", name)
	                 : snprintf(place->path, sizeof(place->path), "%d/%s", (int)pid, name);

	place->directory = pid && direct ? proc->directory : proc->fd;
	return len < 0 || (size_t)len >= sizeof(place->path) ? -ENAMETOOLONG : 0;
}

int proc_open(const struct proc *proc, pid_t pid, const char *name)
{
	struct place place;
	int fd = find_place(proc, pid, name, &place);

	if (proc->core)
		return pid == core_pid(proc->core) ? core_file(proc->core, name) : -ENOENT;
	if (fd)
		return fd;
	fd = open_file(place.directory, place.path, proc->live);
	/* A process that ended takes its directory with it. */
	return pid && fd == -ENOENT && proc_exists(proc, pid) ? -ESRCH : fd;
}

int proc_exists(const struct proc *proc, pid_t pid)
{
	struct place place;
	struct stat st;

	if (proc->core)
		return pid == core_pid(proc->core) ? 0 : -ESRCH;
	/* A directory stays as long as somebody has it open. A recorded one may have any files. */
	find_place(proc, pid, pid == proc->bound && proc->live ? "stat" : ".", &place);
	if (file_stat_at(place.directory, place.path, &st) == 0)
		return 0;
	return errno == ENOENT ? -ESRCH : -errno;
}

/* Room for more. What /proc tells of one process is never near the limit, and a made-up tree may hold anything. */
static int whole_grow(struct proc_text *whole, size_t *room)
{
	const size_t most = 64U << 20;
	bool first = whole->text == whole->small;
	char *grown;

	if (*room >= most)
		return -EFBIG;
	*room *= 4;
	grown = realloc(first ? NULL : whole->text, *room);
	if (!grown)
		return -ENOMEM;
	if (first)
		memcpy(grown, whole->small, whole->len);
	whole->text = grown;
	return 0;
}

int proc_read(const struct proc *proc, pid_t pid, const char *name, struct proc_text *whole)
{
	/* The kernel breaks off early only where a page of its own is full. What is shorter was the end, and saves a call. */
	const ssize_t early = 2048;
	size_t room = sizeof(whole->small);
	int fd = proc_open(proc, pid, name), error = 0;
	ssize_t got = 1;

	whole->text = whole->small;
	whole->len = 0;
	*whole->small = '\0';
	if (fd < 0)
		return fd;
	while (!error && got) {
		got = read(fd, whole->text + whole->len, room - whole->len - 1);
		if (got < 0) {
			error = errno == EINTR ? 0 : -errno;
			continue;
		}
		whole->len += (size_t)got;
		if (proc->live && got < early)
			break;
		if (room - whole->len < 2 * (size_t)early)
			error = whole_grow(whole, &room);
	}
	close(fd);
	if (error)
		proc_text_free(whole);
	else
		whole->text[whole->len] = '\0';
	return error;
}

void proc_text_free(struct proc_text *whole)
{
	if (whole->text != whole->small)
		free(whole->text);
	whole->text = whole->small;
	whole->len = 0;
	*whole->small = '\0';
}

/* The numbers behind the keys, -1 where there is none. */
static void find_keys(const char *at, const char *const *keys, long *values, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t key_len = strlen(keys[i]);
		const char *line = at;
		uint64_t value;

		values[i] = -1;
		while (line && !(!strncmp(line, keys[i], key_len) && line[key_len] == ':')) {
			line = strchr(line, '\n');
			if (line)
				line++;
		}
		if (!line)
			continue;
		at = line + key_len + 1;

		struct text rest = { at, strlen(at) };

		text_blanks(&rest);
		if (text_u64(&rest, 10, &value) && value <= LONG_MAX)
			values[i] = (long)value;
	}
}

int proc_keys(const struct proc *proc, pid_t pid, const char *name, const char *const *keys, long *values, size_t count)
{
	struct proc_text whole;
	int error = proc_read(proc, pid, name, &whole);

	if (error)
		return error;
	find_keys(whole.text, keys, values, count);
	proc_text_free(&whole);
	return 0;
}

long proc_status(const struct proc *proc, pid_t pid, const char *key)
{
	long value;
	int error = proc_keys(proc, pid, pid ? "status" : "meminfo", &key, &value, 1);

	return error ? error : value < 0 ? -ENODATA : value;
}

long proc_number(const struct proc *proc, pid_t pid, const char *name)
{
	struct proc_text whole;
	int error = proc_read(proc, pid, name, &whole);
	uint64_t value;

	if (error)
		return error;
	error = text_u64(&(struct text){ whole.text, whole.len }, 10, &value) && value <= LONG_MAX ? 0 : -EINVAL;
	proc_text_free(&whole);
	return error ? error : (long)value;
}

/* The entries of a directory that are numbers. */
static int numbers_in(int directory, const char *path, pid_t **pids, size_t *count)
{
	int fd = openat(directory, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	pid_t *list = NULL, *grown;
	size_t n = 0, room = 0;
	struct dirent *entry;
	int error;

	if (!dir) {
		error = -errno;
		if (fd >= 0)
			close(fd);
		return error;
	}
	while ((errno = 0, entry = readdir(dir))) {
		struct text name = { entry->d_name, strlen(entry->d_name) };
		uint64_t pid;

		if (!text_u64(&name, 10, &pid) || name.len || !pid || pid > INT_MAX)
			continue;
		grown = list_grown(list, n, &room, sizeof(*list), 256, LIST_ENDLESS);
		if (!grown) {
			errno = ENOMEM;
			break;
		}
		list = grown;
		list[n++] = (pid_t)pid;
	}
	error = -errno;
	closedir(dir);
	if (error) {
		free(list);
		return error;
	}
	if (n)
		qsort(list, n, sizeof(*list), list_pid_order);
	*pids = list;
	*count = n;
	return 0;
}

int proc_pids(const struct proc *proc, pid_t **pids, size_t *count)
{
	return numbers_in(proc->fd, ".", pids, count);
}

int proc_tasks(const struct proc *proc, pid_t pid, pid_t **tids, size_t *count)
{
	struct place place;
	int error;

	if (proc->core)
		return core_threads(proc->core, tids, count);
	find_place(proc, pid, "task", &place);
	error = numbers_in(place.directory, place.path, tids, count);
	return error == -ENOENT && proc_exists(proc, pid) ? -ESRCH : error;
}

void proc_comm(const struct proc *proc, pid_t pid, char *comm, size_t size)
{
	struct proc_identity identity;
	struct proc_text whole;
	int error = proc_read(proc, pid, "comm", &whole);

	if (!error && whole.len) {
		text_clean(comm, size, (struct text){ whole.text, whole.len - (whole.text[whole.len - 1] == '\n') });
		proc_text_free(&whole);
		return;
	}
	/* A recorded tree may have stat alone. */
	proc_identify(proc, pid, &identity);
	snprintf(comm, size, "%s", identity.comm);
}

static int parse_stat(const struct proc_text *stat, struct proc_identity *identity)
{
	/* Field numbers as in proc(5), counted from the state, which is the third. */
	enum { PARENT = 4, FLAGS = 9, MINOR_FAULTS = 10, MAJOR_FAULTS = 12, START_TIME = 22, SIZE = 23, RESIDENT = 24, START_STACK = 28 };
	const uint64_t kernel_thread = 0x00200000, forked = 0x40; /* PF_KTHREAD, PF_FORKNOEXEC */
	/* The name is the program's choice and may hold spaces and parentheses. */
	const char *open = memchr(stat->text, '(', stat->len), *close = memrchr(stat->text, ')', stat->len);
	struct text rest;
	uint64_t value;

	if (!open || !close || close < open)
		return -EINVAL;
	text_clean(identity->comm, sizeof(identity->comm), (struct text){ open + 1, (size_t)(close - open - 1) });
	rest = (struct text){ close + 1, (size_t)(stat->text + stat->len - close - 1) };
	text_blanks(&rest);
	if (rest.len) {
		identity->state = *rest.at++;
		rest.len--;
	}
	for (int field = PARENT; rest.len && field <= START_STACK; field++) {
		text_blanks(&rest);
		text_char(&rest, '-');
		if (!text_u64(&rest, 10, &value))
			break;
		switch (field) {
		case PARENT: identity->parent = (pid_t)value; break;
		case FLAGS:
			identity->kernel_thread = value & kernel_thread;
			identity->forked = value & forked;
			break;
		case MINOR_FAULTS:
		case MAJOR_FAULTS: identity->faults += value; break;
		case SIZE: identity->size = value; break;
		case RESIDENT: identity->resident = value; break;
		case START_TIME: identity->start_time = value; break;
		case START_STACK: identity->start_stack = value; break;
		default: break;
		}
	}
	return 0;
}

int proc_identify(const struct proc *proc, pid_t pid, struct proc_identity *identity)
{
	return proc_identify_by(proc, pid, "stat", identity);
}

int proc_identify_by(const struct proc *proc, pid_t pid, const char *name, struct proc_identity *identity)
{
	struct proc_text stat;
	int error = proc_read(proc, pid, name, &stat);

	memset(identity, 0, sizeof(*identity));
	strcpy(identity->comm, "?");
	if (error)
		return error;
	error = parse_stat(&stat, identity);
	proc_text_free(&stat);
	return error;
}
