/* SPDX-License-Identifier: MIT */
/*
 * Waits in many ways at once while it is labelled. None may be cut short or say
 * EINTR, no value may change, and each signal must arrive. It prints "ready" and
 * its process id, goes on for so many seconds or until SIGUSR1, and exits with 0 when all was as
 * it is without a label. With "filtered" or "traced" it is a process that may not
 * be labelled, and goes on until its input ends.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/sem.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static atomic_int stop, over, bad, rounds;
static atomic_uint alarms;

static void complain(const char *what, long got)
{
	fprintf(stderr, "%s: %ld (errno %d)\n", what, got, errno);
	bad = 1;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void *sleeps(void *nothing)
{
	while (!stop) {
		struct timespec t = { 0, 20000000 };
		double began = now();
		int got = nanosleep(&t, NULL);

		if (got || now() - began < 0.0199)
			complain("nanosleep", got);
		rounds++;
	}
	return nothing;
}

static void *futexes(void *nothing)
{
	static int word = 7;

	while (!stop) {
		struct timespec t = { 0, 15000000 };
		long got = syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 7, &t, NULL, 0);

		if (got != -1 || errno != ETIMEDOUT)
			complain("futex", got);
		rounds++;
	}
	return nothing;
}

static void *reads(void *ends)
{
	const int *end = ends;
	char byte;

	for (unsigned char want = 0;; want++) {
		ssize_t got = read(end[0], &byte, 1);

		if (!got)
			return NULL;
		if (got != 1 || (unsigned char)byte != want)
			complain("read", got);
		rounds++;
	}
}

static void *writes(void *ends)
{
	const int *end = ends;

	for (unsigned char byte = 0; !stop; byte++) {
		if (write(end[1], &byte, 1) != 1)
			complain("write", byte);
		usleep(3000);
	}
	close(end[1]);
	return NULL;
}

static void *waits(void *end)
{
	int epoll = epoll_create1(0);
	struct epoll_event event = { .events = EPOLLIN };
	const int *ends = end;

	epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event);
	while (!stop) {
		int got = epoll_wait(epoll, &event, 1, 10);

		if (got)
			complain("epoll_wait", got);
		rounds++;
	}
	return NULL;
}

static void *polls(void *end)
{
	const int *ends = end;

	while (!stop) {
		struct pollfd fd = { .fd = ends[0], .events = POLLIN };
		struct timespec t = { 0, 8000000 };
		sigset_t none;
		int got = poll(&fd, 1, 8);

		if (got)
			complain("poll", got);
		sigfillset(&none);
		got = ppoll(&fd, 1, &t, &none);
		if (got)
			complain("ppoll", got);
		rounds++;
	}
	return NULL;
}

static void *semaphores(void *nothing)
{
	int sem = semget(IPC_PRIVATE, 1, 0600);

	while (!stop) {
		struct sembuf down = { 0, -1, 0 };
		struct timespec t = { 0, 9000000 };
		int got = semtimedop(sem, &down, 1, &t);

		if (got != -1 || errno != EAGAIN)
			complain("semtimedop", got);
		rounds++;
	}
	semctl(sem, 0, IPC_RMID);
	return nothing;
}

/* What is in registers only, floating point too. */
static void *computes(void *nothing)
{
	uint64_t first = 0;

	while (!stop) {
		uint64_t a = 1;
		double x = 1, y = 1;

		for (unsigned i = 0; i < 200000; i++) {
			a = a * 6364136223846793005ULL + 1442695040888963407ULL;
			x = x * 1.0000001 + 1e-9;
		}
		for (unsigned i = 0; i < 200000; i++)
			y = y * 1.0000001 + 1e-9;
		if (memcmp(&x, &y, sizeof(x)) || (first && a != first))
			complain("registers", 0);
		first = a;
		rounds++;
	}
	return nothing;
}

static void *vforks(void *nothing)
{
	while (!stop) {
		if (!vfork())
			_exit(0);
		usleep(20000);
		rounds++;
	}
	return nothing;
}

static void finish(int signal)
{
	(void)signal;
	alarms++;
	over = 1;
}

static void count(int signal)
{
	(void)signal;
	alarms++;
}

static int refused(bool filtered)
{
	struct sock_filter allow = { BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW };
	struct sock_fprog program = { 1, &allow };
	pid_t child = fork();
	char byte;

	if (!child) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (filtered && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)))
			return 2;
		memset(malloc(1 << 20), 1, 1 << 20);
		printf("ready %d\n", (int)getpid());
		fflush(stdout);
		for (;;)
			pause();
	}
	if (!filtered && ptrace(PTRACE_SEIZE, child, NULL, NULL))
		return 2;
	while (read(0, &byte, 1) > 0)
		;
	return kill(child, SIGKILL);
}

int main(int argc, char **argv)
{
	static int used[2], empty[2];
	void *(*const work[])(void *) = { sleeps, futexes, reads, writes, waits, polls, semaphores, computes, vforks };
	void *arg[] = { NULL, NULL, used, used, empty, empty, NULL, NULL, NULL };
	pthread_t thread[sizeof(work) / sizeof(*work)];
	struct sigaction action = { .sa_handler = count, .sa_flags = SA_RESTART };
	struct itimerval every = { { 0, 5000 }, { 0, 5000 } };
	double end = now() + (argc > 1 ? atof(argv[1]) : 5);
	sigset_t alarm;

	if (argc > 1 && (!strcmp(argv[1], "filtered") || !strcmp(argv[1], "traced")))
		return refused(*argv[1] == 'f');
	if (pipe(used) || pipe(empty))
		return 2;
	for (int i = 0; i < 400; i++)
		memset(malloc(200000), i, 200000);
	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	sigaddset(&alarm, SIGUSR1);
	sigaddset(&alarm, SIGCHLD);
	sigaction(SIGALRM, &action, NULL);
	signal(SIGTRAP, SIG_IGN);
	signal(SIGUSR1, finish);
	pthread_sigmask(SIG_BLOCK, &alarm, NULL);
	for (size_t i = 0; i < sizeof(work) / sizeof(*work); i++)
		pthread_create(&thread[i], NULL, work[i], arg[i]);
	pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	printf("ready %d\n", (int)getpid());
	fflush(stdout);
	while (now() < end && !over) {
		unsigned before = alarms;

		/* A handler runs, so each says EINTR, and the count grows. */
		if (pause() != -1 || errno != EINTR || alarms == before)
			complain("pause", 0);
	}
	sigaction(SIGTRAP, NULL, &action);
	if (action.sa_handler != SIG_IGN)
		complain("SIGTRAP is ignored no more", 0);
	stop = 1;
	for (size_t i = 0; i < sizeof(work) / sizeof(*work); i++)
		pthread_join(thread[i], NULL);
	printf("%d rounds, %u alarms, %s\n", rounds, alarms, bad ? "bad" : "good");
	return bad;
}
