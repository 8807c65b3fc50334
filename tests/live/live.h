/* SPDX-License-Identifier: MIT */
/*
 * What every live program needs: checks that say what is wrong, and the name
 * that an address carries. A live program runs under the library, looks at its
 * own process and exits 0 (as it should be), 1 (not) or 77 (cannot be told
 * here). live.sh runs them all; see there for how.
 */
#ifndef ANONNAME_TESTS_LIVE_H
#define ANONNAME_TESTS_LIVE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* include/uapi/linux/prctl.h; libc's headers may be older. */
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

#define KIB 1024UL
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* Counts and reports; the program goes on, so that one run tells all. Safe in any process, not in a handler. */
void live_wrong(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
#define check(condition, ...) \
	do { \
		if (!(condition)) \
			live_wrong(__FILE__, __LINE__, #condition ": " __VA_ARGS__); \
	} while (0)

/* The exit status that sums up the checks. */
int live_status(void);
void live_skip(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* fork, with the checks counted from none in the child. */
pid_t live_fork(void);
/* Waits for a child; checks that it exited with 0. */
void live_join(pid_t child, const char *what);

/* The library is in this process, and names things. */
bool live_active(void);
/* It gives names to the kernel (else it keeps them in the registry). */
bool live_kernel_names(void);
/* Its account of itself; NULL: it is not in this process. */
struct root;
const struct root *live_root(void);
/* A counter of the library (enum root_counter). */
uint64_t live_counter(int which);

/*
 * The name of the region at that address: as /proc/self/maps shows it, or where
 * that has none, as the registry in this process has it. "" for none.
 * The answer stands in one of eight buffers, used in turn.
 */
const char *live_name(const void *addr);

/* Does /proc/self/maps show anonymous memory without a name there? */
bool live_bare(const void *addr);

/* Fails unless the name is exactly that; %t in `wanted` stands for the calling thread's id. */
void live_check_name(const char *file, int line, const void *addr, const char *wanted);
#define check_name(addr, wanted) live_check_name(__FILE__, __LINE__, addr, wanted)

/* The number of VMAs of this process. */
long live_vmas(void);
/* How many of them have a part of [addr, addr + len). */
long live_vmas_in(const void *addr, size_t len);

/* System calls past every hook: no exported symbol and no detour sees them. -errno. */
long live_raw(long nr, long a, long b, long c, long d, long e, long f);

/* The base name of this program. */
extern const char *live_program;

static inline void *map(size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

#endif
