/* SPDX-License-Identifier: MIT */
/* The registers of another process's thread, for system calls that it makes for us; see tools/remote.h. */
#ifndef ANONNAME_ARCH_REMOTE_REGISTERS_H
#define ANONNAME_ARCH_REMOTE_REGISTERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/user.h>

#define REMOTE_CODE_64 0x33         /* cs of a thread that runs 64-bit code */

struct remote_registers {
	struct user_regs_struct user;
};

/* syscall */
static const unsigned char remote_instruction[2] = { 0x0f, 0x05 };

static inline bool remote_registers_get(pid_t tid, struct remote_registers *regs)
{
	return ptrace(PTRACE_GETREGS, tid, NULL, &regs->user) == 0;
}

static inline bool remote_registers_set(pid_t tid, const struct remote_registers *regs)
{
	return ptrace(PTRACE_SETREGS, tid, NULL, &regs->user) == 0;
}

static inline bool remote_runs_64(const struct remote_registers *regs)
{
	return regs->user.cs == REMOTE_CODE_64;
}

/* The number of the system call that it stopped in; -1: in none. */
static inline int64_t remote_call_under_way(const struct remote_registers *regs)
{
	return (int64_t)regs->user.orig_rax;
}

static inline int64_t remote_returned(const struct remote_registers *regs)
{
	return (int64_t)regs->user.rax;
}

static inline void remote_return(struct remote_registers *regs, int64_t value)
{
	regs->user.rax = (uint64_t)value;
}

/* What it goes on with: the instruction there, as call `number`; it is in no call then. */
static inline void remote_prepare(struct remote_registers *regs, uint64_t instruction, int number, const uint64_t arg[6])
{
	regs->user.rip = instruction;
	regs->user.orig_rax = (uint64_t)-1;
	regs->user.rax = (uint64_t)number;
	regs->user.rdi = arg[0];
	regs->user.rsi = arg[1];
	regs->user.rdx = arg[2];
	regs->user.r10 = arg[3];
	regs->user.r8 = arg[4];
	regs->user.r9 = arg[5];
}

#endif
