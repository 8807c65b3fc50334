/* SPDX-License-Identifier: MIT */
/* The registers of aarch64 that unwinding starts from, in libunwind's order; after libunwind.h. */
#ifndef ANONNAME_ARCH_REGISTERS_H
#define ANONNAME_ARCH_REGISTERS_H

/* The callee-saved registers, where the stack is and where we are. */
static inline __attribute__((always_inline)) void registers_take(uintptr_t *r)
{
	__asm__ volatile("stp x19, x20, [%0, #152]\n\t"
			 "stp x21, x22, [%0, #168]\n\t"
			 "stp x23, x24, [%0, #184]\n\t"
			 "stp x25, x26, [%0, #200]\n\t"
			 "stp x27, x28, [%0, #216]\n\t"
			 "stp x29, x30, [%0, #232]\n\t"
			 "mov x9, sp\n\t"
			 "adr x10, .\n\t"
			 "stp x9, x10, [%0, #248]"
			 :
			 : "r"(r)
			 : "x9", "x10", "memory");
	_Static_assert(UNW_AARCH64_SP == 31 && UNW_AARCH64_PC == 32, "the offsets above");
}

#endif
