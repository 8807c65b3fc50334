/* SPDX-License-Identifier: MIT */
/*
 * For those that stand in the way of a call (way.c): the system call
 * instruction, which no hook sees, and how others patch functions.
 */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "arch.h"

static inline long raw(long nr, long a, long b, long c, long d, long e, long f)
{
	return sys_call6(nr, a, b, c, d, e, f);
}

#if defined(__x86_64__)
static inline void set_bytes(uint8_t *at, const void *bytes, size_t len)
{
	uintptr_t page = (uintptr_t)at & -4096UL;
	long pages = (long)(((uintptr_t)at + len - page + 4095) & -4096UL);

	raw(SYS_mprotect, (long)page, pages, PROT_READ | PROT_WRITE | PROT_EXEC, 0, 0, 0);
	memcpy(at, bytes, len);
	raw(SYS_mprotect, (long)page, pages, PROT_READ | PROT_EXEC, 0, 0, 0);
}

static inline void put_jump(uint8_t *at, void *to)
{
	/* movabs $to,%r11; jmp *%r11 */
	uint8_t jump[] = { 0x49, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0, 0x41, 0xff, 0xe3 };

	memcpy(jump + 2, &to, sizeof(to));
	set_bytes(at, jump, sizeof(jump));
}
#endif
