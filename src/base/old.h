/* SPDX-License-Identifier: MIT */
/*
 * libc's functions that got a new version, asked for by their first one: what is
 * built on a new Debian loads in a container that is ten years older, too.
 * glibc 2.34 took libdl and libpthread into libc and gave all of theirs a new
 * version; the old ones stay. tests/tree/versions.sh looks at what was built.
 *
 * Before 2.34 a program may have loaded neither of the two, so these are weak:
 * NULL there. Built there, they have the first version only, and naming it would
 * need the two at link time.
 */
#ifndef ANONNAME_BASE_OLD_H
#define ANONNAME_BASE_OLD_H

#include <features.h>

#include "arch.h"

#if __GLIBC_PREREQ(2, 34)
#define OLD_WEAK(function) \
	extern __typeof__(function) function __attribute__((weak)); \
	__asm__(".symver " #function ", " #function "@" ARCH_FIRST_GLIBC)
#else
#define OLD_WEAK(function) extern __typeof__(function) function __attribute__((weak))
#endif

#endif
