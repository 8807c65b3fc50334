/* SPDX-License-Identifier: MIT */
/*
 * Where a process lives: its user and its control group, and what the path of
 * that tells, the systemd unit and the container. The paths are another's text
 * and are made safe to show when they are read.
 */
#ifndef ANONNAME_READ_PLACE_H
#define ANONNAME_READ_PLACE_H

#include "proc.h"

#include <stdbool.h>
#include <stddef.h>

#define PLACE_MAX 4400          /* a path of PATH_MAX bytes with some of them escaped; what is longer is cut in front */

/* The real user's id; false when it cannot be had. */
bool place_user_id(const struct proc *proc, pid_t pid, uid_t *uid);

/* A user's name, or the number where there is none, or by_number. */
void place_user_name(uid_t uid, bool by_number, char *buffer, size_t size);

/*
 * The path in the unified hierarchy, or where that is not in use the one of
 * the memory controller. "-" when it cannot be had. cgroups(7).
 */
void place_cgroup(const struct proc *proc, pid_t pid, char *buffer, size_t size);

/* From such a path: nginx.service, session-2.scope; "-" where it holds no unit. */
void place_unit(const char *cgroup, char *buffer, size_t size);

/* docker:0123456789ab, containerd:..., lxc:NAME; "-" outside of containers. */
void place_container(const char *cgroup, char *buffer, size_t size);

/* Is it wanted itself, or below it? wanted without a slash: does a part of the path match that pattern? */
bool place_is_in(const char *cgroup, const char *wanted);

#endif
