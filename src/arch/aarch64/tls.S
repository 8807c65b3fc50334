/* SPDX-License-Identifier: MIT */
/*
 * What a TLS descriptor calls: x0 is the descriptor, whose second word is the
 * variable's address; the answer is its distance from the thread pointer. It
 * must change no other register ("ELF for the Arm 64-bit Architecture", TLS).
 */
	.text
	.globl	arch_tls_descriptor
	.hidden	arch_tls_descriptor
	.type	arch_tls_descriptor, %function
	.p2align 2
arch_tls_descriptor:
	.cfi_startproc
	str	x1, [sp, #-16]!
	.cfi_adjust_cfa_offset 16
	mrs	x1, tpidr_el0
	ldr	x0, [x0, #8]
	sub	x0, x0, x1
	ldr	x1, [sp], #16
	.cfi_adjust_cfa_offset -16
	ret
	.cfi_endproc
	.size	arch_tls_descriptor, . - arch_tls_descriptor

	.section .note.GNU-stack, "", %progbits
