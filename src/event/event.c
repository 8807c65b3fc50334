/* SPDX-License-Identifier: MIT */
/*
 * The story of a label, from the top: a hook says what happened to memory. Here
 * that is classified (what is it), its owner is asked, and what no owner knows is
 * attributed (who asked). label/label.c formats the name and hands it to a sink,
 * which makes it visible.
 */
#include "event/event.h"

#include <sys/mman.h>

#include "event/sweep.h"
#include "label/label.h"
#include "label/rules.h"
#include "label/thread.h"
#include "owner/owner.h"
#include "owner/stack.h"

/* Linux 5.7, glibc 2.32 */
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

/* --- what is it ------------------------------------------------------------------ */

static enum kind classify(const struct mapping *m, enum object_class asker)
{
	int type = m->flags & MAP_TYPE;

	if (type == MAP_SHARED || type == MAP_SHARED_VALIDATE)
		return KIND_SHM;
	if (asker == OBJECT_ALLOCATOR)
		return KIND_HEAP;
	if (m->prot & PROT_EXEC)
		return KIND_JIT;
	if (m->prot == PROT_NONE)
		return KIND_RESERVE;
	return m->len < BIG_MAPPING ? KIND_MMAP : KIND_MMAP_BIG;
}

/* --- the events ----------------------------------------------------------------------- */

/* What a program or an allocator maps: rules may have another name for it. */
static void name_mapping(const struct mapping *m, const struct object *asker, enum kind kind)
{
	struct fields f = { .size = m->len, .memory = m->prot & PROT_EXEC ? MEMORY_CODE : MEMORY_NEW };

	kind = rules_apply(m, asker, kind, &f);
	f.allocator = asker ? asker->allocator : "";
	f.library = label_library(m, asker, kind);
	label_range(kind, m->start, m->len, &f);
}

void event_mapped(const struct mapping *m)
{
	const struct object *asker;
	enum kind kind;

	if (!label_active())
		return;
	event_notice_fork();
	registry_notice(m->frame);
	if (registry_lost())
		sweep_look_again();
	if (unlikely(thread_self()->later != NULL))
		thread_self()->later();
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
	if (asker && asker->owner && owner_mapped(m, asker, &kind))
		return;
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
		stack_is_code(start, start + len);
	else
		name_mapping(m, asker, KIND_JIT);
}

void event_executable(const struct mapping *m)
{
	struct mapping part = *m;

	if (!label_active())
		return;
	event_notice_fork();
	code_begins(m->start, m->len, name_code, &part);
}

void event_writable(uintptr_t start, size_t len)
{
	if (owner_is_above() && label_active())
		owner_above.writable(start, len);
}

void event_chunk(uintptr_t start, size_t len, uintptr_t caller, uintptr_t frame)
{
	struct mapping m = { .start = start, .len = len, .caller = caller, .frame = frame };

	if (!label_active())
		return;
	event_notice_fork();
	owners_chunk_mapped(&m);
}

void event_chunk_in_heap(uintptr_t chunk)
{
	if (label_active())
		owners_chunk_in_heap(chunk);
}

struct sink_unmap event_unmap_begin_in(uintptr_t frame)
{
	event_notice_fork();
	return sink_unmap_begin(frame);
}

void event_unmapped(struct sink_unmap unmap, uintptr_t start, size_t len, bool unmapped)
{
	if (label_active()) {
		if (unmapped) {
			owners_unmapped(start, page_up(len));
			rules_unmapped(start);
		}
		if (unlikely(thread_self()->later != NULL))
			thread_self()->later();
	}
	sink_unmap_end(unmap, start, len, unmapped);
}

void event_moved(struct sink_unmap unmap, uintptr_t old, size_t old_len, uintptr_t to, size_t to_len, int flags)
{
	sink_moved(unmap, old, old_len, to, to_len, flags & MREMAP_DONTUNMAP);
}

void event_program_named(void)
{
	owners_program_named();
}

void event_sigstack(uintptr_t start, size_t len)
{
	stack_for_signals(start, len, owners_heap_holds(start));
}
