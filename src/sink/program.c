/* SPDX-License-Identifier: MIT */
/* One policy for the names that a program gives its memory itself. See program.h. */
#include "sink/program.h"

#include <errno.h>

#include "base/maps.h"
#include "base/peek.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "base/text.h"
#include "sink/sink.h"

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
					if (!name_kernel_takes((unsigned char)name[i]))
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

static bool walk_vma(struct maps_line *line, void *context)
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

/* As the kernel would answer (mm/madvise.c, madvise_set_anon_name); what is anonymous memory is named in the registry. */
static long keep(unsigned long addr, unsigned long len, const char *name, size_t name_len)
{
	unsigned long rounded = (len + page_size - 1) & ~(page_size - 1);
	struct walk w = { .at = addr, .end = addr + rounded, .name = name, .len = name_len };

	if (addr & (page_size - 1) || (len && !rounded) || addr + rounded < addr)
		return -EINVAL;
	if (!rounded)
		return 0;
	if (!sandbox_allows(MAY_READ_PROC))
		return name_labelled(addr, addr + rounded, name, name_len);
	registry_notice((uintptr_t)__builtin_frame_address(0));
	if (maps_each(walk_vma, &w) < 0)
		return -EINVAL;
	if (w.at < w.end && w.result == 0)
		w.result = -ENOMEM;
	return w.result;
}

/* The kernel took a name: remembers which, for code_begins. */
static void note_given(unsigned long from)
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

/* A hole or a file in the range: what is left of it, or lies before it, has the name. */
static bool has_named(long r)
{
	return r == 0 || r == -ENOMEM || r == -EBADF;
}

/*
 * Has the kernel no such call? Started under a filter we do not know whether it
 * has, but it says EINVAL to what it would take.
 */
static bool kernel_lacks_it(long r)
{
	return root.kernel_error == EINVAL || (root.kernel_error == EPERM && r == -EINVAL);
}

long program_names(enum giver by, unsigned long arg2, unsigned long addr, unsigned long len, unsigned long from)
{
	bool asks_kernel = by == GIVEN_BY_PRCTL || ((sink_modes() & ROOT_SINK_KERNEL) && sandbox_allows(MAY_NAME));
	long r = asks_kernel ? sys_prctl(PR_SET_VMA, arg2, addr, len, from) : -EINVAL, name_len = 0, kept;
	char name[ANONNAME_NAME_MAX + 1];

	if (by == GIVEN_BY_PRCTL && r == 0 && arg2 == PR_SET_VMA_ANON_NAME)
		note_given(from);
	if (!(sink_modes() & ROOT_SINK_REGISTRY) || (asks_kernel && !has_named(r) && !kernel_lacks_it(r)))
		return r;
	if (arg2 != PR_SET_VMA_ANON_NAME)
		return -EINVAL;
	if (from)
		name_len = copy_program_name(from, name);
	if (name_len < 0)
		return r == 0 ? r : name_len;
	if (from)
		code_given(by, name, (size_t)name_len);
	kept = keep(addr, len, from ? name : NULL, (size_t)name_len);
	return asks_kernel && has_named(r) ? r : kept;
}
