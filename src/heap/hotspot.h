/* SPDX-License-Identifier: MIT */
/* The heap of HotSpot, whichever collector it has. See hotspot.c. */
#ifndef ANONNAME_HEAP_HOTSPOT_H
#define ANONNAME_HEAP_HOTSPOT_H

#include "heap.h"

#include "../recognise/hotspot.h"

/* Where none of the collectors that stop the program has it: ZGC's, or Shenandoah's. */
void heap_hotspot_concurrent(const struct hotspot *hotspot, struct heaps *heaps);

/*
 * The same two where it is known what hotspot_find() says of the variables that
 * they want, which is no more than so many. false: no such collector has it.
 */
#define HEAP_HOTSPOT_VARIABLES 32
bool heap_hotspot_at(const struct hotspot *hotspot, const uint64_t *at, struct heaps *heaps);
void heap_hotspot_concurrent_at(const struct hotspot *hotspot, const uint64_t *at, struct heaps *heaps);

#endif
