/* SPDX-License-Identifier: MIT */
/*
 * Makes names visible: through the kernel, through the registry, or both. This
 * is the room that owns every question about the kernel's side of the feature;
 * the rooms above only say which range is called what, and what was unmapped.
 */
#ifndef ANONNAME_SINK_SINK_H
#define ANONNAME_SINK_SINK_H

#include "base/compiler.h"
#include "base/root.h"
#include "sink/registry/registry.h"

enum sink_choice { SINK_AUTO, SINK_KERNEL, SINK_REGISTRY, SINK_BOTH, SINK_OFF };

/*
 * Asks the kernel on a page of our own and decides. Nothing in a version
 * number tells (Debian has the code and the option off).
 */
void sink_start(enum sink_choice choice);

/* enum root_sink; 0: nothing is named. */
static inline uint32_t sink_modes(void);

/*
 * Names [start, start + len). Never fails for the caller: a refusal is counted.
 * sink_name_new: what was just mapped, and so holds no code. sink_name_code: see code.h.
 */
void sink_name(uintptr_t start, size_t len, const char *name, size_t name_len);
void sink_name_new(uintptr_t start, size_t len, const char *name, size_t name_len);

/* Whole pages, by which sinks there are, without regard to code. */
void sink_put(uintptr_t start, uintptr_t end, const char *name, size_t name_len);

/* The prctl itself; name NULL takes the name away. */
long sink_kernel_name(uintptr_t start, size_t len, const char *name);

/* The name is the kernel's to forget when memory goes; the registry must be told. */
struct sink_unmap {
	struct registry_unmap registry; /* .slot is NULL where there is none */
};
static inline struct sink_unmap sink_unmap_begin(uintptr_t frame);
static inline void sink_unmap_end(struct sink_unmap unmap, uintptr_t start, size_t len, bool unmapped);
/* One of several ranges that went before the end. */
static inline void sink_unmapped(struct sink_unmap unmap, uintptr_t start, size_t len);
void sink_moved(struct sink_unmap unmap, uintptr_t old, size_t old_len, uintptr_t to, size_t to_len, bool keep);

/* A mapping that cannot carry a name now covers the range (MAP_FIXED of a file). */
void sink_forget(uintptr_t start, size_t len);

/* The range stays, and has no name from now on. */
void sink_unname(uintptr_t start, size_t len);

/*
 * A filter is about to be installed that leaves only these rights: goes to the
 * registry where it must. The undo is for a filter that the kernel refused.
 */
struct sink_before {
	uint32_t rights;
	uint32_t sink;
	bool guest;             /* only a child in our memory was restricted */
};
struct sink_before sink_sandbox(uint32_t rights, bool by_guest);
void sink_sandbox_undo(struct sink_before before);

/* What is left of the budget of VMAs (vm.max_map_count). */
enum sink_budget { BUDGET_FULL_NAMES, BUDGET_COARSE_NAMES, BUDGET_NO_NAMES };
static inline enum sink_budget sink_budget(void);

/*
 * A call failed with ENOMEM. If that is because there are too many VMAs, and
 * names keep some of them apart: takes the names away, for good, so that they
 * merge. true: the call is worth another try.
 */
bool sink_give_back(void);

/* One more mapping was named. From time to time this counts the VMAs. */
static inline void sink_budget_spend(void);

/* --- */

#include "sink/code.h"

extern int sink_budget_left OURS;
extern uint8_t sink_budget_level OURS;
void sink_budget_count(void);

static inline uint32_t sink_modes(void) { return load_relaxed(&root.sink); }

static inline struct sink_unmap sink_unmap_begin(uintptr_t frame)
{
	struct sink_unmap unmap = { .registry = { .slot = NULL } };

	if (registry_started())
		unmap.registry = registry_unmap_begin(frame);
	return unmap;
}

static inline void sink_unmap_end(struct sink_unmap unmap, uintptr_t start, size_t len, bool unmapped)
{
	if (unmap.registry.slot)
		registry_unmap_end(unmap.registry, page_down(start), page_up(start + len), unmapped);
}

static inline void sink_unmapped(struct sink_unmap unmap, uintptr_t start, size_t len)
{
	if (unmap.registry.slot)
		registry_unmapped(page_down(start), page_up(start + len), unmap.registry.stamp);
}

static inline enum sink_budget sink_budget(void) { return (enum sink_budget)load_relaxed(&sink_budget_level); }

static inline void sink_budget_spend(void)
{
	if ((sink_modes() & ROOT_SINK_KERNEL) && unlikely(__atomic_sub_fetch(&sink_budget_left, 1, __ATOMIC_RELAXED) == 0))
		sink_budget_count();
}

#endif
