/* SPDX-License-Identifier: MIT */
/*
 * Labels stacks: each by its own thread, which alone knows its tid in time. A
 * stack that libc keeps for the next thread is called unused until then.
 */
#include "owner/stack.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/prctl.h>

#include "base/maps.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "base/table.h"
#include "base/text.h"
#include "label/label.h"
#include "label/objects.h"
#include "label/thread.h"

#define HUGE_PAGE (2UL << 20)

static struct table stacks COLD_BSS;    /* by end */
static THREAD_LOCAL struct place *my_stack;     /* NULL for the first thread */

/*
 * libc puts the thread's control block (pthread_self) at a fixed distance from
 * the end of the stacks that it makes. Learned from the first one.
 */
static uintptr_t control_block_distance;

/* glibc does, for later threads; musl does not. */
static bool libc_keeps_stacks;

static void label_part(const struct place *p, const char *comm, uintptr_t start, uintptr_t end, bool code)
{
	label_range(p->used ? KIND_STACK : KIND_STACK_UNUSED, start, end - start,
		    &(struct fields){
			.thread = comm, .routine = p->routine, .tid = p->tid, .memory = code ? MEMORY_CODE : MEMORY_OLD });
}

/* comm: a text that nobody changes meanwhile. Where two may name the stack at once, p->comm is not. */
static void label_stack_as(const struct place *p, const char *comm)
{
	label_part(p, comm, p->start, p->end, false);
}

static void label_stack(const struct place *p)
{
	label_stack_as(p, p->comm);
}

void stack_start(void)
{
	libc_keeps_stacks = objects_named("libc.so.6") != NULL;
}

void stack_mapped(uintptr_t start, uintptr_t end)
{
	struct place *p = table_add(&stacks, end);

	if (!p)
		return;
	place_cover(p, start, end);
	store_relaxed(&p->used, 0U);
	label_stack(p);
}

void stack_unmapped(uintptr_t start, size_t len)
{
	struct place *p = table_find(&stacks, start + len);

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

/* stack_find_threads has found it, and named it. */
bool stack_found(uintptr_t vma, uintptr_t start)
{
	(void)vma;
	return stack_that_holds(start) != NULL;
}

/* --- threads that were there before us ------------------------------------------------ */

static void read_name(const char *tid, char name[COMM_SIZE])
{
	char path[64];
	struct text_buffer t;
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

void stack_find_threads(void)
{
	struct entry {          /* getdents64(2) */
		uint64_t inode, offset;
		uint16_t len;
		uint8_t type;
		char name[];
	} *entry;
	char buffer[1024] __attribute__((aligned(8)));
	long fd, n;

	if (!sandbox_allows(MAY_READ_PROC | MAY_LIST | MAY_WATCH_TASK))
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

void stack_is_code(uintptr_t start, uintptr_t end)
{
	struct place *p = stack_that_holds(start);

	if (p)
		label_part(p, p->comm, start, end, true);
}

static struct place *new_place(uintptr_t start, uintptr_t end)
{
	struct place *p = table_add(&stacks, end);

	if (p)
		place_cover(p, start, end);
	return p;
}

/*
 * Made by libc: known from its mmap, or (no detour) from what libc noted. What we
 * noted may be of a stack that was unmapped since, and a mapping may be two
 * stacks without a guard between them. Whoever takes another thread's frames for
 * its own would take away what that one holds: see queue.c. Only where libc has
 * no such note, the kernel is asked.
 */
static struct place *own_stack(uintptr_t here, bool *was_unknown)
{
	uintptr_t self = (uintptr_t)pthread_self(), distance = load_relaxed(&control_block_distance), start, end;
	struct maps_line line;
	struct place *p = NULL;

	if (thread_stack_by_libc(here, &start, &end)) {
		p = table_find(&stacks, end);
		if (p && p->start == start && place_holds(p, here))
			return p;
		*was_unknown = true;
		return new_place(start, end);
	}
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
	return maps_find(here, &line) ? new_place(line.start, line.end) : NULL;
}

/*
 * May a piece of a mapping be named? Only private anonymous memory that is not
 * malloc's: there the name would stay when it is freed. And with kernel names
 * not out of the middle of a region that huge pages may back, which an edge
 * would split. Reads maps.
 */
static bool fits(uintptr_t start, size_t len, bool in_heap)
{
	struct maps_line line;

	if (start & (page_size - 1) || in_heap)
		return false;
	if (!maps_find(start, &line) || !line.anonymous || line.special || start + len > line.end)
		return false;
	return !(sink_modes() & ROOT_SINK_KERNEL) || line.end - line.start == page_up(len) ||
	       line.end - line.start < HUGE_PAGE;
}

void stack_for_signals(uintptr_t start, size_t len, bool in_heap)
{
	struct thread *me = thread_self();

	if (start < me->stack_end && start + len > me->stack_start)
		me->alternate = true;
	if (label_active() && fits(start, len, in_heap))
		label_range(KIND_SIGSTACK, start, page_up(len), &(struct fields){ .tid = 0 });
}

void stack_given(uintptr_t start, uintptr_t end, bool in_heap)
{
	struct place *p = fits(start, end - start, in_heap) ? table_add(&stacks, end) : NULL;

	if (!p)
		return;
	place_cover(p, start, end);
	p->given = 1;
}

/*
 * Who creates a thread may name it before it has come here. The name waits then:
 *
 *     stack_thread_begins                   stack_thread_renamed, by another thread
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
		label_stack_as(p, me->comm);
	} while (unlikely(!text_equal(p->early, me->comm)));
}

/* True: the thread has not begun, and will find its name. */
static bool name_early(struct place *p, uintptr_t self, const char *name)
{
	text_copy(p->early, sizeof(p->early), name);
	store_release(&p->early_tid, thread_tid_of(self));
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return !load_relaxed(&p->used);
}

void stack_thread_begins(const struct new_thread *new)
{
	struct thread *me = thread_self();
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	bool was_unknown = false;
	struct place *p;

	if (new->stack_end) {
		p = table_find(&stacks, new->stack_end);
		if (p && !place_holds(p, new->stack_start))
			p = NULL;
	} else {
		p = own_stack(here, &was_unknown);
		if (p) {
			/* What follows comes after all that the stack's last thread did: see stack_thread_ends. */
			(void)load_acquire(&p->used);
			p->given = 0;
		}
	}
	my_stack = p;
	if (!p)
		return;
	me->stack_start = p->start;
	me->stack_end = p->end;
	text_copy(p->comm, sizeof(p->comm), new->name);
	text_copy(p->routine, sizeof(p->routine), new->routine);
	store_relaxed(&p->tid, thread_tid());
	store_relaxed(&p->used, 1U);
	label_stack(p);
	take_early_name(me, p, was_unknown);
}

void stack_thread_ends(void)
{
	struct place *p = my_stack;

	my_stack = NULL;
	if (!p)
		return;
	if (!p->given && !libc_keeps_stacks) {
		/* It will be unmapped, and nobody will tell us. */
		sink_unname(p->start, p->end - p->start);
		table_remove(p);
		return;
	}
	store_relaxed(&p->used, 0U);
	store_relaxed(&p->early_tid, 0U);
	label_stack(p);
	if (p->given)
		table_remove(p);
	else
		/* The next thread on it comes after us: libc keeps the stack, and orders the two. */
		store_release(&p->used, 0U);
}

/*
 * The calling thread's. Who asked libc itself for a pthread_create has made a
 * thread that does not begin with us (jemalloc's background threads): its stack
 * is known from its mapping, and that it is used when the thread names itself.
 */
static struct place *named_stack(uintptr_t self)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0), start, end;
	struct place *p = my_stack;

	if (p || thread_is_first())
		return p;
	p = stack_that_holds(self);
	if (!p || !place_holds(p, here) || (thread_stack_by_libc(here, &start, &end) && (p->start != start || p->end != end)))
		return NULL;
	store_relaxed(&p->tid, thread_tid());
	store_relaxed(&p->used, 1U);
	my_stack = p;
	return p;
}

void stack_thread_renamed(uintptr_t self, const char *name)
{
	struct place *p = self == (uintptr_t)pthread_self() ? named_stack(self) : stack_that_holds(self);
	char comm[COMM_SIZE];

	if (!p || (self != (uintptr_t)pthread_self() && name_early(p, self, name)))
		return;
	text_copy(comm, sizeof(comm), name);
	text_copy(p->comm, sizeof(p->comm), comm);
	p->routine[0] = '\0';
	label_stack_as(p, comm);
}

static bool gone(struct place *p, void *context)
{
	if (p == context || !p->used)
		return true;
	store_relaxed(&p->used, 0U);
	label_stack(p);
	return true;
}

void stack_fork_child(void)
{
	table_each(&stacks, gone, my_stack);
	if (my_stack) {
		store_relaxed(&my_stack->tid, thread_tid());
		label_stack(my_stack);
	}
}
