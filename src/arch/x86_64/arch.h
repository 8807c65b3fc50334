/* SPDX-License-Identifier: MIT */
/*
 * x86-64: all that the rest of the library asks of an architecture, beside the
 * detour's machine code (detour.c), the exported symbols that jump (stubs.S) and
 * what a walk begins with (registers.h). configure picks the folder.
 */
#ifndef ANONNAME_ARCH_H
#define ANONNAME_ARCH_H

/* What a filter sees (linux/audit.h), and where Debian keeps libraries. */
#define ARCH_AUDIT AUDIT_ARCH_X86_64
#define ARCH_LIBDIR "/usr/lib/x86_64-linux-gnu"

/* The largest page that a kernel may have. */
#define ARCH_PAGE_MAX 4096

/* elf.h: the machine, and the relocations that the dynamic linker knows. */
#define ARCH_MACHINE EM_X86_64
#define ARCH_R_RELATIVE R_X86_64_RELATIVE
#define ARCH_R_GLOB_DAT R_X86_64_GLOB_DAT
#define ARCH_R_JUMP_SLOT R_X86_64_JUMP_SLOT
#define ARCH_R_WORD R_X86_64_64
#define ARCH_R_TLS_MODULE R_X86_64_DTPMOD64
#define ARCH_R_TLS_OFFSET R_X86_64_DTPOFF64

/* The version of what the first glibc here had. */
#define ARCH_FIRST_GLIBC "GLIBC_2.2.5"

/* In a loop that waits for another processor. */
static inline void arch_relax(void)
{
	__builtin_ia32_pause();
}

/* Where this thread's control block is: its first word says so. gcc knows of a builtin since 11 only. */
static inline unsigned long arch_thread_pointer(void)
{
	unsigned long pointer;

	__asm__("mov %%fs:0, %0" : "=r"(pointer));
	return pointer;
}

/* What lies that far from the control block, in one instruction: a thread-local variable by its place. */
static inline void *arch_thread_word(long offset)
{
	void *word;

	__asm__("mov %%fs:(%1), %0" : "=r"(word) : "r"(offset) : "memory");
	return word;
}

/* A return address as the call left it: on x86-64 nothing signs it. */
static inline unsigned long arch_unsign(unsigned long word)
{
	return word;
}

/* The system call instruction. */
static inline long sys_call6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

#endif
