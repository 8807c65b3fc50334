/* SPDX-License-Identifier: MIT */
/*
 * The names that a program gives its memory itself: by prctl(PR_SET_VMA, ...), as
 * a function or by way of syscall(), and by anonname_set. What becomes of one is the
 * same for all of them:
 *
 *   the kernel is asked    it has named it, or a part of it    also kept in the registry, where there is one
 *                          it has no such call                 kept there, and answered as the kernel would
 *                          it refuses                          that is the answer
 *   it is not asked        kept there, and answered as the kernel would
 */
#ifndef ANONNAME_SINK_PROGRAM_H
#define ANONNAME_SINK_PROGRAM_H

#include "sink/code.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

/*
 * The arguments are the prctl's; from: the name's address, or 0. By prctl the
 * kernel is always asked, for it is the program's call; by anonname_set where our
 * names go there. Returns 0 or -errno as the kernel would; where a seccomp filter
 * keeps us from looking at the name or the memory, -EINVAL, as a kernel without
 * the option.
 */
long program_names(enum giver by, unsigned long arg2, unsigned long addr, unsigned long len, unsigned long from);

#endif
