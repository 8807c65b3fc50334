/* SPDX-License-Identifier: MIT */
/* What happens to the process, and not to a piece of its memory: it starts, forks, loads and unloads objects. */
#include "event/event.h"

#include <pthread.h>
#include <sys/mman.h>

#include "base/own.h"
#include "base/peek.h"
#include "base/root.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "base/text.h"
#include "event/sweep.h"
#include "label/label.h"
#include "label/objects.h"
#include "label/rules.h"
#include "label/thread.h"
#include "label/walk.h"
#include "owner/decoration.h"
#include "owner/owner.h"
#include "owner/stack.h"

/*
 * Zeroed by the kernel in a fork's child (MADV_WIPEONFORK), however it was
 * forked. A page of its own is what that takes, so what may be lost shares it.
 */
struct wiped {
	uint32_t mark;
	uint64_t cache[OBJECTS_CACHE];
};
static uint32_t never_forked = 1;
uint32_t *event_fork_mark = &never_forked;      /* what nothing zeroes, where nothing can be marked */

/* --- the start -------------------------------------------------------------------- */

static void mark_for_fork(void)
{
	struct wiped *page = own_bss_page();

	objects_cache_in(page->cache);
	/* Linux 4.14. Without it only the fork handler notices. */
	if (!sandbox_allows(MAY_ADVISE) || sys_failed(sys_madvise(page, page_size, MADV_WIPEONFORK)))
		return;
	event_fork_mark = &page->mark;
	*event_fork_mark = 1;
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

/* By then the first call of malloc may have been, and have found one that is not ours. */
static void start_by_library(void)
{
	bool wanted = config_choice[CHOICE_MALLOC] != MALLOC_DEFAULT;

	if (root.part_state[PART_BY_LIBRARY] != PART_UNTRIED)
		return;
	if (owner_is_above()) {
		part_set(PART_BY_LIBRARY, PART_ACTIVE, REASON_NONE);
		return;
	}
	part_set(PART_BY_LIBRARY, PART_DECLINED, wanted ? REASON_PLAIN_LIBRARY : REASON_ABSENT);
	if (wanted)
		complain("ANONNAME_MALLOC=library: this libanonname.so leaves malloc alone. Use anonname run --by-library, or preload "
		         "libanonname/libanonname.so.0 from beside it.");
}

void event_start(void)
{
	objects_classify = owner_classify;
	objects_refresh(NULL, NULL, NULL);
	rules_read();
	peek_known = can_be_read;
	registry_frame_is_mine = thread_frame_is_mine;
	registry_frame_is_gone = thread_frame_is_gone;
	code_start(config_jit_in_kernel());
	sink_start((enum sink_choice)config_choice[CHOICE_SINK]);
	thread_start();
	owners_start();
	walk_start(config_walk());
	start_by_library();
	decoration_stop();
	if (!label_active())
		return;
	sweep_start();
	own_start_naming(name_own);
	mark_for_fork();
}

/* --- forks ------------------------------------------------------------------------ */

void event_fork_prepare(void)
{
	if (!label_active())
		return;
	walk_fork_prepare();
	registry_fork_prepare();
}

void event_fork_parent(void)
{
	if (!label_active())
		return;
	registry_fork_parent();
	walk_fork_parent();
}

void event_fork_child(void)
{
	sandbox_fork_child(thread_forked_tid());
	if (!label_active())
		return;
	store_relaxed(event_fork_mark, 1U);
	registry_fork_child();
	walk_fork_child();
	objects_fork_child();
	thread_fork_child();
	owners_fork_child();
}

/* Weak: musl has the second, and glibc has the first, which its headers' pthread_atfork calls. */
extern int __register_atfork(void (*)(void), void (*)(void), void (*)(void), void *) __attribute__((weak));
#pragma weak pthread_atfork

void event_at_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
	if (__register_atfork)
		__register_atfork(prepare, parent, child, NULL);
	else if (pthread_atfork)
		pthread_atfork(prepare, parent, child);
}

bool event_notices_forks(void)
{
	return event_fork_mark != &never_forked;
}

bool event_by_guest(void)
{
	event_notice_fork();
	/* Where nothing marks a fork's child, it may be one. */
	return event_notices_forks() && sandbox_is_guest();
}

/* --- threads ----------------------------------------------------------------------- */

void event_stack_given(uintptr_t start, uintptr_t end)
{
	stack_given(start, end, owners_heap_holds(start));
}

void event_stack_not_given(uintptr_t start, uintptr_t end)
{
	stack_unmapped(start, end - start);
}

void event_thread_begins(const struct new_thread *new)
{
	text_copy(thread_self()->comm, COMM_SIZE, new->name);
	owners_thread_begins(new);
}

void event_thread_exits(void)
{
	if (!label_active())
		return;
	registry_thread_end();
	walk_thread_end();
}

void event_thread_ends(void)
{
	event_thread_exits();
	owners_thread_ends();
}

void event_thread_renamed(uintptr_t self, const char *name)
{
	if (self == (uintptr_t)pthread_self())
		text_copy(thread_self()->comm, COMM_SIZE, name);
	owners_thread_renamed(self, name);
}

/* --- objects ----------------------------------------------------------------------- */

static bool objects_stale;

void event_objects_will_change(void)
{
	store_relaxed(&objects_stale, true);
}

void event_objects_catch_up(void)
{
	if (load_relaxed(&objects_stale))
		event_objects_changed();
}

void event_look(void)
{
	owners_look();
}

void event_objects_changed(void)
{
	store_relaxed(&objects_stale, false);
	if (label_active())
		objects_refresh(sweep_name_bss, NULL, NULL);
}

/* The dynamic linker unmaps with a call of its own. */
static void forget_bss(const struct object *o, void *context)
{
	sink_unmapped(*(const struct sink_unmap *)context, o->bss_start, o->bss_end - o->bss_start);
}

struct event_close event_objects_closing(uintptr_t frame)
{
	struct event_close close = { .unmap = event_unmap_begin_in(frame) };

	close.paused = label_active() && walk_pause(frame);
	return close;
}

void event_objects_closed(struct event_close close)
{
	if (label_active())
		objects_refresh(sweep_name_bss, forget_bss, &close.unmap);
	sink_unmap_end(close.unmap, 0, 0, false);
	walk_resume(close.paused);
}
