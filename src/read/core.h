/* SPDX-License-Identifier: MIT */
/*
 * A core file in place of a process: the kernel's, or gcore's. It has the memory,
 * and in its notes the threads, the mapped files and the auxiliary vector; what
 * /proc would say is made of these:
 *
 *   program headers ---> where memory was, and where of it the file has bytes
 *   NT_FILE, NT_AUXV --> maps;  NT_PRPSINFO --> stat;  NT_PRSTATUS --> threads
 *
 * A page is there where the file has bytes for it and no hole. All of the file is
 * hostile, and it may end anywhere.
 */
#ifndef ANONNAME_READ_CORE_H
#define ANONNAME_READ_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct core;

/* 0; a negative errno; or CORE_NONE: it is no core of a process of x86-64 or aarch64. */
#define CORE_NONE (-ENOEXEC)
int core_open(const char *path, struct core **core);
/* The same of an open file, which is closed with it. */
int core_open_file(int fd, struct core **core);
void core_close(struct core *core);

pid_t core_pid(const struct core *core);

/* The ids of its threads, in order. The caller frees them. 0 or -ENOMEM. */
int core_threads(const struct core *core, pid_t **tids, size_t *count);

/* Bytes that the program headers promise, and that are missing at the end of the file. */
uint64_t core_missing(const struct core *core);

/* A file of /proc/PID, as far as it can be made: a descriptor, or -ENOENT. */
int core_file(const struct core *core, const char *name);

/* All of size bytes of pages that are there, or -EFAULT. */
int core_read(const struct core *core, uint64_t address, void *buffer, size_t size);

/* The first page that is there at or above from, and below to; to: there is none. */
uint64_t core_next(const struct core *core, uint64_t from, uint64_t to);

/* How far what is there goes on from an address that is there, at most to to. */
uint64_t core_there_to(const struct core *core, uint64_t from, uint64_t to);

/* Bytes of pages that have something else than zeroes. false: that was not known by the deadline (clock_ns()). */
bool core_count(const struct core *core, uint64_t from, uint64_t to, uint64_t deadline, uint64_t *bytes);

#endif
