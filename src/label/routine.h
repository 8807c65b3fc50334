/* SPDX-License-Identifier: MIT */
/* What a new thread runs: the field %r, which tells threads apart that have no names of their own. */
#ifndef ANONNAME_LABEL_ROUTINE_H
#define ANONNAME_LABEL_ROUTINE_H

#include "base/table.h"

/*
 * The exported function that a thread starts with, else the library that it is
 * in; "" where that would only be the program again. function and arg: as
 * given to pthread_create, and not yet called.
 */
void routine_name(uintptr_t function, const void *arg, char name[ROUTINE_SIZE]);

#endif
