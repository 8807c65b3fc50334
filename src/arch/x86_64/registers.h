/* SPDX-License-Identifier: MIT */
/* The registers of x86-64 that unwinding starts from, in libunwind's order; after libunwind.h. */
#ifndef ANONNAME_ARCH_REGISTERS_H
#define ANONNAME_ARCH_REGISTERS_H

/* The callee-saved registers, where the stack is and where we are. */
static inline __attribute__((always_inline)) void registers_take(uintptr_t *r)
{
	__asm__ volatile("movq %%rbx, %0\n\t"
			 "movq %%rbp, %1\n\t"
			 "movq %%r12, %2\n\t"
			 "movq %%r13, %3\n\t"
			 "movq %%r14, %4\n\t"
			 "movq %%r15, %5\n\t"
			 "movq %%rsp, %6\n\t"
			 "leaq 0(%%rip), %%rax\n\t"
			 "movq %%rax, %7"
			 : "=m"(r[UNW_X86_64_RBX]), "=m"(r[UNW_X86_64_RBP]), "=m"(r[UNW_X86_64_R12]),
			   "=m"(r[UNW_X86_64_R13]), "=m"(r[UNW_X86_64_R14]), "=m"(r[UNW_X86_64_R15]),
			   "=m"(r[UNW_X86_64_RSP]), "=m"(r[UNW_X86_64_RIP])
			 :
			 : "rax");
}

#endif
