/* SPDX-License-Identifier: MIT */
/* What a seccomp filter leaves of our rights: filters as libseccomp and hand-written programs make them. */
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "arch.h"
#include "base/sandbox.h"
#include "run.h"

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define HIGH(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field) + 4)
#define IF(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define SAY(action) BPF_STMT(BPF_RET | BPF_K, action)
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

#define evaluate(...) \
	({ \
		struct sock_filter code[] = { __VA_ARGS__ }; \
		struct sock_fprog f = { .len = sizeof(code) / sizeof(code[0]), .filter = code }; \
		sandbox_evaluate(&f); \
	})

START_TEST(one_word)
{
	ck_assert_uint_eq(evaluate(SAY(SECCOMP_RET_ALLOW)), MAY_ALL);
	ck_assert_uint_eq(evaluate(SAY(SECCOMP_RET_LOG)), MAY_ALL);
	ck_assert_uint_eq(evaluate(SAY(SECCOMP_RET_KILL_PROCESS)), 0);
	ck_assert_uint_eq(evaluate(SAY(SECCOMP_RET_KILL_THREAD)), 0);
	ck_assert_uint_eq(evaluate(SAY(SECCOMP_RET_TRAP)), 0);
	ck_assert_uint_eq(evaluate(SAY(SECCOMP_RET_ERRNO | 1)), 0);
	ck_assert_uint_eq(evaluate(SAY(SECCOMP_RET_TRACE)), 0);
	ck_assert_uint_eq(evaluate(SAY(SECCOMP_RET_USER_NOTIF)), 0);
	/* Whatever the data bits are. */
	ck_assert_uint_eq(evaluate(SAY(SECCOMP_RET_ALLOW | 0xffff)), MAY_ALL);
}
END_TEST

START_TEST(by_number)
{
	ck_assert_uint_eq(evaluate(LOAD(nr), IF(SYS_gettid, 0, 1), SAY(SECCOMP_RET_KILL), SAY(SECCOMP_RET_ALLOW)),
			  MAY_ALL & ~(uint32_t)MAY_ASK_TID);
	ck_assert_uint_eq(evaluate(LOAD(nr), IF(SYS_process_vm_readv, 0, 1), SAY(SECCOMP_RET_ERRNO | 1), SAY(SECCOMP_RET_ALLOW)),
			  MAY_ALL & ~(uint32_t)MAY_READ_MEMORY);
	ck_assert_uint_eq(evaluate(LOAD(nr), IF(SYS_ptrace, 0, 1), SAY(SECCOMP_RET_KILL), SAY(SECCOMP_RET_ALLOW)), MAY_ALL);
	ck_assert_uint_eq(evaluate(LOAD(nr), IF(SYS_openat, 0, 1), SAY(SECCOMP_RET_KILL), SAY(SECCOMP_RET_ALLOW)),
			  MAY_ALL & ~(uint32_t)(MAY_OPEN | MAY_OPEN_TO_WRITE));
	ck_assert_uint_eq(evaluate(LOAD(nr), IF(SYS_munmap, 0, 1), SAY(SECCOMP_RET_KILL), SAY(SECCOMP_RET_ALLOW)),
			  MAY_ALL & ~(uint32_t)MAY_UNMAP);
	ck_assert_uint_eq(evaluate(LOAD(nr), IF(SYS_pread64, 0, 1), SAY(SECCOMP_RET_KILL), SAY(SECCOMP_RET_ALLOW)),
			  MAY_ALL & ~(uint32_t)MAY_READ_AT);
	ck_assert_uint_eq(evaluate(LOAD(nr), IF(SYS_getdents64, 0, 1), SAY(SECCOMP_RET_KILL), SAY(SECCOMP_RET_ALLOW)),
			  MAY_ALL & ~(uint32_t)MAY_LIST);
	ck_assert_uint_eq(evaluate(LOAD(nr), IF(SYS_ioctl, 0, 1), SAY(SECCOMP_RET_KILL), SAY(SECCOMP_RET_ALLOW)),
			  MAY_ALL & ~(uint32_t)MAY_ASK_VMA);
}
END_TEST

START_TEST(by_argument)
{
	/* prctl is allowed, but not this one. */
	ck_assert_uint_eq(evaluate(LOAD(nr), IF(SYS_prctl, 0, 2), LOAD(args[0]), IF(PR_SET_VMA, 1, 0), SAY(SECCOMP_RET_ALLOW),
				   SAY(SECCOMP_RET_KILL_PROCESS)),
			  MAY_ALL & ~(uint32_t)MAY_NAME);
	/* Only this one. */
	ck_assert_uint_eq(evaluate(LOAD(nr), IF(SYS_prctl, 0, 5), HIGH(args[0]), IF(0, 0, 4), LOAD(args[0]), IF(PR_SET_VMA, 0, 2),
				   SAY(SECCOMP_RET_ALLOW), SAY(SECCOMP_RET_KILL_PROCESS), SAY(SECCOMP_RET_KILL_PROCESS)),
			  MAY_NAME);
	/* One of two that are told apart by an argument. */
	ck_assert_uint_eq(evaluate(LOAD(nr), IF(SYS_prctl, 0, 2), LOAD(args[0]), IF(PR_GET_NAME, 1, 0), SAY(SECCOMP_RET_ALLOW),
				   SAY(SECCOMP_RET_KILL_PROCESS)),
			  MAY_ALL & ~(uint32_t)MAY_ASK_NAME);
	ck_assert_uint_eq(evaluate(LOAD(nr), IF(SYS_openat, 0, 3), LOAD(args[2]), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_RDWR, 0, 1),
				   SAY(SECCOMP_RET_ERRNO | 13), SAY(SECCOMP_RET_ALLOW)),
			  MAY_ALL & ~(uint32_t)MAY_OPEN_TO_WRITE);
	ck_assert_uint_eq(evaluate(LOAD(nr), IF(SYS_mprotect, 0, 3), LOAD(args[2]), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 4, 0, 1),
				   SAY(SECCOMP_RET_ERRNO | 1), SAY(SECCOMP_RET_ALLOW)),
			  MAY_ALL & ~(uint32_t)MAY_PROTECT_CODE);
	/* No executable mappings: those that a library needs. */
	ck_assert_uint_eq(evaluate(LOAD(nr), IF(SYS_mmap, 0, 3), LOAD(args[2]), BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 4, 0, 1),
				   SAY(SECCOMP_RET_ERRNO | 13), SAY(SECCOMP_RET_ALLOW)),
			  MAY_ALL & ~(uint32_t)MAY_MAP_CODE);
}
END_TEST

START_TEST(the_architecture)
{
	uint32_t ours = ARCH_AUDIT;
	ck_assert_uint_eq(evaluate(LOAD(arch), IF(ours, 1, 0), SAY(SECCOMP_RET_KILL), SAY(SECCOMP_RET_ALLOW)), MAY_ALL);
	ck_assert_uint_eq(evaluate(LOAD(arch), IF(AUDIT_ARCH_I386, 1, 0), SAY(SECCOMP_RET_KILL), SAY(SECCOMP_RET_ALLOW)), 0);
}
END_TEST

/* The machine: each says ALLOW when it computes what it should. */
#define EXPECT(value) IF(value, 0, 1), SAY(SECCOMP_RET_ALLOW), SAY(SECCOMP_RET_KILL)
#define A(value) BPF_STMT(BPF_LD | BPF_IMM, value)
#define X(value) BPF_STMT(BPF_LDX | BPF_IMM, value)
#define ALU(op, value) BPF_STMT(BPF_ALU | (op) | BPF_K, value)
#define ALUX(op) BPF_STMT(BPF_ALU | (op) | BPF_X, 0)

START_TEST(the_machine)
{
	ck_assert_uint_eq(evaluate(A(7), ALU(BPF_ADD, 5), EXPECT(12)), MAY_ALL);
	ck_assert_uint_eq(evaluate(A(7), ALU(BPF_SUB, 5), EXPECT(2)), MAY_ALL);
	ck_assert_uint_eq(evaluate(A(7), ALU(BPF_MUL, 5), EXPECT(35)), MAY_ALL);
	ck_assert_uint_eq(evaluate(A(37), X(5), ALUX(BPF_DIV), EXPECT(7)), MAY_ALL);
	ck_assert_uint_eq(evaluate(A(0xff), ALU(BPF_AND, 0x0f), EXPECT(0x0f)), MAY_ALL);
	ck_assert_uint_eq(evaluate(A(0xf0), ALU(BPF_OR, 0x0f), EXPECT(0xff)), MAY_ALL);
	ck_assert_uint_eq(evaluate(A(0xff), ALU(BPF_XOR, 0x0f), EXPECT(0xf0)), MAY_ALL);
	ck_assert_uint_eq(evaluate(A(1), ALU(BPF_LSH, 4), EXPECT(16)), MAY_ALL);
	ck_assert_uint_eq(evaluate(A(16), ALU(BPF_RSH, 4), EXPECT(1)), MAY_ALL);
	ck_assert_uint_eq(evaluate(A(1), ALU(BPF_NEG, 0), EXPECT(0xffffffff)), MAY_ALL);
	ck_assert_uint_eq(evaluate(A(9), BPF_STMT(BPF_ST, 3), A(0), BPF_STMT(BPF_LD | BPF_MEM, 3), EXPECT(9)), MAY_ALL);
	ck_assert_uint_eq(evaluate(X(9), BPF_STMT(BPF_MISC | BPF_TXA, 0), EXPECT(9)), MAY_ALL);
	ck_assert_uint_eq(evaluate(A(9), BPF_STMT(BPF_MISC | BPF_TAX, 0), A(0), ALUX(BPF_ADD), EXPECT(9)), MAY_ALL);
	ck_assert_uint_eq(evaluate(BPF_STMT(BPF_LD | BPF_LEN, 0), EXPECT(sizeof(struct seccomp_data))), MAY_ALL);
	ck_assert_uint_eq(evaluate(BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0), SAY(SECCOMP_RET_KILL), SAY(SECCOMP_RET_ALLOW)), MAY_ALL);
	ck_assert_uint_eq(evaluate(A(5), BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 5, 1, 0), SAY(SECCOMP_RET_ALLOW), SAY(SECCOMP_RET_KILL)), MAY_ALL);
	ck_assert_uint_eq(evaluate(A(5), BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 5, 0, 1), SAY(SECCOMP_RET_ALLOW), SAY(SECCOMP_RET_KILL)), MAY_ALL);
	ck_assert_uint_eq(evaluate(A(SECCOMP_RET_ALLOW), BPF_STMT(BPF_RET | BPF_A, 0)), MAY_ALL);
}
END_TEST

/* The kernel will refuse these; whatever we say, we must come back from them. */
START_TEST(what_the_kernel_refuses)
{
	ck_assert_uint_eq(evaluate(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 2)), 0);
	ck_assert_uint_eq(evaluate(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 4096)), 0);
	ck_assert_uint_eq(evaluate(BPF_STMT(BPF_LD | BPF_MEM, 99)), 0);
	ck_assert_uint_eq(evaluate(BPF_STMT(BPF_ST, 99)), 0);
	ck_assert_uint_eq(evaluate(BPF_JUMP(BPF_JMP | BPF_JA, 0xffffffff, 0, 0)), 0);
	ck_assert_uint_eq(evaluate(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1, 255, 255)), 0);
	ck_assert_uint_eq(evaluate(A(1)), 0);
	srand(1);
	for (int i = 0; i < 100000; i++) {
		struct sock_filter code[8];
		struct sock_fprog f = { .len = 8, .filter = code };

		for (int k = 0; k < 8; k++)
			code[k] = (struct sock_filter){ (uint16_t)(rand() & 0xff), (uint8_t)(rand() % 12), (uint8_t)(rand() % 12),
							rand() % 3 ? (uint32_t)rand() % 70 : (uint32_t)rand() };
		sandbox_evaluate(&f);
	}
}
END_TEST

START_TEST(taken_and_given_back)
{
	uint32_t before = sandbox_restrict((uint32_t)~MAY_NAME);

	ck_assert_uint_eq(before, MAY_ALL);
	ck_assert(!sandbox_allows(MAY_NAME));
	ck_assert(sandbox_allows(MAY_MAP));
	ck_assert(!sandbox_allows(MAY_MAP | MAY_NAME));
	sandbox_restore(before);
	ck_assert(sandbox_allows(MAY_ALL));
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("sandbox");

	tcase_add_test(tests, one_word);
	tcase_add_test(tests, by_number);
	tcase_add_test(tests, by_argument);
	tcase_add_test(tests, the_architecture);
	tcase_add_test(tests, the_machine);
	tcase_add_test(tests, what_the_kernel_refuses);
	tcase_add_test(tests, taken_and_given_back);
	return run_tests("sandbox", tests);
}
