/* SPDX-License-Identifier: MIT */
/* The detour's machine code for aarch64. */
#include "hook/detour.h"

#include <string.h>

#define NOP          0xd503201fU
#define BTI_C        0xd503245fU
#define BTI_JC       0xd50324dfU
#define PACIASP      0xd503233fU
#define SVC_0        0xd4000001U
#define B            0x14000000U        /* b, with the distance in words in its low 26 bits */
#define LDR_X16_8    0x58000050U        /* ldr x16, . + 8 */
#define BR_X16       0xd61f0200U

static uint32_t word_at(const uint8_t *code, size_t at)
{
	uint32_t w;

	memcpy(&w, code + at, sizeof(w));
	return w;
}

/* How other tools begin: b, br, ldr x16 or x17 from behind the jump. */
static bool is_patched(uint32_t w)
{
	return (w & 0xfc000000U) == B || (w & 0xfffffc1fU) == 0xd61f0000U || (w & 0xff00001eU) == 0x58000010U;
}

/* Arm's "Learn the architecture: PAC and BTI": where an indirect branch (libc's own PLT) may land. */
static void read_pad(uint32_t w, struct opening *opening)
{
	opening->is_signed = w == PACIASP;
	if (w == BTI_C || w == BTI_JC || w == PACIASP)
		opening->len = 4;
}

/* The first instructions that compilers give these bodies. None of them changes an argument. */
static bool read_first(uint32_t w, uint32_t load, struct opening *opening)
{
	/* sub sp, sp, #imm12 */
	if ((w & 0xffc003ffU) == 0xd10003ffU)
		opening->stack = w >> 10 & 0xfff;
	/* or tst with any constant, which changes the flags alone */
	else if (w != load && w != NOP && (w & 0x7f80001fU) != 0x7200001fU)
		return false;
	opening->len += 4;
	return true;
}

/* mov x8, #nr ... svc #0 */
static bool makes_call(const uint8_t *code, size_t size, uint32_t load)
{
	bool loaded = false;

	for (size_t at = 0; at + 4 <= size; at += 4) {
		uint32_t w = word_at(code, at);

		loaded = loaded || w == load;
		if (loaded && w == SVC_0)
			return true;
	}
	return false;
}

enum part_reason detour_read(const uint8_t *code, size_t size, int nr, struct opening *opening)
{
	uint32_t load = 0xd2800008U | (uint32_t)nr << 5;        /* mov x8, #nr */

	*opening = (struct opening){ .len = 0 };
	read_pad(word_at(code, 0), opening);
	if (is_patched(word_at(code, opening->len)))
		return REASON_ALREADY_PATCHED;
	if (!makes_call(code, size, load))
		return REASON_UNKNOWN_CODE;
	/* Of a landing pad that signs too, nothing else would be undone. */
	if (!opening->is_signed && !read_first(word_at(code, opening->len), load, opening))
		return REASON_UNKNOWN_START;
	return is_patched(word_at(code, opening->len)) ? REASON_ALREADY_PATCHED : REASON_NONE;
}

/* brk #n replaces a whole instruction. */
bool detour_breakpoints_only(const uint8_t *memory, const uint8_t *file, size_t len)
{
	for (size_t at = 0; at + 4 <= len; at += 4) {
		uint32_t w = word_at(memory, at);

		if (w != word_at(file, at) && (w & 0xffe0001fU) != 0xd4200000U)
			return false;
	}
	return true;
}

/* bl, with the distance in words in its low 26 bits */
uintptr_t detour_called(uintptr_t return_address)
{
	uint32_t call = word_at((const uint8_t *)return_address, (size_t)-4);
	intptr_t distance = (intptr_t)(int32_t)(call << 6) >> 4;

	return (call & 0xfc000000U) == 0x94000000U ? return_address - 4 + (uintptr_t)distance : 0;
}

/*
 *   bti  c                   where there is one
 *   adrp x16, page           in pages from this one, 19 bits above 2
 *   ldr  x17, [x16, offset]  in words
 *   ...
 */
uintptr_t detour_stub_slot(uintptr_t stub)
{
	uintptr_t at = word_at((const uint8_t *)stub, 0) == BTI_C ? stub + 4 : stub;
	uint32_t adrp = word_at((const uint8_t *)at, 0), load = word_at((const uint8_t *)at, 4);
	uint32_t bits = (adrp >> 5 & 0x7ffff) << 2 | (adrp >> 29 & 3);
	intptr_t pages = (intptr_t)(int32_t)(bits << 11) >> 11;

	if ((adrp & 0x9f00001fU) != 0x90000010U || (load & 0xffc003ffU) != 0xf9400211U)
		return 0;
	return (at & ~(uintptr_t)4095) + (uintptr_t)(pages * 4096) + (load >> 10 & 0xfff) * 8;
}

/*
 *   at:  b    our function        within 128 MiB of here
 * or
 *   at:  ldr  x16, 1f   --.
 *        br   x16         |
 *     1: .quad target  <--'
 * x16 is the procedure call standard's own register for such veneers.
 */
size_t detour_jump(uint8_t to[DETOUR_MAX], uintptr_t at, uintptr_t target)
{
	static const uint32_t jump[] = { LDR_X16_8, BR_X16 };
	intptr_t distance = (intptr_t)(target - at);

	if (distance >= -(1L << 27) && distance < 1L << 27) {
		uint32_t b = B | ((uint32_t)(distance >> 2) & 0x03ffffffU);

		memcpy(to, &b, sizeof(b));
		return sizeof(b);
	}
	memcpy(to, jump, sizeof(jump));
	memcpy(to + sizeof(jump), &target, sizeof(target));
	return sizeof(jump) + sizeof(target);
}
