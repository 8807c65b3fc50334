/* SPDX-License-Identifier: MIT */
/*
 * Gives a range its name: formats it by its kind and hands it to a sink. Whoever
 * knows what a range is (event.c, an owner) ends here; nothing here can fail.
 */
#ifndef ANONNAME_LABEL_LABEL_H
#define ANONNAME_LABEL_LABEL_H

#include "label/config.h"
#include "label/mapping.h"
#include "label/objects.h"
#include "sink/sink.h"

/* May be asked at any time: false before event_start, and when nothing is to be named. */
static inline bool label_active(void) { return sink_modes() != 0; }

/* Names a whole range by its kind; the fields that every name may use are filled in. */
void label_range(enum kind kind, uintptr_t start, size_t len, const struct fields *f);

/* The library that a name of that kind shows: the caller's, or that for which the caller asked. asker NULL: generated code. */
static inline const char *label_library(const struct mapping *m, const struct object *asker, enum kind kind);

/* --- */

const char *label_library_behind(const struct mapping *m, const struct object *asker, enum kind kind);

static inline const char *label_library(const struct mapping *m, const struct object *asker, enum kind kind)
{
	return likely(asker && asker->class == OBJECT_APP) ? asker->name : label_library_behind(m, asker, kind);
}

#endif
