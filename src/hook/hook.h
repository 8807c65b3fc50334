/* SPDX-License-Identifier: MIT */
/*
 * Where calls enter. Three layers a call: the exported symbol (mmap), our own
 * function (hook_mmap), which the detour of libc's inside also leads to, and
 * the raw system call (sys_mmap).
 *
 * The rules of everything in this room: the caller sees what it would have
 * seen, the result, errno, the address; no malloc, no lock of libc or of the
 * dynamic linker, except in hooks of functions that take them themselves.
 */
#ifndef ANONNAME_HOOK_HOOK_H
#define ANONNAME_HOOK_HOOK_H

#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sys/types.h>
#include <threads.h>

#include "base/compiler.h"

/*
 * What stands behind us: the next definition of each function. The memory
 * calls are NULL where that is libc's own, because then the raw system call
 * does. Others are NULL only until they are asked for by hook_next_of: nobody's
 * call fails because we have not looked yet, or because a library came later.
 */
struct next {
	/* The assembly stubs in stubs_ARCH.S jump through these three. */
	void *syscall;
	void *(*dlopen)(const char *, int);
	void *(*dlmopen)(Lmid_t, const char *, int);
	void *(*mmap)(void *, size_t, int, int, int, off_t);
	int (*munmap)(void *, size_t);
	void *(*mremap)(void *, size_t, size_t, int, ...);
	int (*mprotect)(void *, size_t, int);
	int (*madvise)(void *, size_t, int);
	int (*brk)(void *);
	void *(*sbrk)(intptr_t);
	int (*prctl)(int, ...);
	int (*seccomp)(unsigned, unsigned, void *);
	int (*sigaltstack)(const stack_t *, stack_t *);
	int (*pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	int (*thrd_create)(thrd_t *, thrd_start_t, void *);
	int (*pthread_setname_np)(pthread_t, const char *);
	int (*dlclose)(void *);
	int (*register_atfork)(void (*)(void), void (*)(void), void (*)(void), void *);
	int (*pthread_atfork)(void (*)(void), void (*)(void), void (*)(void));
	void (*cleanup_push)(struct _pthread_cleanup_buffer *, void (*)(void *), void *);
	void (*cleanup_pop)(struct _pthread_cleanup_buffer *, int run);
	int (*pthread_setspecific)(pthread_key_t, const void *);
};
extern struct next hook_next;
_Static_assert(offsetof(struct next, syscall) == 0 && offsetof(struct next, dlopen) == 8 &&
	       offsetof(struct next, dlmopen) == 16, "the stubs know these offsets");

/* Fills what is still empty. Calls nobody; safe wherever a hook may be called. */
void hook_find_next(void);
#define hook_next_of(function) (likely(hook_next.function != NULL) ? hook_next.function : (hook_find_next(), hook_next.function))

/*
 * Starts the library at the first call of any hook; later calls cost one load.
 * false: it cannot run yet (libc has no environment), only pass the call on.
 */
extern uint8_t hook_started;
bool hook_start_now(void);
static inline bool hook_start(void) { return likely(load_acquire(&hook_started) == 2) || hook_start_now(); }

/* Handlers for fork: from the first thread on, or where nothing else tells a child that it is one. */
void hook_watch_forks(void);

/* Our own functions: exported symbols, the detour and syscall() all end here. -errno. */
long hook_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off, uintptr_t caller, uintptr_t frame);
long hook_munmap(void *addr, size_t len);
long hook_mremap(void *old, size_t old_len, size_t len, int flags, void *to);
long hook_mprotect(void *addr, size_t len, int prot);
long hook_set_vma(unsigned long arg2, unsigned long addr, unsigned long len, unsigned long name);

/* Puts the jumps into libc. Each one that it leaves out is told in the root. */
void detour_install(void);

/* A safe moment: new jemalloc, new arenas, and new objects that call it. */
void mallctl_look(void);

#define CALLER ((uintptr_t)__builtin_extract_return_addr(__builtin_return_address(0)))
#define FRAME ((uintptr_t)__builtin_frame_address(0))

#endif
