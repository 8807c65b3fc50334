/* SPDX-License-Identifier: MIT */
/*
 * Installs a filter and becomes another program, which then starts under it:
 * `launcher FILTER PROGRAM [ARG...]`. It is run without the library, which
 * LIVE_PRELOAD names for the program.
 */
#include "filters.h"

#include "live.h"

int main(int argc, char **argv)
{
	/* What the dynamic linker and a small program call on any recent glibc; none of them is there for us alone. */
	static const int small[] = {
		SYS_read, SYS_write, SYS_close, SYS_openat, SYS_fstat, SYS_newfstatat, SYS_mmap, SYS_mprotect, SYS_munmap,
		SYS_brk, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_pread64, SYS_execve, SYS_exit, SYS_exit_group,
		SYS_set_tid_address, SYS_set_robust_list, SYS_rseq, SYS_prlimit64, SYS_getrandom, SYS_futex,
		SYS_clone, SYS_wait4,
#if defined(__x86_64__)
		SYS_access, SYS_arch_prctl, SYS_alarm,
#else
		SYS_faccessat, SYS_setitimer,
#endif
		-1
	};
	struct sock_fprog f;

	if (argc < 3)
		return 2;
	if (!strcmp(argv[1], "prctl-kills"))
		f = filter_refuse(SYS_prctl, PR_SET_VMA, SECCOMP_RET_KILL_PROCESS);
	else if (!strcmp(argv[1], "prctl-fails"))
		f = filter_refuse(SYS_prctl, PR_SET_VMA, SECCOMP_RET_ERRNO | EPERM);
	else if (!strcmp(argv[1], "small-kills"))
		f = filter_allow_only(small, SECCOMP_RET_KILL_PROCESS);
	else if (!strcmp(argv[1], "small-fails"))
		f = filter_allow_only(small, SECCOMP_RET_ERRNO | EPERM);
	else if (!strcmp(argv[1], "small-traps"))
		f = filter_allow_only(small, SECCOMP_RET_TRAP);
	else
		return 2;
	setenv("LD_PRELOAD", getenv("LIVE_PRELOAD"), 1);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &f, 0, 0)) {
		perror("seccomp");
		return 77;
	}
	execv(argv[2], argv + 2);
	perror(argv[2]);
	return 1;
}
