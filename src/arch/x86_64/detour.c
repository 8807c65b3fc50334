/* SPDX-License-Identifier: MIT */
/* The detour's machine code for x86-64. */
#include "hook/detour.h"

#include <string.h>

#define INT3    0xcc
#define JMP_REL 0xe9

/*
 * The first instructions that compilers give these bodies. None of them
 * changes an argument, so what there is to undo is the stack pointer at most.
 */
static const struct first {
	uint8_t len;            /* of the instruction */
	uint8_t known;          /* its first bytes, which are always these */
	uint8_t bytes[3];
	uint8_t stack;          /* what it takes off the stack; OPERAND: as many bytes as its last byte says */
} firsts[] = {
#define OPERAND 0xff
	{ 4, 3, { 0x48, 0x83, 0xec }, OPERAND },        /* sub $imm8,%rsp */
	{ 3, 3, { 0x41, 0x89, 0xca }, 0 },              /* mov %ecx,%r10d */
	{ 3, 3, { 0x49, 0x89, 0xca }, 0 },              /* mov %rcx,%r10 */
	{ 7, 3, { 0x41, 0xf7, 0xc1 }, 0 },              /* test $imm32,%r9d */
	{ 2, 2, { 0x41, 0x54 }, 8 },                    /* push %r12 */
	{ 2, 2, { 0x41, 0x55 }, 8 },                    /* push %r13 */
	{ 2, 2, { 0x41, 0x56 }, 8 },                    /* push %r14 */
	{ 2, 2, { 0x41, 0x57 }, 8 },                    /* push %r15 */
	{ 1, 1, { 0x53 }, 8 },                          /* push %rbx */
	{ 1, 1, { 0x55 }, 8 },                          /* push %rbp */
};

static const uint8_t endbr64[] = { 0xf3, 0x0f, 0x1e, 0xfa };

/* How other tools begin: jmp rel32, jmp rel8, jmp *mem, mov $imm64,%rax or %r11. */
static bool is_patched(const uint8_t *c)
{
	return c[0] == JMP_REL || c[0] == 0xeb || (c[0] == 0xff && c[1] == 0x25) ||
	       ((c[0] == 0x48 || c[0] == 0x49) && (c[1] == 0xb8 || c[1] == 0xbb));
}

static bool read_first(const uint8_t *code, const uint8_t *load, struct opening *opening)
{
	const uint8_t *at = code + opening->len;

	/* mov $nr,%eax */
	if (memcmp(at, load, 5) == 0) {
		opening->len += 5;
		return true;
	}
	for (size_t i = 0; i < ARRAY_SIZE(firsts); i++) {
		const struct first *f = &firsts[i];

		if (memcmp(at, f->bytes, f->known) != 0)
			continue;
		opening->len += f->len;
		opening->stack = f->stack == OPERAND ? at[f->len - 1] : f->stack;
		/* An operand with its highest bit set is negative. */
		return opening->stack < 0x80;
	}
	return false;
}

/* mov $nr,%eax ... syscall */
static bool makes_call(const uint8_t *code, size_t size, const uint8_t *load)
{
	bool loaded = false;

	for (size_t i = 0; i + 5 <= size; i++) {
		loaded = loaded || memcmp(code + i, load, 5) == 0;
		if (loaded && code[i] == 0x0f && code[i + 1] == 0x05)
			return true;
	}
	return false;
}

enum part_reason detour_read(const uint8_t *code, size_t size, int nr, struct opening *opening)
{
	const uint8_t load[] = { 0xb8, (uint8_t)nr, (uint8_t)(nr >> 8), 0, 0 };

	*opening = (struct opening){ .len = 0 };
	if (memcmp(code, endbr64, sizeof(endbr64)) == 0)
		opening->len = sizeof(endbr64);
	if (is_patched(code + opening->len))
		return REASON_ALREADY_PATCHED;
	if (!makes_call(code, size, load))
		return REASON_UNKNOWN_CODE;
	if (!read_first(code, load, opening))
		return REASON_UNKNOWN_START;
	return is_patched(code + opening->len) ? REASON_ALREADY_PATCHED : REASON_NONE;
}

/* int3 replaces the first byte of an instruction. */
bool detour_breakpoints_only(const uint8_t *memory, const uint8_t *file, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (memory[i] != file[i] && memory[i] != INT3)
			return false;
	return true;
}

/* call rel32 */
uintptr_t detour_called(uintptr_t return_address)
{
	const uint8_t *call = (const uint8_t *)return_address - 5;
	int32_t distance;

	memcpy(&distance, call + 1, sizeof(distance));
	return call[0] == 0xe8 ? return_address + (uintptr_t)(intptr_t)distance : 0;
}

/* endbr64, where there is one; jmp *distance(%rip), behind a prefix perhaps */
uintptr_t detour_stub_slot(uintptr_t stub)
{
	const uint8_t *at = (const uint8_t *)stub;
	int32_t distance;

	if (memcmp(at, "\xf3\x0f\x1e\xfa", 4) == 0)
		at += 4;
	if (*at == 0xf2)
		at++;
	memcpy(&distance, at + 2, sizeof(distance));
	return at[0] == 0xff && at[1] == 0x25 ? (uintptr_t)at + 6 + (uintptr_t)(intptr_t)distance : 0;
}

/*
 *   at:  e9 xx xx xx xx              jmp our function, within 2 GiB of here
 * or
 *   at:  ff 25 00 00 00 00           jmp *0(%rip)  --.
 *        xx xx xx xx xx xx xx xx   <-----------------'   our function's address
 * No register is changed. The short one is preferred: other tools know how to
 * move it when they put a jump of their own at the beginning.
 */
size_t detour_jump(uint8_t to[DETOUR_MAX], uintptr_t at, uintptr_t target)
{
	static const uint8_t jmp[] = { 0xff, 0x25, 0, 0, 0, 0 };
	intptr_t distance = (intptr_t)(target - (at + 5));

	if (distance == (int32_t)distance) {
		int32_t relative = (int32_t)distance;

		to[0] = JMP_REL;
		memcpy(to + 1, &relative, sizeof(relative));
		return 1 + sizeof(relative);
	}
	memcpy(to, jmp, sizeof(jmp));
	memcpy(to + sizeof(jmp), &target, sizeof(target));
	return sizeof(jmp) + sizeof(target);
}
