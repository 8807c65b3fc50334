/* SPDX-License-Identifier: MIT */
/*
 * Raw system calls. They exist apart from libc's because a hook must not write
 * errno, must not be cancelled and must not enter itself.
 *
 * Contract of everything in src/base: it may run before libc is ready, inside
 * malloc, in a signal handler, in a vfork child. It calls no libc function
 * that takes a lock or allocates, and returns -errno.
 */
#ifndef ANONNAME_BASE_SYS_H
#define ANONNAME_BASE_SYS_H

#include <sys/syscall.h>
#include <sys/types.h>

#include "arch.h"
#include "base/compiler.h"

/* include/linux/err.h: the last page of the address space are error numbers. */
static inline bool sys_failed(long r) { return (unsigned long)r >= (unsigned long)-4095L; }

#define SYS_ARG(x) ((long)(x))

static inline long sys_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return sys_call6(SYS_mmap, SYS_ARG(addr), SYS_ARG(len), prot, flags, fd, off);
}

static inline long sys_munmap(void *addr, size_t len)
{
	return sys_call6(SYS_munmap, SYS_ARG(addr), SYS_ARG(len), 0, 0, 0, 0);
}

static inline long sys_mremap(void *old, size_t old_len, size_t new_len, int flags, void *new_addr)
{
	return sys_call6(SYS_mremap, SYS_ARG(old), SYS_ARG(old_len), SYS_ARG(new_len), flags, SYS_ARG(new_addr), 0);
}

static inline long sys_mprotect(void *addr, size_t len, int prot)
{
	return sys_call6(SYS_mprotect, SYS_ARG(addr), SYS_ARG(len), prot, 0, 0, 0);
}

static inline long sys_madvise(void *addr, size_t len, int advice)
{
	return sys_call6(SYS_madvise, SYS_ARG(addr), SYS_ARG(len), advice, 0, 0, 0);
}

static inline long sys_prctl(int op, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
	return sys_call6(SYS_prctl, op, SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), SYS_ARG(d), 0);
}

static inline long sys_gettid(void) { return sys_call6(SYS_gettid, 0, 0, 0, 0, 0, 0); }
static inline long sys_getpid(void) { return sys_call6(SYS_getpid, 0, 0, 0, 0, 0, 0); }

static inline long sys_open(const char *path, int flags)
{
	return sys_call6(SYS_openat, -100 /* AT_FDCWD */, SYS_ARG(path), flags, 0, 0, 0);
}

static inline long sys_stat(const char *path, void *stat) { return sys_call6(SYS_newfstatat, -100 /* AT_FDCWD */, SYS_ARG(path), SYS_ARG(stat), 0, 0, 0); }
static inline long sys_read(int fd, void *buf, size_t len) { return sys_call6(SYS_read, fd, SYS_ARG(buf), SYS_ARG(len), 0, 0, 0); }
static inline long sys_write(int fd, const void *buf, size_t len) { return sys_call6(SYS_write, fd, SYS_ARG(buf), SYS_ARG(len), 0, 0, 0); }
static inline long sys_pread(int fd, void *buf, size_t len, off_t off) { return sys_call6(SYS_pread64, fd, SYS_ARG(buf), SYS_ARG(len), off, 0, 0); }
static inline long sys_pwrite(int fd, const void *buf, size_t len, off_t off) { return sys_call6(SYS_pwrite64, fd, SYS_ARG(buf), SYS_ARG(len), off, 0, 0); }
static inline long sys_close(int fd) { return sys_call6(SYS_close, fd, 0, 0, 0, 0, 0); }

/* Reads a file that holds one number, as those of /proc/sys do; false: it cannot be read. */
bool sys_number(const char *path, uint64_t *value);

/* Reads the auxiliary values that the rest needs. Idempotent. */
void sys_init(void);

#endif
