/* SPDX-License-Identifier: MIT */
/* The calls that map, unmap and move memory. */
#include "hook/hook.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "base/sys.h"
#include "label/label.h"

static long with_errno(long r)
{
	if (unlikely(sys_failed(r))) {
		errno = (int)-r;
		return -1;
	}
	return r;
}

/* --- our own ---------------------------------------------------------------------- */

static void mapped(long r, size_t len, int prot, int flags, uintptr_t caller, uintptr_t frame)
{
	struct mapping m = {
		.start = (uintptr_t)r, .len = len, .prot = prot, .flags = flags, .caller = caller, .frame = frame,
	};

	label_mapped(&m);
}

long hook_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off, uintptr_t caller, uintptr_t frame)
{
	long r = sys_mmap(addr, len, prot, flags, fd, off);

	if (unlikely(r == -ENOMEM) && sink_give_back())
		r = sys_mmap(addr, len, prot, flags, fd, off);
	if (likely(!sys_failed(r)))
		mapped(r, len, prot, flags, caller, frame);
	return r;
}

long hook_munmap(void *addr, size_t len)
{
	struct sink_unmap unmap = label_unmap_begin();
	long r = sys_munmap(addr, len);

	if (unlikely(r == -ENOMEM) && sink_give_back())
		r = sys_munmap(addr, len);
	label_unmapped(unmap, (uintptr_t)addr, len, r == 0);
	return r;
}

long hook_mremap(void *old, size_t old_len, size_t len, int flags, void *to)
{
	struct sink_unmap unmap = label_unmap_begin();
	long r = sys_mremap(old, old_len, len, flags, to);

	if (unlikely(r == -ENOMEM) && sink_give_back())
		r = sys_mremap(old, old_len, len, flags, to);
	if (likely(!sys_failed(r)))
		label_moved(unmap, (uintptr_t)old, old_len, (uintptr_t)r, len, flags);
	else
		label_unmapped(unmap, 0, 0, false);
	return r;
}

/* Names do not change here. But each of these may need one more VMA, and names must not be why there is none. */
long hook_mprotect(void *addr, size_t len, int prot)
{
	long r = sys_mprotect(addr, len, prot);

	if (unlikely(r == -ENOMEM) && sink_give_back())
		r = sys_mprotect(addr, len, prot);
	return r;
}

/* --- exported ------------------------------------------------------------------------ */

EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	hook_start();
	if (unlikely(hook_next.mmap != NULL)) {
		void *p = hook_next.mmap(addr, len, prot, flags, fd, off);

		if (p != MAP_FAILED)
			mapped((long)(uintptr_t)p, len, prot, flags, CALLER, FRAME);
		return p;
	}
	return (void *)with_errno(hook_mmap(addr, len, prot, flags, fd, off, CALLER, FRAME));
}

EXPORT void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off) __attribute__((alias("mmap")));

EXPORT int munmap(void *addr, size_t len)
{
	hook_start();
	if (unlikely(hook_next.munmap != NULL)) {
		struct sink_unmap unmap = label_unmap_begin();
		int r = hook_next.munmap(addr, len);

		label_unmapped(unmap, (uintptr_t)addr, len, r == 0);
		return r;
	}
	return (int)with_errno(hook_munmap(addr, len));
}

EXPORT void *mremap(void *old, size_t old_len, size_t len, int flags, ...)
{
	void *to = NULL;
	va_list args;

	hook_start();
	/* mremap(2): only MREMAP_FIXED and MREMAP_DONTUNMAP have a fifth argument. */
	va_start(args, flags);
	if (flags & ~MREMAP_MAYMOVE)
		to = va_arg(args, void *);
	va_end(args);
	if (unlikely(hook_next.mremap != NULL)) {
		struct sink_unmap unmap = label_unmap_begin();
		void *p = hook_next.mremap(old, old_len, len, flags, to);

		if (p != MAP_FAILED)
			label_moved(unmap, (uintptr_t)old, old_len, (uintptr_t)p, len, flags);
		else
			label_unmapped(unmap, 0, 0, false);
		return p;
	}
	return (void *)with_errno(hook_mremap(old, old_len, len, flags, to));
}

EXPORT int mprotect(void *addr, size_t len, int prot)
{
	hook_start();
	if (unlikely(hook_next.mprotect != NULL))
		return hook_next.mprotect(addr, len, prot);
	return (int)with_errno(hook_mprotect(addr, len, prot));
}

/* mm/madvise.c says EAGAIN where a VMA cannot be split, before 5.17 ENOMEM. */
EXPORT int madvise(void *addr, size_t len, int advice)
{
	long r;

	hook_start();
	if (unlikely(hook_next.madvise != NULL))
		return hook_next.madvise(addr, len, advice);
	r = sys_madvise(addr, len, advice);
	if (unlikely(r == -EAGAIN || r == -ENOMEM) && sink_give_back())
		r = sys_madvise(addr, len, advice);
	return (int)with_errno(r);
}

/*
 * The heap needs no name, the kernel calls it [heap]. But a part that shrinks
 * away takes names along that the program gave it.
 */
EXPORT int brk(void *to)
{
	bool ready = hook_start();
	uintptr_t before = ready && label_active() ? (uintptr_t)hook_next_of(sbrk)(0) : 0;
	int r = hook_next_of(brk)(to);

	if (r == 0 && (uintptr_t)to < before)
		sink_forget(page_up((uintptr_t)to), before - page_up((uintptr_t)to));
	return r;
}

EXPORT void *sbrk(intptr_t increment)
{
	bool ready = hook_start();
	void *r = hook_next_of(sbrk)(increment);

	if (ready && increment < 0 && r != (void *)-1) {
		uintptr_t after = (uintptr_t)r + (uintptr_t)increment;

		if (page_up(after) < (uintptr_t)r)
			sink_forget(page_up(after), (uintptr_t)r - page_up(after));
	}
	return r;
}
