/* SPDX-License-Identifier: MIT */
/* What lies at an address: the region that holds it and its two neighbours, for anonname maps PID ADDRESS. */
#ifndef ANONNAME_TOOLS_ADDRESS_H
#define ANONNAME_TOOLS_ADDRESS_H

#include "tool.h"

struct neighbour {
	bool there;
	struct region region;       /* its name lies in name */
	char name[NAME_SHOWN_MAX];
};

struct address {
	uint64_t at;
	struct neighbour before, holds, after;
	struct process process;
};

/*
 * text: hexadecimal, with or without 0x, or FILE+OFFSET, where FILE is the base
 * name of a mapped file and OFFSET is counted from where that begins. Reads the
 * figures of the regions, too. Returns the exit code, after an error message.
 */
int address_find(const struct proc *proc, pid_t pid, const char *text, struct address *found);

#endif
