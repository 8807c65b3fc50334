/* SPDX-License-Identifier: MIT */
/*
 * The calls that libc makes inside. malloc and pthread_create call libc's own
 * mmap, munmap, mremap and mprotect, which no exported symbol can catch; libc
 * has one body of each, and every inner call goes there. So each body gets a
 * jump to our function, which makes the system call itself.
 *
 *   munmap, before                       after
 *     b8 0b 00 00 00  mov $11,%eax         b8 0b 00 00 00  mov $11,%eax
 *     0f 05           syscall              e9 xx xx xx xx  jmp detoured_munmap
 *     48 3d 01 f0 ..  cmp ...              f0 ..           never executed
 *
 * The first instruction stays: there uprobes stand, and the kernel executes the
 * instruction that the file has there and goes on behind it. So does whoever
 * moves the beginning of a function to put a jump of their own there. What the
 * first instruction did is undone where the jump leads, if that is needed.
 *
 * Three steps, apart: find (where is the body), decide (is it what we think),
 * write (and try whether a call arrives). Whatever is not as expected makes us
 * decline, with the reason kept for `anonname check`; the exported symbols
 * still serve.
 */
#include "hook/detour.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/elf.h"
#include "base/old.h"
#include "base/root.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "hook/hook.h"
#include "label/config.h"
#include "label/objects.h"

OLD_WEAK(dladdr);

/* --- the four ---------------------------------------------------------------------- */

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
	enum hook_call call;
	enum part part;
	const char *name;
	int nr;
	void *detoured, *undoing, *own;
	void *next;             /* in hook_next */
	void (*trial)(uintptr_t libc_function);
} detours[] = {
#define DETOUR(CALL, name) { CALL_##CALL, PART_DETOUR_##CALL, #name, SYS_##name, (void *)detoured_##name, \
			     (void *)undoing_##name, (void *)hook_own_##name, &hook_next.name, try_##name }
	DETOUR(MMAP, mmap),
	DETOUR(MUNMAP, munmap),
	DETOUR(MREMAP, mremap),
	DETOUR(MPROTECT, mprotect),
};

/* --- find and decide ---------------------------------------------------------------- */

#define BODY_MAX 256            /* of a body, what is read of the file */

struct plan {
	uint8_t *function;
	struct opening opening; /* what stays; the jump stands behind it */
	uint8_t new[DETOUR_MAX];
	uint8_t old[DETOUR_MAX];
	size_t len;
	bool breakpoint;        /* somebody's stands in the opening */
	uint64_t bytes;         /* the function's first ones, with the jump and without a breakpoint */
};

/* The body as libc's file has it. false: it cannot be read. */
static bool read_file(const uint8_t *code, uint8_t *to, size_t size)
{
	const ElfW(Ehdr) *header;
	const ElfW(Phdr) *segment;
	Dl_info info;
	uintptr_t at;
	long fd, n = -1;

	if (!sandbox_allows(MAY_OPEN | MAY_READ_AT | MAY_CLOSE) || !dladdr || !dladdr(code, &info))
		return false;
	at = (uintptr_t)code - (uintptr_t)info.dli_fbase;
	header = info.dli_fbase;
	segment = (const ElfW(Phdr) *)((const char *)info.dli_fbase + header->e_phoff);
	fd = sys_open(info.dli_fname, O_RDONLY | O_CLOEXEC);
	if (sys_failed(fd))
		return false;
	for (unsigned i = 0; i < header->e_phnum; i++, segment++)
		if (segment->p_type == PT_LOAD && at - segment->p_vaddr < segment->p_filesz)
			n = sys_pread((int)fd, to, size, (off_t)(at - segment->p_vaddr + segment->p_offset));
	sys_close((int)fd);
	return n == (long)size;
}

/*
 * Nothing that we know: a breakpoint may hide it. Then the file has what is
 * below. A breakpoint in what stays is nobody's loss, neither when it goes. One
 * in what we write over would later be taken away with the byte that was there.
 */
static enum part_reason read_below(size_t size, int nr, struct plan *plan, enum part_reason otherwise)
{
	uint8_t file[BODY_MAX];
	size_t len;

	size = MIN(size, sizeof(file));
	if (!read_file(plan->function, file, size) || detour_read(file, size, nr, &plan->opening) != REASON_NONE)
		return otherwise;
	len = plan->opening.len;
	if (!detour_breakpoints_only(plan->function, file, len) ||
	    __builtin_memcmp(plan->function + len, file + len, MIN(size - len, DETOUR_MAX)) != 0)
		return REASON_ALREADY_PATCHED;
	__builtin_memcpy(&plan->bytes, file, sizeof(plan->bytes));
	plan->breakpoint = true;
	return REASON_NONE;
}

static enum part_reason make_plan(const struct detour *d, const struct elf_symbols *libc, struct plan *plan)
{
	const ElfW(Sym) *symbol = elf_find(libc, d->name);
	enum part_reason reason;
	const uint8_t *at;

	if (!symbol || ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || symbol->st_size < sizeof(plan->bytes))
		return REASON_NO_SYMBOL;
	plan->function = (uint8_t *)(libc->base + symbol->st_value);
	plan->breakpoint = false;
	__builtin_memcpy(&plan->bytes, plan->function, sizeof(plan->bytes));
	reason = detour_read(plan->function, symbol->st_size, d->nr, &plan->opening);
	if (reason == REASON_UNKNOWN_CODE || reason == REASON_UNKNOWN_START)
		reason = read_below(symbol->st_size, d->nr, plan, reason);
	if (reason != REASON_NONE)
		return reason;
	at = plan->function + plan->opening.len;
	hook_undo[d->call] = plan->opening.is_signed ? 1 : plan->opening.stack;
	plan->len = detour_jump(plan->new, (uintptr_t)at, (uintptr_t)(hook_undo[d->call] ? d->undoing : d->detoured));
	if (plan->opening.len + plan->len > symbol->st_size)
		return REASON_NO_SYMBOL;
	__builtin_memcpy(plan->old, at, plan->len);
	if (plan->opening.len < sizeof(plan->bytes))
		__builtin_memcpy((uint8_t *)&plan->bytes + plan->opening.len, plan->new,
				 MIN(plan->len, sizeof(plan->bytes) - plan->opening.len));
	return REASON_NONE;
}

/* Another thread could be in the middle of the bytes that we change. libc knows since 2.32, and /proc where it is there. */
static bool single_threaded(const struct elf_symbols *libc)
{
	const ElfW(Sym) *symbol = elf_find(libc, "__libc_single_threaded");
	const char *single = symbol ? (const char *)(libc->base + symbol->st_value) : NULL;
	struct stat st;

	if (single && !*single)
		return false;
	if (sandbox_alone())
		return true;
	/* status counts an emulator's own threads, too, which run nothing of ours. */
	long r = sys_call6(SYS_newfstatat, AT_FDCWD, SYS_ARG("/proc/self/task"), SYS_ARG(&st), 0, 0, 0);

	return sys_failed(r) ? single != NULL : st.st_nlink == 3;
}

/* --- write ----------------------------------------------------------------------------- */

/*
 * Through /proc/self/mem the kernel copies the page and writes to the copy,
 * whatever its protection: the text is never writable, not even for a moment,
 * and its VMA stays whole. proc(5); some kernels forbid it (proc_mem.force_override).
 */
static bool write_through_proc(long mem, const struct plan *plan, const uint8_t *bytes)
{
	off_t at = (off_t)(uintptr_t)(plan->function + plan->opening.len);

	return !sys_failed(mem) && sys_pwrite((int)mem, bytes, plan->len, at) == (long)plan->len;
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
	volatile uint8_t *at = plan->function + plan->opening.len;
	uintptr_t start = page_down((uintptr_t)at);
	size_t len = page_up((uintptr_t)at + plan->len) - start;

	(void)mem;
	if (!sandbox_allows(MAY_PATCH_BY_PROTECT) || !may_toggle_text() || sys_mprotect((void *)start, len, PROT_READ | PROT_WRITE) != 0)
		return false;
	for (size_t i = 0; i < plan->len; i++)
		at[i] = bytes[i];
	return sys_mprotect((void *)start, len, PROT_READ | PROT_EXEC) == 0;
}

static bool arrives(const struct detour *d, const struct plan *plan)
{
	uint64_t own = hook_direct[d->call].own_bytes;
	bool arrived;
	int saved = errno;
	char *at = (char *)plan->function + plan->opening.len;

	__builtin___clear_cache(at, at + plan->len);
	/* Who set the breakpoint counts calls, and no emulator that would not see what we wrote lets him. */
	if (plan->breakpoint)
		return __builtin_memcmp(at, plan->new, plan->len) == 0;
	hook_trial = TRIAL_UNDER_WAY;
	hook_direct[d->call].own_bytes = ~own;
	d->trial((uintptr_t)plan->function);
	arrived = hook_trial == TRIAL_ARRIVED;
	hook_direct[d->call].own_bytes = own;
	hook_trial = TRIAL_NONE;
	errno = saved;
	return arrived;
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

/* What the exported symbol and detoured_... look at: see hook.h. */
static void fill_direct(const struct detour *d, const struct plan *plan)
{
	struct hook_direct *direct = &hook_direct[d->call];

	direct->detoured = (uintptr_t)plan->function;
	direct->libc_bytes = plan->bytes;
	direct->own_bytes = *(const uint64_t *)d->own;
	if (*(void *const *)d->next == plan->function)
		direct->libc = direct->detoured;
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
	else if (!object_symbols(o, &libc))
		all = REASON_NO_LIBC;
	else if (!sandbox_allows(MAY_PATCH))
		all = REASON_SANDBOX;
	else if (!single_threaded(&libc))
		all = REASON_THREADS;
	if (all == REASON_NONE)
		mem = sys_open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	for (size_t i = 0; i < ARRAY_SIZE(detours); i++) {
		struct plan plan;
		enum part_reason reason = all;

		if (reason == REASON_NONE)
			reason = make_plan(&detours[i], &libc, &plan);
		/* From its first call on. */
		if (reason == REASON_NONE)
			fill_direct(&detours[i], &plan);
		if (reason == REASON_NONE)
			reason = write_jump(mem, &detours[i], &plan);
		if (reason != REASON_NONE)
			hook_direct[detours[i].call].libc = 0;
		part_set(detours[i].part, reason == REASON_NONE ? PART_ACTIVE : PART_DECLINED, reason);
	}
	if (!sys_failed(mem))
		sys_close((int)mem);
}
