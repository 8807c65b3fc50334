/* SPDX-License-Identifier: MIT */
/*
 * Labels stacks: each by its own thread, which alone knows its tid in time. A
 * stack that libc keeps for the next thread is called unused until then.
 */
#include "label/thread.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/elf.h"
#include "base/maps.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "base/text.h"
#include "label/config.h"
#include "owner/jemalloc/jemalloc.h"
#include "label/label.h"
#include "label/walk.h"
#include "label/objects.h"
#include "sink/registry/registry.h"

THREAD_LOCAL struct thread this_thread;

static struct table stacks COLD_BSS;    /* by end */

/*
 * libc puts the thread's control block (pthread_self) at a fixed distance from
 * the end of the stacks that it makes. Learned from the first one.
 */
static uintptr_t control_block_distance;

/*
 * libc notes each thread's tid in its control block (self), and exports where, for
 * debuggers (nptl_db/db_info.c: size in bits, number, offset). 0: not found.
 * By our own lookup: a hook must not wait for the dynamic linker's lock.
 */
static uint32_t tid_in_control_block(uintptr_t self)
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

/* glibc does, for later threads; musl does not. */
static bool libc_keeps_stacks;

uint32_t thread_tid(void)
{
	struct thread *me = thread_self();

	if (likely(me->tid))
		return me->tid;
	if (sandbox_allows(MAY_ASK_TID))
		me->tid = (uint32_t)sys_gettid();
	else if (!me->orphaned)
		me->tid = tid_in_control_block((uintptr_t)pthread_self());
	return me->tid;
}

const char *thread_name(void)
{
	return thread_self()->comm;
}

void threads_start(void)
{
	struct thread *me = thread_self();
	uintptr_t top = getauxval(AT_RANDOM);
	struct rlimit limit = { .rlim_cur = 8UL << 20 };

	libc_keeps_stacks = objects_named("libc.so.6") != NULL;
	if (!sandbox_alone() && sandbox_allows(MAY_ASK_NAME))
		sys_prctl(PR_GET_NAME, (unsigned long)me->comm, 0, 0, 0);
	if (!me->comm[0])
		text_copy(me->comm, sizeof(me->comm), sandbox_thread_name());
	/* Now: a vfork child that asked first would leave its own behind. */
	if (sandbox_alone())
		me->tid = sandbox_pid();
	thread_tid();
	jemalloc_first_thread();
	/* The kernel put these bytes near the end of the first thread's stack (fs/binfmt_elf.c). */
	me->stack_end = page_up(top + 1);
	getrlimit(RLIMIT_STACK, &limit);
	me->stack_start = me->stack_end - MIN(limit.rlim_cur, 8UL << 20);
}

static void label_part(const struct place *p, uintptr_t start, uintptr_t end, bool code)
{
	label_range(p->used ? KIND_STACK : KIND_STACK_UNUSED, start, end - start,
		    &(struct fields){ 
			.thread = p->comm, .routine = p->routine, .tid = p->tid, .memory = code ? MEMORY_CODE : MEMORY_OLD });
}

static void label_stack(const struct place *p)
{
	label_part(p, p->start, p->end, false);
}

void thread_stack_mapped(uintptr_t start, uintptr_t end)
{
	struct place *p = table_add(&stacks, end);

	if (!p)
		return;
	place_cover(p, start, end);
	store_relaxed(&p->used, 0U);
	label_stack(p);
}

void thread_stack_unmapped(uintptr_t start, uintptr_t end)
{
	struct place *p = table_find(&stacks, end);

	if (p && p->start == start)
		table_remove(p);
}

struct search {
	uintptr_t addr;
	struct place *found;
};

static bool holds(struct place *p, void *context)
{
	struct search *s = context;

	if (place_holds(p, s->addr))
		s->found = p;
	return !s->found;
}

static struct place *stack_that_holds(uintptr_t addr)
{
	struct search s = { .addr = addr };

	table_each(&stacks, holds, &s);
	return s.found;
}

bool thread_stack_holds(uintptr_t addr)
{
	return stack_that_holds(addr) != NULL;
}

bool thread_is_first(void)
{
	return thread_tid() == sandbox_pid();
}

/* --- threads that were there before us ------------------------------------------------ */

static void read_name(const char *tid, char name[COMM_SIZE])
{
	char path[64];
	struct text t;
	long fd, n;

	text_init(&t, path, sizeof(path));
	text_add(&t, "/proc/self/task/");
	text_add(&t, tid);
	text_add(&t, "/comm");
	fd = sys_open(path, O_RDONLY | O_CLOEXEC);
	n = sys_failed(fd) ? 0 : sys_read((int)fd, name, COMM_SIZE);
	if (!sys_failed(fd))
		sys_close((int)fd);
	name[n > 0 ? n - 1 : 0] = '\0';         /* the newline */
}

/*
 * libc has the kernel keep an address in each thread's control block, and that
 * lies at the end of the thread's stack.
 */
static void find_stack(const char *tid)
{
	const char *digits = tid;
	uintptr_t control_block = 0, end;
	struct maps_line line;
	struct place *p;
	uint64_t number;
	size_t len;

	if (!text_read_number(&digits, tid + text_length(tid), 10, &number) || number == sandbox_pid() ||
	    sys_failed(sys_call6(SYS_get_robust_list, (long)number, SYS_ARG(&control_block), SYS_ARG(&len), 0, 0, 0)) ||
	    !control_block || !maps_find(control_block, &line) || !line.anonymous || line.special)
		return;
	/* With the page of the control block: what lies behind may be a mapping that the kernel has merged with the stack. */
	end = MIN(line.end, page_up(control_block + 1));
	p = table_add(&stacks, end);
	if (!p)
		return;
	place_cover(p, line.start, end);
	read_name(tid, p->comm);
	p->routine[0] = '\0';
	store_relaxed(&p->used, 1U);
	store_relaxed(&p->tid, (uint32_t)number);
	label_stack(p);
}

void threads_find(void)
{
	struct entry {          /* getdents64(2) */
		uint64_t inode, offset;
		uint16_t len;
		uint8_t type;
		char name[];
	} *entry;
	char buffer[1024] __attribute__((aligned(8)));
	long fd, n;

	/* Calls that are made nowhere else: only where there is no filter at all. */
	if (!sandbox_allows(MAY_ALL))
		return;
	fd = sys_open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while (!sys_failed(fd) && (n = sys_call6(SYS_getdents64, fd, SYS_ARG(buffer), sizeof(buffer), 0, 0, 0)) > 0)
		for (long at = 0; at < n; at += entry->len) {
			entry = (void *)(buffer + at);
			find_stack(entry->name);
		}
	if (!sys_failed(fd))
		sys_close((int)fd);
}

void thread_stack_is_code(uintptr_t start, uintptr_t end)
{
	struct place *p = stack_that_holds(start);

	if (p)
		label_part(p, start, end, true);
}

/* Made by libc: known from its mmap. Otherwise (no detour) the kernel is asked. */
static struct place *own_stack(uintptr_t here, bool *was_unknown)
{
	uintptr_t self = (uintptr_t)pthread_self(), distance = load_relaxed(&control_block_distance);
	struct maps_line line;
	struct place *p = NULL;

	if (distance)
		p = table_find(&stacks, self + distance);
	if (p && place_holds(p, here))
		return p;
	p = stack_that_holds(here);
	if (p) {
		store_relaxed(&control_block_distance, load_relaxed(&p->end) - self);
		return p;
	}
	*was_unknown = true;
	if (!maps_find(here, &line))
		return NULL;
	p = table_add(&stacks, line.end);
	if (p)
		place_cover(p, line.start, line.end);
	return p;
}

void thread_stack_given(uintptr_t start, uintptr_t end)
{
	struct place *p = label_fits(start, end - start) ? table_add(&stacks, end) : NULL;

	if (!p)
		return;
	place_cover(p, start, end);
	p->index = 1;   /* not libc's: goes when the thread ends */
}

/*
 * Who creates a thread may name it before it has come here. The name waits then:
 *
 *     thread_begin                          thread_renamed, by another thread
 *     used = 1                              early = name, early_tid = the thread
 *     labels the stack by the creator       used?  no: that is all
 *     early_tid is mine?  labels it anew           yes: labels the stack
 *
 * Each writes before it looks, so one of them sees the other, and what is
 * labelled last has the new name. That the name waits where the thread has begun
 * already is for one that has read its creator's name and is not yet done with
 * its label. A stack that was not known before has no place where a name could
 * wait: there the kernel is asked.
 */
static void take_early_name(struct thread *me, struct place *p, bool was_unknown)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (unlikely(was_unknown) && sandbox_allows(MAY_ASK_NAME) &&
	    sys_prctl(PR_GET_NAME, (unsigned long)p->early, 0, 0, 0) == 0 && !text_equal(p->early, p->comm))
		store_relaxed(&p->early_tid, me->tid);
	if (likely(load_acquire(&p->early_tid) != me->tid) || !me->tid)
		return;
	/* Another name may come while this one is copied. */
	do {
		text_copy(me->comm, sizeof(me->comm), p->early);
		text_copy(p->comm, sizeof(p->comm), me->comm);
		p->routine[0] = '\0';
		label_stack(p);
	} while (unlikely(!text_equal(p->early, me->comm)));
}

/* True: the thread has not begun, and will find its name. */
static bool name_early(struct place *p, uintptr_t self, const char *name)
{
	text_copy(p->early, sizeof(p->early), name);
	store_release(&p->early_tid, tid_in_control_block(self));
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return !load_relaxed(&p->used);
}

void thread_begin(const char *name, const char *routine, uintptr_t given_start, uintptr_t given_end)
{
	struct thread *me = thread_self();
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	bool was_unknown = false;
	struct place *p;

	text_copy(me->comm, sizeof(me->comm), name);
	if (given_end) {
		p = table_find(&stacks, given_end);
		if (p && !place_holds(p, given_start))
			p = NULL;
	} else {
		p = own_stack(here, &was_unknown);
		if (p) {
			/* What follows comes after all that the stack's last thread did: see thread_end. */
			(void)load_acquire(&p->used);
			p->index = 0;
		}
	}
	me->place = p;
	if (!p)
		return;
	me->stack_start = p->start;
	me->stack_end = p->end;
	text_copy(p->comm, sizeof(p->comm), name);
	text_copy(p->routine, sizeof(p->routine), routine);
	store_relaxed(&p->tid, thread_tid());
	store_relaxed(&p->used, 1U);
	label_stack(p);
	take_early_name(me, p, was_unknown);
}

void thread_left(void)
{
	if (!label_active())
		return;
	registry_thread_end();
	walk_thread_end();
}

void thread_end(void)
{
	struct thread *me = thread_self();
	struct place *p = me->place;

	me->place = NULL;
	thread_left();
	if (!p)
		return;
	if (!p->index && !libc_keeps_stacks) {
		/* It will be unmapped, and nobody will tell us. */
		sink_unname(p->start, p->end - p->start);
		table_remove(p);
		return;
	}
	store_relaxed(&p->used, 0U);
	store_relaxed(&p->early_tid, 0U);
	label_stack(p);
	if (p->index)
		table_remove(p);
	else
		/* The next thread on it comes after us: libc keeps the stack, and orders the two. */
		store_release(&p->used, 0U);
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

void thread_renamed(uintptr_t self, const char *name)
{
	struct thread *me = thread_self();
	struct place *p = stack_that_holds(self);

	jemalloc_thread_renamed(self, name);
	if (self == (uintptr_t)pthread_self()) {
		text_copy(me->comm, sizeof(me->comm), name);
		p = me->place;
	}
	if (!p || (self != (uintptr_t)pthread_self() && name_early(p, self, name)))
		return;
	text_copy(p->comm, sizeof(p->comm), name);
	p->routine[0] = '\0';
	label_stack(p);
}

static bool gone(struct place *p, void *context)
{
	if (p == context || !p->used)
		return true;
	store_relaxed(&p->used, 0U);
	label_stack(p);
	return true;
}

uint32_t thread_forked_tid(void)
{
	uint32_t noted = tid_in_control_block((uintptr_t)pthread_self());

	return noted != thread_self()->tid ? noted : 0;
}

void threads_fork_child(void)
{
	struct thread *me = thread_self();

	me->tid = thread_forked_tid();
	me->orphaned = !me->tid;
	thread_tid();
	table_each(&stacks, gone, me->place);
	if (me->place) {
		store_relaxed(&me->place->tid, me->tid);
		label_stack(me->place);
	}
}
