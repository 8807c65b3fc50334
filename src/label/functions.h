/* SPDX-License-Identifier: MIT */
/*
 * Which exported function of an object an address lies in, for who asks often:
 * elf_symbol_at() looks at every symbol, some 70,000 instructions for libcrypto.
 * Here they are put in order by their place when an object is first asked of.
 */
#ifndef ANONNAME_LABEL_FUNCTIONS_H
#define ANONNAME_LABEL_FUNCTIONS_H

#include "label/objects.h"

/* Its name; "" where none holds the address, or the object does not tell. */
const char *function_name_at(const struct object *o, uintptr_t addr);

/* The same for who asks seldom: all symbols are looked at, and nothing is kept. */
const char *function_name_once(const struct object *o, uintptr_t addr);

#endif
