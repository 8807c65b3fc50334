/* SPDX-License-Identifier: MIT */
/*
 * libc's functions that got a new version, asked for by their first one: what is
 * built on a new Debian loads in a container that is ten years older, too.
 * glibc 2.34 took libdl and libpthread into libc and gave all of theirs a new
 * version; the old ones stay. tests/tree/versions.sh looks at what was built.
 *
 * Before 2.34 a program may have loaded neither of the two, so these are weak:
 * NULL there.
 */
#ifndef ANONNAME_BASE_OLD_H
#define ANONNAME_BASE_OLD_H

#include <features.h>

#include "arch.h"

#ifdef __GLIBC__
#define OLD_WEAK(function) \
	extern __typeof__(function) function __attribute__((weak)); \
	__asm__(".symver " #function ", " #function "@" ARCH_FIRST_GLIBC)
#else
/* musl's have no versions. */
#define OLD_WEAK(function) extern __typeof__(function) function __attribute__((weak))
#endif

#endif
