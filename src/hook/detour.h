/* SPDX-License-Identifier: MIT */
/* What detour.c asks of an architecture: reading a function's code and writing a jump. */
#ifndef ANONNAME_HOOK_DETOUR_H
#define ANONNAME_HOOK_DETOUR_H

#include "format/registry_format.h"
#include "base/compiler.h"

#define DETOUR_MAX 24           /* the longest jump */

/* How a body begins: what stays where it stands, and what has to be undone of it. */
struct opening {
	size_t len;             /* bytes: a landing pad, and the first instruction behind it */
	uint32_t stack;         /* bytes that they took off the stack */
	bool is_signed;         /* they signed the return address (aarch64: paciasp) */
};

/*
 * Is this the body of that system call, as the compiler made it, and does it
 * begin with something that can stay? REASON_NONE: yes.
 */
enum part_reason detour_read(const uint8_t *code, size_t size, int nr, struct opening *opening);

/* Is all that differs in memory from the file breakpoints, as debuggers and uprobes put them? */
bool detour_breakpoints_only(const uint8_t *memory, const uint8_t *file, size_t len);

/* The function that the call before the return address leads to; 0: it is none, or goes by a register or by memory. */
uintptr_t detour_called(uintptr_t return_address);

/* Calls of other objects go by a stub that jumps to what a slot has: that slot; 0: it is no such stub. */
uintptr_t detour_stub_slot(uintptr_t stub);

/* Writes the jump that will stand at `at`: the short one, where it reaches that far. Returns its length. */
size_t detour_jump(uint8_t to[DETOUR_MAX], uintptr_t at, uintptr_t target);

#endif
