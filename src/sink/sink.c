/* SPDX-License-Identifier: MIT */
/* Chooses where names go, and hands them there. See sink.h. */
#include "sink/sink.h"

#include <errno.h>

#include "base/sandbox.h"
#include "base/sys.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

static bool kernel_can;

long sink_kernel_name(uintptr_t start, size_t len, const char *name)
{
	return sys_prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, start, len, (unsigned long)name);
}

/*
 * Support is one question, asked once: a later error is that call's own and
 * says nothing about support. A range without a byte is named at once by a
 * kernel that can (mm/madvise.c, madvise_set_anon_name), and is EINVAL to one
 * that cannot, so no page has to be there to ask.
 */
static int probe_kernel(void)
{
	return (int)-sink_kernel_name(page_size, 0, "anonname:probe");
}

void sink_start(enum sink_choice choice)
{
	uint32_t sink = ROOT_SINK_NONE;

	root.kernel_error = sandbox_allows(MAY_NAME) ? probe_kernel() : EPERM;
	kernel_can = root.kernel_error == 0;
	switch (choice) {
	case SINK_AUTO: sink = kernel_can ? ROOT_SINK_KERNEL : ROOT_SINK_REGISTRY; break;
	case SINK_KERNEL: sink = kernel_can ? ROOT_SINK_KERNEL : ROOT_SINK_NONE; break;
	case SINK_REGISTRY: sink = ROOT_SINK_REGISTRY; break;
	case SINK_BOTH: sink = ROOT_SINK_REGISTRY | (kernel_can ? ROOT_SINK_KERNEL : 0); break;
	case SINK_OFF: break;
	}
	if ((sink & ROOT_SINK_REGISTRY) && registry_start() < 0)
		sink &= ~(uint32_t)ROOT_SINK_REGISTRY;
	store_release(&root.sink, sink);
	if (sink & ROOT_SINK_KERNEL)
		sink_budget_count();
}

/* The sink is the process's; a child that runs in its memory may be allowed less. */
static void put_in_kernel(uintptr_t start, uintptr_t end, const char *name)
{
	if (likely(sandbox_allows(MAY_NAME)) && unlikely(sys_failed(sink_kernel_name(start, end - start, name))))
		count_add(COUNT_REFUSED, 1);
}

static inline void put(uint32_t sink, uintptr_t start, uintptr_t end, const char *name, size_t name_len)
{
	if (sink & ROOT_SINK_KERNEL)
		put_in_kernel(start, end, name);
	if (sink & ROOT_SINK_REGISTRY)
		registry_set(start, end, name, name_len);
}

void sink_put(uintptr_t start, uintptr_t end, const char *name, size_t name_len)
{
	put(sink_modes(), start, end, name, name_len);
}

void sink_name_new(uintptr_t start, size_t len, const char *name, size_t name_len)
{
	uint32_t sink = sink_modes();

	if (!sink || !len)
		return;
	count_add(COUNT_NAMED, 1);
	put(sink, start, page_up(start + len), name, name_len);
}

void sink_name(uintptr_t start, size_t len, const char *name, size_t name_len)
{
	uintptr_t end = page_up(start + len);

	if (likely(!code_near(start, end))) {
		sink_name_new(start, len, name, name_len);
	} else if (sink_modes() && len) {
		count_add(COUNT_NAMED, 1);
		code_name_around(start, end, name, name_len, sink_put);
	}
}

void sink_moved(struct sink_unmap unmap, uintptr_t old, size_t old_len, uintptr_t to, size_t to_len, bool keep)
{
	if (unmap.registry.slot)
		registry_move(old, page_up(old_len), to, page_up(to_len), unmap.registry.stamp, keep);
	sink_unmap_end(unmap, 0, 0, false);
}

void sink_forget(uintptr_t start, size_t len)
{
	if (registry_started())
		registry_clear(start, page_up(start + len));
}

void sink_unname(uintptr_t start, size_t len)
{
	if (len && (sink_modes() & ROOT_SINK_KERNEL) && sandbox_allows(MAY_NAME))
		sink_kernel_name(start, len, NULL);
	sink_forget(start, len);
}

/* --- sandbox --------------------------------------------------------------- */

struct sink_before sink_sandbox(uint32_t rights, bool by_guest)
{
	struct sink_before before = { .sink = sink_modes() };

	before.guest = by_guest && sandbox_restrict_guest(rights, &before.rights);
	if (before.guest)
		return before;
	/* While we still may: the memory that the registry will need. */
	if (!(rights & MAY_NAME) && before.sink)
		registry_start();
	before.rights = sandbox_restrict(rights);
	if (!sandbox_allows(MAY_NAME) && (before.sink & ROOT_SINK_KERNEL))
		store_release(&root.sink, registry_started() ? (uint32_t)ROOT_SINK_REGISTRY : (uint32_t)ROOT_SINK_NONE);
	return before;
}

void sink_sandbox_undo(struct sink_before before)
{
	if (before.guest) {
		sandbox_restore_guest(before.rights);
		return;
	}
	sandbox_restore(before.rights);
	store_release(&root.sink, before.sink);
}
