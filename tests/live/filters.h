/* SPDX-License-Identifier: MIT */
/* Seccomp filters for the live programs: a list of calls that are let through, and what happens to others. */
#ifndef ANONNAME_TESTS_FILTERS_H
#define ANONNAME_TESTS_FILTERS_H

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

#define FILTER_MAX 128
#define FILTER_LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define FILTER_RETURN(action) BPF_STMT(BPF_RET | BPF_K, action)

/* Only the listed calls (ended by -1) are let through. */
static inline struct sock_fprog filter_allow_only(const int *allowed, uint32_t otherwise)
{
	static struct sock_filter code[FILTER_MAX];
	unsigned short n = 0;

	code[n++] = (struct sock_filter)FILTER_LOAD(nr);
	for (; *allowed >= 0; allowed++) {
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)*allowed, 0, 1);
		code[n++] = (struct sock_filter)FILTER_RETURN(SECCOMP_RET_ALLOW);
	}
	code[n++] = (struct sock_filter)FILTER_RETURN(otherwise);
	return (struct sock_fprog){ .len = n, .filter = code };
}

/* Everything is let through but one call, and that only when its first argument is the one given. */
static inline struct sock_fprog filter_refuse(int nr, uint32_t first_argument, uint32_t action)
{
	static struct sock_filter code[6];
	const struct sock_filter made[] = {
		FILTER_LOAD(nr),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)nr, 0, 3),
		FILTER_LOAD(args[0]),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, first_argument, 0, 1),
		FILTER_RETURN(action),
		FILTER_RETURN(SECCOMP_RET_ALLOW),
	};

	__builtin_memcpy(code, made, sizeof(code));
	return (struct sock_fprog){ .len = 6, .filter = code };
}

#endif
