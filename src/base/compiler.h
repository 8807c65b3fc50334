/* SPDX-License-Identifier: MIT */
/* The few words that every room uses: visibility, branch hints, atomics, numbers. */
#ifndef ANONNAME_BASE_COMPILER_H
#define ANONNAME_BASE_COMPILER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))
/* A variable of ours in another file: without this word the compiler looks up its address first, for it could be anybody's. */
#define OURS __attribute__((visibility("hidden")))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/*
 * The same value, but the compiler does not know it. gcc copies an argument
 * that changes its place in a tail call at the head of the function and once
 * more at the call; of this value it makes one copy.
 */
#define hidden(x)                                 \
	({                                        \
		__typeof__(x) hidden_ = (x);      \
		__asm__("" : "+r"(hidden_));      \
		hidden_;                          \
	})

/* The object is loaded with the program, so its TLS has a fixed offset: no call, no malloc. */
#define THREAD_LOCAL __thread __attribute__((tls_model("initial-exec")))

/*
 * The first touch of a page is what costs most at the start of a process, so
 * what every process touches lies together: the linker sorts .bss before
 * .bss.big and that before .bss.cold (see Makefile.am). Cold is what is large
 * or seldom used; big, what is used from its first bytes on. A mark stands
 * between .bss and .bss.big. Nothing may be aligned to a page: all of .bss would
 * be, and leave .data's page half empty.
 */
#define BSS_MARK __attribute__((section(".bss.after")))
#define LAST_BSS __attribute__((section(".bss.big")))
#define COLD_BSS __attribute__((section(".bss.cold")))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

#define load_relaxed(p) __atomic_load_n(p, __ATOMIC_RELAXED)
#define load_acquire(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
#define store_relaxed(p, v) __atomic_store_n(p, v, __ATOMIC_RELAXED)
#define store_release(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)

/* 4 KiB on x86-64; 4, 16 or 64 KiB on aarch64. Set once by sys_init. */
extern uintptr_t page_size OURS;

static inline uintptr_t page_down(uintptr_t a) { return a & ~(page_size - 1); }
static inline uintptr_t page_up(uintptr_t a) { return (a + page_size - 1) & ~(page_size - 1); }

#endif
