/* SPDX-License-Identifier: MIT */
/*
 * Reads memory of this process that may not be there, without a fault: what a
 * pointer from the program points to. There are several ways because each may
 * be forbidden by a seccomp filter.
 */
#ifndef ANONNAME_BASE_PEEK_H
#define ANONNAME_BASE_PEEK_H

#include "base/compiler.h"

/* Copies len bytes. Returns 0, -EFAULT where they cannot be read, -EPERM where that cannot be found out. */
long peek(void *to, const void *from, size_t len);

/* The same without copying. */
long peek_test(const void *from, size_t len);

/*
 * Can these bytes be read, as far as the rooms above know (a loaded object, the
 * caller's stack)? It needs no system call. Set before the first use, or NULL.
 */
extern bool (*peek_known)(uintptr_t from, size_t len);

#endif
