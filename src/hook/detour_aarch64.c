/* SPDX-License-Identifier: MIT */
/* The detour's machine code for aarch64. */
#include "hook/detour.h"

#include <string.h>

#define HINT_BTI_C   0xd503245fU
#define HINT_BTI_JC  0xd50324dfU
#define HINT_PACIASP 0xd503233fU
#define SVC_0        0xd4000001U
#define LDR_X16_8    0x58000050U        /* ldr x16, . + 8 */
#define BR_X16       0xd61f0200U

static uint32_t word_at(const uint8_t *code, size_t i)
{
	uint32_t w;

	memcpy(&w, code + i * 4, sizeof(w));
	return w;
}

/* An indirect branch (libc's own PLT) may land here: the pad stays. paciasp is one as well, but must not run alone. */
size_t detour_offset(const uint8_t *code)
{
	uint32_t w = word_at(code, 0);

	return w == HINT_BTI_C || w == HINT_BTI_JC ? 4 : 0;
}

enum part_reason detour_read(const uint8_t *code, size_t size, int nr)
{
	uint32_t load = 0xd2800008U | (uint32_t)nr << 5;        /* mov x8, #nr */
	uint32_t first = word_at(code + detour_offset(code), 0);
	bool loaded = false;

	if (first == LDR_X16_8 || (first & 0xfc000000U) == 0x14000000U)
		return REASON_ALREADY_PATCHED;
	if (first == HINT_PACIASP)
		return REASON_UNKNOWN_CODE;
	for (size_t i = 0; i < size / 4; i++) {
		uint32_t w = word_at(code, i);

		loaded = loaded || w == load;
		if (loaded && w == SVC_0)
			return REASON_NONE;
	}
	return REASON_UNKNOWN_CODE;
}

/*
 *   function:  ldr x16, 1f   --.
 *              br  x16         |
 *           1: .quad target <--'
 * x16 is the procedure call standard's own register for such veneers.
 */
size_t detour_jump(uint8_t to[DETOUR_MAX], uintptr_t target)
{
	static const uint32_t jump[] = { LDR_X16_8, BR_X16 };

	memcpy(to, jump, sizeof(jump));
	memcpy(to + sizeof(jump), &target, sizeof(target));
	return sizeof(jump) + sizeof(target);
}
