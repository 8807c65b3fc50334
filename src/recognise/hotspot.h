/* SPDX-License-Identifier: MIT */
/* The table of its variables that HotSpot exports for debuggers. See hotspot.c. */
#ifndef ANONNAME_RECOGNISE_HOTSPOT_H
#define ANONNAME_RECOGNISE_HOTSPOT_H

#include "memory.h"

/* A field of a type, which may be called differently in other versions: alias is that name, or NULL. */
struct hotspot_variable {
	const char *type, *alias, *field;
};

#define HOTSPOT_ABSENT UINT64_MAX

/* Addresses of static variables, offsets of the others, HOTSPOT_ABSENT where it has none. How many it has. */
size_t hotspot_find(struct target *target, const struct hotspot_variable *wanted, size_t count, uint64_t *value);

#endif
