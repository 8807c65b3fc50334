/* SPDX-License-Identifier: MIT */
/* Every function of anonname.h but the heaps': under the library, and as no-ops without it. */
#define ANONNAME_WEAK
#include <anonname.h>

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>

#include "live.h"

static void names(void)
{
	char *p = map(16 * MIB), got[100], long_name[200];
	void *file;
	FILE *f = tmpfile();

	check(anonname_set(p, MIB, "index/of [words]") == 0, "errno %d", errno);
	check_name(p, "index_of _words_");
	int done = anonname_setf(p + MIB, MIB, "shard:%d", 7);

	check(done == 0);
	check_name(p + MIB, "shard:7");
	check_name(p + 2 * MIB - 1, "shard:7");
	check(strcmp(live_name(p + 2 * MIB), "shard:7") != 0);
	check(anonname_get(p + MIB + 5, got, sizeof(got)) == 7 && !strcmp(got, "shard:7"), "got %s", got);
	check(anonname_get(p + MIB, got, 4) == 7 && !strcmp(got, "sha"), "got %s", got);
	check(anonname_get(p + MIB, NULL, 0) == 7);
	memset(long_name, 'x', sizeof(long_name) - 1);
	long_name[0] = 'A';
	long_name[198] = 'Z';
	long_name[199] = '\0';
	check(anonname_set(p, MIB, long_name) == 0);
	check(anonname_get(p, got, sizeof(got)) == ANONNAME_MAX && got[0] == 'A' && got[78] == 'Z', "got %s", got);
	check(anonname_clear(p, MIB) == 0);
	check(anonname_get(p, got, sizeof(got)) == 0 && !got[0], "got %s", got);
	check(anonname_set(p, 0, "nothing") == 0);
	check(anonname_set(p, 1, "one page") == 0);
	check_name(p, "one page");
	check(!*live_name(p + 4096), "the next page is called %s", live_name(p + 4096));
	/* Errors. */
	check(anonname_set(p + 1, MIB, "x") == -1 && errno == EINVAL);
	check(anonname_set(p, MIB, NULL) == -1 && errno == EINVAL);
	check(anonname_set(p, SIZE_MAX - 100, "x") == -1 && errno == EINVAL);
	munmap(p + 4 * MIB, MIB);
	check(anonname_set(p + 3 * MIB, 3 * MIB, "around") == -1 && errno == ENOMEM, "errno %d", errno);
	check_name(p + 3 * MIB, "around");
	check_name(p + 5 * MIB, "around");
	check(anonname_get(p + 4 * MIB, got, sizeof(got)) == -1 && errno == ENOENT);
	if (f && ftruncate(fileno(f), MIB) == 0) {
		file = mmap(NULL, MIB, PROT_READ, MAP_PRIVATE, fileno(f), 0);
		check(anonname_set(file, MIB, "x") == -1 && errno == EBADF, "errno %d", errno);
		check(anonname_get(file, got, sizeof(got)) > 0 && strchr(got, '/'), "a file is %s", got);
	}
	check(anonname_get(&errno, got, sizeof(got)) >= 0);
	check(anonname_get(got, got, sizeof(got)) > 0 && !strcmp(got, "[stack]"), "the stack is %s", got);
	errno = 4711;
	check(anonname_set(p, MIB, "kept") == 0 && errno == 4711);
	munmap(p, 16 * MIB);
}

/* --- labels */

static char *mapped;

static void ends_labelled(const char *label)
{
	const char *name = live_name(mapped);
	size_t n = strlen(name), m = strlen(label);

	check(n > m && !strcmp(name + n - m, label) && name[n - m - 1] == ':', "%s does not end with :%s", name, label);
	munmap(mapped, 64 * KIB);
}

static void scoped(int early)
{
	ANONNAME_SCOPE("scope");
	mapped = map(64 * KIB);
	ends_labelled("scope");
	anonname_push("forgotten");
	if (early)
		return;
	anonname_pop();
}

static void *unlabelled(void *unused)
{
	(void)unused;
	mapped = map(64 * KIB);
	return NULL;
}

static void on_signal(int sig)
{
	(void)sig;
	anonname_push("handler");
	mapped = map(64 * KIB);
	anonname_pop();
}

static void labels(void)
{
	static char plain[100];
	jmp_buf back;
	pthread_t t;
	int depth;

	mapped = map(64 * KIB);
	strcpy(plain, live_name(mapped));
	munmap(mapped, 64 * KIB);
	depth = anonname_push("outer");
	check(depth == 0);
	mapped = map(64 * KIB);
	ends_labelled("outer");
	check(anonname_push("inner") == 1);
	mapped = map(64 * KIB);
	ends_labelled("inner");
	check(pthread_create(&t, NULL, unlabelled, NULL) == 0);
	pthread_join(t, NULL);
	check_name(mapped, plain);
	munmap(mapped, 64 * KIB);
	scoped(0);
	scoped(1);
	mapped = map(64 * KIB);
	ends_labelled("inner");
	signal(SIGUSR1, on_signal);
	raise(SIGUSR1);
	ends_labelled("handler");
	anonname_pop();
	mapped = map(64 * KIB);
	ends_labelled("outer");
	/* longjmp leaves labels behind; pop_to takes them. */
	volatile int before = anonname_push("jump");

	if (setjmp(back) == 0) {
		for (int i = 0; i < 20; i++)
			anonname_push("deep");
		longjmp(back, 1);
	}
	anonname_pop_to(before);
	mapped = map(64 * KIB);
	ends_labelled("outer");
	anonname_pop();
	anonname_pop();
	anonname_pop();
	mapped = map(64 * KIB);
	check_name(mapped, plain);
	munmap(mapped, 64 * KIB);
	anonname_push(NULL);
	mapped = map(64 * KIB);
	check_name(mapped, plain);
	anonname_pop();
	munmap(mapped, 64 * KIB);
}

/* --- the whole process */

static int seen;
static const char *looked_for;

static int look(const struct anonname_range *range, void *context)
{
	check(context == &seen && range->len > 0 && range->name[0]);
	if (strcmp(range->name, looked_for))
		return 0;
	seen++;
	return 4711;
}

static void process(void)
{
	struct anonname_stats stats;
	struct { struct anonname_stats stats; uint64_t more; } newer;
	char *p = map(MIB), *raw;

	anonname_set(p, MIB, "looked for");
	looked_for = "looked for";
	check(anonname_foreach(look, &seen) == 4711 && seen == 1);
	looked_for = "not there";
	check(anonname_foreach(look, &seen) == 0 && seen == 1);
	check(anonname_stats(&stats, sizeof(stats)) == 0 && stats.named > 0 && (stats.kernel || stats.registry));
	check(stats.kernel == live_kernel_names());
	memset(&newer, 0xff, sizeof(newer));
	check(anonname_stats(&newer.stats, sizeof(newer)) == 0 && newer.more == 0);
	check(anonname_stats(NULL, 0) == -1 && errno == EINVAL);
	raw = (char *)live_raw(SYS_mmap, 0, 2 * MIB + 64 * KIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(!*live_name(raw), "%s", live_name(raw));
	check(anonname_sweep() >= 1);
	check(*live_name(raw) && strstr(live_name(raw), ":mmap"), "%s", live_name(raw));
	check(anonname_sweep() == 0, "all is named");
	check_name(p, "looked for");
}

/* Without the library: nothing happens, and a heap is malloc. */
static void nothing(void)
{
	anonname_heap *heap = anonname_heap_create("x");
	struct anonname_stats stats;
	char *p = map(MIB), got[10];
	struct anonname_heap_stats heap_stats;
	int done;

	check(!heap && errno == ENOTSUP);
	check(anonname_heap_create_any("x") == NULL);
	done = anonname_setf(p, MIB, "%d", 1);
	check(anonname_set(p, MIB, "x") == 0 && done == 0 && anonname_clear(p, MIB) == 0);
	check(anonname_get(p, got, sizeof(got)) == -1 && anonname_stats(&stats, sizeof(stats)) == -1);
	check(anonname_push("x") == 0 && anonname_foreach(look, NULL) == 0 && anonname_sweep() == 0);
	anonname_pop();
	{
		ANONNAME_SCOPE("x");
		anonname_pop_to(0);
	}
	p = anonname_heap_malloc(heap, 100);
	p = anonname_heap_realloc(heap, p, 1000);
	check(p && anonname_heap_usable_size(heap, p) >= 1000);
	anonname_heap_free(heap, p);
	p = anonname_heap_calloc(heap, 10, 10);
	check(p && !p[99]);
	anonname_heap_free(heap, p);
	p = anonname_heap_aligned_alloc(heap, 4096, 4096);
	check(((uintptr_t)p & 4095) == 0);
	anonname_heap_free(heap, p);
	check(anonname_heap_stats(heap, &heap_stats, sizeof(heap_stats)) == -1);
	anonname_heap_destroy(heap);
}

/* Under the library, without jemalloc. */
static void plain_heap(void)
{
	anonname_heap *heap = anonname_heap_create("x"), *other;
	struct anonname_heap_stats stats;
	char *p, *q;

	check(!heap && errno == ENOTSUP);
	heap = anonname_heap_create_any("x");
	other = anonname_heap_create_any("y");
	check(heap && other && heap != other);
	p = anonname_heap_malloc(heap, 10);
	strcpy(p, "123456789");
	for (int i = 0; i < 1000; i++)
		memset(anonname_heap_malloc(heap, (size_t)i), 1, (size_t)i);
	p = anonname_heap_realloc(heap, p, 10000);
	check(!strcmp(p, "123456789") && anonname_heap_usable_size(heap, p) >= 10000);
	q = anonname_heap_aligned_alloc(heap, 8192, 100);
	check(q && ((uintptr_t)q & 8191) == 0);
	anonname_heap_free(heap, q);
	q = anonname_heap_calloc(heap, 100, 100);
	check(q && !q[9999] && ((uintptr_t)q & 15) == 0);
	anonname_heap_free(heap, q);
	check(anonname_heap_stats(heap, &stats, sizeof(stats)) == 0 && stats.blocks == 1001 && stats.live == 10000 + 999 * 500 &&
	      stats.free == ANONNAME_UNKNOWN && stats.resident == ANONNAME_UNKNOWN, "of a heap on malloc what was asked for is known");
	anonname_heap_destroy(heap);
	check(anonname_heap_malloc(heap, 1) == NULL && errno == EINVAL, "a heap that is destroyed");
	p = anonname_heap_malloc(other, 10);
	check(p != NULL);
	anonname_heap_destroy(other);
	p = anonname_heap_malloc(NULL, 10);
	anonname_heap_free(NULL, p);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "without")) {
		nothing();
		return live_status();
	}
	if (!live_active())
		live_skip("the library is not in this process");
	names();
	labels();
	process();
	plain_heap();
	return live_status();
}
