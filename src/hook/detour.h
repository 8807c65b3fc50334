/* SPDX-License-Identifier: MIT */
/* What detour.c asks of an architecture: reading a function's code and writing a jump. */
#ifndef ANONNAME_HOOK_DETOUR_H
#define ANONNAME_HOOK_DETOUR_H

#include "base/registry_format.h"
#include "base/compiler.h"

#define DETOUR_MAX 24           /* the longest jump */

/* Is this the body of that system call, and as the compiler made it? REASON_NONE: yes. */
enum part_reason detour_read(const uint8_t *code, size_t size, int nr);

/* Where in the body the jump goes: behind a landing pad (endbr64) that must stay. */
size_t detour_offset(const uint8_t *code);

/* Writes the jump. Returns its length. */
size_t detour_jump(uint8_t to[DETOUR_MAX], uintptr_t target);

#endif
