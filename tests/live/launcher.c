/* SPDX-License-Identifier: MIT */
/*
 * Installs a filter and becomes another program, which then starts under it:
 * `launcher FILTER PROGRAM [ARG...]`. It is run without the library, which
 * LIVE_PRELOAD names for the program. With LIVE_FORK set the program is its
 * child: then both live under the filter, and the child can tell. With
 * LIVE_SERVICE set it is a service of systemd's, for all that it can see.
 */
#include <signal.h>
#include <sys/wait.h>

#include "filters.h"

#include "live.h"

int main(int argc, char **argv)
{
	/* What the dynamic linker and a small program call on any recent glibc; none of them is there for us alone. */
	static int small[] = {
		SYS_read, SYS_write, SYS_close, SYS_openat, SYS_fstat, SYS_newfstatat, SYS_mmap, SYS_mprotect, SYS_munmap,
		SYS_brk, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_pread64, SYS_execve, SYS_exit, SYS_exit_group,
		SYS_set_tid_address, SYS_set_robust_list, SYS_rseq, SYS_prlimit64, SYS_getrandom, SYS_futex, SYS_mremap,
#if defined(__x86_64__)
		SYS_access, SYS_arch_prctl, SYS_alarm,
#else
		SYS_faccessat, SYS_setitimer,
#endif
		-1, -1, -1, -1,
	};
	bool family = getenv("LIVE_FORK") != NULL;
	size_t n = 0;
	struct sock_fprog f;

	if (argc < 3)
		return 2;
	while (small[n] >= 0)
		n++;
	if (family) {
		small[n++] = SYS_clone;
		small[n++] = SYS_waitid;
	}
	if (family && strcmp(argv[1], "small-kills-wait4"))
		small[n++] = SYS_wait4;
	if (!strcmp(argv[1], "harmless"))
		f = filter_refuse(SYS_ptrace, 0, SECCOMP_RET_KILL_PROCESS);
	else if (!strcmp(argv[1], "prctl-kills"))
		f = filter_refuse(SYS_prctl, PR_SET_VMA, SECCOMP_RET_KILL_PROCESS);
	else if (!strcmp(argv[1], "prctl-fails"))
		f = filter_refuse(SYS_prctl, PR_SET_VMA, SECCOMP_RET_ERRNO | EPERM);
	else if (!strncmp(argv[1], "small-kills", 11))
		f = filter_allow_only(small, SECCOMP_RET_KILL_PROCESS);
	else if (!strcmp(argv[1], "small-fails"))
		f = filter_allow_only(small, SECCOMP_RET_ERRNO | EPERM);
	else if (!strcmp(argv[1], "small-traps"))
		f = filter_allow_only(small, SECCOMP_RET_TRAP);
	else
		return 2;
	setenv("LD_PRELOAD", getenv("LIVE_PRELOAD"), 1);
	if (getenv("LIVE_SERVICE")) {
		char pid[16];

		snprintf(pid, sizeof(pid), "%ld", (long)getpid() + atoi(getenv("LIVE_SERVICE")));
		setenv("SYSTEMD_EXEC_PID", pid, 1);
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &f, 0, 0)) {
		perror("seccomp");
		return 77;
	}
	if (family) {
		siginfo_t info = { 0 };
		pid_t child = fork();

		if (child > 0) {
			if (waitid(P_PID, (id_t)child, &info, WEXITED) != 0)
				return 1;
			return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
		}
	}
	execv(argv[2], argv + 2);
	perror(argv[2]);
	return 1;
}
