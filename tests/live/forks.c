/* SPDX-License-Identifier: MIT */
/* Labels in children of every make: fork from any thread, vfork, posix_spawn, raw clone with and without CLONE_VM. */
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>

#include "format/registry_format.h"
#include "live.h"

extern char **environ;
static bool stop;

static void *churn(void *arg)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		char *p = map(8 * 4096);

		/* Each page once: what was given back may be another thread's by now, or the library's. */
		munmap(p + 4096, 4096);
		munmap(p, 4096);
		munmap(p + 2 * 4096, 6 * 4096);
		free(malloc(2 * MIB));
	}
	return arg;
}

static void child_work(const char *what, const char *parents)
{
	char *p = map(64 * KIB), *q;

	check(p != MAP_FAILED, "%s", what);
	check_name(p, "forks:mmap");
	check_name(parents, "forks:mmap");
	munmap((char *)p + 4096, 4096);
	check(!live_kernel_names() || *live_name(p + 4096) == '\0', "%s: unmapped, and has a name", what);
	q = malloc(4 * MIB);
	check_name(q, "glibc:large:forks");
	free(q);
}

/* Neighbours of one name are one range of the registry, also after something was unmapped. */
static void merges(void)
{
	enum { PAGES = 64 };
	char *area = map(2 * PAGES * 4096);
	uint64_t before;

	munmap(area + PAGES * 4096, PAGES * 4096);
	before = live_counter(COUNT_RANGES);
	for (int i = 0; i < PAGES; i++)
		mmap(area + (PAGES + i) * 4096, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	check(live_counter(COUNT_RANGES) <= before + 1, "%lu ranges, before %lu", (unsigned long)live_counter(COUNT_RANGES),
	      (unsigned long)before);
	munmap(area, 2 * PAGES * 4096);
}

/* A thread forks: in the child its stack has its new tid, and another thread's is unused. */
struct stacks {
	char *other;
	char *parents;
};

static void *forker(void *arg)
{
	struct stacks *s = arg;
	char here = 0;
	pid_t child;

	pthread_setname_np(pthread_self(), "forker");
	check_name(&here, "stack:%t:forker");
	for (int i = 0; i < 20; i++) {
		child = live_fork();
		if (child == 0) {
			check_name(&here, "stack:%t:forker");
			check_name(s->other, "stack:unused");
			child_work("fork in a thread", s->parents);
			pid_t grandchild = live_fork();

			if (grandchild == 0) {
				check_name(&here, "stack:%t:forker");
				child_work("fork in a fork", s->parents);
				_exit(live_status());
			}
			live_join(grandchild, "fork in a fork");
			_exit(live_status());
		}
		live_join(child, "fork in a thread");
	}
	return NULL;
}

static pthread_barrier_t barrier;
static char *other_stack;

static void *waits(void *arg)
{
	char here = 0;

	other_stack = &here;
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return arg;
}

static int cloned(void *arg)
{
	char *p = map(64 * KIB);

	*(char **)arg = p;
	munmap(map(64 * KIB), 64 * KIB);
	return p == MAP_FAILED;
}

int main(void)
{
	pthread_t churners[2], waiter, t;
	char *parents = map(64 * KIB), *stack = map(256 * KIB), *made = NULL, *spare;
	struct stacks s = { .parents = parents };
	char program[] = "/bin/true", *const args[] = { program, NULL };
	int status;
	pid_t child;

	/* Fixed: else a chunk that was freed raises it, and the next one comes from an arena. */
	mallopt(M_MMAP_THRESHOLD, 1 << 20);
	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&waiter, NULL, waits, NULL);
	pthread_barrier_wait(&barrier);
	s.other = other_stack;
	for (int i = 0; i < 2; i++)
		pthread_create(&churners[i], NULL, churn, NULL);

	pthread_create(&t, NULL, forker, &s);
	pthread_join(t, NULL);

	for (int i = 0; i < 20; i++) {
		/* It shares our memory: what it maps stays here, with its name. */
		child = vfork();
		if (child == 0) {
			made = map(64 * KIB);
			munmap(map(128 * KIB), 128 * KIB);
			_exit(made == MAP_FAILED);
		}
		live_join(child, "vfork");
		check_name(made, "forks:mmap");
		munmap(made, 64 * KIB);

		check(posix_spawn(&child, "/bin/true", NULL, NULL, args, environ) == 0, "posix_spawn");
		live_join(child, "posix_spawn");
		check(posix_spawn(&child, "/no/such/program", NULL, NULL, args, environ) == ENOENT, "posix_spawn's error");

		/* A fork that no handler sees, and whose first call unmaps. */
		spare = map(4096);
		child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
		if (child == 0) {
			char *p;

			munmap(spare, 4096);
			p = map(64 * KIB);
			check_name(p, "forks:mmap");
			check_name(parents, "forks:mmap");
			merges();
			_exit(live_status());
		}
		live_join(child, "clone without CLONE_VM");
		munmap(spare, 4096);

		child = clone(cloned, stack + 256 * KIB, CLONE_VM | SIGCHLD, &made);
		check(child > 0, "clone: errno %d", errno);
		live_join(child, "clone with CLONE_VM");
		check_name(made, "forks:mmap");
		munmap(made, 64 * KIB);
	}
	status = system("exit 7");
	check(WEXITSTATUS(status) == 7, "system() says %#x", (unsigned)status);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++)
		pthread_join(churners[i], NULL);
	pthread_barrier_wait(&barrier);
	pthread_join(waiter, NULL);
	return live_status();
}
