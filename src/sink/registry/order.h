/* SPDX-License-Identifier: MIT */
/*
 * The order of events: a clock, whose stamps the ranges have, and the unmaps that
 * are on their way. Lies below edit.c, which asks whether neighbours may become
 * one, and queue.c. Nobody outside this folder uses it.
 */
#ifndef ANONNAME_SINK_REGISTRY_ORDER_H
#define ANONNAME_SINK_REGISTRY_ORDER_H

#include "base/compiler.h"
#include "sink/registry/registry.h"

/* One more for each event. registry.h says what for. */
extern uint32_t order_clock OURS;
static inline uint32_t stamp_new(void) { return __atomic_add_fetch(&order_clock, 1, __ATOMIC_ACQ_REL); }
static inline uint32_t stamp_last(void) { return load_relaxed(&order_clock); }

/*
 * Notes of changes that nobody has made yet, newest first, and those that the
 * holder is making, oldest first. They are queue.c's; here because an unmap whose
 * note waits is as much on its way as one that has not left its note.
 */
struct note;
extern struct note *order_waiting OURS;
extern struct note *order_applying OURS;

/* For the holder: no unmap is on its way, and no note of one that ended waits. */
bool order_is_quiet(void);

/* Unmaps on their way that have no slot, for which there was no memory. */
extern uint32_t order_unmaps_without OURS;

/* Unmaps that have no end: of frames that are gone, now that we are in `here`; of the thread; of all other threads. */
void order_forget_gone(uintptr_t here);
void order_forget_mine(void);
void order_forget_others(void);

/* A slot holds the frame whose it is, or 0. */
static inline bool slot_claim(uintptr_t *slot, uintptr_t frame)
{
	uintptr_t none = 0;

	return !load_relaxed(slot) &&
	       __atomic_compare_exchange_n(slot, &none, frame, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

static inline bool frame_is_mine(uintptr_t frame)
{
	return frame && registry_frame_is_mine && registry_frame_is_mine(frame);
}

static inline bool frame_is_gone(uintptr_t frame, uintptr_t here)
{
	return frame && registry_frame_is_gone && registry_frame_is_gone(frame, here);
}

#endif
