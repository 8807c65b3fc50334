/* SPDX-License-Identifier: MIT */
/*
 * Who may change the registry, and when. One thread does at a time, and nobody
 * waits for it: who finds the registry held leaves a note and goes on, and the
 * holder applies the notes before it lets go. Nobody outside this folder uses it.
 */
#ifndef ANONNAME_SINK_REGISTRY_QUEUE_H
#define ANONNAME_SINK_REGISTRY_QUEUE_H

#include "base/compiler.h"
#include "sink/registry/registry.h"

enum op_kind { OP_SET, OP_CLEAR, OP_MOVE, OP_START };

struct op {
	uintptr_t start;
	uintptr_t end;
	uintptr_t to;              /* OP_MOVE */
	size_t to_len;
	uint32_t stamp;
	uint8_t kind;
	bool keep;                 /* OP_MOVE: the old range stays */
	bool unless_newer;         /* OP_CLEAR: leave what was set after the stamp */
	bool code;                 /* OP_SET: see registry_set_code */
	uint8_t len;
	char name[ANONNAME_NAME_MAX];
};

/*
 * Makes the change, for which the caller holds the registry; in edit.c. It
 * may be left at any instruction, by a handler that jumps, and made once more
 * from its beginning. What is behind a move's half is kept in the op itself.
 */
void registry_apply(struct op *op);

/* The change is made now, or soon by who holds the registry; none is before registry_start. */
static inline void queue_change(struct op *op);

/* The order of events: one more for each. registry.h says what for. */
extern uint32_t queue_clock OURS;
static inline uint32_t queue_stamp(void) { return __atomic_add_fetch(&queue_clock, 1, __ATOMIC_ACQ_REL); }
static inline uint32_t queue_stamp_last(void) { return load_relaxed(&queue_clock); }

/* For the holder: no unmap is on its way, and no note of one that ended waits. */
bool queue_is_quiet(void);

/* --- */

extern bool queue_wanted OURS;          /* registry_start was called */
void queue_submit(struct op *op);

static inline void queue_change(struct op *op)
{
	/* Wanted, but not there: somebody is starting it, or will. */
	if (registry_started() || load_relaxed(&queue_wanted))
		queue_submit(op);
}

#endif
