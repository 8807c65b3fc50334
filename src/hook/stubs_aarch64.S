/* SPDX-License-Identifier: MIT */
/*
 * Functions that must be able to jump on to libc's with the stack as they
 * found it, aarch64. See process.c (syscall) and loader.c (dlopen) for why, and
 * hook.h for the three functions at the head of hook_next.
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
	adrp	x16, hook_next
	ldr	x16, [x16, #:lo12:hook_next]
	cbz	x16, 2f
	br	x16
1:	b	hook_syscall
	/* The first call of all, before anything was looked for: the arguments wait on the stack. */
2:	stp	x29, x30, [sp, #-80]!
	.cfi_def_cfa_offset 80
	.cfi_offset 29, -80
	.cfi_offset 30, -72
	stp	x0, x1, [sp, #16]
	stp	x2, x3, [sp, #32]
	stp	x4, x5, [sp, #48]
	stp	x6, x7, [sp, #64]
	bl	hook_find_next
	ldp	x0, x1, [sp, #16]
	ldp	x2, x3, [sp, #32]
	ldp	x4, x5, [sp, #48]
	ldp	x6, x7, [sp, #64]
	ldp	x29, x30, [sp], #80
	.cfi_def_cfa_offset 0
	.cfi_restore 29
	.cfi_restore 30
	adrp	x16, hook_next
	ldr	x16, [x16, #:lo12:hook_next]
	br	x16
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

	loader_call dlopen, x0, hook_dlopen, hook_next+8
	loader_call dlmopen, x1, hook_dlmopen, hook_next+16

	.section .note.GNU-stack, "", %progbits
