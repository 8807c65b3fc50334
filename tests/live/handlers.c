/* SPDX-License-Identifier: MIT */
/*
 * Labels from signal handlers: timers fire at a high rate while threads map,
 * unmap and move memory, and the handlers do the same. Nothing hangs, and
 * afterwards names are what they should be.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

#include "format/registry_format.h"
#include "live.h"

static volatile sig_atomic_t handled, broken;
static bool stop;

static void handler(int sig)
{
	int saved = errno;
	char *p = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)sig;
	if (p == MAP_FAILED) {
		broken = 1;
	} else {
		munmap(p + 4096, 4096);
		p[0] = 1;
		p = mremap(p, 4096, 8 * 4096, MREMAP_MAYMOVE);
		if (p == MAP_FAILED)
			broken = 2;
		else
			munmap(p, 8 * 4096);
	}
	__atomic_add_fetch(&handled, 1, __ATOMIC_RELAXED);
	errno = saved;
}

static void *worker(void *arg)
{
	char *held[64] = { 0 };

	for (unsigned i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i++) {
		unsigned k = i % 64;

		if (held[k] && munmap(held[k], 16 * 4096))
			broken = 3;
		held[k] = map(16 * 4096);
		if (held[k] == MAP_FAILED || mprotect(held[k], 4096, PROT_READ))
			broken = 4;
	}
	(void)arg;
	return NULL;
}

static sigjmp_buf out;

static void jump(int sig)
{
	(void)sig;
	siglongjmp(out, 1);
}

/* A handler that jumps out of the middle of mmap, over and over: names come again after it. */
static void jump_out(void)
{
	volatile int jumps = 0;
	struct itimerval often = { { 0, 100 }, { 0, 100 } }, never = { { 0, 0 }, { 0, 0 } };
	char *p;

	signal(SIGALRM, jump);
	if (sigsetjmp(out, 1))
		jumps++;
	setitimer(ITIMER_REAL, &often, NULL);
	while (jumps < 2000)
		munmap(map(8192), 8192);
	setitimer(ITIMER_REAL, &never, NULL);
	/* A call from the same place as the one that was left finds out that nobody holds the registry. */
	munmap(map(8192), 8192);
	p = map(64 * KIB);
	check_name(p, "handlers:mmap");
	munmap(p, 64 * KIB);

	pid_t child = live_fork();

	if (child == 0) {
		p = map(64 * KIB);
		check_name(p, "handlers:mmap");
		_exit(live_status());
	}
	live_join(child, "a fork after the jumps");
}

/*
 * The stack for signals lies inside this thread's own, so a handler's frames are
 * above those that it interrupts. They go on after it, and nothing may think
 * that they do not.
 */
static void alternate(void)
{
	char stack[64 * KIB];
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) }, off = { .ss_flags = SS_DISABLE };
	struct sigaction sa = { .sa_handler = handler, .sa_flags = SA_ONSTACK };
	struct itimerval often = { { 0, 100 }, { 0, 100 } }, never = { { 0, 0 }, { 0, 0 } };
	char *held[64] = { 0 };

	handled = 0;
	sigaltstack(&ss, NULL);
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	for (unsigned i = 0; i < 64 || __atomic_load_n(&handled, __ATOMIC_RELAXED) < 2000; i++) {
		char **h = &held[i % 64];

		if (*h)
			munmap(*h, 8 * KIB);
		*h = map(8 * KIB);
		mprotect(*h, 4 * KIB, PROT_READ);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	sigaltstack(&off, NULL);
	for (unsigned i = 0; i < 64; i++)
		check_name(held[i], "handlers:mmap");
	check(!broken, "a call failed: %d", (int)broken);
}

int main(void)
{
	pthread_t t[3];
	timer_t timer;
	struct sigaction sa = { .sa_handler = handler };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct itimerspec often = { { 0, 500000 }, { 0, 500000 } };
	char *p;

	sigaction(SIGUSR1, &sa, NULL);
	timer_create(CLOCK_MONOTONIC, &event, &timer);
#ifndef __SANITIZE_THREAD__
	timer_settime(timer, 0, &often, NULL);
#endif
	for (int i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, worker, NULL);
	/* ThreadSanitizer looks away during pthread_create, but not in a handler there: half of what happens is not seen. */
#ifdef __SANITIZE_THREAD__
	timer_settime(timer, 0, &often, NULL);
#endif
	while (__atomic_load_n(&handled, __ATOMIC_RELAXED) < 1500)
		munmap(map(32 * KIB), 32 * KIB);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	timer_delete(timer);
	check(!broken, "a call failed: %d", (int)broken);
	p = map(64 * KIB);
	check_name(p, "handlers:mmap");
	printf("%d signals, %lu of %lu names lost\n", (int)handled, (unsigned long)live_counter(COUNT_DROPPED),
	       (unsigned long)live_counter(COUNT_NAMED));
	jump_out();
	alternate();
	return live_status();
}
