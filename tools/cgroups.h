/* SPDX-License-Identifier: MIT */
/*
 * Control groups and their memory, for anonname watch: those of the unified
 * hierarchy (version 2), or where the memory controller has one of its own
 * (version 1), of that. A group may be anybody's who was given a part of the
 * tree, so their depth and number have bounds.
 */
#ifndef ANONNAME_TOOLS_CGROUPS_H
#define ANONNAME_TOOLS_CGROUPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cgroups {
	int mount;                  /* the directory of the root group */
	bool unified;
};

#define CGROUP_NO_LIMIT UINT64_MAX

struct cgroup_memory {
	uint64_t used;              /* bytes */
	uint64_t limit;             /* bytes: the lowest; CGROUP_NO_LIMIT where there is none */
	const char *limit_file;     /* where it stands */
};

/* root NULL: /sys/fs/cgroup, else what lies there in a recorded tree. 0 or a negative errno. */
int cgroups_open(struct cgroups *cgroups, const char *root);
void cgroups_close(struct cgroups *cgroups);

/* Called for each group below the root's, its path beginning with a slash, until it returns false. */
typedef bool cgroup_function(void *context, const char *path);
void cgroups_walk(const struct cgroups *cgroups, cgroup_function *each, void *context);

/* False where it cannot be read. */
bool cgroup_memory(const struct cgroups *cgroups, const char *path, struct cgroup_memory *memory);

/* How much of what it uses are file pages that nobody used lately: the kernel takes those first. At most used. */
uint64_t cgroup_idle(const struct cgroups *cgroups, const char *path, uint64_t used);

/* memory.pressure: false where the kernel has none. */
bool cgroup_pressure(const struct cgroups *cgroups, const char *path, double *percent);

/* The same of such a text: in which share of the last ten seconds some task waited for memory. */
bool cgroup_pressure_in(const char *text, double *percent);

/* The processes of a group and those below it; the caller frees them. 0 or a negative errno. */
int cgroup_pids(const struct cgroups *cgroups, const char *path, pid_t **pids, size_t *count);

#endif
