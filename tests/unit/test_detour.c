/* SPDX-License-Identifier: MIT */
/*
 * The detour's machine code: what it takes for a system call's body, and the
 * bytes that it puts there. Nothing is executed, so either architecture's file
 * is tested on every machine: this one is built once for each.
 */
#include <stdlib.h>
#include <string.h>

#include "detour_bodies.h"
#include "hook/detour.h"
#include "run.h"

#define TARGET 0x1122334455667788UL

#if defined(DETOUR_X86_64)
#define PADDED "f30f1efa"               /* endbr64 */
#define JUMP "ff2500000000" "8877665544332211"
#define SYSTEM_CALL "0f05"
static const char *const patched[] = {
	"e900000000", "eb00", "cc", "ff2500000000", "48b80000000000000000", "49bb0000000000000000",
};
#elif defined(DETOUR_AARCH64)
#define PADDED "5f2403d5"               /* bti c */
#define JUMP "5f2403d5" "50000058" "00021fd6" "8877665544332211"
#define SYSTEM_CALL "010000d4"
static const char *const patched[] = {
	/* b; ldr x16, .+8; ldr x17, .+8; br x17; brk #0 */
	"00000014", "50000058", "51000058", "20021fd6", "000020d4",
};
#endif

static size_t from_hex(const char *hex, uint8_t *to)
{
	size_t n = strlen(hex) / 2;

	for (size_t i = 0; i < n; i++)
		to[i] = (uint8_t)strtoul((const char[]){ hex[2 * i], hex[2 * i + 1], 0 }, NULL, 16);
	return n;
}

/* Writes the jump where it goes. Returns where it ends. */
static size_t put_jump(uint8_t *code)
{
	size_t at = detour_offset(code);
	uint8_t jump[DETOUR_MAX];
	size_t len = detour_jump(jump, TARGET);

	ck_assert_uint_le(len, DETOUR_MAX);
	memcpy(code + at, jump, len);
	return at + len;
}

START_TEST(known_bodies)
{
	const struct body *b = &bodies[_i];
	uint8_t code[512], before[512], jump[DETOUR_MAX];
	size_t size = from_hex(b->bytes, code), end, at = detour_offset(code);

	memcpy(before, code, size);
	ck_assert_msg(detour_read(code, size, b->nr) == REASON_NONE, "%s is not read as it should", b->name);
	ck_assert_int_eq(detour_read(code, size, b->nr + 1), REASON_UNKNOWN_CODE);
	end = put_jump(code);
	ck_assert_uint_le(end, size);
	ck_assert_uint_eq(end - at, from_hex(JUMP, jump));
	ck_assert_mem_eq(code + at, jump, end - at);
	ck_assert_mem_eq(code + end, before + end, size - end);
	/* Ours is a jump like any other. */
	ck_assert_int_eq(detour_read(code, size, b->nr), REASON_ALREADY_PATCHED);
}
END_TEST

/* A landing pad: it is still the first thing there, and a jump behind it is seen. */
START_TEST(padded)
{
	const struct body *b = &bodies[_i];
	uint8_t code[512], pad[8];
	size_t pad_len = from_hex(PADDED, pad), size;

	memcpy(code, pad, pad_len);
	size = pad_len + from_hex(b->bytes, code + pad_len);
	ck_assert_int_eq(detour_read(code, size, b->nr), REASON_NONE);
	put_jump(code);
	ck_assert_mem_eq(code, pad, pad_len);
	ck_assert_int_eq(detour_read(code, size, b->nr), REASON_ALREADY_PATCHED);
}
END_TEST

START_TEST(somebody_elses)
{
	const struct body *b = &bodies[0];
	uint8_t code[512];
	size_t size = from_hex(b->bytes, code);

	from_hex(patched[_i], code);
	ck_assert_int_eq(detour_read(code, size, b->nr), REASON_ALREADY_PATCHED);
}
END_TEST

START_TEST(no_system_call)
{
	const struct body *b = &bodies[_i];
	uint8_t code[512], call[8];
	size_t size = from_hex(b->bytes, code), len = from_hex(SYSTEM_CALL, call);

	for (size_t i = 0; i + len <= size; i++)
		if (!memcmp(code + i, call, len))
			memset(code + i, 0, len);
	ck_assert_int_eq(detour_read(code, size, b->nr), REASON_UNKNOWN_CODE);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("detour");

	tcase_add_loop_test(tests, known_bodies, 0, (int)ARRAY_SIZE(bodies));
	tcase_add_loop_test(tests, padded, 0, (int)ARRAY_SIZE(bodies));
	tcase_add_loop_test(tests, somebody_elses, 0, (int)ARRAY_SIZE(patched));
	tcase_add_loop_test(tests, no_system_call, 0, (int)ARRAY_SIZE(bodies));
	return run_tests("detour", tests);
}
