/* SPDX-License-Identifier: MIT */
/*
 * The slots through which an object calls functions of others (.got, .got.plt),
 * turned to functions of ours: what the dynamic linker would have written there,
 * had we exported them. For functions that we must not export.
 */
#ifndef ANONNAME_LABEL_SLOTS_H
#define ANONNAME_LABEL_SLOTS_H

#include "base/compiler.h"
#include "base/sandbox.h"
#include "label/objects.h"

struct slot_call {
	const char *name;
	uintptr_t ours;
};

/* What it takes. */
#define SLOTS_RIGHTS (MAY_READ_PROC | MAY_PROTECT_DATA | MAY_PROTECT)

/* Only objects that call for themselves: not the dynamic linker, libc and us. At a safe moment. */
void slots_turn(const struct object *o, const struct slot_call *calls, size_t count);

#endif
