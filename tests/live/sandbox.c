/* SPDX-License-Identifier: MIT */
/*
 * A program that installs a seccomp filter runs on, whatever the filter kills,
 * as long as it kills nothing that the program itself does. Each case is a
 * child that may die.
 */
#include "filters.h"

#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include "format/registry_format.h"
#include "live.h"

#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW (PROT_READ | PROT_WRITE)

enum how { BY_PRCTL, BY_SYSCALL_PRCTL, BY_SYSCALL_SECCOMP, BY_SECCOMP };

/* glibc has none; the library brings one, for whoever looks for it. */
int seccomp(unsigned op, unsigned flags, void *args) __attribute__((weak));

static int install(enum how how, const struct sock_fprog *f)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return -1;
	switch (how) {
	case BY_PRCTL: return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, f, 0, 0);
	case BY_SYSCALL_PRCTL: return (int)syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, f, 0, 0);
	case BY_SECCOMP: return seccomp(SECCOMP_SET_MODE_FILTER, 0, (void *)(uintptr_t)f);
	default: return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, f);
	}
}

static void out(const char *s) { (void)!write(1, s, strlen(s)); }

static void leave(bool good)
{
	syscall(SYS_exit_group, good ? 0 : 1);
}

/* Many different mappings: the registry has to grow, names have to be made. */
static bool maps_go_on(bool unmap)
{
	char *keep = NULL;

	for (int i = 0; i < 4000; i++) {
		char *p = mmap(NULL, 8192, i % 2 ? PROT_READ : RW, ANON, -1, 0);

		if (p == MAP_FAILED)
			return false;
		if (unmap && i % 3 == 0 && munmap(p, 4096) != 0)
			return false;
		keep = p;
	}
	return keep != NULL;
}

/* The strictest program there is: read, write, exit, mmap. */
static void strict(enum how how)
{
	static const int calls[] = { SYS_read, SYS_write, SYS_exit, SYS_exit_group, SYS_mmap, -1 };
	struct sock_fprog f = filter_allow_only(calls, SECCOMP_RET_KILL_PROCESS);

	if (install(how, &f) != 0)
		leave(false);
	leave(maps_go_on(false));
}

static void strict_prctl(void) { strict(BY_PRCTL); }
static void strict_syscall_prctl(void) { strict(BY_SYSCALL_PRCTL); }
static void strict_seccomp(void) { strict(BY_SECCOMP); }
static void strict_syscall_seccomp(void) { strict(BY_SYSCALL_SECCOMP); }

/* Installed before the library has been called at all is `started`'s business; here: malloc under it. */
static void strict_malloc(void)
{
	static const int calls[] = { SYS_read, SYS_write, SYS_exit, SYS_exit_group, SYS_mmap, SYS_munmap, SYS_brk,
				     SYS_mremap, SYS_mprotect, SYS_getrandom, -1 };
	struct sock_fprog f = filter_allow_only(calls, SECCOMP_RET_KILL_PROCESS);
	char *p[64];

	if (install(BY_PRCTL, &f) != 0)
		leave(false);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 64; i++)
			if (!(p[i] = malloc((size_t)(i + 1) * 65536)))
				leave(false);
		for (int i = 0; i < 64; i++)
			p[i] = realloc(p[i], (size_t)(i + 1) * 100000);
		for (int i = 0; i < 64; i++)
			free(p[i]);
	}
	leave(true);
}

/* munmap splits a range, for which the registry may need memory that it may not map. */
static void no_mmap(void)
{
	static const int calls[] = { SYS_write, SYS_exit_group, SYS_munmap, -1 };
	struct sock_fprog f = filter_allow_only(calls, SECCOMP_RET_KILL_PROCESS);
	enum { N = 3000 };
	static char *p[N];

	for (int i = 0; i < N; i++)
		p[i] = mmap(NULL, 3 * 4096, i % 2 ? PROT_READ : RW, ANON, -1, 0);
	if (install(BY_PRCTL, &f) != 0)
		leave(false);
	for (int i = 0; i < N; i++)
		if (munmap(p[i] + 4096, 4096) != 0)
			leave(false);
	leave(true);
}

/* A first filter without munmap, then a second one. */
static void two_filters(void)
{
	static const int first[] = { SYS_write, SYS_exit_group, SYS_mmap, SYS_prctl, SYS_seccomp, SYS_process_vm_readv,
				     SYS_getpid, -1 };
	static const int second[] = { SYS_write, SYS_exit_group, SYS_mmap, -1 };
	struct sock_fprog f = filter_allow_only(first, SECCOMP_RET_KILL_PROCESS);

	if (install(BY_PRCTL, &f) != 0 || !maps_go_on(false))
		leave(false);
	f = filter_allow_only(second, SECCOMP_RET_KILL_PROCESS);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &f) != 0)
		leave(false);
	leave(maps_go_on(false));
}

static void prctl_with(uint32_t action)
{
	struct sock_fprog f = filter_refuse(SYS_prctl, PR_SET_VMA, action);
	char *p, *before = map(MIB);

	if (install(BY_PRCTL, &f) != 0 || !maps_go_on(true))
		leave(false);
	p = map(64 * KIB);
	/* The registry goes on; what only the kernel knew before is not lost in the kernel. */
	check_name(p, "sandbox:mmap");
	munmap(before, MIB);
	leave(live_status() == 0);
}

static void prctl_killed(void) { prctl_with(SECCOMP_RET_KILL_PROCESS); }
static void prctl_eperm(void) { prctl_with(SECCOMP_RET_ERRNO | EPERM); }

/* Threads made, named and ended under a filter that kills what we would like to ask. */
static void *thread_work(void *arg)
{
	void *p = malloc(2 * MIB);

	pthread_setname_np(pthread_self(), "inside");
	memset(p, 1, 4096);
	free(p);
	return arg;
}

static void threads_without(int killed, uint32_t first_argument)
{
	struct sock_fprog f = filter_refuse(killed, first_argument, SECCOMP_RET_KILL_PROCESS);

	if (install(BY_SYSCALL_SECCOMP, &f) != 0)
		leave(false);
	for (int i = 0; i < 50; i++) {
		pthread_t t;

		if (pthread_create(&t, NULL, thread_work, NULL) != 0 || pthread_join(t, NULL) != 0)
			leave(false);
	}
	leave(maps_go_on(true));
}

/* --- what is not known is left out, and what can be known is ------------------------------------ */

/* gettid itself may be what is killed. */
static void wanted_name(char wanted[96], const char *before, const char *after)
{
	char link[64] = "";

	(void)!readlink("/proc/thread-self", link, sizeof(link) - 1);
	snprintf(wanted, 96, "%s%s%s", before, strrchr(link, '/') ? strrchr(link, '/') + 1 : "?", after);
}

static void *names_by_tid(void *keep)
{
	char wanted[96];

	wanted_name(wanted, "stack:", ":sandbox");
	check_name(wanted, wanted);
	wanted_name(wanted, "sandbox:mmap:", "");
	check_name(map(2 * MIB), wanted);
	wanted_name(wanted, "stack:", ":renamed");
	prctl(PR_SET_NAME, "renamed", 0, 0, 0);
	check_name(wanted, wanted);
	*(uintptr_t *)keep = (uintptr_t)wanted;
	return NULL;
}

static void thread_has_names(void)
{
	uintptr_t stack = 0;
	pthread_t t;

	if (pthread_create(&t, NULL, names_by_tid, &stack) != 0 || pthread_join(t, NULL) != 0)
		leave(false);
	check_name((const void *)stack, "stack:unused");
}

static void names_without(int refused, uint32_t first_argument, uint32_t action)
{
	struct sock_fprog f = filter_refuse(refused, first_argument, action);

	if (install(BY_PRCTL, &f) != 0)
		leave(false);
	thread_has_names();
	leave(live_status() == 0);
}

static void names_without_get_name(void) { names_without(SYS_prctl, PR_GET_NAME, SECCOMP_RET_TRAP); }
static void names_without_gettid(void) { names_without(SYS_gettid, 0, SECCOMP_RET_KILL_PROCESS); }

static struct sock_fprog filter_kill(const int *killed)
{
	static struct sock_filter code[FILTER_MAX];
	unsigned short n = 0;

	code[n++] = (struct sock_filter)FILTER_LOAD(nr);
	for (; *killed >= 0; killed++) {
		code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)*killed, 0, 1);
		code[n++] = (struct sock_filter)FILTER_RETURN(SECCOMP_RET_KILL_PROCESS);
	}
	code[n++] = (struct sock_filter)FILTER_RETURN(SECCOMP_RET_ALLOW);
	return (struct sock_fprog){ .len = n, .filter = code };
}

static void threads_and_malloc_without(const int *killed)
{
	struct sock_fprog f = filter_kill(killed);
	pthread_t t;
	static char stack[256 * KIB] __attribute__((aligned(4096)));
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };

	if (install(BY_PRCTL, &f) != 0)
		leave(false);
	for (int i = 0; i < 50; i++) {
		void *p = malloc(4 * MIB);

		if (!p || pthread_create(&t, NULL, thread_work, NULL) != 0 || pthread_join(t, NULL) != 0)
			leave(false);
		free(p);
	}
	sigaltstack(&ss, NULL);
	prctl(PR_SET_NAME, "renamed", 0, 0, 0);
	if (fork() == 0)
		_exit(maps_go_on(true) ? 0 : 1);
	leave(maps_go_on(true));
}

/* --- the program's own names --------------------------------------------------------------------- */

static int set_own(void *at, const char *name)
{
	return prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, at, 64 * KIB, name) == 0 ? 0 : errno;
}

/* A pointer into an object, the stack or the heap; whether the last can be read has to be found out. */
static void own_names_without(const int *killed, bool heap_is_known, bool maps_are_known)
{
	struct sock_fprog f = filter_kill(killed);
	bool kernel = live_kernel_names();
	char *a = map(64 * KIB), *b = map(MIB), *c = map(64 * KIB), *heap = strdup("program:heap"), stack[] = "program:stack";
	char *raw = (char *)live_raw(SYS_mmap, 0, 64 * KIB, RW, ANON, -1, 0);

	if (install(BY_PRCTL, &f) != 0)
		leave(false);
	check(set_own(a, "program:literal") == 0, "a literal: errno %d", errno);
	check(set_own(b, stack) == 0, "on the stack: errno %d", errno);
	if (heap_is_known || kernel)
		check(set_own(c, heap) == 0, "on the heap: errno %d", errno);
	else
		check(set_own(c, heap) == EINVAL, "on the heap: errno %d", errno);
	check(set_own(a, (char *)1) == (heap_is_known || kernel ? EFAULT : EINVAL), "a bad pointer: errno %d", errno);
	if (maps_are_known || kernel)
		check(set_own(raw, "program:raw") == 0, "memory that was never labelled: errno %d", errno);
	else
		check(set_own(raw, "program:raw") == EINVAL, "memory that was never labelled: errno %d", errno);
	if (kernel && !maps_are_known)
		leave(live_status() == 0);
	check_name(a, "program:literal");
	check_name(b, "program:stack");
	check(strcmp(live_name(b + 64 * KIB), "program:stack"), "too much was named");
	check_name(c, heap_is_known || kernel ? "program:heap" : "sandbox:mmap");
	check_name(raw, maps_are_known ? "program:raw" : "");
	leave(live_status() == 0);
}

static void own_names_without_copy(void) { own_names_without((const int[]){ SYS_process_vm_readv, -1 }, true, true); }
static void own_names_without_test(void)
{
	own_names_without((const int[]){ SYS_process_vm_readv, SYS_rt_sigprocmask, -1 }, false, true);
}
static void own_names_without_maps(void)
{
	own_names_without((const int[]){ SYS_process_vm_readv, SYS_rt_sigprocmask, SYS_openat, -1 }, false, false);
}

/* The second filter has to be read, too. */
static void after_a_first_filter(void)
{
	struct sock_fprog f = filter_kill((const int[]){ SYS_process_vm_readv, -1 });
	bool kernel = live_kernel_names();

	if (install(BY_PRCTL, &f) != 0)
		leave(false);
	f = filter_kill((const int[]){ SYS_ptrace, -1 });
	if (install(BY_PRCTL, &f) != 0)
		leave(false);
	check(!live_root()->sandbox && live_kernel_names() == kernel, "the second filter took everything");
	thread_has_names();
	leave(live_status() == 0);
}

/* --- a child in our memory ------------------------------------------------------------------------- */

/* It is killed for all but these: it must not make calls that only its parent may. */
static int guest(void *unused)
{
	static const int calls[] = { SYS_execve, SYS_exit_group, SYS_mmap, SYS_munmap, -1 };
	struct sock_fprog f = filter_allow_only(calls, SECCOMP_RET_KILL_PROCESS);

	(void)unused;
	prctl(PR_SET_NAME, "the-child", 0, 0, 0);
	if (install(BY_PRCTL, &f) != 0)
		_exit(1);
	for (int i = 0; i < 100; i++)
		if (munmap(mmap(NULL, 8192, i % 2 ? PROT_READ : RW, ANON, -1, 0), 4096) != 0)
			_exit(1);
	_exit(0);
}

static void guests_with_filters(bool by_clone)
{
	static char stack[256 * KIB] __attribute__((aligned(4096)));
	bool kernel = live_kernel_names();

	for (int i = 0; i < 40; i++) {
		pid_t child = by_clone ? clone(guest, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL) : vfork();

		if (child == 0)
			guest(NULL);
		live_join(child, "a child in our memory");
	}
	check(!live_root()->sandbox, "the child's filter was taken for the parent's");
	check(live_kernel_names() == kernel, "the sink changed");
	check_name(map(64 * KIB), "sandbox:mmap");
	thread_has_names();
	leave(live_status() == 0);
}

static void vfork_with_filter(void) { guests_with_filters(false); }
static void clone_with_filter(void) { guests_with_filters(true); }

static void no_gettid(void) { threads_without(SYS_gettid, 0); }
static void no_get_name(void) { threads_without(SYS_prctl, PR_GET_NAME); }
/* From 2.43 on libc looks into a file before it makes a thread's heap smaller. A chunk of that thread lies in one all the same. */
static void no_heap_gets_smaller(void)
{
	mallopt(M_MMAP_THRESHOLD, 3 * MIB);
	mallopt(M_TRIM_THRESHOLD, 64 * MIB);
}

static void no_proc(void)
{
	no_heap_gets_smaller();
	threads_and_malloc_without((const int[]){
#ifdef SYS_open                 /* not on aarch64 */
		SYS_open,
#endif
		SYS_openat, -1,
	});
}
static void no_copy(void) { threads_and_malloc_without((const int[]){ SYS_process_vm_readv, -1 }); }
static void no_getpid(void) { threads_and_malloc_without((const int[]){ SYS_getpid, -1 }); }
static void no_close(void)
{
	no_heap_gets_smaller();
	threads_and_malloc_without((const int[]){ SYS_close, SYS_readlinkat, SYS_pwrite64, SYS_newfstatat, -1 });
}

/* A filter that the kernel refuses changes nothing: names go where they went. */
static void refused(void)
{
	struct sock_filter bad[] = { BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0) };
	struct sock_fprog f = { .len = 1, .filter = bad };
	bool kernel = live_kernel_names();

	if (install(BY_PRCTL, &f) == 0)
		leave(false);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, (void *)8, 0, 0) == 0)
		leave(false);
	check(live_kernel_names() == kernel, "the sink changed");
	check_name(map(64 * KIB), "sandbox:mmap");
	leave(live_status() == 0);
}

/* A filter that has nothing against us changes nothing either. */
static void harmless(void)
{
	struct sock_fprog f = filter_refuse(SYS_ptrace, 0, SECCOMP_RET_KILL_PROCESS);
	bool kernel = live_kernel_names();

	if (install(BY_PRCTL, &f) != 0)
		leave(false);
	check(live_kernel_names() == kernel, "the sink changed");
	check_name(map(64 * KIB), "sandbox:mmap");
	leave(live_status() == 0);
}

/* read, write, exit and sigreturn: no hook is called any more, but one is in the middle of its work. */
static void mode_strict(void)
{
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT, 0, 0, 0) != 0)
		live_raw(SYS_exit, 1, 0, 0, 0, 0, 0);
	out("");
	live_raw(SYS_exit, 0, 0, 0, 0, 0, 0);
}

static void mode_strict_syscall(void)
{
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, NULL) != 0)
		live_raw(SYS_exit, 1, 0, 0, 0, 0, 0);
	live_raw(SYS_exit, 0, 0, 0, 0, 0, 0);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} cases[] = {
		{ "strict filter by prctl", strict_prctl },
		{ "strict filter by syscall(SYS_prctl)", strict_syscall_prctl },
		{ "strict filter by syscall(SYS_seccomp)", strict_syscall_seccomp },
		{ "strict filter by seccomp()", strict_seccomp },
		{ "malloc under a strict filter", strict_malloc },
		{ "munmap where mmap kills", no_mmap },
		{ "two filters", two_filters },
		{ "prctl(PR_SET_VMA) kills", prctl_killed },
		{ "prctl(PR_SET_VMA) fails", prctl_eperm },
		{ "threads where gettid kills", no_gettid },
		{ "threads where prctl(PR_GET_NAME) kills", no_get_name },
		{ "stacks by tid where prctl(PR_GET_NAME) traps", names_without_get_name },
		{ "stacks by tid where gettid kills", names_without_gettid },
		{ "its own names where process_vm_readv kills", own_names_without_copy },
		{ "its own names where rt_sigprocmask kills, too", own_names_without_test },
		{ "its own names where openat kills, too", own_names_without_maps },
		{ "a second filter after process_vm_readv was lost", after_a_first_filter },
		{ "a vfork child installs a filter", vfork_with_filter },
		{ "a clone(CLONE_VM) child installs a filter", clone_with_filter },
		{ "openat kills", no_proc },
		{ "process_vm_readv kills", no_copy },
		{ "getpid kills", no_getpid },
		{ "close kills", no_close },
		{ "a filter that the kernel refuses", refused },
		{ "a harmless filter", harmless },
		{ "SECCOMP_MODE_STRICT by prctl", mode_strict },
		{ "SECCOMP_MODE_STRICT by syscall", mode_strict_syscall },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (argc > 1 && strcmp(argv[1], cases[i].name))
			continue;

		pid_t child = live_fork();

		if (child == 0) {
			cases[i].run();
			_exit(2);
		}
		live_join(child, cases[i].name);
	}
	return live_status();
}
