/* SPDX-License-Identifier: MIT */
/*
 * glibc's own names give way to ours. From 2.39 on glibc names what it maps, if
 * GLIBC_TUNABLES has glibc.mem.decorate_maps=1: " glibc: malloc" and the like.
 * No hook sees that: it is an inline system call right behind the mmap, and it
 * would overwrite what the hook has just said.
 *
 *   glibc's malloc --> mmap --> our name, "glibc:large:python3.13"
 *                  --> prctl(PR_SET_VMA, ..., " glibc: malloc") --> glibc's name
 *
 * But at its first EINVAL glibc takes the kernel for one without names and never
 * asks again (sysdeps/unix/sysv/linux/setvmaname.c), and EINVAL is the answer to
 * a name with a byte that none may have. So the first byte of each of these
 * names, which are good for nothing else, is replaced by such a byte. To set the
 * tunable back would be too late: from 2.43 on glibc remembers what it was.
 */
#include "owner/decoration.h"

#include <errno.h>
#include <fcntl.h>

#include "base/elf.h"
#include "base/root.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "label/config.h"
#include "label/objects.h"
#include "sink/sink.h"

#define REFUSED '`'             /* kernel/sys.c, is_valid_name_char */

static const char begins[] = "\0 glibc: ";      /* with the end of the text before it */
#define BEGINS_LEN (sizeof(begins) - 1)

/* The next of glibc's names in what lies between these, or NULL. */
static const char *next_name(const char *at, const char *end)
{
	for (; at + BEGINS_LEN < end; at++)
		if (at[1] == begins[1] && __builtin_memcmp(at, begins, BEGINS_LEN) == 0)
			return at + 1;
	return NULL;
}

/* Through /proc/self/mem: see detour.c. Whether the kernel refuses the name now is asked for a range without a byte. */
static enum part_reason spoil(long mem, const char *name)
{
	static const char byte = REFUSED;

	if (sys_pwrite((int)mem, &byte, 1, (off_t)(uintptr_t)name) != 1)
		return REASON_NOT_WRITABLE;
	return sink_kernel_name(page_size, 0, name) == -EINVAL ? REASON_NONE : REASON_NO_EFFECT;
}

/* otherwise: what it was before, where there is no name in it. */
static enum part_reason spoil_all(long mem, const struct object *o, enum part_reason otherwise)
{
	const ElfW(Phdr) *segment = o ? o->headers : NULL;
	enum part_reason reason = otherwise;

	for (unsigned i = 0; segment && i < o->header_count; i++, segment++) {
		const char *at = (const char *)(o->base + segment->p_vaddr), *end = at + segment->p_filesz;

		if (segment->p_type != PT_LOAD || (segment->p_flags & (PF_R | PF_W)) != PF_R)
			continue;
		while ((at = next_name(at, end)) != NULL) {
			reason = spoil(mem, at);
			if (reason != REASON_NONE)
				return reason;
		}
	}
	return reason;
}

static enum part_reason stop(void)
{
	enum part_reason reason;
	long mem;

	if (!(sink_modes() & ROOT_SINK_KERNEL) || !config_libc_names())
		return REASON_ABSENT;
	if (!sandbox_allows(MAY_PATCH))
		return REASON_SANDBOX;
	mem = sys_open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	if (sys_failed(mem))
		return REASON_NO_PROC;
	reason = spoil_all(mem, objects_named("libc.so.6"), REASON_ABSENT);
	/* It names .bss (2.42). */
	if (reason == REASON_NONE)
		reason = spoil_all(mem, objects_named("ld-linux"), reason);
	sys_close((int)mem);
	return reason;
}

void decoration_stop(void)
{
	enum part_reason reason = stop();

	part_set(PART_DECORATION, reason == REASON_NONE ? PART_ACTIVE : PART_DECLINED, reason);
}
