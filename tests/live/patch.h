/* SPDX-License-Identifier: MIT */
/*
 * For those that stand in the way of a call (way.c): the system call
 * instruction, which no hook sees, and how others patch functions.
 */
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

static inline long raw(long nr, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long r;

	__asm__ volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9) : "rcx", "r11", "memory");
	return r;
#else
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
#endif
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
