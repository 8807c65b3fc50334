/* SPDX-License-Identifier: MIT */
/* The calls that change the process: prctl, seccomp, syscall, sigaltstack. */
#include "hook/hook.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "base/peek.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "base/text.h"
#include "event/event.h"
#include "label/thread.h"
#include "sink/program.h"

/* --- the program's own names --------------------------------------------------------- */

long hook_set_vma(unsigned long arg2, unsigned long addr, unsigned long len, unsigned long name)
{
	event_program_named();
	return program_names(GIVEN_BY_PRCTL, arg2, addr, len, name);
}

/* --- sandboxes -------------------------------------------------------------------------- */

/*
 * What the filter leaves of our rights. A bad pointer is the kernel's to
 * refuse, so it is not followed before it is known that it can be.
 */
static uint32_t filter_rights(const struct sock_fprog *from)
{
	struct sock_fprog filter;

	if (peek(&filter, from, sizeof(filter)) != 0)
		return 0;
	if (filter.len == 0)
		return MAY_ALL;
	return peek_test(filter.filter, filter.len * sizeof(*filter.filter)) == 0 ? sandbox_evaluate(&filter) : 0;
}

enum seccomp_call { NOT_A_SANDBOX, A_STRICT_SANDBOX, A_FILTER };

/* Before the call our rights are gone already: the filter binds from its return on. */
static struct sink_before before_sandbox(enum seccomp_call call, const void *filter)
{
	if (call == NOT_A_SANDBOX || !hook_start())
		return (struct sink_before){ MAY_ALL, sink_modes(), false };

	bool by_guest = event_by_guest();

	return sink_sandbox(call == A_FILTER ? filter_rights(filter) : SANDBOX_STRICT, by_guest);
}

static void after_sandbox(enum seccomp_call call, struct sink_before before, bool installed)
{
	if (call != NOT_A_SANDBOX && !installed)
		sink_sandbox_undo(before);
}

/* --- prctl --------------------------------------------------------------------------------- */

/* The calling thread has a new name. The kernel has cut it to 15 bytes; what it has is what tools show. */
static void renamed(const char *from)
{
	char name[COMM_SIZE + 1] = "";

	if (!label_active() || event_by_guest())
		return;
	if (!sandbox_allows(MAY_ASK_NAME) || sys_prctl(PR_GET_NAME, (unsigned long)name, 0, 0, 0) != 0)
		for (size_t i = 0; i < COMM_SIZE - 1 && peek(&name[i], from + i, 1) == 0 && name[i]; i++)
			;
	name[COMM_SIZE - 1] = '\0';
	event_thread_renamed((uintptr_t)pthread_self(), name);
}

EXPORT int prctl(int op, ...)
{
	unsigned long a[4];
	enum seccomp_call call = NOT_A_SANDBOX;
	struct sink_before before;
	va_list args;
	long r;

	va_start(args, op);
	for (int i = 0; i < 4; i++)
		a[i] = va_arg(args, unsigned long);
	va_end(args);
	hook_start();
	if (op == PR_SET_VMA) {
		r = hook_set_vma(a[0], a[1], a[2], a[3]);
		if (sys_failed(r)) {
			errno = (int)-r;
			return -1;
		}
		return (int)r;
	}
	if (op == PR_SET_SECCOMP)
		call = a[0] == SECCOMP_MODE_FILTER ? A_FILTER : A_STRICT_SANDBOX;
	before = before_sandbox(call, (const void *)a[1]);
	r = hook_next_of(prctl)(op, a[0], a[1], a[2], a[3]);
	after_sandbox(call, before, r == 0);
	if (op == PR_SET_NAME && r == 0)
		renamed((const char *)a[0]);
	return (int)r;
}

/* --- syscall() ------------------------------------------------------------------------------- */

static long hook_seccomp(unsigned op, unsigned flags, void *args)
{
	enum seccomp_call call = op == SECCOMP_SET_MODE_FILTER ? A_FILTER :
				 op == SECCOMP_SET_MODE_STRICT ? A_STRICT_SANDBOX : NOT_A_SANDBOX;
	struct sink_before before = before_sandbox(call, args);
	long r = sys_call6(SYS_seccomp, (long)op, (long)flags, SYS_ARG(args), 0, 0, 0);

	/* A listener's descriptor or a thread id are answers too (SECCOMP_FILTER_FLAG_NEW_LISTENER, TSYNC). */
	after_sandbox(call, before, r == 0 || (r > 0 && (flags & SECCOMP_FILTER_FLAG_NEW_LISTENER)));
	return r;
}

/* glibc has no such function; libseccomp and others may bring one, and it is theirs to call. */
EXPORT int seccomp(unsigned op, unsigned flags, void *args);
EXPORT int seccomp(unsigned op, unsigned flags, void *args)
{
	long r = hook_seccomp(op, flags, args);

	if (sys_failed(r)) {
		errno = (int)-r;
		return -1;
	}
	return (int)r;
}

/*
 * The stub `syscall` (arch/NAME/stubs.S) comes here for the numbers below and jumps
 * to libc's function for all others, so that calls that must not return
 * through a frame of ours (clone, vfork) do not.
 */
long hook_syscall(long nr, long a, long b, long c, long d, long e, long f);
long hook_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	long r;

	hook_start();
	switch (nr) {
	case SYS_mmap: r = hook_mmap((void *)a, (size_t)b, (int)c, (int)d, (int)e, f, CALLER, FRAME); break;
	case SYS_munmap: r = hook_munmap((void *)a, (size_t)b, CALLER); break;
	case SYS_mremap: r = hook_mremap((void *)a, (size_t)b, (size_t)c, (int)d, (void *)e, CALLER); break;
	case SYS_mprotect: r = hook_mprotect((void *)a, (size_t)b, (int)c, CALLER); break;
	case SYS_pkey_mprotect: r = hook_pkey_mprotect((void *)a, (size_t)b, (int)c, (int)d, CALLER); break;
	case SYS_seccomp: r = hook_seccomp((unsigned)a, (unsigned)b, (void *)c); break;
	case SYS_prctl:
		if (a == PR_SET_VMA) {
			r = hook_set_vma((unsigned long)b, (unsigned long)c, (unsigned long)d, (unsigned long)e);
		} else {
			enum seccomp_call call = a != PR_SET_SECCOMP ? NOT_A_SANDBOX :
						 b == SECCOMP_MODE_FILTER ? A_FILTER : A_STRICT_SANDBOX;
			struct sink_before before = before_sandbox(call, (const void *)c);

			r = sys_call6(SYS_prctl, a, b, c, d, e, f);
			after_sandbox(call, before, r == 0);
			if (a == PR_SET_NAME && r == 0)
				renamed((const char *)b);
		}
		break;
	default: r = sys_call6(nr, a, b, c, d, e, f); break;
	}
	if (sys_failed(r)) {
		errno = (int)-r;
		return -1;
	}
	return r;
}

/* --- signal stacks ------------------------------------------------------------------------------ */

EXPORT int sigaltstack(const stack_t *stack, stack_t *old)
{
	bool ready = hook_start();
	int r = hook_next_of(sigaltstack)(stack, old);
	stack_t now;

	/* Asked back: `stack` and `old` may be the same memory, which has the old one now. */
	if (ready && r == 0 && stack && !event_by_guest() &&
	    !sys_failed(sys_call6(SYS_sigaltstack, 0, SYS_ARG(&now), 0, 0, 0, 0)) && !(now.ss_flags & SS_DISABLE))
		event_sigstack((uintptr_t)now.ss_sp, now.ss_size);
	return r;
}
