/* SPDX-License-Identifier: MIT */
/* Names by the type of a mapping: shared, private, and droppable, which is private (Linux 6.11). */
#include <dlfcn.h>

#include "live.h"

static void *of_type(int type)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE, type | MAP_ANONYMOUS, -1, 0);
}

int main(void)
{
	char path[4096] = "";
	void *library, *(*droppable)(unsigned long), *p;

	check_name(of_type(MAP_PRIVATE), "types:mmap");
	if (!live_kernel_names())
		check_name(of_type(MAP_SHARED), "types:shm");
	p = of_type(0x08);
	if (p == MAP_FAILED)
		live_skip("MAP_DROPPABLE: %s", strerror(errno));
	check_name(p, "types:mmap");
	(void)!readlink("/proc/self/exe", path, sizeof(path) - 32);
	strcpy(strrchr(path, '/') + 1, "libc_malloc_debug.so");
	library = dlopen(path, RTLD_NOW);
	check(library, "%s", dlerror());
	*(void **)&droppable = library ? dlsym(library, "droppable") : NULL;
	if (droppable)
		check_name(droppable(4096), "glibc:getrandom");
	return live_status();
}
