/* SPDX-License-Identifier: MIT */
/* The first call, and what stands behind us. See hook.h. */
#include "hook/hook.h"

#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include "base/root.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "base/text.h"
#include "label/label.h"
#include "label/objects.h"

struct next hook_next;
void *hook_next_syscall, *hook_next_dlopen, *hook_next_dlmopen;
uint8_t hook_started;           /* 0 no, 1 in the middle of it, 2 yes */

static void *next_symbol(const char *name)
{
	return dlsym(RTLD_NEXT, name);
}

/* Who else stands in front of libc (a sanitizer, another preload) must go on being called. */
static void *next_unless_libc(const char *name)
{
	void *next = next_symbol(name);
	const struct object *o = objects_find((uintptr_t)next);

	return o && o->class == OBJECT_LIBC ? NULL : next;
}

static void find_next(void *(*next_memory_call)(const char *name))
{
	*(void **)&hook_next.mmap = next_memory_call("mmap");
	*(void **)&hook_next.munmap = next_memory_call("munmap");
	*(void **)&hook_next.mremap = next_memory_call("mremap");
	*(void **)&hook_next.mprotect = next_memory_call("mprotect");
	*(void **)&hook_next.madvise = next_memory_call("madvise");
	*(void **)&hook_next.brk = next_symbol("brk");
	*(void **)&hook_next.sbrk = next_symbol("sbrk");
	*(void **)&hook_next.prctl = next_symbol("prctl");
	*(void **)&hook_next.sigaltstack = next_symbol("sigaltstack");
	*(void **)&hook_next.pthread_create = next_symbol("pthread_create");
	*(void **)&hook_next.thrd_create = next_symbol("thrd_create");
	*(void **)&hook_next.pthread_setname_np = next_symbol("pthread_setname_np");
	*(void **)&hook_next.dlclose = next_symbol("dlclose");
	hook_next_syscall = next_symbol("syscall");
	hook_next_dlopen = next_symbol("dlopen");
	hook_next_dlmopen = next_symbol("dlmopen");
}

static void tell(void)
{
	static const char *const parts[] = {
		[PART_DETOUR_MMAP] = "detour mmap", [PART_DETOUR_MUNMAP] = "detour munmap",
		[PART_DETOUR_MREMAP] = "detour mremap", [PART_DETOUR_MPROTECT] = "detour mprotect", [PART_WALK] = "walk", [PART_SWEEP] = "sweep",
	};
	static const char *const states[] = { "untried", "active", "declined" };
	char reason[20];

	complain("sink ", (const char *const[]){ "none", "kernel", "registry", "both" }[root.sink & 3]);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (!parts[i])
			continue;
		reason[text_number(reason, root.part_reason[i])] = '\0';
		complain(parts[i], ": ", states[root.part_state[i]], ", reason ", reason,
			 " (anonname check says it in words)");
	}
}

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/*
 * The pages that every start writes to, in one call: a page fault each costs
 * several times that. Linux 5.14; without it they come one by one.
 */
static void populate_bss(void)
{
	static char mark[16] BSS_MARK;
	uintptr_t start = page_down((uintptr_t)&root), end = page_up((uintptr_t)mark + 1024);

	sys_madvise((void *)start, end - start, MADV_POPULATE_WRITE);
}

/*
 * The first call comes from the constructor of some library behind us, often an
 * allocator's: the program has one thread, the dynamic linker has mapped
 * everything and bound our symbols, and only libc may not be ready.
 */
bool hook_start_now(void)
{
	uint8_t no = 0;

	if (!__atomic_compare_exchange_n(&hook_started, &no, 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return false;
	sys_init();
	/*
	 * In .preinit_array (sanitizers start there) libc itself is not initialised
	 * and has no environment yet: calls are only passed on.
	 */
	if (!environ) {
		if (!hook_next.prctl)
			find_next(next_symbol);
		store_release(&hook_started, (uint8_t)0);
		return false;
	}
	/* Before anything that a filter in force could kill for. */
	bool free_of_filters = sandbox_look();

	if (free_of_filters)
		populate_bss();
	config_read();
	/* Who asks for the kernel's names takes the risk. */
	if (config_choice[CHOICE_SINK] == SINK_OFF)
		sandbox_restrict(0);
	else if (!free_of_filters)
		sandbox_probe(config_choice[CHOICE_SINK] == SINK_KERNEL || config_choice[CHOICE_SINK] == SINK_BOTH);
	objects_refresh(NULL, NULL, NULL);
	find_next(next_unless_libc);
	root.self = (uintptr_t)&root;
	label_start();
	detour_install();
	store_release(&hook_started, (uint8_t)2);
	if (config_debug())
		tell();
	return true;
}

/* For forwarders that have nothing to forward to before the start. */
__attribute__((constructor)) static void constructor(void)
{
	hook_start();
	if (!label_notices_forks())
		hook_watch_forks();
	label_objects_changed();
	mallctl_look();
}
