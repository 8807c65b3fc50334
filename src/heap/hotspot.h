/* SPDX-License-Identifier: MIT */
/* The heap of HotSpot, whichever collector it has. See hotspot.c. */
#ifndef ANONNAME_HEAP_HOTSPOT_H
#define ANONNAME_HEAP_HOTSPOT_H

#include "heap.h"

#include "../recognise/hotspot.h"

/* Where none of the collectors that stop the program has it: ZGC's, or Shenandoah's. */
void heap_hotspot_concurrent(const struct hotspot *hotspot, struct heaps *heaps);

#endif
