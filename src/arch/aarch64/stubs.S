/* SPDX-License-Identifier: MIT */
/*
 * Functions that must be able to jump on to libc's with the stack as they
 * found it, aarch64. See memory.c (mmap and others), process.c (syscall) and
 * loader.c (dlopen) for why, and hook.h for the three functions at the head of
 * hook_next.
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
	cmp	x0, #226		/* mprotect */
	b.eq	1f
	cmp	x0, #288		/* pkey_mprotect */
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

/*
 * The memory calls. struct hook_direct: if our jump stands in libc's function as
 * we left it, go there; the return address and the frame are the caller's own.
 */
	.macro memory_call name, number
	.globl	\name
	.type	\name, %function
	.globl	hook_own_\name
	.hidden	hook_own_\name
	.p2align 4
\name:
hook_own_\name:
	.cfi_startproc
	adrp	x9, hook_direct + \number * 32
	add	x9, x9, #:lo12:hook_direct + \number * 32
	ldp	x16, x10, [x9]
	cbz	x16, 1f
	ldr	x11, [x16]
	cmp	x10, x11
	b.ne	1f
	br	x16
1:	b	hook_by_\name
	.cfi_endproc
	.size	\name, . - \name

	/* From libc's body, behind an instruction that has moved the stack pointer, or signed the return address. */
	.globl	undoing_\name
	.hidden	undoing_\name
	.type	undoing_\name, %function
	.p2align 4
undoing_\name:
	.cfi_startproc
	.cfi_undefined x30
	adrp	x16, hook_undo + \number * 8
	ldr	x16, [x16, #:lo12:hook_undo + \number * 8]
	tbnz	x16, #0, 1f
	add	sp, sp, x16
	b	detoured_\name
1:	hint	#29			/* autiasp; a processor without it does nothing */
	b	detoured_\name
	.cfi_endproc
	.size	undoing_\name, . - undoing_\name
	.endm

	memory_call mmap, 1
	memory_call munmap, 2
	memory_call mremap, 3
	memory_call mprotect, 4

	.globl	mmap64
	.set	mmap64, mmap

	.section .note.GNU-stack, "", %progbits
