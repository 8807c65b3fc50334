/* SPDX-License-Identifier: MIT */
/*
 * Functions that must be able to jump on to libc's with the stack as they
 * found it, x86-64. See memory.c (mmap and others), process.c (syscall) and
 * loader.c (dlopen) for why, and hook.h for the three functions at the head of
 * hook_next.
 */
	.text

/* long syscall(long nr, ...): ours for the numbers that hook_syscall knows. */
	.globl	syscall
	.type	syscall, @function
	.p2align 4
syscall:
	.cfi_startproc
	cmp	$9, %rdi		/* mmap */
	je	1f
	cmp	$10, %rdi		/* mprotect */
	je	1f
	cmp	$11, %rdi		/* munmap */
	je	1f
	cmp	$25, %rdi		/* mremap */
	je	1f
	cmp	$157, %rdi		/* prctl */
	je	1f
	cmp	$329, %rdi		/* pkey_mprotect */
	je	1f
	cmp	$317, %rdi		/* seccomp */
	je	1f
	cmpq	$0, hook_next(%rip)
	je	2f
	jmp	*hook_next(%rip)
1:	jmp	hook_syscall
	/* The first call of all, before anything was looked for: the arguments wait on the stack. */
2:	push	%rdi
	.cfi_adjust_cfa_offset 8
	push	%rsi
	.cfi_adjust_cfa_offset 8
	push	%rdx
	.cfi_adjust_cfa_offset 8
	push	%rcx
	.cfi_adjust_cfa_offset 8
	push	%r8
	.cfi_adjust_cfa_offset 8
	push	%r9
	.cfi_adjust_cfa_offset 8
	sub	$8, %rsp
	.cfi_adjust_cfa_offset 8
	call	hook_find_next
	add	$8, %rsp
	.cfi_adjust_cfa_offset -8
	pop	%r9
	.cfi_adjust_cfa_offset -8
	pop	%r8
	.cfi_adjust_cfa_offset -8
	pop	%rcx
	.cfi_adjust_cfa_offset -8
	pop	%rdx
	.cfi_adjust_cfa_offset -8
	pop	%rsi
	.cfi_adjust_cfa_offset -8
	pop	%rdi
	.cfi_adjust_cfa_offset -8
	jmp	*hook_next(%rip)
	.cfi_endproc
	.size	syscall, . - syscall

/* void *dlopen(const char *file, int flags) */
	.globl	dlopen
	.type	dlopen, @function
	.p2align 4
dlopen:
	.cfi_startproc
	push	%rdi
	.cfi_adjust_cfa_offset 8
	push	%rsi
	.cfi_adjust_cfa_offset 8
	sub	$8, %rsp
	.cfi_adjust_cfa_offset 8
	mov	24(%rsp), %rsi		/* who called */
	call	hook_dlopen_may_call
	add	$8, %rsp
	.cfi_adjust_cfa_offset -8
	pop	%rsi
	.cfi_adjust_cfa_offset -8
	pop	%rdi
	.cfi_adjust_cfa_offset -8
	test	%eax, %eax
	jne	hook_dlopen
	jmp	*hook_next+8(%rip)
	.cfi_endproc
	.size	dlopen, . - dlopen

/* void *dlmopen(Lmid_t space, const char *file, int flags) */
	.globl	dlmopen
	.type	dlmopen, @function
	.p2align 4
dlmopen:
	.cfi_startproc
	push	%rdi
	.cfi_adjust_cfa_offset 8
	push	%rsi
	.cfi_adjust_cfa_offset 8
	push	%rdx
	.cfi_adjust_cfa_offset 8
	mov	%rsi, %rdi
	mov	24(%rsp), %rsi
	call	hook_dlopen_may_call
	pop	%rdx
	.cfi_adjust_cfa_offset -8
	pop	%rsi
	.cfi_adjust_cfa_offset -8
	pop	%rdi
	.cfi_adjust_cfa_offset -8
	test	%eax, %eax
	jne	hook_dlmopen
	jmp	*hook_next+16(%rip)
	.cfi_endproc
	.size	dlmopen, . - dlmopen

/*
 * The memory calls. struct hook_direct: if our jump stands in libc's function as
 * we left it, go there; the return address and the frame are the caller's own.
 * Only %r10 and %r11 are free.
 */
	.macro memory_call name, number
	.globl	\name
	.type	\name, @function
	.globl	hook_own_\name
	.hidden	hook_own_\name
	.p2align 4
\name:
hook_own_\name:
	.cfi_startproc
	mov	hook_direct+\number*32(%rip), %r11
	test	%r11, %r11
	je	1f
	mov	hook_direct+\number*32+8(%rip), %r10
	cmp	%r10, (%r11)
	jne	1f
	jmp	*%r11
1:	jmp	hook_by_\name
	.cfi_endproc
	.size	\name, . - \name

	/* From libc's body, behind an instruction that has moved the stack pointer: where its frame begins only we know. */
	.globl	undoing_\name
	.hidden	undoing_\name
	.type	undoing_\name, @function
	.p2align 4
undoing_\name:
	.cfi_startproc
	.cfi_undefined rip
	add	hook_undo+\number*8(%rip), %rsp
	jmp	detoured_\name
	.cfi_endproc
	.size	undoing_\name, . - undoing_\name
	.endm

	memory_call mmap, 1
	memory_call munmap, 2
	memory_call mremap, 3
	memory_call mprotect, 4

	.globl	mmap64
	.set	mmap64, mmap

	.section .note.GNU-stack, "", @progbits
