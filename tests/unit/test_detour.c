/* SPDX-License-Identifier: MIT */
/*
 * The detour's machine code: what it takes for a system call's body, how that
 * begins, and the jump that it makes. Nothing is executed, so either
 * architecture's file is tested on every machine: this one is built once for each.
 */
#include <stdlib.h>
#include <string.h>

#include "hook/detour.h"

#include "detour_bodies.h"
#include "run.h"

#define AT 0x7f0000001000UL
#define FAR 0x1122334455667788UL
#define FAR_BYTES "8877665544332211"

#if defined(DETOUR_X86_64)
#define PADDED "f30f1efa"               /* endbr64 */
#define LONG "ff2500000000" FAR_BYTES
#define SYSTEM_CALL "0f05"
#define BREAKPOINT "cc"
#define CALL_BACK "e8fbfeffff"          /* call to 256 bytes before it */
#define STUB "f30f1efa" "f2ff2500100000" "0f1f440000"   /* endbr64; bnd jmp *0x1000(%rip); nop */
#define STUB_SLOT(stub) ((stub) + 11 + 0x1000)
static const struct { uint64_t target; const char *bytes; } shorts[] = {
	{ AT + 5, "e900000000" }, { AT + 0x1005, "e900100000" }, { AT - 0xffb, "e900f0ffff" },
	{ AT + 5 + 0x7fffffff, "e9ffffff7f" }, { AT + 5 - 0x80000000, "e900000080" },
	/* one byte too far */
	{ AT + 5 + 0x80000000, NULL }, { AT + 5 - 0x80000001, NULL },
};
static const char *const patched[] = {
	"e900000000", "eb00", "ff2500000000", "48b80000000000000000", "49bb0000000000000000",
};
/* xchg %rdi,%rsi changes arguments; sub $-8,%rsp gives stack; lea 0x80(%rsp),%rsp is none that compilers use here */
static const char *const unknown_starts[] = { "4887fe", "4883ecf8", "488da42480000000" };
static const struct { const char *bytes; struct opening opening; } starts[] = {
	{ "53", { 1, 8, false } }, { "55", { 1, 8, false } }, { "4154", { 2, 8, false } }, { "4157", { 2, 8, false } },
	{ "4883ec08", { 4, 8, false } }, { "4883ec78", { 4, 0x78, false } },
	{ PADDED "4883ec18", { 8, 0x18, false } }, { PADDED "55", { 5, 8, false } },
};
#elif defined(DETOUR_AARCH64)
#define PADDED "5f2403d5"               /* bti c */
#define LONG "50000058" "00021fd6" FAR_BYTES
#define SYSTEM_CALL "010000d4"
#define BREAKPOINT "000020d4"           /* brk #0 */
#define CALL_BACK "c0ffff97"            /* bl to 256 bytes before it */
/* bti c; adrp x16, the page before; ldr x17, [x16, #0x18]; add; br x17 */
#define STUB "5f2403d5" "f0fffff0" "110e40f9" "10620091" "20021fd6"
#define STUB_SLOT(stub) ((((stub) + 4) & ~(uintptr_t)4095) - 4096 + 0x18)
static const struct { uint64_t target; const char *bytes; } shorts[] = {
	{ AT, "00000014" }, { AT + 0x1000, "00040014" }, { AT - 4, "ffffff17" },
	{ AT + (1UL << 27) - 4, "ffffff15" }, { AT - (1UL << 27), "00000016" },
	/* one instruction too far */
	{ AT + (1UL << 27), NULL }, { AT - (1UL << 27) - 4, NULL },
};
static const char *const patched[] = {
	/* b; ldr x16, .+8; ldr x17, .+8; br x17 */
	"00000014", "50000058", "51000058", "20021fd6",
};
/* mov x0, x1 changes an argument; stp x29, x30, [sp, #-80]!; sub sp, sp, #1, lsl #12 */
static const char *const unknown_starts[] = { "e00301aa", "fd7bbba9", "ff0740d1" };
static const struct { const char *bytes; struct opening opening; } starts[] = {
	{ "1f2003d5", { 4, 0, false } }, { "ff4301d1", { 4, 0x50, false } }, { "bf2c40f2", { 4, 0, false } },
	{ "3f2303d5", { 4, 0, true } }, { "3f2303d5ff4301d1", { 4, 0, true } },
	{ PADDED "ff4301d1", { 8, 0x50, false } }, { PADDED "1f2003d5", { 8, 0, false } },
};
#endif

static size_t from_hex(const char *hex, uint8_t *to)
{
	size_t n = strlen(hex) / 2;

	for (size_t i = 0; i < n; i++)
		to[i] = (uint8_t)strtoul((const char[]){ hex[2 * i], hex[2 * i + 1], 0 }, NULL, 16);
	return n;
}

static void check_opening(const char *name, const struct opening *got, const struct opening *wanted)
{
	ck_assert_msg(got->len == wanted->len && got->stack == wanted->stack && got->is_signed == wanted->is_signed,
		      "%s: %zu bytes stay, %u off the stack, %d signed", name, got->len, got->stack, got->is_signed);
}

/* Writes the jump where it goes. Returns its length. */
static size_t put_jump(uint8_t *code, const struct opening *opening, uint64_t target)
{
	uint8_t jump[DETOUR_MAX];
	size_t len = detour_jump(jump, AT + opening->len, target);

	ck_assert_uint_le(len, DETOUR_MAX);
	memcpy(code + opening->len, jump, len);
	return len;
}

START_TEST(known_bodies)
{
	const struct body *b = &bodies[_i];
	uint8_t code[512], before[512];
	size_t size = from_hex(b->bytes, code);
	struct opening opening, again;

	memcpy(before, code, size);
	ck_assert_msg(detour_read(code, size, b->nr, &opening) == REASON_NONE, "%s is not read as it should", b->name);
	check_opening(b->name, &opening, &b->opening);
	ck_assert_int_eq(detour_read(code, size, b->nr + 1, &again), REASON_UNKNOWN_CODE);
	/* The long jump fits, too; before it and behind it nothing changes. */
	for (uint64_t target = AT; target <= FAR; target += FAR - AT) {
		size_t end = opening.len + put_jump(code, &opening, target);

		ck_assert_uint_le(end, size);
		ck_assert_mem_eq(code, before, opening.len);
		ck_assert_mem_eq(code + end, before + end, size - end);
		/* Ours is a jump like any other. */
		ck_assert_int_ne(detour_read(code, size, b->nr, &again), REASON_NONE);
	}
}
END_TEST

/* A landing pad stays as well, and a jump behind it is seen. */
START_TEST(padded)
{
	const struct body *b = &bodies[_i];
	uint8_t code[512];
	size_t pad = from_hex(PADDED, code), size = pad + from_hex(b->bytes, code + pad);
	struct opening opening, wanted = b->opening;

	/* It has one already. */
	if (!memcmp(code, code + pad, pad) || wanted.is_signed)
		return;
	wanted.len += pad;
	ck_assert_int_eq(detour_read(code, size, b->nr, &opening), REASON_NONE);
	check_opening(b->name, &opening, &wanted);
	from_hex(patched[0], code + pad);
	ck_assert_int_eq(detour_read(code, size, b->nr, &opening), REASON_ALREADY_PATCHED);
}
END_TEST

/* The other instructions that are known, in front of a body. */
START_TEST(beginnings)
{
	uint8_t code[512];
	size_t size = from_hex(starts[_i].bytes, code);
	struct opening opening;

	size += from_hex(bodies[1].bytes, code + size);
	ck_assert_int_eq(detour_read(code, size, bodies[1].nr, &opening), REASON_NONE);
	check_opening(starts[_i].bytes, &opening, &starts[_i].opening);
}
END_TEST

START_TEST(unknown_beginnings)
{
	uint8_t code[512];
	size_t size = from_hex(unknown_starts[_i], code);
	struct opening opening;

	size += from_hex(bodies[1].bytes, code + size);
	ck_assert_int_eq(detour_read(code, size, bodies[1].nr, &opening), REASON_UNKNOWN_START);
}
END_TEST

/* At the beginning, and where ours would go. */
START_TEST(somebody_elses)
{
	const struct body *b = &bodies[0];
	uint8_t code[512];
	size_t size = from_hex(b->bytes, code);
	struct opening opening;

	from_hex(patched[_i], code);
	ck_assert_int_eq(detour_read(code, size, b->nr, &opening), REASON_ALREADY_PATCHED);
	from_hex(b->bytes, code);
	from_hex(patched[_i], code + b->opening.len);
	ck_assert_int_eq(detour_read(code, size, b->nr, &opening), REASON_ALREADY_PATCHED);
}
END_TEST

START_TEST(no_system_call)
{
	const struct body *b = &bodies[_i];
	uint8_t code[512], call[8];
	size_t size = from_hex(b->bytes, code), len = from_hex(SYSTEM_CALL, call);
	struct opening opening;

	for (size_t i = 0; i + len <= size; i++)
		if (!memcmp(code + i, call, len))
			memset(code + i, 0, len);
	ck_assert_int_eq(detour_read(code, size, b->nr, &opening), REASON_UNKNOWN_CODE);
}
END_TEST

START_TEST(jumps)
{
	uint8_t wanted[DETOUR_MAX], jump[DETOUR_MAX];
	size_t len = detour_jump(jump, AT, FAR);

	ck_assert_uint_eq(len, from_hex(LONG, wanted));
	ck_assert_mem_eq(jump, wanted, len);
	for (size_t i = 0; i < ARRAY_SIZE(shorts); i++) {
		len = detour_jump(jump, AT, shorts[i].target);
		if (!shorts[i].bytes) {
			ck_assert_uint_eq(len, from_hex(LONG, wanted));
			continue;
		}
		ck_assert_uint_eq(len, from_hex(shorts[i].bytes, wanted));
		ck_assert_mem_eq(jump, wanted, len);
	}
}
END_TEST

START_TEST(breakpoints)
{
	const struct body *b = &bodies[_i];
	uint8_t file[512], memory[512];
	size_t size = from_hex(b->bytes, file);

	memcpy(memory, file, size);
	ck_assert(detour_breakpoints_only(memory, file, size));
	from_hex(BREAKPOINT, memory);
	ck_assert(detour_breakpoints_only(memory, file, size));
	memory[4] ^= 1;
	ck_assert(!detour_breakpoints_only(memory, file, size));
	ck_assert(detour_breakpoints_only(memory, file, 4));
}
END_TEST

START_TEST(a_call)
{
	uint8_t code[16] = { 0 };
	uintptr_t end = (uintptr_t)code + from_hex(CALL_BACK, code);

	ck_assert(detour_called(end) == (uintptr_t)code - 0x100);
	code[3] = 0;            /* the distance, or what it is */
	ck_assert(detour_called(end) != (uintptr_t)code - 0x100);
}
END_TEST

START_TEST(a_stub)
{
	uint8_t code[24] = { 0 };

	from_hex(STUB, code);
	ck_assert_uint_eq(detour_stub_slot((uintptr_t)code), STUB_SLOT((uintptr_t)code));
	memset(code, 0, sizeof(code));
	ck_assert_uint_eq(detour_stub_slot((uintptr_t)code), 0);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("detour");

	tcase_add_loop_test(tests, known_bodies, 0, (int)ARRAY_SIZE(bodies));
	tcase_add_loop_test(tests, padded, 0, (int)ARRAY_SIZE(bodies));
	tcase_add_loop_test(tests, beginnings, 0, (int)ARRAY_SIZE(starts));
	tcase_add_loop_test(tests, unknown_beginnings, 0, (int)ARRAY_SIZE(unknown_starts));
	tcase_add_loop_test(tests, somebody_elses, 0, (int)ARRAY_SIZE(patched));
	tcase_add_loop_test(tests, no_system_call, 0, (int)ARRAY_SIZE(bodies));
	tcase_add_test(tests, jumps);
	tcase_add_test(tests, a_call);
	tcase_add_test(tests, a_stub);
	tcase_add_loop_test(tests, breakpoints, 0, (int)ARRAY_SIZE(bodies));
	return run_tests("detour", tests);
}
