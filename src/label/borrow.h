/* SPDX-License-Identifier: MIT */
/*
 * Maps a shared library without the dynamic linker, at the moment when it is
 * first needed, and binds its imports to functions that the caller chooses.
 *
 * Why not dlopen: the need arises inside malloc, where dlopen would deadlock;
 * and doing it ahead of need, at start, cost each process 240 us and 56 KiB of
 * private memory (measured with libunwind 1.6.2 on Debian 12). Bound like this
 * the library also takes no lock of libc, allocates nothing from the program's
 * malloc, and leaves the program's own copy of the same library alone.
 *
 * It serves libraries of plain C without constructors that matter and without
 * initialised thread-local data; anything else is refused.
 */
#ifndef ANONNAME_LABEL_BORROW_H
#define ANONNAME_LABEL_BORROW_H

#include "base/elf.h"

struct import {
	const char *name;
	void *function;
};

/*
 * Maps the file; where *lib was filled by an earlier call, in the same place, as
 * new: nobody may be in it. Else *lib is zeroed. An import that the table does not name is 0 where it is weak
 * and else `missing`. Returns 0, or -errno with nothing left mapped.
 */
int borrow_library(const char *path, const struct import *imports, size_t n, void *missing, struct elf_symbols *lib);

#endif
