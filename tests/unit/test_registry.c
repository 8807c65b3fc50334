/* SPDX-License-Identifier: MIT */
/* The registry's writer against a model that is an array of pages, in thousands of random histories. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/root.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "run.h"
#include "sink/registry/registry.h"

#define BASE 0x7f1200000000UL
#define PAGES 600U
#define P 4096UL
#define NAMES 40
#define HERE ((uintptr_t)__builtin_frame_address(0))

static char name_text[NAMES][ANONNAME_NAME_MAX + 1];
static uint8_t model[PAGES];    /* 0: none, else name + 1 */
static uint64_t rng;

static uint32_t random_below(uint32_t n)
{
	rng = rng * 6364136223846793005UL + 1442695040888963407UL;
	return (uint32_t)(rng >> 33) % n;
}

static uintptr_t at(uint32_t page) { return BASE + page * P; }

static void make_names(void)
{
	for (int i = 0; i < NAMES; i++) {
		int len = 2 + i * 2 - (i == NAMES - 1);

		snprintf(name_text[i], sizeof(name_text[i]), "%02d%.*s", i, len > 79 ? 77 : len - 2,
			 "-----------------------------------------------------------------------------");
	}
}

/* ck_assert writes to a file each time, also when all is well: too slow for millions of looks. */
#define must(condition, ...) \
	do { \
		if (!(condition)) \
			ck_abort_msg(__VA_ARGS__); \
	} while (0)

static const void *in_segments(const uint64_t *segments, uint64_t offset)
{
	unsigned k = 0;

	while (offset >= registry_segment_start(k) + registry_segment_size(k))
		k++;
	return (const char *)(uintptr_t)segments[k] + (offset - registry_segment_start(k));
}

/*
 * Each name counts as many references as there are ranges that bear it: fewer,
 * and it would be freed in use. The one that was asked for last has one more.
 */
static void check_references(unsigned long seed, int step)
{
	static uint32_t used[4096];
	const struct registry_top *top = (const void *)(uintptr_t)root.registry.top;
	uint64_t ranges = 0, names = 0;
	uint32_t kept = 0;

	memset(used, 0, sizeof(used));
	for (uint32_t i = 0; i < top->count; i++) {
		const struct registry_leaf *leaf = in_segments(root.registry.blocks, (top->slot[i].ref >> 32) * REGISTRY_BLOCK_SIZE);

		for (uint32_t k = 0; k < leaf->count; k++, ranges++)
			names += used[leaf->range[k].name % 4096]++ == 0;
	}
	for (uint32_t g = 0; g < sizeof(used) / sizeof(used[0]); g++) {
		const struct registry_name *n = used[g] ? in_segments(root.registry.names, (uint64_t)g * REGISTRY_NAME_GRANULE) : NULL;

		kept += n && n->refs == used[g] + 1;
		must(!n || n->refs - used[g] <= 1, "seed %lu step %d: name %.*s has %u references and %u ranges", seed, step,
			      n ? n->length : 0, n ? n->text : "", n ? n->refs : 0, used[g]);
	}
	must(kept <= 1, "seed %lu step %d: %u names have a reference too many", seed, step, kept);
	must(ranges == root.counter[COUNT_RANGES], "seed %lu step %d: %lu ranges, counted %lu", seed, step,
		      (unsigned long)ranges, (unsigned long)root.counter[COUNT_RANGES]);
	must(names + !kept == root.counter[COUNT_NAMES] || names == root.counter[COUNT_NAMES], "seed %lu step %d: %lu names, counted %lu", seed, step,
		      (unsigned long)names, (unsigned long)root.counter[COUNT_NAMES]);
}

/* Every range that the registry has, page by page, is what the model has, and nothing else. */
static void compare(unsigned long seed, int step)
{
	uint8_t seen[PAGES] = { 0 };
	struct registry_range r;
	char name[ANONNAME_NAME_MAX + 1];
	uintptr_t addr = 0;

	while (registry_next(addr, &r, name)) {
		must(r.start >= addr && r.end > r.start, "seed %lu step %d: ranges out of order", seed, step);
		must(r.start >= BASE && r.end <= at(PAGES), "seed %lu step %d: outside", seed, step);
		for (uintptr_t a = r.start; a < r.end; a += P) {
			int id = atoi((char[3]){ name[0], name[1], 0 });

			must(!strcmp(name, name_text[id]), "seed %lu step %d: a name that nobody gave: %s", seed, step, name);
			seen[(a - BASE) / P] = (uint8_t)(id + 1);
		}
		addr = r.end;
	}
	check_references(seed, step);
	for (uint32_t i = 0; i < PAGES; i++)
		must(seen[i] == model[i], "seed %lu step %d page %u: %d in the registry, %d in the model", seed, step, i,
			      seen[i], model[i]);
}

static void set(uint32_t from, uint32_t n, int name)
{
	registry_set(at(from), at(from + n), name_text[name], strlen(name_text[name]));
	memset(model + from, name + 1, n);
}

static void move(uint32_t from, uint32_t n, uint32_t to, uint32_t to_n, bool keep)
{
	uint8_t old[PAGES];
	struct registry_unmap unmap = registry_unmap_begin(HERE);

	memcpy(old, model + from, n);
	registry_move(at(from), n * P, at(to), to_n * P, unmap.stamp, keep);
	registry_unmap_end(unmap, 0, 0, false);
	if (to == from) {
		if (to_n < n)
			memset(model + from + to_n, 0, n - to_n);
		else
			memset(model + from + n, old[n - 1], to_n - n);
		return;
	}
	if (!keep)
		memset(model + from, 0, n);
	for (uint32_t i = 0; i < to_n; i++)
		model[to + i] = i < n ? old[i] : old[n - 1];
}

static void step(void)
{
	uint32_t from = random_below(PAGES), n = 1 + random_below(random_below(8) ? 6 : 200);
	struct registry_unmap unmap;

	if (from + n > PAGES)
		n = PAGES - from;
	switch (random_below(10)) {
	case 0:
	case 1:
		registry_clear(at(from), at(from + n));
		memset(model + from, 0, n);
		break;
	case 2:
	case 3:
		unmap = registry_unmap_begin(HERE);
		registry_unmap_end(unmap, at(from), at(from + n), true);
		memset(model + from, 0, n);
		break;
	case 4:
		/* Another thread maps and names the same addresses before the one that unmapped gets to say so. */
		unmap = registry_unmap_begin(HERE);
		memset(model + from, 0, n);
		set(from + n / 2, 1, (int)random_below(NAMES));
		registry_unmap_end(unmap, at(from), at(from + n), true);
		break;
	case 5: {
		uint32_t to = random_below(PAGES), to_n = 1 + random_below(2 * n);

		if (to + to_n > PAGES || (to < from + n && from < to + to_n))
			break;
		move(from, n, to, to_n, random_below(3) == 0);
		break;
	}
	case 6: {
		uint32_t to_n = 1 + random_below(2 * n);

		if (from + to_n > PAGES)
			break;
		move(from, n, from, to_n, false);
		break;
	}
	default: set(from, n, (int)random_below(NAMES));
	}
}

START_TEST(random_histories)
{
	enum { SEEDS = 1500, STEPS = 120 };

	make_names();
	ck_assert_int_eq(registry_start(), 0);
	for (unsigned long seed = 1; seed <= SEEDS; seed++) {
		rng = seed * 0x9e3779b97f4a7c15UL;
		for (int i = 0; i < STEPS; i++) {
			step();
			if (i % 10 == 9)
				compare(seed, i);
		}
		if (seed % 50 == 0) {
			registry_clear(at(0), at(PAGES));
			memset(model, 0, sizeof(model));
			compare(seed, -1);
			ck_assert_uint_eq(root.counter[COUNT_RANGES], 0);
			ck_assert_uint_le(root.counter[COUNT_NAMES], 1);
		}
	}
	ck_assert_uint_eq(root.counter[COUNT_DROPPED], 0);
	/* What is freed is used again: a small model never needs more. */
	ck_assert_uint_le(root.counter[COUNT_BYTES], 256 * 1024);
}
END_TEST

/*
 * What of the segments the kernel has given pages for. Segments may begin in the
 * middle of a page; it counts for the one that ends in it.
 */
static size_t touched(const uint64_t *segments)
{
	unsigned char pages[1024];
	size_t sum = 0;

	for (unsigned k = 0; k < REGISTRY_SEGMENTS && segments[k]; k++) {
		uint64_t end = (segments[k] + registry_segment_size(k) + P - 1) / P * P;

		for (uint64_t at = (segments[k] + P - 1) / P * P; at < end; at += sizeof(pages) * P) {
			uint64_t len = end - at < sizeof(pages) * P ? end - at : sizeof(pages) * P;

			ck_assert_int_eq(mincore((void *)(uintptr_t)at, len, pages), 0);
			for (uint64_t i = 0; i < len / P; i++)
				sum += (pages[i] & 1) * P;
		}
	}
	return sum;
}

static void fill_ten_thousand(bool forwards, bool different)
{
	char name[80], found[ANONNAME_NAME_MAX + 1];
	struct registry_range r;
	/* One name for ten ranges, or each its own; of the length that names have. */
	uint32_t libraries = different ? 1000 : 97;

	ck_assert_int_eq(registry_start(), 0);
	for (uint32_t i = 0; i < 10000; i++) {
		uint32_t k = forwards ? i : i * 7919 % 10000;

		snprintf(name, sizeof(name), "libexample.so.%u:mmap:%u", k / 10 % libraries, 4711 + k % 10);
		registry_set(BASE + k * 4 * P, BASE + (k * 4 + 3) * P, name, strlen(name));
	}
	ck_assert_uint_eq(root.counter[COUNT_RANGES], 10000);
	if (different)
		ck_assert_uint_ge(root.counter[COUNT_NAMES], 10000);
	ck_assert_uint_le(root.counter[COUNT_BYTES], 1 << 20);
	/* What it says of itself is what the kernel says. */
	ck_assert_uint_le(touched(root.registry.blocks) + touched(root.registry.names), root.counter[COUNT_BYTES] + 2 * P);
	for (uint32_t k = 0; k < 10000; k++) {
		snprintf(name, sizeof(name), "libexample.so.%u:mmap:%u", k / 10 % libraries, 4711 + k % 10);
		must(registry_next(BASE + (k * 4 + 1) * P, &r, found) && r.start == BASE + k * 4 * P && !strcmp(found, name), "range %u", k);
		/* In the hole behind it: the next one. */
		must(k == 9999 || (registry_next(BASE + (k * 4 + 3) * P, &r, found) && r.start == BASE + (k + 1) * 4 * P), "hole %u", k);
	}
	ck_assert(!registry_next(BASE + 40000 * P, &r, found));
}

START_TEST(ten_thousand_in_order) { fill_ten_thousand(true, false); }
END_TEST
START_TEST(ten_thousand_at_random) { fill_ten_thousand(false, false); }
END_TEST
START_TEST(ten_thousand_different_at_random) { fill_ten_thousand(false, true); }
END_TEST

START_TEST(neighbours_of_one_name_are_one_range)
{
	struct registry_range r;
	char name[ANONNAME_NAME_MAX + 1];

	registry_start();
	for (uint32_t i = 0; i < 1000; i++)
		registry_set(at(i), at(i + 1), "same", 4);
	/* A leaf's edge may stay; nearly all of them are gone. */
	ck_assert_uint_le(root.counter[COUNT_RANGES], 2);
	ck_assert(registry_next(at(500), &r, name));
	ck_assert_str_eq(name, "same");
	ck_assert_uint_eq(root.counter[COUNT_NAMES], 1);
}
END_TEST

/* More unmaps at once than there are slots, and no memory for more: neighbours are one again when these ended. */
enum { UNMAPS_AT_ONCE = 70 };

START_TEST(unmaps_without_a_slot)
{
	struct registry_unmap unmap[UNMAPS_AT_ONCE];
	uint32_t rights;

	registry_start();
	registry_set(at(0), at(1), "x", 1);
	rights = sandbox_restrict(MAY_ALL & ~MAY_MAP);
	for (int i = 0; i < UNMAPS_AT_ONCE; i++)
		unmap[i] = registry_unmap_begin(HERE);
	sandbox_restore(rights);
	/* The last ones alone have no slot: they must count, too. */
	for (int i = 0; i < UNMAPS_AT_ONCE - 1; i++)
		registry_unmap_end(unmap[i], 0, 0, false);
	registry_set(at(1), at(2), "x", 1);
	ck_assert_uint_eq(root.counter[COUNT_RANGES], 2);
	registry_unmap_end(unmap[UNMAPS_AT_ONCE - 1], 0, 0, false);
	registry_set(at(2), at(3), "x", 1);
	ck_assert_uint_eq(root.counter[COUNT_RANGES], 2);
}
END_TEST

START_TEST(odd_arguments)
{
	struct registry_range r;
	char name[ANONNAME_NAME_MAX + 1], longest[200];

	/* Before it was started: nothing happens. */
	registry_set(at(0), at(1), "x", 1);
	ck_assert(!registry_next(0, &r, name));
	registry_start();
	ck_assert_int_eq(registry_start(), 0);
	registry_set(at(1), at(1), "x", 1);
	registry_set(at(2), at(1), "x", 1);
	registry_clear(at(2), at(1));
	ck_assert(!registry_next(0, &r, name));
	memset(longest, 'l', sizeof(longest));
	registry_set(at(0), at(1), longest, 200);
	ck_assert(registry_next(0, &r, name));
	ck_assert_uint_eq(strlen(name), ANONNAME_NAME_MAX);
	registry_set(at(0), at(1), "", 0);
	ck_assert(registry_next(0, &r, name));
	ck_assert_str_eq(name, "");
	registry_set(0, UINTPTR_MAX & ~(P - 1), "everything", 10);
	ck_assert(registry_next(at(5), &r, name));
	ck_assert_str_eq(name, "everything");
	ck_assert_uint_eq(root.counter[COUNT_RANGES], 1);
}
END_TEST

/* Threads, each on pages of its own: at the end each finds what it set last. */
enum { THREADS = 4, OWN = 64, ROUNDS = 20000 };

static void *contender(void *arg)
{
	uintptr_t first = BASE + (uintptr_t)arg * OWN * P;
	char name[32];

	for (uint32_t i = 0; i < ROUNDS; i++) {
		uintptr_t a = first + i % OWN * P;

		if (i % 3 == 0) {
			struct registry_unmap unmap = registry_unmap_begin(HERE);

			registry_unmap_end(unmap, a, a + P, true);
		}
		snprintf(name, sizeof(name), "t%lu:%u", (unsigned long)arg, i % 500);
		registry_set(a, a + P, name, strlen(name));
	}
	return NULL;
}

static void contend_and_look(void)
{
	pthread_t t[THREADS];
	struct registry_range r;
	char name[ANONNAME_NAME_MAX + 1], wanted[32];
	uint64_t wrong = 0;

	registry_start();
	for (long i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, contender, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	registry_settle();
	for (uint32_t k = 0; k < THREADS; k++)
		for (uint32_t i = ROUNDS - OWN; i < ROUNDS; i++) {
			uintptr_t at = BASE + (k * OWN + i % OWN) * P;

			snprintf(wanted, sizeof(wanted), "t%u:%u", k, i % 500);
			wrong += !registry_next(at, &r, name) || r.start > at || strcmp(name, wanted);
		}
	ck_assert_uint_eq(wrong, 0);
	ck_assert_uint_eq(root.counter[COUNT_DROPPED], 0);
}

START_TEST(contention) { contend_and_look(); }
END_TEST

static volatile sig_atomic_t signals;

static void on_signal(int sig)
{
	uintptr_t a = BASE + (5000 + (unsigned)signals % 100) * P;

	(void)sig;
	registry_set(a, a + P, "handler", 7);
	registry_clear(a, a + P);
	registry_set(a, a + P, "handler", 7);
	signals++;
}

START_TEST(interrupted_by_a_handler)
{
	struct itimerval often = { { 0, 300 }, { 0, 300 } }, never = { { 0, 0 }, { 0, 0 } };
	struct registry_range r;
	char name[ANONNAME_NAME_MAX + 1];

	registry_start();
	signal(SIGALRM, on_signal);
	setitimer(ITIMER_REAL, &often, NULL);
	make_names();
	for (unsigned long seed = 1; signals < 500; seed++) {
		rng = seed;
		step();
	}
	setitimer(ITIMER_REAL, &never, NULL);
	registry_settle();
	for (uint32_t i = 0; i < 100; i++) {
		ck_assert(registry_next(BASE + (5000 + i) * P, &r, name));
		ck_assert_str_eq(name, "handler");
	}
	registry_clear(BASE + 5000 * P, BASE + 5100 * P);
	compare(0, 0);
}
END_TEST

static void *endless(void *arg)
{
	for (;;)
		contender(arg);
	return NULL;
}

/* The thread that was inside a change does not exist in the child; the child goes on all the same. */
START_TEST(fork_in_the_middle)
{
	pthread_t t;

	registry_start();
	pthread_create(&t, NULL, endless, (void *)1);
	for (int i = 0; i < 300; i++) {
		registry_fork_prepare();
		pid_t child = fork();

		if (child == 0) {
			struct registry_range r;
			char name[ANONNAME_NAME_MAX + 1];

			registry_fork_child();
			for (uint32_t k = 0; k < 200; k++)
				registry_set(at(k), at(k + 1), k % 2 ? "odd" : "even", k % 2 ? 3 : 4);
			for (uint32_t k = 0; k < 200; k++)
				if (!registry_next(at(k), &r, name) || strcmp(name, k % 2 ? "odd" : "even"))
					_exit(1);
			_exit(0);
		}
		registry_fork_parent();
		int status = 1;

		ck_assert_int_eq(waitpid(child, &status, 0), child);
		ck_assert_int_eq(status, 0);
	}
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("registry");

	sys_init();
	tcase_add_test(tests, random_histories);
	tcase_add_test(tests, ten_thousand_in_order);
	tcase_add_test(tests, ten_thousand_at_random);
	tcase_add_test(tests, ten_thousand_different_at_random);
	tcase_add_test(tests, neighbours_of_one_name_are_one_range);
	tcase_add_test(tests, unmaps_without_a_slot);
	tcase_add_test(tests, odd_arguments);
	tcase_add_test(tests, contention);
	tcase_add_test(tests, interrupted_by_a_handler);
	tcase_add_test(tests, fork_in_the_middle);
	return run_tests("registry", tests);
}
