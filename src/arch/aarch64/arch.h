/* SPDX-License-Identifier: MIT */
/*
 * aarch64: all that the rest of the library asks of an architecture, beside the
 * detour's machine code (detour.c), the exported symbols that jump (stubs.S),
 * what a TLS descriptor calls (tls.S) and what a walk begins with (registers.h).
 * configure picks the folder.
 */
#ifndef ANONNAME_ARCH_H
#define ANONNAME_ARCH_H

/* What a filter sees (linux/audit.h), and where Debian keeps libraries. */
#define ARCH_AUDIT AUDIT_ARCH_AARCH64
#define ARCH_LIBDIR "/usr/lib/aarch64-linux-gnu"

/* The largest page that a kernel may have. */
#define ARCH_PAGE_MAX 65536

/* elf.h: the machine, and the relocations that the dynamic linker knows. */
#define ARCH_MACHINE EM_AARCH64
#define ARCH_R_RELATIVE R_AARCH64_RELATIVE
#define ARCH_R_GLOB_DAT R_AARCH64_GLOB_DAT
#define ARCH_R_JUMP_SLOT R_AARCH64_JUMP_SLOT
#define ARCH_R_WORD R_AARCH64_ABS64
#define ARCH_R_TLS_MODULE R_AARCH64_TLS_DTPMOD
#define ARCH_R_TLS_OFFSET R_AARCH64_TLS_DTPREL
#define ARCH_R_TLS_DESCRIPTOR R_AARCH64_TLSDESC

/* What such a descriptor calls (tls.S). */
void arch_tls_descriptor(void);

/* The version of what the first glibc here had. */
#define ARCH_FIRST_GLIBC "GLIBC_2.17"

/* In a loop that waits for another processor. */
static inline void arch_relax(void)
{
	__asm__ volatile("yield" ::: "memory");
}

/* Where this thread's control block is. */
static inline unsigned long arch_thread_pointer(void)
{
	return (unsigned long)__builtin_thread_pointer();
}

/* What lies that far from the control block: a thread-local variable by its place. */
static inline void *arch_thread_word(long offset)
{
	return *(void **)(arch_thread_pointer() + (unsigned long)offset);
}

/*
 * A return address as it was before the processor signed it into the stack
 * (pointer authentication). Without that feature the instruction is a hint and
 * changes nothing.
 */
static inline unsigned long arch_unsign(unsigned long word)
{
	register unsigned long x30 __asm__("x30") = word;

	__asm__("hint #7" : "+r"(x30));         /* xpaclri */
	return x30;
}

/* The system call instruction. */
static inline long sys_call6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc #0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory");
	return x0;
}

#endif
