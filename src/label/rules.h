/* SPDX-License-Identifier: MIT */
/*
 * Rules by caller: what a program or library maps itself gets a more telling
 * name than LIBRARY:mmap. A rule is one line, libanonname(7) says which words it
 * may have, and the first that matches wins. The user's (ANONNAME_RULES) come first,
 * then ours for the runtimes that distributions ship (runtimes.rules).
 */
#ifndef ANONNAME_LABEL_RULES_H
#define ANONNAME_LABEL_RULES_H

#include "label/config.h"
#include "label/mapping.h"
#include "label/objects.h"

/* Reads them. A bad one is told on standard error with its line and column, and skipped. */
void rules_read(void);

/* The kind that names it: the rule's (KIND_COUNT and up), with f->thing set for it, or the one given. */
enum kind rules_apply(const struct mapping *m, const struct object *asker, enum kind kind, struct fields *f);

/* What begins there is unmapped. */
void rules_unmapped(uintptr_t start);

/*
 * Malloc by library (src/malloc). A rule that begins with the word malloc says
 * what an object's memory is called, or that an object, or functions of it,
 * allocate for whoever calls them. Ours (malloc.rules) follow the user's when
 * rules_read_malloc has been called, once.
 */
void rules_read_malloc(void);

/* The name under which that library's memory goes: its own, or that of a group. */
const char *rules_malloc_name(const char *library);

/* May anything in it be charged to its callers? */
bool rules_malloc_charges(const struct object *o);

/* Who is charged for a call from there; UNKNOWN: a function that is not exported, in an object that has others for its callers. */
enum malloc_charge { CHARGE_ITSELF, CHARGE_CALLER, CHARGE_UNKNOWN };
enum malloc_charge rules_malloc_charge(const struct object *o, uintptr_t code);

#endif
