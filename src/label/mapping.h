/* SPDX-License-Identifier: MIT */
/* A mapping as it was asked for: what an event is about, and what owners and rules decide by. */
#ifndef ANONNAME_LABEL_MAPPING_H
#define ANONNAME_LABEL_MAPPING_H

#include "base/compiler.h"

/* Mappings from here up get their thread's id: few enough, and worth telling apart. */
#define BIG_MAPPING (1UL << 20)

struct mapping {
	uintptr_t start;
	size_t len;
	int prot;
	int flags;
	uintptr_t caller;       /* the return address of the call */
	uintptr_t frame;        /* the hook's own frame, for walk_to_owner */
};

#endif
