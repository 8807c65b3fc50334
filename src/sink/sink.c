/* SPDX-License-Identifier: MIT */
/* Chooses where names go, and the rules that the kernel would apply. See sink.h. */
#include "sink/sink.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/maps.h"
#include "base/peek.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "base/text.h"

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

/* --- the program's own names ------------------------------------------------ */

/*
 * kernel/sys.c, prctl_set_vma: strndup_user first (EFAULT, and EINVAL for 80
 * bytes without a NUL), then each character.
 */
static long copy_program_name(unsigned long from, char *name)
{
	size_t got = 0;

	/* Up to the end of a page at a time: the next one may not be there. */
	while (got <= ANONNAME_NAME_MAX) {
		size_t piece = MIN((size_t)ANONNAME_NAME_MAX + 1 - got, page_size - ((from + got) & (page_size - 1)));
		long r = peek(name + got, (const void *)(from + got), piece);

		if (r < 0)
			return r == -EFAULT ? r : -EINVAL;
		for (size_t end = got + piece; got < end; got++) {
			if (!name[got]) {
				for (size_t i = 0; i < got; i++)
					if (!text_kernel_takes((unsigned char)name[i]))
						return -EINVAL;
				return (long)got;
			}
		}
	}
	return -EINVAL;
}

struct walk {
	uintptr_t at, end;
	const char *name;       /* NULL: clear */
	size_t len;
	long result;
};

static bool walk_vma(const struct maps_line *line, void *context)
{
	struct walk *w = context;

	if (line->end <= w->at)
		return true;
	/* The vsyscall page is listed, but is no VMA of the process. */
	if (line->start >= w->end || (intptr_t)line->start < 0)
		return false;
	if (line->start > w->at)
		w->result = -ENOMEM;    /* a hole: told at the end, the rest is named all the same */
	if (!line->anonymous) {
		w->result = -EBADF;
		w->at = w->end;
		return false;
	}
	uintptr_t from = MAX(line->start, w->at), upto = MIN(line->end, w->end);

	if (w->name && code_near(from, upto))
		code_name_around(from, upto, w->name, w->len, registry_set);
	else if (w->name)
		registry_set(from, upto, w->name, w->len);
	else
		registry_clear(from, upto);
	w->at = upto;
	return w->at < w->end;
}

/*
 * Without maps: what we have given a name to is anonymous memory. Of anything
 * else nothing is known, and a name that the kernel would have refused is worse
 * than none.
 */
static long name_labelled(uintptr_t start, uintptr_t end, const char *name, size_t len)
{
	char old[ANONNAME_NAME_MAX + 1];
	struct registry_range r;

	registry_settle();
	for (uintptr_t at = start; at < end; at = r.end)
		if (!registry_next(at, &r, old) || r.start > at)
			return -EINVAL;
	if (name)
		registry_set(start, end, name, len);
	else
		registry_clear(start, end);
	return 0;
}

long sink_program_name(unsigned long arg2, unsigned long addr, unsigned long len, unsigned long from)
{
	char name[ANONNAME_NAME_MAX + 1];
	long name_len = 0;

	if (arg2 != PR_SET_VMA_ANON_NAME)
		return -EINVAL;
	if (from) {
		name_len = copy_program_name(from, name);
		if (name_len < 0)
			return name_len;
		code_given(GIVEN_BY_PRCTL, name, (size_t)name_len);
	}
	/* mm/madvise.c, madvise_set_anon_name */
	if (addr & (page_size - 1))
		return -EINVAL;
	unsigned long rounded = (len + page_size - 1) & ~(page_size - 1);

	if ((len && !rounded) || addr + rounded < addr)
		return -EINVAL;
	if (!rounded)
		return 0;

	if (!sandbox_allows(MAY_READ_PROC))
		return name_labelled(addr, addr + rounded, from ? name : NULL, (size_t)name_len);

	struct walk w = { .at = addr, .end = addr + rounded, .name = from ? name : NULL, .len = (size_t)name_len };

	registry_notice((uintptr_t)__builtin_frame_address(0));

	long seen = maps_read(walk_vma, &w);

	if (seen < 0)
		return -EINVAL;
	if (w.at < w.end && w.result == 0)
		w.result = -ENOMEM;
	return w.result;
}

void sink_program_named(unsigned long from)
{
	static unsigned long last;      /* nearly always a literal */
	char name[ANONNAME_NAME_MAX + 1];
	long len;

	if (!from || from == load_relaxed(&last))
		return;
	len = copy_program_name(from, name);
	if (len < 0) {
		code_given_unknown();
		return;
	}
	code_given(GIVEN_BY_PRCTL, name, (size_t)len);
	store_relaxed(&last, from);
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
