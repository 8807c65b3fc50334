/* SPDX-License-Identifier: MIT */
/*
 * Which files are shared memory, as RssShmem of /proc/PID/status counts it:
 * memfd, System V and POSIX shared memory, and every other file in a tmpfs.
 * Names tell the first; of the last only the device does.
 */
#ifndef ANONNAME_READ_SHMEM_H
#define ANONNAME_READ_SHMEM_H

#include "proc.h"
#include "text.h"

#include <stdint.h>

/* What is known of devices. live: those of this machine. */
struct shmem *shmem_new(bool live);
void shmem_free(struct shmem *shmem);

/* Whether the device that a mapping of this process is on holds shared memory. */
bool shmem_is_device(const struct proc *proc, pid_t pid, uint64_t major, uint64_t minor);

#endif
