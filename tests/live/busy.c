/* SPDX-License-Identifier: MIT */
/*
 * Everything at once, from many threads: mapping, naming, asking, threads,
 * libraries, labels, named heaps, forks. It checks results and contents, not
 * names, so that it also runs where those are not as usual: under
 * ThreadSanitizer (races.py), whose own malloc and slowness change them.
 *   busy [ROUNDS]
 */
#define ANONNAME_WEAK
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include <anonname.h>

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <time.h>

#include "live.h"

enum { THREADS = 6, SHARED = 16 };
#define P 4096UL

static int rounds = 400;
static anonname_heap *_Atomic heaps[4];
static char *_Atomic shared[SHARED];    /* mapped by one thread, unmapped by another */
static pthread_t all[THREADS];
static atomic_int calls;

static void on_signal(int signal)
{
	char *p = mmap(NULL, 2 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)signal;
	atomic_fetch_add(&calls, 1);
	if (p != MAP_FAILED)
		munmap(p, 2 * P);
}

static void *short_thread(void *arg)
{
	pthread_setname_np(pthread_self(), "short");
	free(malloc(100));
	return arg;
}

static void map_things(unsigned x)
{
	size_t size = (1 + x % 64) * P;
	char *p = map(size), *q;

	check(p != MAP_FAILED);
	memset(p, (int)x, size);
	/* mremap takes one VMA. */
	if ((x & 5) == 1)
		mprotect(p, P, PROT_READ);
	if (x & 2)
		munmap(p + size / 2 / P * P, size - size / 2 / P * P), size = size / 2 / P * P;
	if (size && x & 4) {
		/* To a place of our own: ThreadSanitizer sees what mmap and munmap give and take, and not mremap. */
		q = map(size + 8 * P);
		check(q != MAP_FAILED);
		q = mremap(p, size, size + 8 * P, MREMAP_MAYMOVE | MREMAP_FIXED, q);
		check(q != MAP_FAILED && q[0] == (char)x && q[size - 1] == (char)x, "what moved is not what was there");
		p = q;
		size += 8 * P;
	}
	if (!size)
		return;
	/* Leave it to whoever comes next. */
	p = atomic_exchange(&shared[x % SHARED], p);
	if (p)
		munmap(p, P);
	atomic_fetch_add(&calls, 1);
}

static void name_things(unsigned x)
{
	char name[32], *p = map(16 * P);
	struct anonname_stats stats;

	snprintf(name, sizeof(name), "name-%u", x % 50);
	anonname_push(name);
	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, 4 * P, name);
	anonname_set(p + 4 * P, 4 * P, name);
	anonname_get(p, name, sizeof(name));
	anonname_clear(p, 8 * P);
	munmap(p, 16 * P);
	anonname_pop();
	if (x % 16 == 0) {
		anonname_stats(&stats, sizeof(stats));
		anonname_sweep();
	}
}

static void heap_things(unsigned x)
{
	anonname_heap *h = anonname_heap_create_any("busy");
	char *p = anonname_heap_malloc(h, 1 + x % 20000), *q;

	check(h != NULL || !live_root(), "no heap: errno %d", errno);
	*p = 1;
	q = anonname_heap_realloc(h, p, 30000);
	check(q && *q == 1);
	anonname_heap_free(h, q);
	h = atomic_exchange(&heaps[x % 4], h);
	if (h)
		anonname_heap_destroy(h);
}

static void process_things(unsigned x)
{
	pthread_t t;
	pid_t child;
	void *library;

	if (pthread_create(&t, NULL, short_thread, NULL) == 0)
		pthread_join(t, NULL);
	pthread_setname_np(all[x % THREADS], x & 8 ? "busy-a" : "busy-b");
	pthread_kill(all[x % THREADS], SIGUSR1);
	if (x % 64 == 0) {
		library = dlopen("libm.so.6", RTLD_NOW);
		if (library)
			dlclose(library);
	}
	if (x % 128 == 0) {
		child = fork();
		if (child == 0) {
			map_things(x);
			_exit(0);
		}
		live_join(child, "a child of a busy process");
	}
}

static pthread_barrier_t ready, done;

static void *work(void *arg)
{
	unsigned x = (unsigned)(uintptr_t)arg * 2654435761U + 1;

	pthread_barrier_wait(&ready);
	for (int i = 0; i < rounds; i++) {
		x = x * 1664525U + 1013904223U;
		map_things(x >> 8);
		if (i % 2 == 0)
			name_things(x >> 8);
		if (i % 4 == 0)
			heap_things(x >> 8);
		if (i % 8 == 0)
			process_things(x >> 8);
	}
	/* Nobody signals a thread that is gone. */
	pthread_barrier_wait(&done);
	return NULL;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	if (argc > 1)
		rounds = atoi(argv[1]);
	sigaction(SIGUSR1, &action, NULL);
	pthread_barrier_init(&ready, NULL, THREADS + 1);
	pthread_barrier_init(&done, NULL, THREADS);
	for (long i = 0; i < THREADS; i++)
		check(pthread_create(&all[i], NULL, work, (void *)i) == 0);
	pthread_barrier_wait(&ready);
	for (int i = 0; i < THREADS; i++)
		pthread_join(all[i], NULL);
	check(atomic_load(&calls) > 0);
	return live_status();
}
