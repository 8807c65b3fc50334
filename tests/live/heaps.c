/* SPDX-License-Identifier: MIT */
/* Named heaps: every function, from many threads, and nothing left behind. Linked with jemalloc. */
#define ANONNAME_WEAK
#include <anonname.h>

#include <jemalloc/jemalloc.h>
#include <pthread.h>
#include <stdalign.h>

#include "filters.h"
#include "live.h"

static unsigned narenas(void)
{
	unsigned n = 0;
	size_t len = sizeof(n);

	check(mallctl("arenas.narenas", &n, &len, NULL, 0) == 0);
	return n;
}

/*
 * Anonymous RSS in KiB, without what jemalloc has been given back and keeps for
 * ten seconds (its thread caches come from arena 0). Pages of the libraries'
 * files come as their code is first run; and statm may be wrong by some dozen
 * pages a processor since Linux 6.2.
 */
static long anonymous_rss(void)
{
	long kib = -1;
	char line[128];
	FILE *f;

	check(mallctl("arena.4096.purge", NULL, NULL, NULL, 0) == 0);
	f = fopen("/proc/self/smaps_rollup", "r");
	while (f && kib < 0 && fgets(line, sizeof(line), f))
		sscanf(line, "Anonymous: %ld", &kib);
	if (kib < 0)
		live_skip("/proc/self/smaps_rollup cannot be read");
	fclose(f);
	return kib;
}

static void one_heap(void)
{
	anonname_heap *heap = anonname_heap_create("cache/of [things]");
	volatile size_t huge = SIZE_MAX, odd = 3;
	char *p, *q;

	check(heap != NULL, "errno %d", errno);
	if (!heap)
		return;
	p = anonname_heap_malloc(heap, 100);
	check(p && anonname_heap_usable_size(heap, p) >= 100);
	memset(p, 1, 100);
	check_name(p, "cache_of _things_:heap");
	p = anonname_heap_realloc(heap, p, 3 * MIB);
	check(p && p[0] == 1 && p[99] == 1);
	memset(p, 1, 3 * MIB);
	check_name(p, "cache_of _things_:heap");
	check_name(p + 3 * MIB - 1, "cache_of _things_:heap");
	q = anonname_heap_calloc(heap, 1000, 1000);
	check(q && !q[0] && !q[999999]);
	check_name(q, "cache_of _things_:heap");
	errno = 0;
	check(anonname_heap_calloc(heap, huge, 2) == NULL && errno == ENOMEM);
	anonname_heap_free(heap, q);
	q = anonname_heap_aligned_alloc(heap, 65536, 10);
	check(q && ((uintptr_t)q & 65535) == 0);
	errno = 0;
	check(anonname_heap_aligned_alloc(heap, odd, 10) == NULL && errno == EINVAL);
	errno = 0;
	check(anonname_heap_malloc(heap, huge / 2) == NULL && errno == ENOMEM);
	q = anonname_heap_malloc(heap, 0);
	check(q != NULL);
	errno = 4711;
	anonname_heap_free(heap, q);
	anonname_heap_free(heap, NULL);
	check(errno == 4711);
	check(anonname_heap_usable_size(heap, NULL) == 0);
	/* Far more than one extent, and freed: purged memory keeps its name. */
	for (int i = 0; i < 50; i++) {
		q = anonname_heap_malloc(heap, MIB);
		memset(q, 1, MIB);
		check_name(q, "cache_of _things_:heap");
		anonname_heap_free(heap, q);
	}
	check_name(p, "cache_of _things_:heap");
	anonname_heap_destroy(heap);
	check(strcmp(live_name(p), "cache_of _things_:heap") != 0);
	anonname_heap_destroy(NULL);
	check(anonname_heap_create(NULL) == NULL && errno == EINVAL);
	check(anonname_heap_create("") == NULL && errno == EINVAL);
}

/* What this thread alone uses adds up to the byte; a quarter of the blocks holds the pages of the others. */
static void figures(void)
{
	enum { BLOCKS = 4000 };
	static void *blocks[BLOCKS];
	anonname_heap *heap = anonname_heap_create("figures");
	struct anonname_heap_stats stats, empty, freed;
	struct { struct anonname_heap_stats known; uint64_t later; } newer = { .later = 4711 };
	uint64_t live = 0;

	check(heap && anonname_heap_stats(heap, &empty, sizeof(empty)) == 0 && empty.live == 0 && empty.blocks == 0, "errno %d", errno);
	if (!heap)
		return;
	for (int i = 0; i < BLOCKS; i++) {
		size_t size = i % 100 ? 16 + (size_t)i % 3000 : 100 * KIB;

		blocks[i] = anonname_heap_malloc(heap, size);
		memset(blocks[i], 1, size);
		live += anonname_heap_usable_size(heap, blocks[i]);
	}
	errno = 4711;
	check(anonname_heap_stats(heap, &stats, sizeof(stats)) == 0 && errno == 4711);
	check(stats.live == live && stats.blocks == BLOCKS, "live %llu, %llu were taken", (unsigned long long)stats.live, (unsigned long long)live);
	check(stats.free == stats.trimmable + stats.pinned && stats.resident >= live + stats.metadata / 2);
	for (int i = 0; i < BLOCKS; i++)
		if (i % 4) {
			live -= anonname_heap_usable_size(heap, blocks[i]);
			anonname_heap_free(heap, blocks[i]);
		}
	check(anonname_heap_stats(heap, &freed, sizeof(freed)) == 0);
	check(freed.live == live && freed.blocks == BLOCKS / 4, "live %llu, %llu are left", (unsigned long long)freed.live, (unsigned long long)live);
	check(freed.pinned > stats.pinned + MIB, "pinned %llu", (unsigned long long)freed.pinned);
	check(anonname_heap_stats(heap, &newer.known, sizeof(newer)) == 0 && newer.known.live == live && newer.later == ANONNAME_UNKNOWN);
	check(anonname_heap_stats(heap, NULL, sizeof(stats)) == -1 && errno == EINVAL);
	check(anonname_heap_stats(NULL, &stats, sizeof(stats)) == -1 && errno == ENOTSUP);
	anonname_heap_destroy(heap);
	check(anonname_heap_stats(heap, &stats, sizeof(stats)) == -1 && errno == EINVAL);
}

static void *use(void *arg)
{
	anonname_heap **heaps = arg;
	void *kept[200];

	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < 200; i++) {
			kept[i] = anonname_heap_malloc(heaps[i % 4], 16 + (size_t)i * 10);
			memset(kept[i], i, 16 + (size_t)i * 10);
		}
		for (int i = 0; i < 200; i++) {
			check(((char *)kept[i])[15 + i * 10] == (char)i);
			anonname_heap_free(heaps[i % 4], kept[i]);
		}
	}
	return NULL;
}

static void threads(void)
{
	anonname_heap *heaps[4];
	pthread_t t[8];

	for (int i = 0; i < 4; i++)
		heaps[i] = anonname_heap_create("shared");
	for (int i = 0; i < 8; i++)
		pthread_create(&t[i], NULL, use, heaps);
	for (int i = 0; i < 8; i++)
		pthread_join(t[i], NULL);
	use(heaps);
	for (int i = 0; i < 4; i++)
		anonname_heap_destroy(heaps[i]);
}

static int named_after_heap(const struct anonname_range *range, void *unused)
{
	check(strncmp(range->name, "many", 4), "all heaps are destroyed, and %zu KiB are called %s", range->len / KIB, range->name);
	(void)unused;
	return 0;
}

enum { MANY = 1000 };

static void many(int count)
{
	static anonname_heap *heaps[MANY];

	for (int i = 0; i < count; i++) {
		char name[32];

		snprintf(name, sizeof(name), "many%d", i);
		heaps[i] = anonname_heap_create(name);
		check(heaps[i] != NULL, "number %d, errno %d", i, errno);
		if (!heaps[i])
			return;
		memset(anonname_heap_malloc(heaps[i], 100), 1, 100);
		memset(anonname_heap_malloc(heaps[i], 100000), 1, 100000);
	}
	for (int i = 0; i < count; i++)
		anonname_heap_destroy(heaps[i]);
	/* jemalloc's own tables grow while heaps are made, and are none of theirs. */
	anonname_foreach(named_after_heap, NULL);
}

static void forked(void)
{
	anonname_heap *heap = anonname_heap_create("forked");
	char *p = anonname_heap_malloc(heap, MIB);
	pid_t child = live_fork();

	if (child == 0) {
		anonname_heap *other = anonname_heap_create("child");
		char *q = anonname_heap_malloc(other, MIB);

		check_name(p, "forked:heap");
		check_name(q, "child:heap");
		anonname_heap_free(heap, p);
		anonname_heap_destroy(heap);
		anonname_heap_destroy(other);
		_exit(live_status());
	}
	live_join(child, "the child's heaps");
	check_name(p, "forked:heap");
	anonname_heap_destroy(heap);
}

struct sum {
	const char *name;
	size_t len;
};

static int add_up(const struct anonname_range *range, void *sum)
{
	struct sum *s = sum;

	s->len += strcmp(range->name, s->name) ? 0 : range->len;
	return 0;
}

static size_t mapped(const char *name)
{
	struct sum s = { name, 0 };

	anonname_foreach(add_up, &s);
	return s.len;
}

/* A heap that is destroyed is told from the one that has its place, and all that one maps has its name. */
static void destroyed(void)
{
	size_t len;
	anonname_heap *old = anonname_heap_create("old"), *new;
	uintptr_t handle = (uintptr_t)old;

	anonname_heap_free(old, anonname_heap_malloc(old, 8));
	len = mapped("old:heap");
	anonname_heap_destroy(old);
	new = anonname_heap_create("new");
	anonname_heap_free(new, anonname_heap_malloc(new, 8));
	check(len && mapped("new:heap") == len && !mapped("old:heap"), "%zu and %zu bytes", len, mapped("new:heap"));
	errno = 0;
	check(anonname_heap_malloc((anonname_heap *)handle, 8) == NULL && errno == EINVAL, "errno %d", errno);
	errno = 0;
	check(anonname_heap_calloc((anonname_heap *)handle, 8, 8) == NULL && errno == EINVAL, "errno %d", errno);
	anonname_heap_destroy(new);
}

/* mmap may fail with other errors than malloc has, and jemalloc sets none. */
static void no_memory(void)
{
	anonname_heap *heap = anonname_heap_create("starved");
	void *p = anonname_heap_malloc(heap, 8);
	pid_t child = live_fork();

	if (child == 0) {
		struct sock_fprog f = filter_refuse(SYS_mmap, 0, SECCOMP_RET_ERRNO | EAGAIN);
		const char *dss = "disabled";
		unsigned arena;
		size_t len = sizeof(arena);
		char name[32];

		check(mallctl("arenas.lookup", &arena, &len, &p, sizeof(p)) == 0);
		snprintf(name, sizeof(name), "arena.%u.dss", arena);
		check(mallctl(name, NULL, NULL, &dss, sizeof(dss)) == 0);
		check(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &f, 0, 0));
		if (mmap(NULL, MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) {
			printf("not tried: a heap without memory (valgrind asks for an address, and the filter lets that pass)\n");
			_exit(live_status());
		}
		errno = 0;
		check(anonname_heap_malloc(heap, 64 * MIB) == NULL && errno == ENOMEM, "errno %d", errno);
		errno = 0;
		check(anonname_heap_calloc(heap, 64, MIB) == NULL && errno == ENOMEM, "errno %d", errno);
		_exit(live_status());
	}
	live_join(child, "a heap without memory");
	anonname_heap_destroy(heap);
}

int main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : MANY;
	unsigned arenas;
	long vmas, kib;
	bool still = false;

	if (!live_active())
		live_skip("the library is not in this process");
	/* First: its first heap has a place that none had before. */
	destroyed();
	one_heap();
	figures();
	threads();
	no_memory();
	forked();
	many(count);
	/*
	 * jemalloc's own tables may grow once more, when an address comes up that
	 * they had no room for. A leak grows in each ten rounds.
	 */
	arenas = narenas();
	for (int tries = 0; tries < 3 && !still; tries++) {
		many(count);
		many(count);
		vmas = live_vmas();
		kib = anonymous_rss();
		for (int round = 0; round < 10; round++)
			many(count);
		printf("ten rounds of %d named heaps: arenas %+d, VMAs %+ld, anonymous RSS %+ld KiB\n", count,
		       (int)(narenas() - arenas), live_vmas() - vmas, anonymous_rss() - kib);
		/* fopen's buffer and the like; one page a heap would be 40,000. */
		still = live_vmas() <= vmas && anonymous_rss() < kib + 64;
	}
	check(still, "ten rounds of %d heaps leave something behind, three times", count);
	check(narenas() == arenas, "%u arenas became %u", arenas, narenas());
	return live_status();
}
