/* SPDX-License-Identifier: MIT */
/* The detour's machine code for x86-64. */
#include "hook/detour.h"

#include <string.h>

static const uint8_t endbr64[] = { 0xf3, 0x0f, 0x1e, 0xfa };

size_t detour_offset(const uint8_t *code)
{
	return memcmp(code, endbr64, sizeof(endbr64)) == 0 ? sizeof(endbr64) : 0;
}

/* How other tools begin: jmp rel32, jmp rel8, jmp *mem, int3, mov $imm64,%rax or %r11. */
static bool is_patched(const uint8_t *c)
{
	return c[0] == 0xe9 || c[0] == 0xeb || c[0] == 0xcc || (c[0] == 0xff && c[1] == 0x25) ||
	       ((c[0] == 0x48 || c[0] == 0x49) && (c[1] == 0xb8 || c[1] == 0xbb));
}

enum part_reason detour_read(const uint8_t *code, size_t size, int nr)
{
	/* mov $nr,%eax ... syscall */
	const uint8_t load[] = { 0xb8, (uint8_t)nr, (uint8_t)(nr >> 8), 0, 0 };
	bool loaded = false;

	if (is_patched(code + detour_offset(code)))
		return REASON_ALREADY_PATCHED;
	for (size_t i = 0; i + 5 <= size; i++) {
		if (memcmp(code + i, load, sizeof(load)) == 0)
			loaded = true;
		if (loaded && code[i] == 0x0f && code[i + 1] == 0x05)
			return REASON_NONE;
	}
	return REASON_UNKNOWN_CODE;
}

/*
 *   function:  ff 25 00 00 00 00    jmp *0(%rip)  --.
 *              xx xx xx xx xx xx xx xx   <----------'   our function's address
 * No register is changed, and any distance can be jumped.
 */
size_t detour_jump(uint8_t to[DETOUR_MAX], uintptr_t target)
{
	static const uint8_t jmp[] = { 0xff, 0x25, 0, 0, 0, 0 };

	memcpy(to, jmp, sizeof(jmp));
	memcpy(to + sizeof(jmp), &target, sizeof(target));
	return sizeof(jmp) + sizeof(target);
}
