/* SPDX-License-Identifier: MIT */
/*
 * Functions that must be able to jump on to libc's with the stack as they
 * found it, aarch64. See process.c (syscall) and loader.c (dlopen) for why.
 */
	.text

/* long syscall(long nr, ...): ours for the numbers that hook_syscall knows. */
	.globl	syscall
	.type	syscall, %function
	.p2align 4
syscall:
	.cfi_startproc
	cmp	x0, #222		/* mmap */
	b.eq	1f
	cmp	x0, #215		/* munmap */
	b.eq	1f
	cmp	x0, #216		/* mremap */
	b.eq	1f
	cmp	x0, #167		/* prctl */
	b.eq	1f
	cmp	x0, #277		/* seccomp */
	b.eq	1f
	adrp	x16, hook_next_syscall
	ldr	x16, [x16, #:lo12:hook_next_syscall]
	cbz	x16, 1f
	br	x16
1:	b	hook_syscall
	.cfi_endproc
	.size	syscall, . - syscall

	.macro	loader_call name, file_register, hook, next
	.globl	\name
	.type	\name, %function
	.p2align 4
\name:
	.cfi_startproc
	stp	x29, x30, [sp, #-48]!
	.cfi_def_cfa_offset 48
	.cfi_offset 29, -48
	.cfi_offset 30, -40
	stp	x0, x1, [sp, #16]
	str	x2, [sp, #32]
	mov	x0, \file_register
	mov	x1, x30			/* who called */
	bl	hook_dlopen_may_call
	mov	w16, w0
	ldp	x0, x1, [sp, #16]
	ldr	x2, [sp, #32]
	ldp	x29, x30, [sp], #48
	.cfi_def_cfa_offset 0
	.cfi_restore 29
	.cfi_restore 30
	cbnz	w16, 1f
	adrp	x16, \next
	ldr	x16, [x16, #:lo12:\next]
	br	x16
1:	b	\hook
	.cfi_endproc
	.size	\name, . - \name
	.endm

	loader_call dlopen, x0, hook_dlopen, hook_next_dlopen
	loader_call dlmopen, x1, hook_dlmopen, hook_next_dlmopen

	.section .note.GNU-stack, "", %progbits
