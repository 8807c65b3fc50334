/* SPDX-License-Identifier: MIT */
/* The one struct root of this process, which the tools find through the ELF note. */
#ifndef ANONNAME_BASE_ROOT_H
#define ANONNAME_BASE_ROOT_H

#include "base/compiler.h"
#include "format/registry_format.h"

extern struct root root OURS;

static inline void part_set(enum part part, enum part_state state, enum part_reason reason)
{
	root.part_state[part] = (uint8_t)state;
	root.part_reason[part] = (uint8_t)reason;
}

static inline void count_add(enum root_counter c, int64_t n)
{
	__atomic_fetch_add(&root.counter[c], (uint64_t)n, __ATOMIC_RELAXED);
}

#endif
