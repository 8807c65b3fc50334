/* SPDX-License-Identifier: MIT */
/* Stacks through a thread's life: begun, renamed, ended in every way, kept, used again; and thousands of them. */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/prctl.h>
#include <threads.h>

#include "live.h"

static sem_t go, done;
static char *volatile stack_of;
static pthread_key_t key;

static void in_destructor(void *arg)
{
	(void)arg;
	munmap(map(64 * KIB), 64 * KIB);
	free(malloc(2 * MIB));
}

static void *lives(void *arg)
{
	char here = 0;
	long how = (long)arg;

	stack_of = (char *)__builtin_frame_address(0);
	pthread_setspecific(key, (void *)1);
	check_name(&here, "stack:%t:threads");
	prctl(PR_SET_NAME, "by-prctl", 0, 0, 0);
	check_name(&here, "stack:%t:by-prctl");
	syscall(SYS_prctl, PR_SET_NAME, "by-syscall", 0, 0, 0);
	check_name(&here, "stack:%t:by-syscall");
	pthread_setname_np(pthread_self(), "by-pthread");
	check_name(&here, "stack:%t:by-pthread");
	check(pthread_setname_np(pthread_self(), "longer than fifteen") == ERANGE, "ERANGE");
	check_name(&here, "stack:%t:by-pthread");
	prctl(PR_SET_NAME, "longer than fifteen", 0, 0, 0);
	check_name(&here, "stack:%t:longer than fif");
	prctl(PR_SET_NAME, "odd[]$/\n", 0, 0, 0);
	check_name(&here, "stack:%t:odd_____");
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	sem_post(&done);
	sem_wait(&go);
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	if (how == 1)
		pthread_exit(NULL);
	if (how == 2)
		for (;;)
			pause();
	if (how == 3) {
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
		for (;;)
			;
	}
	return NULL;
}

static int thrd_lives(void *arg)
{
	char here = 0;

	check_name(&here, "stack:%t:threads");
	stack_of = (char *)__builtin_frame_address(0);
	if (arg)
		thrd_exit(3);
	return 3;
}

static void one(long how)
{
	pthread_t t;
	char wanted[64];

	check(pthread_create(&t, NULL, lives, (void *)how) == 0, "pthread_create");
	sem_wait(&done);
	pthread_setname_np(t, "by-another");
	snprintf(wanted, sizeof(wanted), ":by-another");
	check(strstr(live_name(stack_of), wanted), "renamed by another thread: '%s'", live_name(stack_of));
	sem_post(&go);
	if (how >= 2)
		pthread_cancel(t);
	pthread_join(t, NULL);
	check_name(stack_of, "stack:unused");
}

static sem_t held;

static void *is_worker(void *arg)
{
	char here = 0;

	sem_wait(&held);
	sem_post(&held);
	check_name(&here, "stack:%t:worker");
	return arg;
}

/* Named by its creator at once, which the thread may see before or after it has begun. */
static void named_early(void)
{
	enum { MANY = 200 };
	pthread_t t[MANY];
	pthread_attr_t attr;
	char *own = map(4 * MIB);

	sem_init(&held, 0, 0);
	for (int i = 0; i < MANY; i++) {
		pthread_attr_init(&attr);
		/* One on a stack of the program's. */
		if (i == 0)
			pthread_attr_setstack(&attr, own, 4 * MIB);
		check(pthread_create(&t[i], &attr, is_worker, NULL) == 0, "pthread_create");
		check(pthread_setname_np(t[i], "worker") == 0, "pthread_setname_np");
		pthread_attr_destroy(&attr);
	}
	sem_post(&held);
	for (int i = 0; i < MANY; i++)
		pthread_join(t[i], NULL);
	munmap(own, 4 * MIB);
}

static void *counts(void *arg)
{
	char here = 0;

	check_name(&here, "stack:%t:threads");
	__atomic_add_fetch((long *)arg, 1, __ATOMIC_RELAXED);
	return NULL;
}

static void *short_one(void *arg)
{
	__atomic_add_fetch((long *)arg, 1, __ATOMIC_RELAXED);
	return NULL;
}

/* The program's own stacks: their memory is its own, before and after. (ThreadSanitizer's threads need 900 KiB.) */
static void given_stacks(void)
{
	pthread_attr_t attr;
	pthread_t t;
	long ran = 0;
	char *own = map(4 * MIB), *malloced;

	pthread_attr_init(&attr);
	pthread_attr_setstack(&attr, own, 4 * MIB);
	check(pthread_create(&t, &attr, counts, &ran) == 0, "pthread_create");
	pthread_join(t, NULL);
	check(posix_memalign((void **)&malloced, 65536, MIB) == 0, "posix_memalign");
	pthread_attr_setstack(&attr, malloced, MIB);
	check(pthread_create(&t, &attr, short_one, &ran) == 0, "pthread_create");
	pthread_join(t, NULL);
	check(ran == 2, "%ld ran", ran);
	free(malloced);
	munmap(own, 4 * MIB);
}

static void with_thrd_create(void)
{
	thrd_t c;
	int r = 0;

	/* ThreadSanitizer does not see the threads that it makes. */
#ifdef __SANITIZE_THREAD__
	return;
#endif
	for (long how = 0; how < 2; how++) {
		check(thrd_create(&c, thrd_lives, (void *)how) == thrd_success, "thrd_create");
		thrd_join(c, &r);
		check(r == 3, "thrd_join says %d", r);
		check_name(stack_of, "stack:unused");
	}
}

int main(void)
{
	enum { MANY = 3000, AT_ONCE = 500 };
	static pthread_t t[AT_ONCE];
	pthread_attr_t detached, small;
	long ran = 0;

	sem_init(&go, 0, 0);
	sem_init(&done, 0, 0);
	pthread_key_create(&key, in_destructor);
	for (int round = 0; round < 3; round++)
		for (long how = 0; how < 4; how++)
			one(how);
	with_thrd_create();
	named_early();
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 128 * KIB);
	for (int i = 0; i < MANY; i++) {
		if (pthread_create(&t[0], &small, i % 10 ? short_one : counts, &ran) != 0)
			check(0, "thread %d: errno %d", i, errno);
		pthread_join(t[0], NULL);
	}
	check(ran == MANY, "%ld of %d threads ran", ran, MANY);
	for (int i = 0; i < AT_ONCE; i++)
		check(pthread_create(&t[i], &small, short_one, &ran) == 0, "thread %d at once", i);
	for (int i = 0; i < AT_ONCE; i++)
		pthread_join(t[i], NULL);
	check(ran == MANY + AT_ONCE, "%ld threads ran", ran);
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	ran = 0;
	for (int i = 0; i < 1000; i++)
		while (pthread_create(&t[0], &detached, short_one, &ran) != 0)
			sched_yield();
	while (__atomic_load_n(&ran, __ATOMIC_RELAXED) < 1000)
		sched_yield();
	given_stacks();
	return live_status();
}
