/* SPDX-License-Identifier: MIT */
/* A library that asks for things, for live.c: what matters is who the caller is. */
#ifndef ANONNAME_TESTS_CROSS_ASKER_H
#define ANONNAME_TESTS_CROSS_ASKER_H

#include <stddef.h>

void *asker_asks(size_t size);          /* malloc */
void *asker_opens(const char *file);    /* dlopen */

#endif
