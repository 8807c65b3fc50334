/* SPDX-License-Identifier: MIT */
/*
 * Calls on files that glibc has had since 2.27 and 2.33 only, made of what the
 * oldest has: tools that were built on a new Debian need no newer libc for them.
 */
#ifndef ANONNAME_READ_FILES_H
#define ANONNAME_READ_FILES_H

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* fstatat(2). Where longs have 64 bits, libc's struct stat is the kernel's. */
static inline int file_stat_at(int directory, const char *path, struct stat *st)
{
#ifdef SYS_newfstatat
	return (int)syscall(SYS_newfstatat, directory, path, st, 0);
#else
	return fstatat(directory, path, st, 0);
#endif
}

static inline int file_stat(const char *path, struct stat *st)
{
	return file_stat_at(AT_FDCWD, path, st);
}

/* fstat(2) */
static inline int file_stat_of(int fd, struct stat *st)
{
#ifdef SYS_newfstatat
	return (int)syscall(SYS_newfstatat, fd, "", st, AT_EMPTY_PATH);
#else
	return fstat(fd, st);
#endif
}

/* memfd_create(2), closed on exec. */
static inline int file_in_memory(const char *name)
{
	return (int)syscall(SYS_memfd_create, name, 1U /* MFD_CLOEXEC */);
}

#endif
