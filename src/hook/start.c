/* SPDX-License-Identifier: MIT */
/* The first call, and what stands behind us. See hook.h. */
#include "hook/hook.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/elf.h"
#include "base/old.h"
#include "base/root.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "base/text.h"
#include "event/event.h"

OLD_WEAK(dlsym);

struct next hook_next;
uint8_t hook_started;           /* 0 no, 1 in the middle of it, 2 yes */

/* --- what stands behind us ------------------------------------------------------------ */

/* No pointers, which the dynamic linker would have to relocate at each start. */
static const struct {
	char name[22];
	uint16_t at;
} next_functions[] = {
#define NEXT(member, name) { name, offsetof(struct next, member) }
	NEXT(mmap, "mmap"), NEXT(munmap, "munmap"), NEXT(mremap, "mremap"), NEXT(mprotect, "mprotect"), NEXT(pkey_mprotect, "pkey_mprotect"),
	NEXT(madvise, "madvise"), NEXT(brk, "brk"), NEXT(sbrk, "sbrk"), NEXT(prctl, "prctl"),
	NEXT(sigaltstack, "sigaltstack"), NEXT(syscall, "syscall"), NEXT(dlopen, "dlopen"),
	NEXT(dlmopen, "dlmopen"), NEXT(dlclose, "dlclose"), NEXT(pthread_create, "pthread_create"),
	NEXT(thrd_create, "thrd_create"), NEXT(pthread_setname_np, "pthread_setname_np"), NEXT(pthread_exit, "pthread_exit"),
	NEXT(cleanup_push, "_pthread_cleanup_push"), NEXT(cleanup_pop, "_pthread_cleanup_pop"),
#undef NEXT
};

static void **next_slot(size_t i)
{
	return (void **)((char *)&hook_next + next_functions[i].at);
}

/* The second time there is as a rule nothing left to look for, and nobody's tables need to be read. */
static bool all_found(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(next_functions); i++)
		if (!*next_slot(i))
			return false;
	return true;
}

/* Takes from one object what no object before it had. */
static void take_from(const struct link_map *object)
{
	const struct elf_object elf = elf_object_of(object);
	struct elf_symbols symbols;

	if (!elf_symbols(&elf, &symbols))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(next_functions); i++) {
		const ElfW(Sym) *symbol = *next_slot(i) ? NULL : elf_find(&symbols, next_functions[i].name);

		if (symbol)
			*next_slot(i) = (void *)(symbols.base + symbol->st_value);
	}
}

static void *no_namespace(Lmid_t space, const char *file, int flags)
{
	(void)space;
	(void)file;
	(void)flags;
	return NULL;
}

/*
 * By reading the objects and not by dlsym, which may not be called everywhere
 * that a hook is: a sanitizer starts before libc is initialised, and has a
 * dlsym or dl_iterate_phdr of its own. Behind us come those that a preloaded
 * library stands in front of. Loaded later than libc, we take the first.
 */
void hook_find_next(void)
{
	const struct link_map *first = elf_objects(), *self = first;

	while (self && self->l_ld != _DYNAMIC)
		self = self->l_next;
	for (const struct link_map *o = self ? self->l_next : NULL; o && !all_found(); o = o->l_next)
		take_from(o);
	for (const struct link_map *o = self ? first : NULL; o != self && !all_found(); o = o->l_next)
		take_from(o);
	/* In a namespace of its own (dlmopen) the program's list has neither us nor our libc. */
	for (size_t i = 0; !self && i < ARRAY_SIZE(next_functions) && dlsym; i++)
		*next_slot(i) = dlsym(RTLD_NEXT, next_functions[i].name);
	if (!hook_next.dlmopen)
		hook_next.dlmopen = no_namespace;       /* not glibc */
}

/* What start-up has decided, of the parts that it did decide on. Arrays and no pointers, as above. */
static void tell(void)
{
	static const char parts[][16] = {
#define PART(id, name, what) name,
#include "format/parts.def"
	};
	static const char reasons[][16] = {
#define REASON(id, name, why, advice) name,
#include "format/parts.def"
	};

	complain("sink ", (const char *const[]){ "none", "kernel", "registry", "both" }[root.sink & 3]);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (root.part_state[i] == PART_ACTIVE)
			complain(parts[i], ": active");
		else if (root.part_state[i] == PART_DECLINED)
			complain(parts[i], ": declined, ", reasons[root.part_reason[i]], " (anonname check says it in words)");
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

	/* First: whatever we call from here may come back to a hook. */
	if (!hook_next.prctl)
		hook_find_next();
	if (!__atomic_compare_exchange_n(&hook_started, &no, 1, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return false;
	sys_init();
	/*
	 * In .preinit_array (sanitizers start there) libc itself is not initialised
	 * and has no environment yet: calls are only passed on.
	 */
	if (!environ) {
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
		sandbox_probe(config_choice[CHOICE_SINK] == SINK_KERNEL || config_choice[CHOICE_SINK] == SINK_BOTH,
			      secure_getenv("SYSTEMD_EXEC_PID"));
	sandbox_remember_pid();
	hook_find_next();
	root.self = (uintptr_t)&root;
	event_start();
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
	if (!event_notices_forks())
		hook_watch_forks();
	event_objects_changed();
	event_look();
	malloc_look();
}
