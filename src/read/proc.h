/* SPDX-License-Identifier: MIT */
/*
 * The one door to /proc. Every path goes through proc_open(), so that a tree
 * recorded on another machine can stand in for the live one.
 */
#ifndef ANONNAME_READ_PROC_H
#define ANONNAME_READ_PROC_H

#include "text.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct core;
struct proc;
struct registry;

/*
 * Names told from what lies in a process's memory, added to an empty list. maps
 * is open, and its beginning was read already. 0 or a negative errno.
 */
typedef int recognise_function(const struct proc *proc, pid_t pid, struct text ahead, int maps, struct registry *out,
                               struct cost *cost);

struct proc {
	int fd;                     /* -1: there is no tree, it is a core file */
	struct core *core;          /* the one process that there is; or NULL */
	bool live;                  /* a /proc of the kernel, so ioctls and memory can be had */
	int kpagecount, kpageflags; /* -1: frame numbers are not told to us, or it is recorded */
	struct maps_reader *maps;
	struct shmem *shmem;        /* which devices are shared memory, as far as it was asked */
	unsigned unwanted;          /* whose names are left out: bits of enum name_source */
	recognise_function *recognise; /* for those from outside */
	pid_t bound;                /* the process that directory is of; 0: none */
	int directory;
};

/*
 * root NULL: /proc. Else DIR/proc, or DIR when it has no proc directory: a
 * recorded tree, or the /proc of the kernel mounted elsewhere.
 */
int proc_init(struct proc *proc, const char *root);
/* A core file. 0 or what core_open() says. */
int proc_init_core(struct proc *proc, const char *path);
/* One that is open, and is closed with it or when this fails. */
int proc_init_with(struct proc *proc, struct core *core);
void proc_close(struct proc *proc);

/*
 * The same for one process: what is opened of it is of this one, however soon
 * another gets its number. 0, or -ESRCH, or what else is wrong with /proc/PID.
 * bound may be proc itself; else it is unbound, not closed, before proc is closed.
 */
int proc_bind(struct proc *bound, const struct proc *proc, pid_t pid);
void proc_unbind(struct proc *bound);

/* Whether a process's memory can be read, and so the names in it. */
static inline bool proc_has_memory(const struct proc *proc)
{
	return proc->live || proc->core;
}

/* Whether process ids mean here what they mean to us: /proc may be that of another PID namespace. */
bool proc_is_own(const struct proc *proc);

/* What lies there in a recorded tree is a pipe, a device or a directory. */
#define PROC_NO_FILE (-EMEDIUMTYPE)

/* A file descriptor or a negative errno. pid 0: a file of /proc itself. */
int proc_open(const struct proc *proc, pid_t pid, const char *name);

/* A file as it was read: text is NUL terminated, may hold others, and lies in small where it fits. */
struct proc_text {
	char *text;
	size_t len;
	char small[8192];
};

/* The whole of a file, never a part of it: 0, or a negative errno and nothing. proc_text_free() after success. */
int proc_read(const struct proc *proc, pid_t pid, const char *name, struct proc_text *whole);
void proc_text_free(struct proc_text *whole);

/* 0, or -ESRCH, or what else is wrong with /proc/PID. */
int proc_exists(const struct proc *proc, pid_t pid);

/* The number after "key:" of /proc/PID/status (or of /proc/meminfo with pid 0), or a negative errno. */
long proc_status(const struct proc *proc, pid_t pid, const char *key);

/* Several of a file in one read, in its order: -1 for one that it does not have. 0 or a negative errno. */
int proc_keys(const struct proc *proc, pid_t pid, const char *name, const char *const *keys, long *values, size_t count);

/* The number in a file of its own, such as sys/vm/max_map_count (pid 0), or a negative errno. */
long proc_number(const struct proc *proc, pid_t pid, const char *name);

/* All process ids, in order. The caller frees them. */
int proc_pids(const struct proc *proc, pid_t **pids, size_t *count);

/* The thread ids of a process, in order; -ENOENT when the tree has none recorded. */
int proc_tasks(const struct proc *proc, pid_t pid, pid_t **tids, size_t *count);

/* What of a process says that it is still the one it was, and who it is. */
struct proc_identity {
	char comm[64];              /* safe to show */
	pid_t parent;
	char state;
	bool kernel_thread;
	bool forked;                /* and did not exec since: its memory is another process's */
	unsigned long long start_time;
	unsigned long long start_stack; /* changes at exec; 0 without permission */
	unsigned long long faults, size, resident; /* page faults, and what stat says of its memory: who compares, sees a change */
};

/* The name only, safe to show; "?" when it cannot be had. */
void proc_comm(const struct proc *proc, pid_t pid, char *comm, size_t size);

int proc_identify(const struct proc *proc, pid_t pid, struct proc_identity *identity);

/* The same of a thread: name is its stat below the process, "task/TID/stat". */
int proc_identify_by(const struct proc *proc, pid_t pid, const char *name, struct proc_identity *identity);

#endif
