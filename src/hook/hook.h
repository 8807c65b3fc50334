/* SPDX-License-Identifier: MIT */
/*
 * Where calls enter. Three layers a call: the exported symbol (mmap), our own
 * function (hook_mmap), and the raw system call (sys_mmap).
 *
 * The memory calls have one way in. The exported symbol goes on to libc's
 * function, so that whoever has put a hook there hears of it; in libc's function
 * stands our jump (the detour), and where it leads the call is made and named.
 *
 *   program --> mmap, exported --> libc's mmap --jump--> detoured_mmap
 *                                    ^                     |
 *   malloc, pthread_create in libc --'                     v
 *   syscall(SYS_mmap) ----------------------------------> hook_mmap --> the kernel
 *
 * See memory.c for what may stand in between.
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
 * What stands behind us: the next definition of each function, as a rule libc's.
 * NULL only until they are asked for by hook_next_of: nobody's call fails because
 * we have not looked yet, or because a library came later.
 */
struct next {
	/* The assembly stubs in arch/NAME/stubs.S jump through these three. */
	void *syscall;
	void *(*dlopen)(const char *, int);
	void *(*dlmopen)(Lmid_t, const char *, int);
	void *(*mmap)(void *, size_t, int, int, int, off_t);
	int (*munmap)(void *, size_t);
	void *(*mremap)(void *, size_t, size_t, int, ...);
	int (*mprotect)(void *, size_t, int);
	int (*pkey_mprotect)(void *, size_t, int, int);
	int (*madvise)(void *, size_t, int);
	int (*brk)(void *);
	void *(*sbrk)(intptr_t);
	int (*prctl)(int, ...);
	int (*seccomp)(unsigned, unsigned, void *);
	int (*sigaltstack)(const stack_t *, stack_t *);
	int (*pthread_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	int (*thrd_create)(thrd_t *, thrd_start_t, void *);
	void (*pthread_exit)(void *) __attribute__((noreturn));
	int (*pthread_setname_np)(pthread_t, const char *);
	int (*dlclose)(void *);
	void (*cleanup_push)(struct _pthread_cleanup_buffer *, void (*)(void *), void *);
	void (*cleanup_pop)(struct _pthread_cleanup_buffer *, int run);
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
extern uint8_t hook_started OURS;
bool hook_start_now(void);
static inline bool hook_start(void) { return likely(load_acquire(&hook_started) == 2) || hook_start_now(); }

/* Handlers for fork: from the first thread on, or where nothing else tells a child that it is one. */
void hook_watch_forks(void);

/* Our own functions: the exported symbols, the detour and syscall() all end here. -errno. */
long hook_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off, uintptr_t caller, uintptr_t frame);
long hook_munmap(void *addr, size_t len, uintptr_t caller);
long hook_mremap(void *old, size_t old_len, size_t len, int flags, void *to, uintptr_t caller);
long hook_mprotect(void *addr, size_t len, int prot, uintptr_t caller);
long hook_pkey_mprotect(void *addr, size_t len, int prot, int key, uintptr_t caller);
long hook_set_vma(unsigned long arg2, unsigned long addr, unsigned long len, unsigned long name);

/* The calls that libc makes inside, too. arch/NAME/stubs.S knows the numbers. */
enum hook_call { CALL_NONE, CALL_MMAP, CALL_MUNMAP, CALL_MREMAP, CALL_MPROTECT, CALL_COUNT };

/*
 * What the first bytes of two functions should be, as 64 bits, to see whether
 * somebody has patched them: libc's, where our jump stands, and our exported
 * symbol. arch/NAME/stubs.S knows the layout of the first two.
 */
struct hook_direct {
	uintptr_t libc;         /* libc's function; 0: the exported symbol must not jump there and forget */
	uint64_t libc_bytes;
	uint64_t own_bytes;
	uintptr_t detoured;     /* as libc, whatever stands between us and it; 0: without a detour */
};
extern struct hook_direct hook_direct[CALL_COUNT] OURS;

/* The exported symbols, under names that nobody else can take: all in arch/NAME/stubs.S. */
void *hook_own_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);
int hook_own_munmap(void *addr, size_t len);
void *hook_own_mremap(void *old, size_t old_len, size_t len, int flags, ...);
int hook_own_mprotect(void *addr, size_t len, int prot);

/* Where the detour's jumps lead. They answer as libc's functions do. */
void *detoured_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);
int detoured_munmap(void *addr, size_t len);
void *detoured_mremap(void *old, size_t old_len, size_t len, int flags, void *to);
int detoured_mprotect(void *addr, size_t len, int prot);

/*
 * And the ways there (arch/NAME/stubs.S) that first undo the work of libc's first
 * instruction: hook_undo is the bytes that it took off the stack, or 1 where it
 * signed the return address.
 */
extern uint64_t hook_undo[CALL_COUNT];
void undoing_mmap(void), undoing_munmap(void), undoing_mremap(void), undoing_mprotect(void);

/* Arguments that the kernel refuses, to try whether a call arrives: no address is aligned like this. */
#define TRIAL_ADDRESS ((void *)0x1abe1)
extern enum hook_trial { TRIAL_NONE, TRIAL_UNDER_WAY, TRIAL_ARRIVED } hook_trial;

/* Puts the jumps into libc. Each one that it leaves out is told in the root. */
void detour_install(void);

/* A safe moment: new objects that call libc's malloc, where libc cannot be changed. */
void malloc_look(void);

#define CALLER ((uintptr_t)__builtin_extract_return_addr(__builtin_return_address(0)))
#define FRAME ((uintptr_t)__builtin_frame_address(0))

#endif
