/* SPDX-License-Identifier: MIT */
/*
 * The registry: names kept inside the process, for kernels without the
 * feature. Its bytes are described in base/registry_format.h; this is its
 * writer, and the lookup inside the process.
 *
 * Any function may be called in a signal handler that interrupted another one,
 * in a vfork child, and from many threads. None waits for long, none makes a
 * system call except when memory runs out (one mmap).
 */
#ifndef ANONNAME_SINK_REGISTRY_H
#define ANONNAME_SINK_REGISTRY_H

#include "base/registry_format.h"
#include "base/compiler.h"

/* Gets the first memory. Idempotent. Returns 0 or -errno. */
int registry_start(void);
bool registry_started(void);

/*
 * The order of events is told by stamps. Whoever unmaps takes one before the
 * system call: a name that another thread gave to the same addresses since
 * then belongs to a new mapping, and stays.
 */
uint32_t registry_unmap_begin(void);
void registry_unmapped(uintptr_t start, uintptr_t end, uint32_t stamp);
void registry_unmap_end(uintptr_t start, uintptr_t end, uint32_t stamp, bool unmapped);

/* Names [start, end), whatever was there before. A range of length 0 is ignored. */
void registry_set(uintptr_t start, uintptr_t end, const char *name, size_t len);
void registry_clear(uintptr_t start, uintptr_t end);

/*
 * mremap moved or resized a mapping: [old, old + old_len) to [to, to + to_len).
 * The names go along, the last one grows with the mapping.
 * keep: the old range stays mapped (MREMAP_DONTUNMAP).
 */
void registry_move(uintptr_t old, size_t old_len, uintptr_t to, size_t to_len, uint32_t stamp, bool keep);

/* Fills *range and name (ANONNAME_NAME_MAX + 1 bytes) for the first range that ends above addr. */
bool registry_next(uintptr_t addr, struct registry_range *range, char *name);

/*
 * The calling thread seems to hold the registry already: is the frame that did so
 * gone, now that it is called again in the frame `here`? Set before registry_start;
 * true only where that is certain.
 */
extern bool (*registry_frame_is_gone)(uintptr_t frame, uintptr_t here);
void registry_thread_end(void);

/* Around fork: the child's copy must not be caught in the middle of a change. */
void registry_fork_prepare(void);
void registry_fork_parent(void);
void registry_fork_child(void);

/* So that a library call can see what it just did: applies what waits. */
void registry_settle(void);

#endif
