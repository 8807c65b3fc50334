/* SPDX-License-Identifier: MIT */
/*
 * The story of a label, top down: an event arrives from a hook, it is
 * classified (what is this memory), attributed (who asked for it), formatted
 * (what is it called), and handed to a sink, which makes it visible.
 */
#include "label/label.h"

#include <pthread.h>
#include <sys/mman.h>

#include "base/maps.h"
#include "base/own.h"
#include "base/peek.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "base/text.h"
#include "owner/glibc.h"
#include "owner/jemalloc/jemalloc.h"
#include "label/objects.h"
#include "label/rules.h"
#include "event/sweep.h"
#include "label/thread.h"
#include "label/walk.h"

#define HUGE_PAGE (2UL << 20)

/* Linux 6.11: a type beside shared and private, of memory that is private. */
#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif

/*
 * Zeroed by the kernel in a fork's child (MADV_WIPEONFORK), however it was
 * forked. A page of its own is what that takes, so what may be lost shares it.
 */
struct wiped {
	uint32_t mark;
	uint64_t cache[OBJECTS_CACHE];
};
static uint32_t never_forked = 1;
static uint32_t *fork_mark = &never_forked;     /* what nothing zeroes, where nothing can be marked */

/* --- what is it ------------------------------------------------------------------ */

static enum kind classify(const struct mapping *m, enum object_class asker)
{
	int type = m->flags & MAP_TYPE;

	if (type == MAP_SHARED || type == MAP_SHARED_VALIDATE)
		return KIND_SHM;
	if (asker == OBJECT_LIBC) {
		/* sysdeps/unix/sysv/linux/getrandom.c, vgetrandom_alloc */
		if (type == MAP_DROPPABLE)
			return KIND_GETRANDOM;
		/* nptl/allocatestack.c, malloc/arena.c (MAP_NORESERVE until 2.40), malloc/malloc.c; in this order. */
		if (m->flags & MAP_STACK)
			return KIND_STACK_UNUSED;
		if (m->prot == PROT_NONE)
			return KIND_ARENA;
		if (m->prot == (PROT_READ | PROT_WRITE))
			return KIND_LARGE;
	}
	if (asker == OBJECT_ALLOCATOR)
		return KIND_HEAP;
	if (m->prot & PROT_EXEC)
		return KIND_JIT;
	if (m->prot == PROT_NONE)
		return KIND_RESERVE;
	return m->len < BIG_MAPPING ? KIND_MMAP : KIND_MMAP_BIG;
}

/* --- who asked --------------------------------------------------------------------- */

/* The library that a name shows: the caller, or whom the caller asked for. */
static const char *owner_name(const struct mapping *m, const struct object *asker, enum kind kind)
{
	const struct object *owner = asker;

	if (!asker)
		return objects_program();       /* generated code */
	if (asker->class == OBJECT_APP || !config_uses(kind, 'l'))
		return asker->name;
	owner = walk_to_owner(m->caller, m->frame);
	return owner ? owner->name : asker->name;
}

/* --- the events ----------------------------------------------------------------------- */

/* What a program or an allocator maps: rules may have another name for it. */
static void name_mapping(const struct mapping *m, const struct object *asker, enum kind kind)
{
	struct fields f = { .size = m->len, .memory = m->prot & PROT_EXEC ? MEMORY_CODE : MEMORY_NEW };

	kind = rules_apply(m, asker, kind, &f);
	f.allocator = asker ? asker->allocator : "";
	f.library = owner_name(m, asker, kind);
	label_range(kind, m->start, m->len, &f);
}

void label_mapped(const struct mapping *m)
{
	const struct object *asker;
	enum kind kind;

	if (!label_active())
		return;
	label_notice_fork();
	registry_notice(m->frame);
	if (registry_lost())
		startup_look_again();
	if (unlikely(thread_self()->new_heap != 0))
		glibc_heap_settle();
	if (!(m->flags & MAP_ANONYMOUS)) {
		/* Elsewhere the range was free, and has no name to lose. */
		if (m->flags & MAP_FIXED)
			sink_forget(m->start, m->len);
		return;
	}
	/* New memory, whatever stood there. */
	if (unlikely(m->flags & MAP_FIXED) && code_near(m->start, m->start + m->len))
		sink_forget(m->start, m->len);
	asker = objects_find(m->caller);
	kind = classify(m, asker ? (enum object_class)asker->class : OBJECT_APP);
	switch (kind) {
	case KIND_STACK_UNUSED:
		thread_stack_mapped(m->start, page_up(m->start + m->len));
		return;
	case KIND_ARENA:
		glibc_heap_mapped(m->start, m->len);
		return;
	default:
		break;
	}
	if (jemalloc_asks(asker)) {
		jemalloc_mapped(m->start, m->len);
		return;
	}
	name_mapping(m, asker, kind);
}

/* Of libc's memory only stacks become executable, for a program that is linked so; they are called as before. */
static void name_code(uintptr_t start, size_t len, void *mapping)
{
	struct mapping *m = mapping;
	const struct object *asker = objects_find(m->caller);

	m->start = start;
	m->len = len;
	if (asker && (asker->class == OBJECT_LIBC || asker->class == OBJECT_LOADER))
		thread_stack_is_code(start, start + len);
	else
		name_mapping(m, asker, KIND_JIT);
}

void label_executable(const struct mapping *m)
{
	struct mapping part = *m;

	if (!label_active())
		return;
	label_notice_fork();
	code_begins(m->start, m->len, name_code, &part);
}

void label_chunk(uintptr_t start, size_t len, uintptr_t caller, uintptr_t frame)
{
	struct mapping m = { .start = start, .len = len, .caller = caller, .frame = frame };
	struct fields f = { .allocator = "glibc", .size = len };

	if (!label_active())
		return;
	label_notice_fork();
	f.library = owner_name(&m, objects_find(caller), KIND_LARGE);
	label_range(KIND_LARGE, start, len, &f);
}

struct sink_unmap label_unmap_begin_in(uintptr_t frame)
{
	label_notice_fork();
	return sink_unmap_begin(frame);
}

void label_unmapped(struct sink_unmap unmap, uintptr_t start, size_t len, bool unmapped)
{
	if (label_active()) {
		if (unmapped) {
			jemalloc_unmapped(start, page_up(len));
			thread_stack_unmapped(start, page_up(start + len));
			glibc_heap_unmapped(start);
			rules_unmapped(start);
		}
		if (unlikely(thread_self()->new_heap != 0))
			glibc_heap_settle();
	}
	sink_unmap_end(unmap, start, len, unmapped);
}

void label_moved(struct sink_unmap unmap, uintptr_t old, size_t old_len, uintptr_t to, size_t to_len, int flags)
{
#ifdef MREMAP_DONTUNMAP
	bool keep = flags & MREMAP_DONTUNMAP;
#else
	bool keep = false;
#endif
	sink_moved(unmap, old, old_len, to, to_len, keep);
}

bool label_fits(uintptr_t start, size_t len)
{
	struct maps_line line;

	if (start & (page_size - 1) || glibc_heap_holds(start))
		return false;
	if (!maps_find(start, &line) || !line.anonymous || line.special || start + len > line.end)
		return false;
	return !(sink_modes() & ROOT_SINK_KERNEL) || line.end - line.start == page_up(len) ||
	       line.end - line.start < HUGE_PAGE;
}

void label_sigstack(uintptr_t start, size_t len)
{
	struct thread *me = thread_self();

	if (start < me->stack_end && start + len > me->stack_start)
		me->alternate = true;
	if (label_active() && label_fits(start, len))
		label_range(KIND_SIGSTACK, start, page_up(len), &(struct fields){ .tid = 0 });
}

static bool objects_stale;

void label_objects_will_change(void)
{
	store_relaxed(&objects_stale, true);
}

void label_objects_catch_up(void)
{
	if (load_relaxed(&objects_stale))
		label_objects_changed();
}

void label_objects_changed(void)
{
	store_relaxed(&objects_stale, false);
	if (label_active())
		objects_refresh(startup_name_bss, NULL, NULL);
}

/* The dynamic linker unmaps with a call of its own. */
static void forget_bss(const struct object *o, void *context)
{
	sink_unmapped(*(const struct sink_unmap *)context, o->bss_start, o->bss_end - o->bss_start);
}

void label_objects_closed(struct sink_unmap unmap)
{
	if (label_active())
		objects_refresh(startup_name_bss, forget_bss, &unmap);
	sink_unmap_end(unmap, 0, 0, false);
}

/* --- what is it called ------------------------------------------------------------------- */

/*
 * The last name that this thread gave, where it depends on nothing but the
 * kind and who asked: a loop of mappings is named without formatting. A signal
 * handler may give another name at any instruction, so a name is used from a
 * copy, and only if nothing was filled in while that was made.
 */
static THREAD_LOCAL struct {
	const char *library, *allocator;
	uint32_t objects;               /* objects_generation: a library's place may be another's by now */
	uint32_t fillings;
	uintptr_t filler;               /* the frame that fills it now; 0: none */
	uint8_t kind, len;
	char name[ANONNAME_NAME_MAX + 1];
} last_name;

/* Copies the last name, if that is what the range is called. Returns its length, or 0. */
static size_t copy_last_name(enum kind kind, const struct fields *f, char name[ANONNAME_NAME_MAX + 1])
{
	uint32_t before = last_name.fillings;
	size_t len = last_name.len;

	if (last_name.filler || last_name.kind != kind || last_name.library != f->library ||
	    last_name.allocator != f->allocator || last_name.objects != objects_generation())
		return 0;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__builtin_memcpy(name, last_name.name, sizeof(last_name.name));
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	return last_name.fillings == before ? len : 0;
}

static void keep_last_name(enum kind kind, const struct fields *f, const char *name, size_t len)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	/* A handler in the middle of a filling leaves it alone, unless the filling was left by a jump. */
	if (unlikely(last_name.filler && !thread_frame_is_gone(last_name.filler, here)))
		return;
	last_name.filler = here;
	last_name.fillings++;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	last_name.library = f->library;
	last_name.allocator = f->allocator;
	last_name.objects = objects_generation();
	last_name.kind = (uint8_t)kind;
	last_name.len = (uint8_t)len;
	__builtin_memcpy(last_name.name, name, len + 1);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	last_name.filler = 0;
}

/* Formats the name. Returns its length. */
static size_t make_name(enum kind kind, const struct fields *given, bool coarse, char name[ANONNAME_NAME_MAX + 1])
{
	struct fields f = *given;

	if (!f.tid && config_uses(kind, 't'))
		f.tid = thread_tid();
	if (!f.thread)
		f.thread = thread_name();
	f.pid = sandbox_pid();
	f.program = objects_program();
	if (!f.label)
		f.label = thread_label();
	if (!f.library)
		f.library = f.program;
	return config_format(kind, &f, coarse, name);
}

/* Formats it, unless the budget has nothing left for it. Returns its length; 0: the range gets none. */
static __attribute__((noinline)) size_t new_name(enum kind kind, uintptr_t start, size_t len, const struct fields *f,
						 bool same, char name[ANONNAME_NAME_MAX + 1])
{
	enum sink_budget budget = sink_budget();
	size_t name_len;

	if (budget == BUDGET_NO_NAMES) {
		count_add(COUNT_SKIPPED, 1);
		sink_budget_spend();
		return 0;
	}
	name_len = make_name(kind, f, budget == BUDGET_COARSE_NAMES, name);
	/* Of libc's stacks the name changes with their use; it would now be wrong. Other ranges have none of ours. */
	if (!name_len && (kind == KIND_STACK || kind == KIND_STACK_UNUSED))
		sink_unname(start, len);
	if (name_len && budget == BUDGET_COARSE_NAMES)
		count_add(COUNT_COARSE, 1);
	if (name_len && same)
		keep_last_name(kind, f, name, name_len);
	return name_len;
}

void label_range(enum kind kind, uintptr_t start, size_t len, const struct fields *f)
{
	char name[ANONNAME_NAME_MAX + 1];
	bool same = sink_budget() == BUDGET_FULL_NAMES && config_is_fixed(kind) && !f->label && !f->thing && !thread_label();
	size_t name_len = likely(same) ? copy_last_name(kind, f, name) : 0;

	if (unlikely(!name_len) && !(name_len = new_name(kind, start, len, f, same, name)))
		return;
	if (likely(f->memory == MEMORY_NEW))
		sink_name_new(start, len, name, name_len);
	else if (f->memory == MEMORY_CODE)
		sink_name_code(start, len, name, name_len);
	else
		sink_name(start, len, name, name_len);
	sink_budget_spend();
}

/* --- start and fork ------------------------------------------------------------------------- */

static void mark_for_fork(void)
{
	static struct wiped unwiped COLD_BSS;
	struct wiped *page = sandbox_allows(MAY_ADVISE) ? own_map(sizeof(*page), "fork") : NULL;

	/* Linux 4.14. Without it only the fork handler notices. */
	if (!page || sys_failed(sys_madvise(page, page_size, MADV_WIPEONFORK))) {
		objects_cache_in(unwiped.cache);
		return;
	}
	objects_cache_in(page->cache);
	fork_mark = &page->mark;
	*fork_mark = 1;
}

static void name_own(uintptr_t start, size_t len, const char *thing)
{
	label_range(KIND_OWN, start, len, &(struct fields){ .thing = thing });
}

static bool can_be_read(uintptr_t from, size_t len)
{
	const struct thread *me = thread_self();
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	if (from >= here && here >= me->stack_start && from < me->stack_end && from + len <= me->stack_end)
		return true;
	return objects_can_be_read(from, len);
}

void label_start(void)
{
	rules_read();
	peek_known = can_be_read;
	registry_frame_is_mine = thread_frame_is_mine;
	registry_frame_is_gone = thread_frame_is_gone;
	code_start(config_jit_in_kernel());
	sink_start((enum sink_choice)config_choice[CHOICE_SINK]);
	threads_start();
	walk_start(config_walk());
	if (!label_active())
		return;
	startup_sweep();
	own_start_naming(name_own);
	mark_for_fork();
}

void label_fork_prepare(void)
{
	if (!label_active())
		return;
	walk_fork_prepare();
	registry_fork_prepare();
}

void label_fork_parent(void)
{
	if (!label_active())
		return;
	registry_fork_parent();
	walk_fork_parent();
}

void label_fork_child(void)
{
	sandbox_fork_child(thread_forked_tid());
	if (!label_active())
		return;
	store_relaxed(fork_mark, 1U);
	registry_fork_child();
	walk_fork_child();
	objects_fork_child();
	threads_fork_child();
	jemalloc_fork_child();
}

/* Weak: musl has the second, and glibc has the first, which its headers' pthread_atfork calls. */
extern int __register_atfork(void (*)(void), void (*)(void), void (*)(void), void *) __attribute__((weak));
#pragma weak pthread_atfork

void label_at_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
	if (__register_atfork)
		__register_atfork(prepare, parent, child, NULL);
	else if (pthread_atfork)
		pthread_atfork(prepare, parent, child);
}

bool label_notices_forks(void)
{
	return fork_mark != &never_forked;
}

void label_notice_fork(void)
{
	if (unlikely(!load_relaxed(fork_mark)))
		label_fork_child();
}

bool label_by_guest(void)
{
	label_notice_fork();
	/* Where nothing marks a fork's child, it may be one. */
	return label_notices_forks() && sandbox_is_guest();
}
