/* SPDX-License-Identifier: MIT */
/* ANONNAME_JEMALLOC_ARENAS=thread: each thread's memory carries its id and its name. Linked with jemalloc. */
#include <jemalloc/jemalloc.h>
#include <pthread.h>

#include "live.h"

static void mine(const void *p, const char *thread)
{
	char wanted[64];

	snprintf(wanted, sizeof(wanted), "jemalloc:%%t:%s", thread);
	check_name(p, wanted);
}

static unsigned arena_now(void)
{
	unsigned arena = UINT32_MAX;
	size_t len = sizeof(arena);

	check(mallctl("thread.arena", &arena, &len, NULL, 0) == 0);
	return arena;
}

static unsigned arena_of[64];

/*
 * Mapped by the program before our constructor ran, and far from all that
 * jemalloc maps: it is not taken for jemalloc's, nor jemalloc asked about it.
 */
static void *far;

void called_early(void);
void called_early(void)
{
	far = mmap((void *)(GIB << 10), MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* A call before libc has its environment: what the environment says counts all the same. */
static void before_libc(void)
{
	munmap(map(MIB), MIB);
}

__attribute__((section(".preinit_array"), used)) static void (*const first)(void) = before_libc;

static void *body(void *arg)
{
	long number = (long)arg;
	char *p = malloc(MIB), *q = malloc(100), *huge = malloc(20 * MIB), name[16];

	memset(p, 1, MIB);
	memset(q, 1, 100);
	memset(huge, 1, 20 * MIB);
	mine(p, "first");
	mine(q, "first");
	mine(huge, "first");
	snprintf(name, sizeof(name), "worker%ld", number);
	check(pthread_setname_np(pthread_self(), name) == 0);
	mine(p, name);
	mine(q, name);
	mine(huge, name);
	arena_of[number] = arena_now();
	check(arena_of[number] != 0);
	/* Left behind: known by the arena. */
	free(q);
	free(huge);
	return p;
}

static void *nothing(void *unused) { return unused; }

/* --- the program's own hooks; where jemalloc is linked in nobody sees them set */

static extent_hooks_t own;
static int splits;

static bool own_split(extent_hooks_t *hooks, void *addr, size_t size, size_t a, size_t b, bool committed, unsigned arena)
{
	(void)addr, (void)size, (void)a, (void)b, (void)committed, (void)arena;
	check(hooks == &own, "the program's hook got somebody else's hooks");
	splits++;
	return false;
}

static void own_hooks(void)
{
	extent_hooks_t *hooks = NULL;
	unsigned arena = 0;
	size_t len = sizeof(arena);
	char name[40], *p;
	pthread_t t;

	check(mallctl("arenas.create", &arena, &len, NULL, 0) == 0);
	snprintf(name, sizeof(name), "arena.%u.extent_hooks", arena);
	len = sizeof(hooks);
	check(mallctl(name, &hooks, &len, NULL, 0) == 0 && hooks);
	own = *hooks;
	own.split = own_split;
	hooks = &own;
	check(mallctl(name, NULL, NULL, &hooks, sizeof(hooks)) == 0);
	/* When a thread starts, ours go before them at the latest. */
	check(pthread_create(&t, NULL, nothing, NULL) == 0);
	pthread_join(t, NULL);
	p = mallocx(3 * MIB, MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE);
	check(p && splits > 0, "%d splits", splits);
	snprintf(name, sizeof(name), "jemalloc:arena%u", arena);
	check_name(p, name);
	dallocx(p, MALLOCX_TCACHE_NONE);
}

int main(void)
{
	enum { N = 8 };
	pthread_t t[N];
	void *left[N];
	char *p = malloc(MIB);
	unsigned highest = 0;

	if (!live_active())
		live_skip("the library is not in this process");
	check(far && !strncmp(live_name(far), live_program, strlen(live_program)), "\"%s\"", live_name(far));
	check(pthread_setname_np(pthread_self(), "first") == 0);
	memset(p, 1, MIB);
	mine(p, "first");
	for (int round = 0; round < 4; round++) {
		for (long i = 0; i < N; i++)
			check(pthread_create(&t[i], NULL, body, (void *)i) == 0);
		for (long i = 0; i < N; i++)
			pthread_join(t[i], &left[i]);
		for (int i = 0; i < N; i++) {
			char wanted[32];

			snprintf(wanted, sizeof(wanted), "jemalloc:arena%u", arena_of[i]);
			/* Another thread may have the arena by now, or had it after this one. */
			if (strncmp(live_name(left[i]), "jemalloc:arena", 14))
				check_name(left[i], wanted);
			highest = arena_of[i] > highest ? arena_of[i] : highest;
			free(left[i]);
		}
	}
	/* Automatic arenas, the one for large allocations, and at most one a thread: they are used again. */
	check(highest <= (unsigned)sysconf(_SC_NPROCESSORS_ONLN) * 4 + N, "arena %u", highest);
	own_hooks();

	pid_t child = live_fork();

	if (child == 0) {
		mine(p, "first");
		_exit(live_status());
	}
	live_join(child, "the first thread's arena in a child");
	return live_status();
}
