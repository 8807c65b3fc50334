/* SPDX-License-Identifier: MIT */
/*
 * The calls that libc makes inside. malloc and pthread_create call libc's own
 * mmap, munmap and mremap, which no exported symbol can catch; libc has one
 * body of each, and every inner call goes there. So the first bytes of each
 * body are overwritten with a jump to our function, which makes the system
 * call itself. Nothing of the old body is needed, so nothing is disassembled
 * or moved.
 *
 * Three steps, apart: find (where is the body), decide (is it what we think),
 * write (and try whether a call arrives). Whatever is not as expected makes us
 * decline, with the reason kept for `anonname check`; the exported symbols
 * still serve.
 */
#include "hook/detour.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/single_threaded.h>
#include <sys/stat.h>

#include "base/elf.h"
#include "base/root.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "hook/hook.h"
#include "label/config.h"
#include "label/objects.h"

/* Arguments that the kernel refuses, to try whether a call arrives: no address is aligned like this. */
#define TRIAL_ADDRESS ((void *)0x1abe1)
static bool trial_arrived;

static long note_trial(long r, const void *addr)
{
	if (unlikely(addr == TRIAL_ADDRESS))
		trial_arrived = true;
	errno = (int)-r;
	return -1;
}

/* --- where the jumps lead -------------------------------------------------------- */

static void *detoured_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	long r = hook_mmap(addr, len, prot, flags, fd, off, CALLER, FRAME);

	return (void *)(likely(!sys_failed(r)) ? r : note_trial(r, addr));
}

static int detoured_munmap(void *addr, size_t len)
{
	long r = hook_munmap(addr, len);

	return (int)(likely(!sys_failed(r)) ? r : note_trial(r, addr));
}

static void *detoured_mremap(void *old, size_t old_len, size_t len, int flags, ...)
{
	void *to = NULL;
	va_list args;
	long r;

	va_start(args, flags);
	if (flags & ~MREMAP_MAYMOVE)
		to = va_arg(args, void *);
	va_end(args);
	r = hook_mremap(old, old_len, len, flags, to);
	return (void *)(likely(!sys_failed(r)) ? r : note_trial(r, old));
}

static int detoured_mprotect(void *addr, size_t len, int prot)
{
	long r = hook_mprotect(addr, len, prot);

	return (int)(likely(!sys_failed(r)) ? r : note_trial(r, addr));
}

static void try_mmap(uintptr_t libc_function)
{
	void *(*call)(void *, size_t, int, int, int, off_t) = (void *(*)(void *, size_t, int, int, int, off_t))libc_function;

	call(TRIAL_ADDRESS, 1, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static void try_munmap(uintptr_t libc_function)
{
	((int (*)(void *, size_t))libc_function)(TRIAL_ADDRESS, 1);
}

static void try_mremap(uintptr_t libc_function)
{
	((void *(*)(void *, size_t, size_t, int, ...))libc_function)(TRIAL_ADDRESS, 1, 1, 0);
}

static void try_mprotect(uintptr_t libc_function)
{
	((int (*)(void *, size_t, int))libc_function)(TRIAL_ADDRESS, 1, PROT_NONE);
}

static const struct detour {
	enum part part;
	const char *name;
	int nr;
	void *target;
	void (*trial)(uintptr_t libc_function);
} detours[] = {
	{ PART_DETOUR_MMAP, "mmap", SYS_mmap, (void *)detoured_mmap, try_mmap },
	{ PART_DETOUR_MUNMAP, "munmap", SYS_munmap, (void *)detoured_munmap, try_munmap },
	{ PART_DETOUR_MREMAP, "mremap", SYS_mremap, (void *)detoured_mremap, try_mremap },
	{ PART_DETOUR_MPROTECT, "mprotect", SYS_mprotect, (void *)detoured_mprotect, try_mprotect },
};

/* --- find and decide ---------------------------------------------------------------- */

struct plan {
	uintptr_t function;
	uint8_t *at;
	uint8_t new[DETOUR_MAX];
	uint8_t old[DETOUR_MAX];
	size_t len;
};

static enum part_reason make_plan(const struct detour *d, const struct elf_symbols *libc, struct plan *plan)
{
	const ElfW(Sym) *symbol = elf_find(libc, d->name);
	const uint8_t *code;
	enum part_reason reason;
	size_t offset;

	if (!symbol || ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || symbol->st_size < 8)
		return REASON_NO_SYMBOL;
	code = (const uint8_t *)(libc->base + symbol->st_value);
	reason = detour_read(code, symbol->st_size, d->nr);
	if (reason != REASON_NONE)
		return reason;
	offset = detour_offset(code);
	plan->function = (uintptr_t)code;
	plan->at = (uint8_t *)plan->function + offset;
	plan->len = detour_jump(plan->new, (uintptr_t)d->target);
	if (offset + plan->len > symbol->st_size)
		return REASON_NO_SYMBOL;
	__builtin_memcpy(plan->old, plan->at, plan->len);
	return REASON_NONE;
}

/* Another thread could be in the middle of the bytes that we change. */
static bool single_threaded(void)
{
	struct stat st;
	/* Not from status: an emulator's own threads are counted there, and run nothing of ours. */
	long r = sys_call6(SYS_newfstatat, AT_FDCWD, SYS_ARG("/proc/self/task"), SYS_ARG(&st), 0, 0, 0);

	return __libc_single_threaded && (sys_failed(r) || st.st_nlink == 3);
}

/* --- write ----------------------------------------------------------------------------- */

/*
 * Through /proc/self/mem the kernel copies the page and writes to the copy,
 * whatever its protection: the text is never writable, not even for a moment,
 * and its VMA stays whole. proc(5); some kernels forbid it (proc_mem.force_override).
 */
static bool write_through_proc(long mem, const struct plan *plan, const uint8_t *bytes)
{
	return !sys_failed(mem) && sys_pwrite((int)mem, bytes, plan->len, (off_t)(uintptr_t)plan->at) == (long)plan->len;
}

/*
 * Would a page of a file that was written to become executable again? SELinux
 * (execmod), PR_SET_MDWE and others say no, and then libc would be left unable
 * to run. So it is tried on a page that nobody needs.
 */
static bool may_toggle_text(void)
{
	long fd = sys_open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	bool may = false;
	long page;

	if (sys_failed(fd))
		return false;
	page = sys_mmap(NULL, page_size, PROT_READ | PROT_EXEC, MAP_PRIVATE, (int)fd, 0);
	if (!sys_failed(page)) {
		may = sys_mprotect((void *)page, page_size, PROT_READ | PROT_WRITE) == 0;
		if (may) {
			*(volatile uint8_t *)page = 0;
			may = sys_mprotect((void *)page, page_size, PROT_READ | PROT_EXEC) == 0;
		}
		sys_munmap((void *)page, page_size);
	}
	sys_close((int)fd);
	return may;
}

/* Never writable and executable at once. Nothing of libc runs in between: the loop is ours. */
static bool write_by_mprotect(long mem, const struct plan *plan, const uint8_t *bytes)
{
	uintptr_t start = page_down((uintptr_t)plan->at);
	size_t len = page_up((uintptr_t)plan->at + plan->len) - start;
	volatile uint8_t *at = plan->at;

	(void)mem;
	if (!sandbox_allows(MAY_PATCH_BY_PROTECT) || !may_toggle_text() || sys_mprotect((void *)start, len, PROT_READ | PROT_WRITE) != 0)
		return false;
	for (size_t i = 0; i < plan->len; i++)
		at[i] = bytes[i];
	return sys_mprotect((void *)start, len, PROT_READ | PROT_EXEC) == 0;
}

static bool arrives(const struct detour *d, const struct plan *plan)
{
	int saved = errno;

	__builtin___clear_cache((char *)plan->at, (char *)plan->at + plan->len);
	trial_arrived = false;
	d->trial(plan->function);
	errno = saved;
	return trial_arrived;
}

static enum part_reason write_jump(long mem, const struct detour *d, const struct plan *plan)
{
	static bool (*const ways[])(long mem, const struct plan *, const uint8_t *) = { write_through_proc, write_by_mprotect };
	enum part_reason reason = REASON_NOT_WRITABLE;

	for (size_t i = 0; i < ARRAY_SIZE(ways); i++) {
		if (!ways[i](mem, plan, plan->new))
			continue;
		if (arrives(d, plan))
			return REASON_NONE;
		reason = REASON_NO_EFFECT;
		ways[i](mem, plan, plan->old);
	}
	return reason;
}

void detour_install(void)
{
	/* Not by class: a program may have libpthread.so.0 in front of it. */
	const struct object *o = objects_named("libc.so.6");
	struct elf_symbols libc;
	enum part_reason all = REASON_NONE;
	long mem = -EPERM;

	if (!config_detour() || !root.sink)
		all = REASON_OFF;
	else if (!o || !o->dynamic || !elf_symbols(o->base, (const ElfW(Dyn) *)o->dynamic, &libc))
		all = REASON_NO_LIBC;
	else if (!sandbox_allows(MAY_PATCH))
		all = REASON_SANDBOX;
	else if (!single_threaded())
		all = REASON_THREADS;
	if (all == REASON_NONE)
		mem = sys_open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	for (size_t i = 0; i < ARRAY_SIZE(detours); i++) {
		struct plan plan;
		enum part_reason reason = all;

		if (reason == REASON_NONE)
			reason = make_plan(&detours[i], &libc, &plan);
		if (reason == REASON_NONE)
			reason = write_jump(mem, &detours[i], &plan);
		part_set(detours[i].part, reason == REASON_NONE ? PART_ACTIVE : PART_DECLINED, reason);
	}
	if (!sys_failed(mem))
		sys_close((int)mem);
}
