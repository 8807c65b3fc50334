/* SPDX-License-Identifier: MIT */
/*
 * What it takes to start a program under libanonname.so: where the library is,
 * what goes into LD_PRELOAD, and the start of one that is looked at meanwhile.
 * Shared by `run`, by `record` and by `check` without a process.
 */
#ifndef ANONNAME_TOOLS_PRELOAD_H
#define ANONNAME_TOOLS_PRELOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

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

/*
 * Starts a command, and comes back when it runs: until then there is nothing to see
 * but ourselves. before(context) is called in the child; may be NULL. Its pid, or -1
 * after an error message. *why: 0, or the errno by which it could not be run: the
 * child ends with 127, nothing has been said.
 */
pid_t preload_start(char **argv, void (*before)(void *context), void *context, int *why);

#endif
