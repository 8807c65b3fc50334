/* SPDX-License-Identifier: MIT */
/*
 * Who may change the registry, and when. One thread does at a time, and nobody
 * waits for it: who finds the registry held leaves a note and goes on, and the
 * holder applies the notes before it lets go. Nobody outside this folder uses it.
 */
#ifndef ANONNAME_SINK_REGISTRY_QUEUE_H
#define ANONNAME_SINK_REGISTRY_QUEUE_H

#include "base/compiler.h"
#include "sink/registry/edit.h"
#include "sink/registry/order.h"
#include "sink/registry/registry.h"

/* The change is made now, or soon by who holds the registry; none is before registry_start. */
static inline void queue_change(struct op *op);

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
