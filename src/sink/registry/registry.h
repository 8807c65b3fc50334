/* SPDX-License-Identifier: MIT */
/*
 * The registry: names kept inside the process, for kernels without the
 * feature. Its bytes are described in format/registry_format.h; this is its
 * writer, and the lookup inside the process.
 *
 * Any function may be called in a signal handler that interrupted another one,
 * in a vfork child, and from many threads. None waits for long, none makes a
 * system call except when memory runs out (one mmap).
 */
#ifndef ANONNAME_SINK_REGISTRY_REGISTRY_H
#define ANONNAME_SINK_REGISTRY_REGISTRY_H

#include "base/root.h"
#include "base/compiler.h"

/* Gets the first memory. Idempotent, and at any time: names that another thread gives meanwhile are kept. Returns 0 or -errno. */
int registry_start(void);
static inline bool registry_started(void) { return load_relaxed(&root.registry.top) != 0; }

/*
 * The order of events is told by stamps. Whoever unmaps takes one before the
 * system call: a name that another thread gave to the same addresses since
 * then belongs to a new mapping, and stays. frame: the hook's own, by which it
 * is seen when a handler leaves the hook by a jump and no end comes.
 */
struct registry_unmap {
	uintptr_t *slot;
	uint32_t stamp;
};
static inline struct registry_unmap registry_unmap_begin(uintptr_t frame);
void registry_unmapped(uintptr_t start, uintptr_t end, uint32_t stamp);
void registry_unmap_end(struct registry_unmap unmap, uintptr_t start, uintptr_t end, bool unmapped);

/*
 * What this thread has open: unmaps on their way, a change. A handler that leaves
 * them by a jump leaves these, too. So a hook says in which frame it is called;
 * what is open in a frame that must be gone by then is put in order.
 */
struct registry_open {
	uintptr_t holder;
	uint32_t unmaps;
};
extern THREAD_LOCAL struct registry_open registry_open;
void registry_notice_left(uintptr_t here);
static inline void registry_notice(uintptr_t here)
{
	if (unlikely(registry_open.holder | registry_open.unmaps))
		registry_notice_left(here);
}

struct registry_unmap registry_unmap_starts(uintptr_t frame);
static inline struct registry_unmap registry_unmap_begin(uintptr_t frame)
{
	registry_notice(frame);
	return registry_unmap_starts(frame);
}

/* Names [start, end), whatever was there before. A range of length 0 is ignored. */
void registry_set(uintptr_t start, uintptr_t end, const char *name, size_t len);
void registry_clear(uintptr_t start, uintptr_t end);

/* The same for memory that is executable, which stays marked as that: see sink/code.h. */
void registry_set_code(uintptr_t start, uintptr_t end, const char *name, size_t len);

/*
 * mremap moved or resized a mapping: [old, old + old_len) to [to, to + to_len).
 * The names go along, the last one grows with the mapping.
 * keep: the old range stays mapped (MREMAP_DONTUNMAP).
 */
void registry_move(uintptr_t old, size_t old_len, uintptr_t to, size_t to_len, uint32_t stamp, bool keep);

/* Fills *range and name (ANONNAME_NAME_MAX + 1 bytes) for the first range that ends above addr. */
bool registry_next(uintptr_t addr, struct registry_range *range, char *name);

/* Fills *range for the first range of code that ends above addr and starts below end. */
bool registry_next_code(uintptr_t addr, uintptr_t end, struct registry_range *range);

/*
 * For a handler above a change of its own thread, whose notes must wait: what do
 * they make of the name at *addr? Where they say nothing the registry does, at
 * the address that *addr is then.
 */
enum registry_waits { REGISTRY_SAYS_NOTHING, REGISTRY_NAMED, REGISTRY_CLEARED };
enum registry_waits registry_waiting(uintptr_t *addr, struct registry_range *range, char *name);

/*
 * Two questions about the stack of the calling thread. Is the frame in it? And is
 * it gone, now that we are called in the frame `here`? True only where that is
 * certain. Set before registry_start.
 */
extern bool (*registry_frame_is_mine)(uintptr_t frame);
extern bool (*registry_frame_is_gone)(uintptr_t frame, uintptr_t here);

/* The calling thread ends: none of its frames goes on. */
void registry_thread_end(void);

/*
 * Was a change lost, for want of room for a note, since this was last asked? True
 * only when nobody changes the registry: then is the time to look again what is
 * mapped.
 */
extern bool registry_lost_changes OURS;
bool registry_lost_and_quiet(void);
static inline bool registry_lost(void)
{
	return unlikely(load_relaxed(&registry_lost_changes)) && registry_lost_and_quiet();
}

/* Around fork: the child's copy must not be caught in the middle of a change. */
void registry_fork_prepare(void);
void registry_fork_parent(void);
void registry_fork_child(void);

/* So that a library call can see what it just did: applies what waits. */
void registry_settle(void);

#endif
