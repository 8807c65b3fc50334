/* SPDX-License-Identifier: MIT */
/*
 * What may stand behind us in a program: another preloaded library with an mmap
 * and a munmap of its own (way.c). BEHIND says how it goes on: to the next
 * function, by syscall(), or by the instruction; after a mapping for itself.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "patch.h"

int behind_heard;
void *behind_own;

static char way(void)
{
	const char *how = getenv("BEHIND");

	return how ? how[0] : 'n';
}

void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	void *(*next)(void *, size_t, int, int, int, off_t) =
		(void *(*)(void *, size_t, int, int, int, off_t))dlsym(RTLD_NEXT, "mmap");
	long r;

	behind_heard++;
	switch (way()) {
	case 's': return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, off);
	case 'i':
		r = raw(SYS_mmap, (long)addr, (long)len, prot, flags, fd, off);
		if ((unsigned long)r <= -4096UL)
			return (void *)r;
		errno = (int)-r;
		return MAP_FAILED;
	case 'o':
		/* The same call before, for itself. */
		behind_own = (void *)syscall(SYS_mmap, NULL, len + 4096, prot, flags, fd, off);
		return next(addr, len, prot, flags, fd, off);
	default: return next(addr, len, prot, flags, fd, off);
	}
}

int munmap(void *addr, size_t len)
{
	int (*next)(void *, size_t) = (int (*)(void *, size_t))dlsym(RTLD_NEXT, "munmap");

	behind_heard++;
	switch (way()) {
	case 's': return (int)syscall(SYS_munmap, addr, len);
	case 'i': return (int)raw(SYS_munmap, (long)addr, (long)len, 0, 0, 0, 0);
	default: return next(addr, len);
	}
}
