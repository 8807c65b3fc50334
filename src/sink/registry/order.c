/* SPDX-License-Identifier: MIT */
/* The order of events, and unmaps on their way. See order.h. */
#include "sink/registry/order.h"

#include "base/own.h"

THREAD_LOCAL struct registry_open registry_open;
bool (*registry_frame_is_gone)(uintptr_t frame, uintptr_t here);
bool (*registry_frame_is_mine)(uintptr_t frame);

struct note *order_waiting;
struct note *order_applying;

/*
 * Who unmaps takes a stamp before the system call, and clears what is older
 * after it. Neighbours that become one range have one stamp. So while an unmap
 * is on its way none do, or the stamp would no longer tell old from new. Each
 * one on its way has a slot, which holds its hook's frame.
 *
 *     unmap                                  set, with a neighbour of the same name
 *     slot = frame
 *     stamp = ++clock   (release)      --->  stamp = ++clock   (acquire): a later one
 *     munmap, clear: apply or leave a note   looks at the slots
 *     slot = 0          (release)      --->  0 (acquire): looks whether notes wait
 *
 * A set that is newer than an unmap comes after it on the clock, so it sees the
 * slot, or 0, and then it sees the note or the tree without the range.
 * tests/model/queue.pml tries every order.
 */
#define UNMAPS 64U
#define UNMAPS_MORE (4096U / sizeof(uintptr_t) - 1)

struct unmaps {
	struct unmaps *more;
	uintptr_t frame[UNMAPS_MORE];
};
static uintptr_t unmaps[UNMAPS] COLD_BSS;
static struct unmaps *more_unmaps;
static uint32_t unmaps_used;            /* of `unmaps`: none from here on was ever taken */
uint32_t order_unmaps_without;         /* on their way without a slot, for which there was no memory */
uint32_t order_clock;

static uintptr_t *slot_more(uintptr_t frame)
{
	for (struct unmaps **at = &more_unmaps;;) {
		struct unmaps *u = load_acquire(at), *none = NULL;

		for (uint32_t i = 0; u && i < UNMAPS_MORE; i++)
			if (slot_claim(&u->frame[i], frame))
				return &u->frame[i];
		if (u) {
			at = &u->more;
			continue;
		}
		u = own_map(sizeof(*u), "registry");
		if (!u)
			return NULL;
		u->frame[0] = frame;
		/* Somebody was faster: theirs is tried, ours stays unused. It happens at most once a page. */
		if (__atomic_compare_exchange_n(at, &none, u, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			return &u->frame[0];
	}
}

static uintptr_t *slot_take(uintptr_t frame)
{
	for (uint32_t i = 0; i < UNMAPS; i++) {
		uint32_t used = load_relaxed(&unmaps_used);

		/* Before it is taken: one that nobody looks at would stay taken after a jump. */
		while (used <= i && !__atomic_compare_exchange_n(&unmaps_used, &used, i + 1, true, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
			;
		if (slot_claim(&unmaps[i], frame))
			return &unmaps[i];
	}
	return slot_more(frame);
}

/* Nobody notices a jump out of an unmap without a slot, nor a fork beside it: it counts for ever, and no neighbours become one. */
static uintptr_t *slot_or_count(uintptr_t frame)
{
	uintptr_t *slot = slot_take(frame);

	if (unlikely(!slot))
		__atomic_add_fetch(&order_unmaps_without, 1, __ATOMIC_ACQ_REL);
	return slot;
}

/* Calls each(slot, its frame, here) for those that are taken, until it returns false. */
static bool each_unmap(bool (*each)(uintptr_t *slot, uintptr_t frame, uintptr_t here), uintptr_t here)
{
	uint32_t used = load_acquire(&unmaps_used);
	uintptr_t frame;

	for (uint32_t i = 0; i < used; i++)
		if ((frame = load_acquire(&unmaps[i])) && !each(&unmaps[i], frame, here))
			return false;
	for (struct unmaps *u = load_acquire(&more_unmaps); unlikely(u != NULL); u = load_acquire(&u->more))
		for (uint32_t i = 0; i < UNMAPS_MORE; i++)
			if ((frame = load_acquire(&u->frame[i])) && !each(&u->frame[i], frame, here))
				return false;
	return true;
}

static bool free_if_gone(uintptr_t *slot, uintptr_t frame, uintptr_t here)
{
	if (frame_is_gone(frame, here))
		__atomic_compare_exchange_n(slot, &frame, 0, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
	else if (frame_is_mine(frame))
		registry_open.unmaps++;
	return true;
}

static bool free_if_mine(uintptr_t *slot, uintptr_t frame, uintptr_t here)
{
	(void)here;
	if (frame_is_mine(frame))
		__atomic_compare_exchange_n(slot, &frame, 0, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
	return true;
}

static bool free_unless_mine(uintptr_t *slot, uintptr_t frame, uintptr_t here)
{
	(void)here;
	if (!frame_is_mine(frame))
		__atomic_compare_exchange_n(slot, &frame, 0, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
	return true;
}

static bool is_none(uintptr_t *slot, uintptr_t frame, uintptr_t here)
{
	(void)slot;
	(void)frame;
	(void)here;
	return false;
}

/* On its way from here on, until its slot is 0 again. */
struct registry_unmap registry_unmap_starts(uintptr_t frame)
{
	struct registry_unmap unmap;

	registry_open.unmaps++;
	unmap.slot = slot_or_count(frame);
	unmap.stamp = stamp_new();
	return unmap;
}

void order_forget_gone(uintptr_t here)
{
	registry_open.unmaps = 0;
	each_unmap(free_if_gone, here);
}

void order_forget_mine(void)
{
	each_unmap(free_if_mine, 0);
	registry_open.unmaps = 0;
}

void order_forget_others(void)
{
	each_unmap(free_unless_mine, 0);
}

bool order_is_quiet(void)
{
	return !load_acquire(&order_unmaps_without) && each_unmap(is_none, 0) && !load_acquire(&order_waiting) && !order_applying;
}
