/* SPDX-License-Identifier: MIT */
/*
 * A preloaded library whose constructor, which runs before ours, puts a jump
 * (BEFORE=patch) or a breakpoint (BEFORE=breakpoint) on libc's munmap. For way.c.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>

#include "patch.h"

int behind_heard;
void behind_restore(void);

#if defined(__x86_64__)

static uint8_t *function, first;

static int heard_munmap(void *addr, size_t len)
{
	long r = raw(SYS_munmap, (long)addr, (long)len, 0, 0, 0, 0);

	behind_heard++;
	if (r < 0)
		errno = (int)-r;
	return r < 0 ? -1 : 0;
}

__attribute__((constructor)) static void patch(void)
{
	const char *how = getenv("BEFORE");

	/* Ours stands before us. */
	function = dlsym(RTLD_NEXT, "munmap");
	first = function[0];
	if (how && !strcmp(how, "patch"))
		put_jump(function, (void *)heard_munmap);
	else
		set_bytes(function, "\xcc", 1);
}

void behind_restore(void)
{
	set_bytes(function, &first, 1);
}

#endif
