/* SPDX-License-Identifier: MIT */
/*
 * What it takes to start a program under libanonname.so: where the library is
 * and what goes into LD_PRELOAD. Shared by `run` and by `check` without a
 * process.
 */
#ifndef ANONNAME_TOOLS_PRELOAD_H
#define ANONNAME_TOOLS_PRELOAD_H

#include <stdbool.h>
#include <stddef.h>

/* The environment asks for malloc by library. */
bool preload_is_by_library(void);

/*
 * Finds libanonname.so, or the one that has a malloc by library; false after an error
 * message that says where it was looked for.
 */
bool preload_find_library(bool by_library, char *path, size_t size);

/* Finds the library of an allocator by our name for it; "" for libc. False after an error message. */
bool preload_find_allocator(const char *name, char *path, size_t size);
void preload_list_allocators(char *text, size_t size);

/* Puts path in front of LD_PRELOAD, unless it is there. False after an error message. */
bool preload_add(const char *path);

#endif
