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
 * libc notes it in the thread's control block, and exports where, for debuggers
 * (nptl_db/db_info.c: size in bits, number, offset). By our own lookup: a hook
 * must not wait for the dynamic linker's lock.
 */
uint32_t thread_tid_of(uintptr_t self)
{
	static const char *const libraries[] = { "libc.so.6", "libpthread.so.0" };
	const uint32_t *where = NULL;
	struct elf_symbols symbols;

	for (size_t i = 0; !where && i < ARRAY_SIZE(libraries); i++) {
		const struct object *o = objects_named(libraries[i]);
		const ElfW(Sym) *symbol = object_symbols(o, &symbols) ?
					  elf_find(&symbols, "_thread_db_pthread_tid") : NULL;

		if (symbol && symbol->st_size == 3 * sizeof(*where))
			where = (const uint32_t *)(symbols.base + symbol->st_value);
	}
	return where && where[0] == 32 ? *(const uint32_t *)(self + where[2]) : 0;
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
