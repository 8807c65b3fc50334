/* SPDX-License-Identifier: MIT */
/*
 * The memory hooks of libraries that keep memory registered for RDMA: UCX's
 * (libucm) and Open MPI's (libopen-pal). Prints how many calls they hear of;
 * live.sh compares that with and without the library.
 * usage: rdma ucx MODE | rdma openmpi      MODE: UCX_MEM_MMAP_HOOK_MODE, bistro or reloc
 * Declared here, so that no header is needed.
 */
#include <dlfcn.h>
#include <malloc.h>

#include "live.h"

enum { UCM_EVENT_VM_MAPPED = 1 << 16, UCM_EVENT_VM_UNMAPPED = 1 << 17 };
static int mapped, unmapped;

static void ucm_event(int type, void *event, void *arg)
{
	(void)event;
	(void)arg;
	mapped += type == UCM_EVENT_VM_MAPPED;
	unmapped += type == UCM_EVENT_VM_UNMAPPED;
}

static void opal_released(void *start, size_t len, void *arg, bool from_alloc)
{
	(void)start;
	(void)len;
	(void)arg;
	(void)from_alloc;
	unmapped++;
}

/* A function of the library, by a pointer of the right type. */
static void find(void *library, const char *name, void *function)
{
	*(void **)function = library ? dlsym(library, name) : NULL;
	if (!*(void **)function)
		live_skip("no %s here", name);
}

static void start_ucx(const char *mode)
{
	int (*set)(int events, int priority, void (*callback)(int, void *, void *), void *arg);

	setenv("UCX_MEM_MMAP_HOOK_MODE", mode, 1);
	dlopen("libucs.so.0", RTLD_NOW | RTLD_GLOBAL);
	find(dlopen("libucm.so.0", RTLD_NOW | RTLD_GLOBAL), "ucm_set_event_handler", &set);
	printf("ucm_set_event_handler: %d\n", set(UCM_EVENT_VM_MAPPED | UCM_EVENT_VM_UNMAPPED, 0, ucm_event, NULL));
}

/* What MPI_Init does of it, without a job to be part of. */
static void start_openmpi(int argc, char **argv)
{
	void *pal = dlopen("libopen-pal.so.40", RTLD_NOW | RTLD_GLOBAL), *patcher, *memory;
	int (*init)(int *, char ***), (*open)(void *, int), (*select)(void);
	int (*on_release)(void (*callback)(void *, size_t, void *, bool), void *arg);

	find(pal, "opal_init", &init);
	find(pal, "mca_base_framework_open", &open);
	find(pal, "opal_patcher_base_framework", &patcher);
	find(pal, "opal_patcher_base_select", &select);
	find(pal, "opal_memory_base_framework", &memory);
	find(pal, "opal_mem_hooks_register_release", &on_release);
	printf("opal_init: %d\n", init(&argc, &argv));
	printf("patcher: %d\n", open(patcher, 0));
	printf("patcher chosen: %d\n", select());
	printf("memory: %d\n", open(memory, 0));
	printf("opal_mem_hooks_register_release: %d\n", on_release(opal_released, NULL));
}

static void heard(const char *of)
{
	printf("%s: mapped %d, unmapped %d\n", of, mapped, unmapped);
	mapped = unmapped = 0;
}

int main(int argc, char **argv)
{
	char *p;

	mallopt(M_MMAP_THRESHOLD, 128 * KIB);
	if (argc > 2)
		start_ucx(argv[2]);
	else
		start_openmpi(argc, argv);
	mapped = unmapped = 0;
	p = map(MIB);
	munmap(p, MIB);
	heard("direct");
	p = malloc(MIB);
	p = realloc(p, 9 * MIB);
	free(p);
	heard("malloc");
	p = map(8 * MIB);
	p = mremap(p, 8 * MIB, 16 * MIB, MREMAP_MAYMOVE);
	madvise(p, 4096, MADV_DONTNEED);
	munmap(p, 16 * MIB);
	heard("mremap, madvise");
	return 0;
}
