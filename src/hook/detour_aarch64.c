/* SPDX-License-Identifier: MIT */
/* The detour's machine code for aarch64. */
#include "hook/detour.h"

#include <string.h>

#define BTI_C        0xd503245fU
#define BTI_JC       0xd50324dfU
#define PACIASP      0xd503233fU
#define SVC_0        0xd4000001U
#define LDR_X16_8    0x58000050U        /* ldr x16, . + 8 */
#define BR_X16       0xd61f0200U

static uint32_t word_at(const uint8_t *code, size_t i)
{
	uint32_t w;

	memcpy(&w, code + i * 4, sizeof(w));
	return w;
}

/* From the first byte: the jump brings a landing pad of its own. */
size_t detour_offset(const uint8_t *code)
{
	(void)code;
	return 0;
}

/* Arm's "Learn the architecture: PAC and BTI": where an indirect branch (libc's own PLT) may land. */
static bool is_landing_pad(uint32_t w)
{
	return w == BTI_C || w == BTI_JC || w == PACIASP;
}

/* How other tools begin: b, br, brk, ldr x16 or x17 from behind the jump. */
static bool is_patched(uint32_t w)
{
	return (w & 0xfc000000U) == 0x14000000U || (w & 0xfffffc1fU) == 0xd61f0000U ||
	       (w & 0xffe0001fU) == 0xd4200000U || (w & 0xff00001eU) == 0x58000010U;
}

enum part_reason detour_read(const uint8_t *code, size_t size, int nr)
{
	uint32_t load = 0xd2800008U | (uint32_t)nr << 5;        /* mov x8, #nr */
	bool loaded = false;

	if (is_patched(word_at(code, is_landing_pad(word_at(code, 0)))))
		return REASON_ALREADY_PATCHED;
	for (size_t i = 0; i < size / 4; i++) {
		uint32_t w = word_at(code, i);

		loaded = loaded || w == load;
		if (loaded && w == SVC_0)
			return REASON_NONE;
	}
	return REASON_UNKNOWN_CODE;
}

/*
 *   function:  bti c
 *              ldr x16, 1f   --.
 *              br  x16         |
 *           1: .quad target <--'
 * x16 is the procedure call standard's own register for such veneers. bti is a
 * hint: a processor without it does nothing. The old body may have begun with
 * paciasp, which is a pad as well but would change the return address.
 */
size_t detour_jump(uint8_t to[DETOUR_MAX], uintptr_t target)
{
	static const uint32_t jump[] = { BTI_C, LDR_X16_8, BR_X16 };

	memcpy(to, jump, sizeof(jump));
	memcpy(to + sizeof(jump), &target, sizeof(target));
	return sizeof(jump) + sizeof(target);
}
