/* SPDX-License-Identifier: MIT */
/*
 * jemalloc's documented rules for extent hooks (jemalloc(3), extent_hooks_t)
 * hold with the library in the process as they do without: the program's own
 * hooks get every call, with sound arguments, and what they answer counts. And
 * every arena's memory carries the arena's name. Linked with jemalloc.
 */
#include <dlfcn.h>
#include <jemalloc/jemalloc.h>
#include <pthread.h>
#include <stdatomic.h>

#include "live.h"

/* ThreadSanitizer has a malloc of its own, and jemalloc these as well. */
#ifdef __SANITIZE_THREAD__
#define malloc(n) mallocx(n, 0)
#define free(p) dallocx(p, 0)
#endif

#define PAGE 4096UL

/* What the test's hooks answer, and how often each was called. */
static struct {
	bool refuse_alloc, refuse_dalloc, refuse_decommit, refuse_lazy, refuse_forced, refuse_split, refuse_merge;
} answer;
static struct {
	atomic_int alloc, dalloc, destroy, commit, decommit, lazy, forced, split, merge;
} called;
static extent_hooks_t *our_own;         /* what the hooks must be given as their first argument */
static unsigned expected_arena;

static void sound(extent_hooks_t *hooks, const void *addr, size_t size, unsigned arena)
{
	check(hooks == our_own, "a hook got somebody else's hooks");
	check(arena == expected_arena, "arena %u, not %u", arena, expected_arena);
	check(((uintptr_t)addr & (PAGE - 1)) == 0 && (size & (PAGE - 1)) == 0 && size > 0, "%p, %zu bytes", addr, size);
}

static void *on_alloc(extent_hooks_t *hooks, void *at, size_t size, size_t align, bool *zero, bool *commit, unsigned arena)
{
	char *p;

	called.alloc++;
	if (arena >= 4096)
		return NULL;
	check(hooks == our_own);
	check(expected_arena == UINT32_MAX || arena == expected_arena);
	check((size & (PAGE - 1)) == 0 && (align & (align - 1)) == 0 && align >= PAGE);
	if (answer.refuse_alloc || at)
		return NULL;
	p = mmap(NULL, size + align, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	uintptr_t start = ((uintptr_t)p + align - 1) & ~(align - 1);

	if (start > (uintptr_t)p)
		munmap(p, start - (uintptr_t)p);
	munmap((char *)start + size, (uintptr_t)p + align - start);
	*zero = true;
	*commit = true;
	return (void *)start;
}

static bool on_dalloc(extent_hooks_t *hooks, void *addr, size_t size, bool committed, unsigned arena)
{
	(void)committed;
	called.dalloc++;
	sound(hooks, addr, size, arena);
	return answer.refuse_dalloc || munmap(addr, size) != 0;
}

static void on_destroy(extent_hooks_t *hooks, void *addr, size_t size, bool committed, unsigned arena)
{
	(void)committed;
	called.destroy++;
	sound(hooks, addr, size, arena);
	munmap(addr, size);
}

#define RANGE_HOOK(name, counter, what) \
	static bool name(extent_hooks_t *hooks, void *addr, size_t size, size_t offset, size_t length, unsigned arena) \
	{ \
		called.counter++; \
		sound(hooks, addr, size, arena); \
		check(offset + length <= size && length > 0); \
		what \
	}

RANGE_HOOK(on_commit, commit, return false;)
RANGE_HOOK(on_decommit, decommit, (void)addr; return answer.refuse_decommit;)
RANGE_HOOK(on_lazy, lazy, if (answer.refuse_lazy) return true; madvise((char *)addr + offset, length, MADV_FREE); return false;)
RANGE_HOOK(on_forced, forced, if (answer.refuse_forced) return true; return madvise((char *)addr + offset, length, MADV_DONTNEED) != 0;)

static bool on_split(extent_hooks_t *hooks, void *addr, size_t size, size_t a, size_t b, bool committed, unsigned arena)
{
	(void)committed;
	called.split++;
	sound(hooks, addr, size, arena);
	check(a + b == size && a && b);
	return answer.refuse_split;
}

static bool on_merge(extent_hooks_t *hooks, void *a, size_t a_size, void *b, size_t b_size, bool committed, unsigned arena)
{
	(void)committed;
	called.merge++;
	sound(hooks, a, a_size, arena);
	check((char *)a + a_size == b && b_size > 0);
	return answer.refuse_merge;
}

static extent_hooks_t all_hooks = {
	on_alloc, on_dalloc, on_destroy, on_commit, on_decommit, on_lazy, on_forced, on_split, on_merge,
};

/* --- help ------------------------------------------------------------------------------- */

static int set_number(unsigned arena, const char *what, ssize_t value)
{
	char name[64];

	snprintf(name, sizeof(name), "arena.%u.%s", arena, what);
	return mallctl(name, NULL, NULL, &value, sizeof(value));
}

static int command(unsigned arena, const char *what)
{
	char name[64];

	snprintf(name, sizeof(name), "arena.%u.%s", arena, what);
	return mallctl(name, NULL, NULL, NULL, 0);
}

static extent_hooks_t *hooks_of(unsigned arena)
{
	extent_hooks_t *hooks = NULL;
	size_t len = sizeof(hooks);
	char name[64];

	snprintf(name, sizeof(name), "arena.%u.extent_hooks", arena);
	check(mallctl(name, &hooks, &len, NULL, 0) == 0);
	return hooks;
}

/* Sets them, by name or by mib, and returns the old ones. */
static extent_hooks_t *set_hooks(unsigned arena, extent_hooks_t *new, bool by_mib)
{
	extent_hooks_t *old = NULL;
	size_t len = sizeof(old), mib[3], mib_len = 3;
	char name[64];

	snprintf(name, sizeof(name), "arena.%u.extent_hooks", arena);
	check(mallctlnametomib(name, mib, &mib_len) == 0);
	check((by_mib ? mallctlbymib(mib, mib_len, &old, &len, &new, sizeof(new)) :
			mallctl(name, &old, &len, &new, sizeof(new))) == 0);
	return old;
}

static unsigned new_arena(extent_hooks_t *hooks)
{
	unsigned arena = UINT32_MAX;
	size_t len = sizeof(arena);

	expected_arena = UINT32_MAX;
	check(mallctl("arenas.create", &arena, &len, hooks ? &hooks : NULL, hooks ? sizeof(hooks) : 0) == 0);
	expected_arena = arena;
	set_number(arena, "dirty_decay_ms", -1);
	set_number(arena, "muzzy_decay_ms", -1);
	return arena;
}

static void named(const void *p, unsigned arena)
{
	char wanted[40];

	if (!live_active() || !p)
		return;
	snprintf(wanted, sizeof(wanted), "jemalloc:arena%u", arena);
	check_name(p, wanted);
}

/* --- the rules ----------------------------------------------------------------------------- */

/* Allocations of each size, named; freed, purged, still named where they stay mapped. */
static void use(unsigned arena)
{
	int flags = MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE;
	char *small = mallocx(100, flags), *large = mallocx(256 * KIB, flags), *huge = mallocx(12 * MIB, flags);

	check(small && large && huge);
	memset(small, 1, 100);
	memset(large, 1, 256 * KIB);
	memset(huge, 1, 12 * MIB);
	named(small, arena);
	named(large, arena);
	named(large + 256 * KIB - 1, arena);
	named(huge, arena);
	named(huge + 12 * MIB - 1, arena);
	dallocx(large, flags);
	check(command(arena, "purge") == 0);
	named(small, arena);
	named(huge, arena);
	/* Shrunk in place: split. Grown again: merged, or elsewhere. */
	xallocx(huge, 4 * MIB, 0, flags);
	huge = rallocx(huge, 20 * MIB, flags);
	memset(huge, 2, 20 * MIB);
	named(huge, arena);
	named(huge + 20 * MIB - 1, arena);
	dallocx(huge, flags);
	check(command(arena, "decay") == 0);
	named(small, arena);
	check(small[99] == 1);
	dallocx(small, flags);
}

static void default_hooks(void)
{
	unsigned arena = new_arena(NULL);
	extent_hooks_t *hooks = hooks_of(arena);

	check(hooks && hooks->alloc && hooks == hooks_of(0), "a new arena has jemalloc's own hooks");
	use(arena);
	check(command(arena, "reset") == 0);
	use(arena);
	check(command(arena, "destroy") == 0);
	/* The index is used again: by an arena with other hooks. */
	our_own = &all_hooks;
	check(new_arena(&all_hooks) == arena);
	use(arena);
	check(command(arena, "destroy") == 0);
}

static void own_hooks(bool by_mib)
{
	unsigned arena = new_arena(NULL);
	extent_hooks_t *old, second = all_hooks;

	our_own = &all_hooks;
	memset(&called, 0, sizeof(called));
	old = set_hooks(arena, &all_hooks, by_mib);
	check(old == hooks_of(0), "the old ones are jemalloc's own");
	check(hooks_of(arena) == &all_hooks, "the program reads what it set");
	use(arena);
	check(called.alloc > 0 && called.split > 0, "%d alloc, %d split", called.alloc, called.split);
	/* Purged where dalloc refuses. */
	answer.refuse_dalloc = true;
	answer.refuse_decommit = true;
	use(arena);
	check(called.dalloc > 0 && called.decommit > 0 && called.forced > 0, "%d dalloc, %d decommit, %d forced", called.dalloc,
	      called.decommit, called.forced);
	answer.refuse_forced = true;
	use(arena);
	check(called.lazy > 0);
	memset(&answer, 0, sizeof(answer));
	answer.refuse_dalloc = true;
	use(arena);
	use(arena);
	check(called.commit > 0, "what was decommitted is committed");
	answer.refuse_merge = true;
	answer.refuse_split = true;
	use(arena);
	memset(&answer, 0, sizeof(answer));
	our_own = &second;
	check(set_hooks(arena, &second, by_mib) == &all_hooks);
	use(arena);
	answer.refuse_alloc = true;
	check(mallocx(100 * MIB, MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE) == NULL, "no extent, no memory");
	memset(&answer, 0, sizeof(answer));
	check(command(arena, "reset") == 0);
	/* And back to jemalloc's own. */
	check(set_hooks(arena, old, by_mib) == &second);
	check(hooks_of(arena) == old);
	called.alloc = 0;
	use(arena);
	check(called.alloc == 0);
}

static void made_with_hooks(void)
{
	unsigned arena;

	our_own = &all_hooks;
	memset(&called, 0, sizeof(called));
	arena = new_arena(&all_hooks);
	check(hooks_of(arena) == &all_hooks);
	check(called.alloc > 0, "the arena's own memory comes from its hooks");
	answer.refuse_dalloc = true;
	use(arena);
	answer.refuse_dalloc = false;
	check(command(arena, "destroy") == 0);
	check(called.destroy > 0 || called.dalloc > 0);
}

/* Hooks that leave some out: jemalloc asks whether they are there. */
static void sparse_hooks(void)
{
	extent_hooks_t sparse = { .alloc = on_alloc };
	unsigned arena = new_arena(NULL);

	our_own = &sparse;
	memset(&called, 0, sizeof(called));
	set_hooks(arena, &sparse, false);
	use(arena);
	check(called.alloc > 0);
	check(called.dalloc + called.commit + called.decommit + called.lazy + called.forced + called.split + called.merge == 0);
	/* They stand on this stack. */
	set_hooks(arena, hooks_of(0), false);
}

/* Hooks that call on those that they found. */
static extent_hooks_t *found;
static void *forward_alloc(extent_hooks_t *hooks, void *at, size_t size, size_t align, bool *zero, bool *commit, unsigned arena)
{
	(void)hooks;
	called.alloc++;
	return found->alloc(found, at, size, align, zero, commit, arena);
}

static void forwarding_hooks(void)
{
	static extent_hooks_t forward;
	unsigned arena = new_arena(NULL);

	found = hooks_of(arena);
	forward = *found;
	forward.alloc = forward_alloc;
	memset(&called, 0, sizeof(called));
	check(set_hooks(arena, &forward, true) == found);
	use(arena);
	check(called.alloc > 0);
}

/* The program names its extents itself: its name stays. */
static void *naming_alloc(extent_hooks_t *hooks, void *at, size_t size, size_t align, bool *zero, bool *commit, unsigned arena)
{
	void *p = found->alloc(found, at, size, align, zero, commit, arena);

	(void)hooks;
	if (p)
		syscall(SYS_prctl, 0x53564d41, 0, (long)p, size, "mine");
	return p;
}

static void naming_hooks(void)
{
	static extent_hooks_t naming;
	unsigned arena = new_arena(NULL);
	char *p;

	found = hooks_of(arena);
	naming = *found;
	naming.alloc = naming_alloc;
	set_hooks(arena, &naming, false);
	p = mallocx(64 * MIB, MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE);
	check(p);
	memset(p, 1, 64 * MIB);
	if (live_active())
		check_name(p + MIB, "mine");
}

static void bad_calls(void)
{
	extent_hooks_t *hooks = NULL;
	size_t len = 3;
	unsigned arena;

	check(mallctl("arena.0.extent_hooks", &hooks, &len, NULL, 0) != 0, "a length that is wrong is refused");
	check(mallctl("arena.0.extent_hooks", NULL, NULL, &hooks, 3) != 0);
	check(mallctl("arena.4095.extent_hooks", NULL, NULL, &hooks, sizeof(hooks)) != 0);
	len = 1;
	check(mallctl("arenas.create", &arena, &len, NULL, 0) != 0);
	check(mallctl("arena.x.extent_hooks", NULL, NULL, NULL, 0) != 0);
	check(mallctl("no.such", NULL, NULL, NULL, 0) != 0);
}

/* --- names of the arenas that threads use ------------------------------------------------------ */

static unsigned arena_of(void *p)
{
	unsigned arena = UINT32_MAX;
	size_t len = sizeof(arena);

	check(mallctl("arenas.lookup", &arena, &len, &p, sizeof(p)) == 0);
	return arena;
}

/* From 8 MiB up jemalloc takes an arena of its own; no larger than that needs, for emulators. */
#define OVERSIZE (9 * MIB)

static void *in_thread(void *unused)
{
	char *p = malloc(300 * KIB), *q = malloc(100), *huge = malloc(OVERSIZE);

	(void)unused;
	memset(p, 1, 300 * KIB);
	memset(q, 1, 100);
	memset(huge, 1, OVERSIZE);
	named(p, arena_of(p));
	named(q, arena_of(q));
	named(huge, arena_of(huge));
	named(huge + OVERSIZE - 1, arena_of(huge));
	free(p);
	free(q);
	free(huge);
	return NULL;
}

/* The program binds a thread to an automatic arena itself. */
static void *bound_thread(void *unused)
{
	unsigned arena = 0;
	size_t len = sizeof(arena);
	char *p;

	/* The last: the one that jemalloc would not choose. */
	check(mallctl("opt.narenas", &arena, &len, NULL, 0) == 0 && arena-- > 0);
	check(mallctl("thread.arena", NULL, NULL, &arena, sizeof(arena)) == 0);
	p = malloc(5 * MIB);
	memset(p, 1, 5 * MIB);
	check(arena_of(p) == arena, "arena %u", arena_of(p));
	named(p, arena);
	free(p);
	return unused;
}

/* After jemalloc has dropped the thread's state: its key is older than this one's. */
static void at_the_end(void *unused)
{
	char *p = malloc(5 * MIB);

	(void)unused;
	memset(p, 1, 5 * MIB);
	named(p, arena_of(p));
	free(p);
}

static void *ending_thread(void *key)
{
	free(malloc(100));
	check(pthread_setspecific(*(pthread_key_t *)key, key) == 0);
	return NULL;
}

static void bindings(void)
{
	pthread_key_t key;
	pthread_t t;

	check(pthread_key_create(&key, at_the_end) == 0);
	for (int i = 0; i < 4; i++) {
		check(pthread_create(&t, NULL, bound_thread, NULL) == 0);
		pthread_join(t, NULL);
		check(pthread_create(&t, NULL, ending_thread, &key) == 0);
		pthread_join(t, NULL);
	}
}

/* Which arenas have hooks of ours? Through dlsym nothing stands between us and jemalloc. */
static void whose_hooks(void)
{
	int (*real)(const char *, void *, size_t *, void *, size_t) =
		(__typeof__(real))dlsym(RTLD_DEFAULT, "mallctl");
	const char *choice = getenv("ANONNAME_JEMALLOC");
	bool every = choice && !strcmp(choice, "hooks");
	char *large = malloc(OVERSIZE), name[40];
	extent_hooks_t *hooks = NULL;
	size_t len = sizeof(hooks);

	check(real("arena.0.extent_hooks", &hooks, &len, NULL, 0) == 0);
	check((hooks != hooks_of(0)) == every, "arena 0 has %s hooks", every ? "jemalloc's own" : "other");
	snprintf(name, sizeof(name), "arena.%u.extent_hooks", arena_of(large));
	check(real(name, &hooks, &len, NULL, 0) == 0);
	if (!every)
		check(hooks != hooks_of(0), "the arena for large allocations has none of ours");
	free(large);
}

static void threads(void)
{
	enum { N = 24 };
	pthread_t t[N];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < N; i++)
			check(pthread_create(&t[i], NULL, in_thread, NULL) == 0);
		for (int i = 0; i < N; i++)
			pthread_join(t[i], NULL);
	}
}

static void forked(void)
{
	/* jemalloc makes its locks anew in the child, and to ThreadSanitizer they are still the parent's. */
#ifdef __SANITIZE_THREAD__
	return;
#endif
	unsigned arena = new_arena(NULL);
	char *p = mallocx(MIB, MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE);
	pid_t child = live_fork();

	if (child == 0) {
		named(p, arena);
		in_thread(NULL);
		threads();
		default_hooks();
		_exit(live_status());
	}
	live_join(child, "extents in a child");
}

/* ANONNAME_JEMALLOC=mmap or off: one name for all, or none, and no hooks. */
static int without_hooks(const char *name)
{
	extent_hooks_t *hooks = NULL, *of_new = NULL;
	size_t len = sizeof(hooks);
	unsigned arena = 0;
	char of_arena[40], *p = malloc(30 * MIB);

	if (!live_active())
		live_skip("the library is not in this process");
	memset(p, 1, 30 * MIB);
	check_name(p, name);
	check(mallctl("arena.0.extent_hooks", &hooks, &len, NULL, 0) == 0);
	len = sizeof(arena);
	check(mallctl("arenas.create", &arena, &len, NULL, 0) == 0);
	snprintf(of_arena, sizeof(of_arena), "arena.%u.extent_hooks", arena);
	len = sizeof(of_new);
	check(mallctl(of_arena, &of_new, &len, NULL, 0) == 0 && of_new == hooks, "an arena has other hooks");
	p = mallocx(30 * MIB, MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE);
	memset(p, 1, 30 * MIB);
	check_name(p, name);
	return live_status();
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return without_hooks(argv[1]);

	char *early = malloc(200 * KIB);

	memset(early, 1, 200 * KIB);
	named(early, 0);
	in_thread(NULL);
	bad_calls();
	default_hooks();
	own_hooks(false);
	own_hooks(true);
	made_with_hooks();
	sparse_hooks();
	forwarding_hooks();
	naming_hooks();
	if (live_active())
		whose_hooks();
	bindings();
	threads();
	forked();
	free(early);
	return live_status();
}
