/* SPDX-License-Identifier: MIT */
/* The calling thread. See thread.h. */
#include "label/thread.h"

#include <pthread.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/elf.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "base/text.h"
#include "label/objects.h"

THREAD_LOCAL struct thread this_thread;

/*
 * What libc exports for debuggers (nptl_db/db_info.c). By our own lookup: a hook
 * must not wait for the dynamic linker's lock.
 */
static const uint32_t *for_debuggers(const char *name, size_t size)
{
	static const char *const libraries[] = { "libc.so.6", "libpthread.so.0" };
	struct elf_symbols symbols;

	for (size_t i = 0; i < ARRAY_SIZE(libraries); i++) {
		const struct object *o = objects_named(libraries[i]);
		const ElfW(Sym) *symbol = object_symbols(o, &symbols) ? elf_find(&symbols, name) : NULL;

		if (symbol && symbol->st_size == size)
			return (const uint32_t *)(symbols.base + symbol->st_value);
	}
	return NULL;
}

/*
 * Before 2.34 it exports nothing. The tid is then what the calling thread has of
 * its own behind the header of its control block, and no half of a pointer. That is
 * learned at the start: in a fork's child libc's note is new, and ours is old.
 */
#define HEADER_SIZE (24 * sizeof(void *))
#define HEADER_FAR  1024U       /* every control block is longer */
static uint32_t learn_tid_offset(void)
{
	static uint32_t learned;        /* 0: not yet */
	const uintptr_t self = (uintptr_t)pthread_self();
	const uint32_t tid = thread_self()->tid;

	for (uint32_t at = HEADER_SIZE; self && tid && !load_relaxed(&learned) && at < HEADER_FAR; at += sizeof(void *))
		if (*(const uint32_t *)(self + at) == tid)
			store_relaxed(&learned, at);
	return load_relaxed(&learned);
}

/* libc notes it in the thread's control block: size in bits, number, offset. */
uint32_t thread_tid_of(uintptr_t self)
{
	const uint32_t *where = for_debuggers("_thread_db_pthread_tid", 3 * sizeof(*where));
	uint32_t offset = where ? where[2] : learn_tid_offset();

	return offset && (!where || where[0] == 32) ? *(const uint32_t *)(self + offset) : 0;
}

/* Two words can be where a stack begins and how long it is, if they lead round the control block and where we are. */
static bool is_stack(const uintptr_t word[2], uintptr_t self, uintptr_t size, uintptr_t here)
{
	uintptr_t start = word[0], end = start + word[1];

	return !((start | word[1]) & (page_size - 1)) && start && start < here && here < end && start < self && self + size <= end;
}

/* How long the control block is. Before 2.34 glibc does not say, nor does musl: what is left of its page, then. */
static uint32_t control_block_size(uintptr_t self)
{
	static uint32_t said;           /* 0: not asked yet; 1: it does not say */

	if (!load_relaxed(&said)) {
		const uint32_t *says = for_debuggers("_thread_db_sizeof_pthread", sizeof(*says));

		store_relaxed(&said, says ? *says : 1U);
	}
	return load_relaxed(&said) > 1 ? load_relaxed(&said) : (uint32_t)(page_up(self + 1) - self);
}

bool thread_stack_by_libc(uintptr_t here, uintptr_t *start, uintptr_t *end)
{
	static uint32_t offset;         /* of the two words in the control block; 0: not known yet */
	const uint32_t words = 2 * sizeof(*start);
	uintptr_t self = (uintptr_t)pthread_self();
	uint32_t size = self ? control_block_size(self) & ~7U : 0, at = load_relaxed(&offset), last = at;

	if (!at)
		last = size > words ? size - words : 0;
	for (; at <= last && at + words <= size; at += sizeof(*start)) {
		const uintptr_t *word = (const uintptr_t *)(self + at);

		if (!is_stack(word, self, size, here))
			continue;
		store_relaxed(&offset, at);
		*start = word[0];
		*end = word[0] + word[1];
		return true;
	}
	return false;
}

uint32_t thread_tid(void)
{
	struct thread *me = thread_self();

	if (likely(me->tid))
		return me->tid;
	if (sandbox_allows(MAY_ASK_TID))
		me->tid = (uint32_t)sys_gettid();
	else if (!me->orphaned)
		me->tid = thread_tid_of((uintptr_t)pthread_self());
	return me->tid;
}

const char *thread_name(void)
{
	return thread_self()->comm;
}

void thread_start(void)
{
	struct thread *me = thread_self();
	uintptr_t top = getauxval(AT_RANDOM);
	struct rlimit limit = { .rlim_cur = 8UL << 20 };

	if (!sandbox_alone() && sandbox_allows(MAY_ASK_NAME))
		sys_prctl(PR_GET_NAME, (unsigned long)me->comm, 0, 0, 0);
	if (!me->comm[0])
		text_copy(me->comm, sizeof(me->comm), sandbox_thread_name());
	/* Now: a vfork child that asked first would leave its own behind. */
	if (sandbox_alone())
		me->tid = sandbox_pid();
	thread_tid();
	learn_tid_offset();
	/* The kernel put these bytes near the end of the first thread's stack (fs/binfmt_elf.c). */
	me->stack_end = page_up(top + 1);
	getrlimit(RLIMIT_STACK, &limit);
	me->stack_start = me->stack_end - MIN(limit.rlim_cur, 8UL << 20);
}

bool thread_is_first(void)
{
	return thread_tid() == sandbox_pid();
}

bool thread_frame_is_mine(uintptr_t frame)
{
	const struct thread *me = thread_self();

	return frame >= me->stack_start && frame < me->stack_end;
}

/*
 * Of the frames on one stack those that are active lie above those that they
 * called, signal handlers lowest. So one that lies below us, or was where we are
 * now, has ended. It does not hold between stacks, or for a task that shares our
 * TLS (a vfork child).
 */
bool thread_frame_is_gone(uintptr_t frame, uintptr_t here)
{
	const struct thread *me = thread_self();

	return here >= frame && frame >= me->stack_start && here < me->stack_end && !me->alternate &&
	       sandbox_allows(MAY_ASK_TID) && me->tid == (uint32_t)sys_gettid();
}

uint32_t thread_forked_tid(void)
{
	uint32_t noted = thread_tid_of((uintptr_t)pthread_self());

	return noted != thread_self()->tid ? noted : 0;
}

void thread_fork_child(void)
{
	struct thread *me = thread_self();

	me->tid = thread_forked_tid();
	me->orphaned = !me->tid;
	thread_tid();
}
