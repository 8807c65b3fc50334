/* SPDX-License-Identifier: MIT */
/* glibc's own names for its memory (glibc.mem.decorate_maps) give way to ours. */
#ifndef ANONNAME_OWNER_DECORATION_H
#define ANONNAME_OWNER_DECORATION_H

#include "base/compiler.h"

/* Where the kernel has our names, and glibc would put its own over them: makes it stop. At the start. */
void decoration_stop(void);

/* What glibc's names are called in /proc/self/maps. */
#define DECORATION_IN_MAPS "[anon: glibc: "

#endif
