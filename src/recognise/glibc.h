/* SPDX-License-Identifier: MIT */
/* What the recognisers of glibc's memory share: libc's variables, which carry no symbols, found by their contents. */
#ifndef ANONNAME_RECOGNISE_GLIBC_H
#define ANONNAME_RECOGNISE_GLIBC_H

#include "memory.h"

/* libc's writable data and .bss, copied; what is not there is 0. */
struct glibc_data {
	uint64_t start;
	size_t words;
	uint64_t word[1U << 15];    /* 256 KiB: it has some 80 */
};

/* NULL: no libc, no memory. The caller frees it. */
struct glibc_data *glibc_data_read(struct target *target);

/* Where [heap] begins; 0: there is none. */
uint64_t glibc_heap(const struct target *target);

#endif
