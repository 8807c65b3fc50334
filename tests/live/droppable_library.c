/* SPDX-License-Identifier: MIT */
/* Maps as glibc 2.41 does for getrandom; by its soname it is taken for a part of libc. See types.c. */
#include <sys/mman.h>

void *droppable(unsigned long len);
void *droppable(unsigned long len)
{
	void *volatile p = mmap(0, len, PROT_READ | PROT_WRITE, 0x08 /* MAP_DROPPABLE */ | MAP_ANONYMOUS, -1, 0);

	/* Not a jump to mmap: the call is to come from here. */
	return p;
}
