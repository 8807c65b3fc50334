/* SPDX-License-Identifier: MIT */
/* Names what was mapped before the library came. */
#ifndef ANONNAME_EVENT_SWEEP_H
#define ANONNAME_EVENT_SWEEP_H

#include "label/objects.h"

void sweep_start(void);

/*
 * Later, when the program asks: names what has no name yet, which nobody saw
 * being mapped. Returns how many ranges, or -errno.
 */
long sweep_again(void);

/* The registry had no room for changes: sets right what it has missed. */
void sweep_look_again(void);

/* Names an object's .bss. */
void sweep_name_bss(const struct object *o);

#endif
