/* SPDX-License-Identifier: MIT */
/* What is live and free in glibc's arenas: against what libc says itself, and in heaps that are damaged or built here. */
#include "../../src/heap/chunks.h"
#include "../../src/heap/heap.h"
#include "../../src/heap/lists.h"
#include "emulated.h"
#include "run.h"

#include <errno.h>
#include <gnu/libc-version.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- a child and what its libc says ----------------------------------------------- */

#define CHUNKS 20000

enum { HONEST, FEW_LEFT, DAMAGED_SIZE, DAMAGED_FASTBIN, DAMAGED_TOP };

static struct proc proc;
static pid_t child;
static int told[2], asked[2];
static struct heaps heaps;
static size_t live_bytes;           /* the thread's, with the heads of its chunks */
static FILE *said;

static void answer(void)
{
	ck_assert_int_eq(write(told[1], &live_bytes, sizeof(live_bytes)), sizeof(live_bytes));
}

static void wait_for_parent(void)
{
	char byte;

	if (read(asked[0], &byte, 1) != 1)
		_exit(0);
}

/* Sizes from 24 to 2000 bytes, of which four in five are freed, or nearly all. */
static void fill(char **kept, unsigned seed, int what)
{
	for (unsigned i = 0; i < CHUNKS; i++) {
		seed = seed * 1103515245 + 12345;
		kept[i] = malloc(24 + (seed >> 16) % 1976);
		memset(kept[i], 1, malloc_usable_size(kept[i]));
	}
	for (unsigned i = 0; i < CHUNKS; i++)
		if (what == FEW_LEFT ? i % 1000 : i % 5) {
			free(kept[i]);
			kept[i] = NULL;
		}
}

/* The arena stands in the first word of its heap. From 2.43 on there are no fastbins in front of its top. */
static void damage_top(char *chunk)
{
	size_t **heap = (size_t **)((size_t)chunk & ~((64UL << 20) - 1));

	heap[0][strverscmp(gnu_get_libc_version(), "2.43") < 0 ? 12 : 1] += 64;
}

static void *worker(void *what)
{
	static char *kept[CHUNKS];
	size_t live = 0;

	fill(kept, 7, *(int *)what);
	for (unsigned i = 0; i < CHUNKS; i++)
		live += kept[i] ? malloc_usable_size(kept[i]) + 8 : 0;
	if (*(int *)what == DAMAGED_SIZE)
		((size_t *)kept[CHUNKS / 2])[-1] = 24;
	if (*(int *)what == DAMAGED_TOP)
		damage_top(kept[0]);
	if (*(int *)what == DAMAGED_FASTBIN) {
		/* The cache takes the first seven, the fastbin the others: the last leads to itself. */
		size_t *volatile small[10];

		for (unsigned i = 0; i < 10; i++)
			small[i] = malloc(24);
		for (unsigned i = 0; i < 10; i++)
			free(small[i]);
		*(volatile size_t *)small[9] = ((size_t)small[9] >> 12) ^ ((size_t)small[9] - 16);
	}
	live_bytes = live;
	return NULL;
}

static void *work_and_stay(void *what)
{
	worker(what);
	/* In what is damaged it may not end. */
	if (*(int *)what == HONEST)
		malloc_info(0, said);
	fflush(said);
	answer();
	for (;;)
		pause();
	return NULL;
}

static void be_child(int what)
{
	static char *kept[CHUNKS];
	pthread_t thread;

	fill(kept, 3, what);
	pthread_create(&thread, NULL, work_and_stay, &what);
	for (;;) {
		wait_for_parent();
		malloc_trim(0);
		answer();
	}
}

static void begin(int what)
{
	static char buffer[1U << 20];

	ck_assert(!proc_init(&proc, NULL) && !pipe(told) && !pipe(asked));
	said = tmpfile();
	ck_assert_ptr_nonnull(said);
	setvbuf(said, buffer, _IOFBF, sizeof(buffer));
	child = fork();
	if (!child)
		be_child(what);
	ck_assert_int_eq(read(told[0], &live_bytes, sizeof(live_bytes)), sizeof(live_bytes));
	ck_assert_int_eq(heap_read_apart(&proc, child, &heaps), 0);
}

static void end(void)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	heaps_free(&heaps);
	fclose(said);
	proc_close(&proc);
	close(told[0]);
	close(told[1]);
	close(asked[0]);
	close(asked[1]);
}

static const struct heap_arena *arena(const char *prefix)
{
	for (size_t i = 0; i < heaps.count; i++)
		if (!strncmp(heaps.arena[i].name, prefix, strlen(prefix)))
			return &heaps.arena[i];
	ck_abort_msg("there is no %s", prefix);
	return NULL;
}

/* malloc_info's <heap nr="N">. It counts a chunk's flag as a byte, but for the top's. */
static void truth(unsigned nr, size_t *system, size_t *fast, size_t *rest)
{
	char line[256], head[32];
	size_t count = 0, bytes;
	bool here = false;

	snprintf(head, sizeof(head), "<heap nr=\"%u\">", nr);
	*system = *fast = *rest = 0;
	rewind(said);
	while (fgets(line, sizeof(line), said)) {
		here = strncmp(line, "<heap nr", 8) ? here : !strncmp(line, head, strlen(head));
		if (!here)
			continue;
		if (sscanf(line, "<total type=\"fast\" count=\"%zu\" size=\"%zu\"", &count, &bytes) == 2)
			*fast = bytes;
		if (sscanf(line, "<total type=\"rest\" count=\"%zu\" size=\"%zu\"", &count, &bytes) == 2)
			*rest = bytes - (count - 1);
		if (sscanf(line, "<system type=\"current\" size=\"%zu\"", &bytes) == 1)
			*system = bytes;
		here = strncmp(line, "</heap>", 7);
	}
}

static void compare(const struct heap_arena *a, unsigned nr)
{
	size_t system, fast, rest;

	truth(nr, &system, &fast, &rest);
	ck_assert_uint_gt(rest, 1U << 20);
	ck_assert_uint_eq(a->figure[HEAP_SYSTEM], system);
	ck_assert_uint_eq(a->figure[HEAP_FREE] - a->figure[HEAP_CACHED], rest);
	ck_assert_uint_ge(a->figure[HEAP_CACHED], fast);
	ck_assert_uint_eq(a->figure[HEAP_LIVE] + a->figure[HEAP_FREE] + a->figure[HEAP_METADATA], system);
}

START_TEST(figures_are_libcs)
{
	const struct heap_arena *thread;
	uint64_t live = 0, chunks = 0;

	begin(HONEST);
	compare(arena("[heap]"), 0);
	thread = arena("glibc:arena1");
	compare(thread, 1);
	/* Beside the program's there is the thread's cache. */
	ck_assert_uint_ge(thread->figure[HEAP_LIVE], live_bytes);
	ck_assert_uint_le(thread->figure[HEAP_LIVE], live_bytes + 1024);
	ck_assert_uint_ge(thread->figure[HEAP_CHUNKS], CHUNKS / 5);
	ck_assert_uint_le(thread->figure[HEAP_CHUNKS], CHUNKS / 5 + 1);
	for (size_t i = 0; i < thread->sizes; i++) {
		live += thread->size[i].live_bytes;
		chunks += thread->size[i].live;
	}
	ck_assert_uint_eq(live, thread->figure[HEAP_LIVE]);
	ck_assert_uint_eq(chunks, thread->figure[HEAP_CHUNKS]);
	end();
}
END_TEST

static bool within(uint64_t a, uint64_t b, uint64_t most)
{
	return (a > b ? a - b : b - a) <= most;
}

START_TEST(what_trim_gives_back_is_what_was_said)
{
	uint64_t resident, trimmable;

	begin(FEW_LEFT);
	resident = heaps_sum(&heaps, HEAP_RESIDENT);
	trimmable = heaps_sum(&heaps, HEAP_TRIMMABLE);

	ck_assert_uint_gt(trimmable, 4U << 20);
	heaps_free(&heaps);
	ck_assert_int_eq(write(asked[1], "", 1), 1);
	ck_assert_int_eq(read(told[0], &live_bytes, sizeof(live_bytes)), sizeof(live_bytes));
	ck_assert_int_eq(heap_read_apart(&proc, child, &heaps), 0);
	/* Fastbins become free chunks first: what lies in front of a top joins that, and stays. */
	ck_assert(within(resident - heaps_sum(&heaps, HEAP_RESIDENT), trimmable, trimmable / 20));
	ck_assert_uint_le(heaps_sum(&heaps, HEAP_TRIMMABLE), trimmable / 50);
	end();
}
END_TEST

START_TEST(what_does_not_add_up_is_unknown)
{
	const int damage[] = { DAMAGED_SIZE, DAMAGED_TOP };

	for (size_t i = 0; i < 2; i++) {
		begin(damage[i]);
		ck_assert(arena("glibc:arena1")->figure[HEAP_SYSTEM] != HEAP_UNKNOWN);
		ck_assert(arena("glibc:arena1")->figure[HEAP_LIVE] == HEAP_UNKNOWN);
		ck_assert(arena("glibc:arena1")->figure[HEAP_TRIMMABLE] == HEAP_UNKNOWN);
		ck_assert(arena("[heap]")->figure[HEAP_LIVE] != HEAP_UNKNOWN);
		ck_assert(heaps_sum(&heaps, HEAP_LIVE) == HEAP_UNKNOWN);
		end();
	}
}
END_TEST

START_TEST(a_list_without_an_end_is_unknown)
{
	begin(DAMAGED_FASTBIN);
	ck_assert(arena("glibc:arena1")->figure[HEAP_CACHED] == HEAP_UNKNOWN);
	ck_assert(arena("glibc:arena1")->figure[HEAP_LIVE] == HEAP_UNKNOWN);
	ck_assert(arena("glibc:arena1")->figure[HEAP_TRIMMABLE] != HEAP_UNKNOWN);
	end();
}
END_TEST

/* --- heaps that are built here: what libc of other versions has ---------------------- */

#define IMAGE (64U << 10)

static _Alignas(4096) char image[IMAGE];
static bool absent[IMAGE / 4096];
static struct target target;

static uint64_t image_at(size_t offset)
{
	return (uintptr_t)image + offset;
}

static int image_read(void *context, uint64_t address, void *buffer, size_t size)
{
	(void)context;
	if (address < image_at(0) || address - image_at(0) > IMAGE || size > IMAGE - (address - image_at(0)))
		return -EFAULT;
	for (uint64_t at = (address - image_at(0)) / 4096; at <= (address + size - 1 - image_at(0)) / 4096; at++)
		if (absent[at])
			return -EFAULT;
	memcpy(buffer, (char *)(uintptr_t)address, size);
	return 0;
}

static bool image_present(void *context, uint64_t from, size_t pages, uint64_t *bits)
{
	(void)context;
	for (size_t i = 0; i < pages; i++)
		if (!absent[(from - image_at(0)) / 4096 + i])
			bits[i / 64] |= 1ULL << i % 64;
	return true;
}

static void begin_image(void)
{
	memset(image, 0, sizeof(image));
	memset(absent, 0, sizeof(absent));
	target = (struct target){
		.memory = { image_read, NULL }, .present = image_present, .fetch = image_read, .own = { .page = 4096 },
		.limits = { UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX },
	};
}

/* A chunk at an offset; returns where the next begins. */
static size_t put_chunk(size_t at, size_t size, bool in_use)
{
	size_t head = size | (at ? *(size_t *)(image + at + 8) & 1 : 1), next = 0;

	memcpy(image + at + 8, &head, sizeof(head));
	if (at + size + 16 <= IMAGE) {
		next = in_use;
		memcpy(image + at + size + 8, &next, sizeof(next));
	}
	return at + size;
}

static bool walk_image(struct chunks *chunks, size_t top, bool is_main)
{
	struct chunk_range range = { image_at(0), image_at(0), image_at(IMAGE), top ? image_at(top) : 0, is_main };
	struct view view;
	bool whole;

	memset(chunks, 0, sizeof(*chunks));
	ck_assert_int_eq(view_open(&view, &target, image_at(0), image_at(IMAGE)), 0);
	whole = chunks_walk(chunks, &view, &range);
	view_close(&view);
	return whole;
}

static struct chunks chunks;

/* Of nothing it is known that nothing is there. */
START_TEST(what_is_resident)
{
	uint64_t bytes = 1;

	absent[4] = absent[5] = true;
	ck_assert(view_resident(&target, image_at(0), image_at(IMAGE), &bytes));
	ck_assert_uint_eq(bytes, IMAGE - 2 * 4096);
	ck_assert(view_resident(&target, image_at(4096), image_at(4096), &bytes));
	ck_assert_uint_eq(bytes, 0);
	ck_assert(!view_resident(&target, image_at(4096), image_at(0), &bytes));
}
END_TEST

START_TEST(pages_that_are_free_and_there)
{
	size_t at = put_chunk(0, 64, true);

	/* Its whole pages are 2 to 9 (the first has its links), of which two were given back. */
	at = put_chunk(at, 0xa000 - at + 0x100, false);
	absent[4] = absent[5] = true;
	at = put_chunk(at, 0xa00, true);
	put_chunk(at, IMAGE - at, true);
	ck_assert(walk_image(&chunks, at, true));
	ck_assert_uint_eq(chunks.resident, (16 - 2) * 4096);
	/* Pages 1 to 9, less two; and of the top all but the page that it begins on. */
	ck_assert_uint_eq(chunks.trimmable, (9 - 2) * 4096 + 5 * 4096);
	ck_assert_uint_eq(chunks.pinned, 4096 - 64 + 0x100);
	ck_assert_uint_eq(chunks.pinning.count[64 / 16], 1);
	ck_assert_uint_eq(chunks.pinning.count[0xa00 / 16], 1);
	/* malloc_trim leaves the top of a thread's arena. */
	ck_assert(walk_image(&chunks, at, false));
	ck_assert_uint_eq(chunks.trimmable, (9 - 2) * 4096);
}
END_TEST

START_TEST(a_heap_without_top_ends_with_a_fence)
{
	size_t at = put_chunk(0, IMAGE - 32, true);

	put_chunk(at, 16, true);
	ck_assert(walk_image(&chunks, 0, false));
	ck_assert_uint_eq(chunks.live.count[chunk_bucket(IMAGE - 32)], 1);
	/* The same elsewhere is no chunk. */
	at = put_chunk(0, IMAGE / 2, true);
	put_chunk(at, 16, true);
	ck_assert(!walk_image(&chunks, 0, false));
}
END_TEST

START_TEST(damaged_chunks_lead_nowhere)
{
	const size_t sizes[] = { 0, 8, 16, 24, IMAGE, IMAGE - 8, (size_t)-64, 1ULL << 62, 64 | 2 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		size_t at = put_chunk(0, 4096, true), head = sizes[i] | 1;

		memcpy(image + at + 8, &head, sizeof(head));
		put_chunk(0x8000, IMAGE - 0x8000, true);
		ck_assert(!walk_image(&chunks, 0x8000, true));
	}
	/* The next one's head is on a page that is not there. */
	memset(image, 0, sizeof(image));
	put_chunk(put_chunk(0, 0x8000, true), IMAGE - 0x8000, true);
	ck_assert(walk_image(&chunks, 0x8000, true));
	absent[8] = true;
	ck_assert(!walk_image(&chunks, 0x8000, true));
}
END_TEST

/* A cache of a version, with three chunks of 64 bytes and one of 32. */
struct cache_version {
	size_t size, count_bytes, bins;
	bool counts_left, shifted;
};

static void put_count(const struct cache_version *version, size_t bin, unsigned count)
{
	char *at = image + 16 + bin * version->count_bytes;
	uint16_t wide = (uint16_t)count;

	memcpy(at, &wide, version->count_bytes);
}

static void put_list(const struct cache_version *version, size_t bin, size_t at, unsigned length)
{
	size_t size = 32 + 16 * bin, head = length ? image_at(at + 16) : 0;

	put_count(version, bin, version->counts_left ? 7 - length : length);
	memcpy(image + 16 + version->bins * version->count_bytes + bin * 8, &head, 8);
	for (unsigned i = 0; i < length; i++, at += size) {
		uint64_t link = i + 1 < length ? image_at(at + size + 16) : 0;

		put_chunk(at, size, true);
		link ^= version->shifted ? image_at(at + 16) >> 12 : 0;
		memcpy(image + at + 16, &link, sizeof(link));
	}
}

static struct cached cached;

static void read_cache(const struct cache_version *version)
{
	struct list_range range = { image_at(0), image_at(IMAGE), 0 };
	struct lists lists = { .target = &target, .range = &range, .ranges = 1, .cached = &cached, .pages = pages_new(&target, PAGES_MANY) };

	ck_assert(lists_may_be_cache(version->size));
	memset(&cached, 0, sizeof(cached));
	ck_assert_ptr_nonnull(lists.pages);
	lists_read_cache(&lists, image_at(0));
	pages_free(lists.pages);
}

START_TEST(caches_of_all_versions)
{
	const struct cache_version versions[] = {
		{ 0x250, 1, 64, false, false },    /* 2.27 to 2.29 */
		{ 0x290, 2, 64, false, false },    /* 2.30, 2.31 */
		{ 0x290, 2, 64, false, true },     /* 2.32 to 2.41 */
		{ 0x300, 2, 76, true, true },      /* from 2.42 on */
	};
	const struct cache_version *version = &versions[_i];

	put_chunk(0, version->size, true);
	for (size_t bin = 0; bin < version->bins; bin++)
		put_list(version, bin, 0, 0);
	put_list(version, 2, 0x1000, 3);
	put_list(version, 0, 0x2000, 1);
	read_cache(version);
	ck_assert(!cached.unknown);
	ck_assert_uint_eq(cached.bytes, 3 * 64 + 32);
	ck_assert_uint_eq(cached.counts.count[4], 3);
	/* A count that its list does not have. */
	put_count(version, 2, version->counts_left ? 7 - 4 : 4);
	read_cache(version);
	ck_assert(cached.unknown && !cached.bytes);
	/* A chunk of another size than its list's. */
	put_list(version, 2, 0x1000, 3);
	put_chunk(0x1000, 80, true);
	read_cache(version);
	ck_assert(cached.unknown && !cached.bytes);
	/* What looks like a cache and leads elsewhere is something else. */
	put_list(version, 2, 2 * IMAGE, 0);
	put_count(version, 2, version->counts_left ? 6 : 1);
	memcpy(image + 16 + version->bins * version->count_bytes + 2 * 8, &(uint64_t){ image_at(2 * IMAGE) }, 8);
	read_cache(version);
	ck_assert(!cached.unknown && !cached.bytes);
	/* That of a thread that ended is free. */
	put_list(version, 2, 0x1000, 3);
	put_chunk(0, version->size, false);
	read_cache(version);
	ck_assert(!cached.unknown && !cached.bytes);
}
END_TEST

static TCase *live_tests(void)
{
	TCase *tests = tcase_create("live");

	tcase_add_test(tests, figures_are_libcs);
	tcase_add_test(tests, what_trim_gives_back_is_what_was_said);
	tcase_add_test(tests, what_does_not_add_up_is_unknown);
	tcase_add_test(tests, a_list_without_an_end_is_unknown);
	return tests;
}

int main(void)
{
	TCase *images = tcase_create("images");

	tcase_add_checked_fixture(images, begin_image, NULL);
	tcase_add_test(images, what_is_resident);
	tcase_add_test(images, pages_that_are_free_and_there);
	tcase_add_test(images, a_heap_without_top_ends_with_a_fence);
	tcase_add_test(images, damaged_chunks_lead_nowhere);
	tcase_add_loop_test(images, caches_of_all_versions, 0, 4);
	return run_tests("images", images) || (!SANITIZED && !is_emulated() && run_tests("heap", live_tests()));
}
