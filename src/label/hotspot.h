/* SPDX-License-Identifier: MIT */
/*
 * What HotSpot uses its memory for. All of it comes from two functions,
 * reserve and commit, so neither the caller nor the call tells heap, code,
 * metaspace and the collector's tables apart. But libjvm.so exports the places
 * of its variables for debuggers (gHotSpotVMStructs), and these do.
 */
#ifndef ANONNAME_LABEL_HOTSPOT_H
#define ANONNAME_LABEL_HOTSPOT_H

#include "label/mapping.h"
#include "label/objects.h"

/* One word for a mapping that libjvm made: heap, code, gc, metaspace, reserve, guard, or memory where it is none of these. */
const char *hotspot_part(const struct object *libjvm, const struct mapping *m);

#endif
