/* SPDX-License-Identifier: MIT */
/* Recognisers: what they read another process with, and what they call its memory, hostile memory too. */
#include "../../src/recognise/glibc.h"
#include "../../src/recognise/memory.h"
#include "../../src/recognise/object.h"
#include "../../src/recognise/recognise.h"
#include "emulated.h"
#include "run.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE  4096UL
#define PAGES 1024

static struct proc proc;
static struct target target;
static pid_t child;
static char *memory;

/* A child with 4 MiB of which one page was written to. */
static void begin(void)
{
	ck_assert(!proc_init(&proc, NULL));
	memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert(memory != MAP_FAILED);
	strcpy(memory + 700 * PAGE, "there");
	child = fork();
	if (!child)
		for (;;)
			pause();
	ck_assert(!target_open(&target, &proc, child));
}

static void end(void)
{
	target_close(&target);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	munmap(memory, PAGES * PAGE);
	proc_close(&proc);
}

START_TEST(only_pages_that_are_there)
{
	uint64_t start = (uintptr_t)memory, found = start + 700 * PAGE;
	char text[8];

	ck_assert_uint_eq(memory_next(&target, start, start + PAGES * PAGE), found);
	ck_assert_uint_eq(memory_next(&target, found + PAGE, start + PAGES * PAGE), start + PAGES * PAGE);
	ck_assert_int_eq(memory_get(&target, found, text, sizeof(text)), 0);
	ck_assert_str_eq(text, "there");
	ck_assert_int_eq(memory_get(&target, found + PAGE - 4, text, sizeof(text)), -EFAULT);
	ck_assert_int_eq(memory_get(&target, start, text, sizeof(text)), -EFAULT);
	/* A page of a file is not the process's own. */
	ck_assert_int_eq(memory_get(&target, target.area[target.object[0].first].start, text, sizeof(text)), -EFAULT);
}
END_TEST

/* Of our page table. */
static bool is_mapped_once(const void *address)
{
	uint64_t entry = 0;
	int pagemap = open("/proc/self/pagemap", O_RDONLY);

	ck_assert_int_eq(pread(pagemap, &entry, sizeof(entry), (off_t)((uintptr_t)address / PAGE * sizeof(entry))), sizeof(entry));
	close(pagemap);
	return entry >> 56 & 1;
}

/* The child's page is ours, too: a reader that makes it a copy of its own costs it memory. */
START_TEST(shared_pages_stay_shared)
{
	char *found = memory + 700 * PAGE, text[8];
	uint64_t bits[1];
	bool there[1];

	ck_assert(!is_mapped_once(found));
	ck_assert(!memory_get(&target, (uintptr_t)found, text, sizeof(text)));
	ck_assert(!is_mapped_once(found));
	memory_heads(&target, (uintptr_t)found, 1, PAGE, there, text, sizeof(text));
	ck_assert(there[0] && !is_mapped_once(found));
	ck_assert(memory_present(&target, (uintptr_t)found, 1, bits) && bits[0] == 1);
	ck_assert(!memory_fetch(&target, (uintptr_t)found, text, sizeof(text)));
	ck_assert(!is_mapped_once(found));
}
END_TEST

START_TEST(reading_has_an_end)
{
	char text[8];

	target.bytes = TARGET_BYTES;
	ck_assert(target_is_spent(&target));
	ck_assert_int_eq(memory_get(&target, (uintptr_t)memory + 700 * PAGE, text, sizeof(text)), -EDQUOT);
}
END_TEST

/* The clock is asked now and then. */
static bool ends_by_clock(uint64_t cpu_ns, uint64_t wall_ns)
{
	bool spent = false;

	target_allow(&target, &(struct target_limits){ UINT64_MAX, UINT64_MAX, cpu_ns, wall_ns });
	for (unsigned i = 0; i < 1000; i++)
		spent |= target_is_spent(&target);
	return spent;
}

START_TEST(time_has_an_end)
{
	ck_assert(!ends_by_clock(UINT64_MAX, UINT64_MAX));
	ck_assert(ends_by_clock(0, UINT64_MAX));
	ck_assert(ends_by_clock(UINT64_MAX, 0));
	ck_assert(!ends_by_clock(UINT64_MAX, UINT64_MAX));
}
END_TEST

START_TEST(areas_are_found)
{
	const struct area *area = area_at(&target, (uintptr_t)memory + PAGE);

	ck_assert_ptr_nonnull(area);
	ck_assert(area_is_anonymous(area) && area_is_writable(area));
	ck_assert_ptr_null(area_at(&target, 1));
	ck_assert_uint_eq(area_seek(&target, UINT64_MAX), target.areas);
}
END_TEST

START_TEST(symbols_are_where_they_are)
{
	struct object *libc = glibc_object(&target);
	uint64_t size = 0;

	ck_assert_ptr_nonnull(libc);
	ck_assert_uint_eq(object_symbol(&target, libc, "environ", &size), (uintptr_t)dlsym(RTLD_DEFAULT, "environ"));
	ck_assert_uint_eq(size, sizeof(char **));
	ck_assert_uint_eq(object_symbol(&target, libc, "_thread_db_pthread_tid", NULL),
	                  (uintptr_t)dlsym(RTLD_DEFAULT, "_thread_db_pthread_tid"));
	ck_assert_uint_eq(object_symbol(&target, libc, "no_such_symbol", NULL), 0);
	ck_assert_ptr_null(object_named(&target, "no-such-object"));
}
END_TEST

START_TEST(a_file_is_read_once)
{
	struct object *libc = glibc_object(&target);
	struct target again;

	ck_assert(!target_open(&again, &proc, target.pid));
	ck_assert(object_read(&target, libc) && object_read(&again, glibc_object(&again)));
	ck_assert_ptr_eq(glibc_object(&again)->image, libc->image);
	images_forget();
	ck_assert_uint_ne(object_symbol(&again, glibc_object(&again), "environ", NULL), 0);
	target_close(&again);
	ck_assert_uint_ne(object_symbol(&target, libc, "environ", NULL), 0);
}
END_TEST

START_TEST(heads_of_pages_that_are_there)
{
	uint64_t found = (uintptr_t)memory + 700 * PAGE;
	char text[3][8] = { "", "", "" };
	bool there[3];

	memory_heads(&target, found - PAGE, 3, PAGE, there, text, sizeof(*text));
	ck_assert(!there[0] && there[1] && !there[2]);
	ck_assert_str_eq(text[1], "there");
	memory_heads(&target, found - 2 * 4 * PAGE, 3, 4 * PAGE, there, text, sizeof(*text));
	ck_assert(!there[0] && !there[1] && there[2]);
	ck_assert_str_eq(text[2], "there");
	/* Not of a file's. */
	memory_heads(&target, target.area[target.object[0].first].start, 1, PAGE, there, text, sizeof(*text));
	ck_assert(!there[0]);
}
END_TEST

/* --- names: what a child with a thread has where -------------------------------- */

struct places {
	uint64_t stack, arena, large, mapped, bss;
	pid_t tid;
};

enum { HONEST, RING_OPEN, FORGED_LARGE, NO_GUARD };

static char in_bss[1U << 20];
static struct places places;
static struct registry names;
static int told[2];

/* A thread's arena is where its first chunk is; the next of the ring stands in its header. */
static void *worker(void *what)
{
	uint64_t *chunk = malloc(1000);

	prctl(PR_SET_NAME, "worker");
	places.stack = (uintptr_t)&chunk;
	places.arena = (uintptr_t)chunk;
	places.tid = (pid_t)syscall(SYS_gettid);
	if (*(int *)what == RING_OPEN) {
		uint64_t *heap = (uint64_t *)(places.arena & ~((64ULL << 20) - 1)), *arena = (uint64_t *)heap[0];

		for (size_t i = 200; i < 280; i++)
			arena[i] = arena[i] > 1U << 20 ? heap[0] : arena[i];
	}
	ck_assert_int_eq(write(told[1], &places, sizeof(places)), sizeof(places));
	for (;;)
		pause();
	return chunk;
}

static void be_child(int what)
{
	pthread_t thread;
	pthread_attr_t attributes;
	char *large = malloc(1U << 20);
	uint64_t *mapped = mmap(NULL, 1U << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*large = 1;
	mapped[1] = what == FORGED_LARGE ? 1U << 20 | 2 : 1;
	memset(in_bss, 1, sizeof(in_bss));
	places.large = (uintptr_t)large;
	places.mapped = (uintptr_t)mapped;
	places.bss = (uintptr_t)in_bss + sizeof(in_bss) / 2;
	pthread_attr_init(&attributes);
	if (what == NO_GUARD)
		pthread_attr_setguardsize(&attributes, 0);
	pthread_create(&thread, &attributes, worker, &what);
	for (;;)
		pause();
}

static void begin_names(int what)
{
	struct cost cost = { 0 };
	int maps;

	ck_assert(!proc_init(&proc, NULL) && !pipe(told));
	child = fork();
	if (!child)
		be_child(what);
	ck_assert_int_eq(read(told[0], &places, sizeof(places)), sizeof(places));
	maps = proc_open(&proc, child, "maps");
	ck_assert_int_ge(maps, 0);
	ck_assert_int_eq(recognise(&proc, child, (struct text){ 0 }, maps, &names, &cost), 0);
	close(maps);
}

static void end_names(void)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	registry_free(&names);
	proc_close(&proc);
}

static const char *name_of(uint64_t address)
{
	size_t i = registry_seek(&names, address);

	return i < names.count && names.entry[i].start <= address ? registry_name(&names, i) : "";
}

START_TEST(names_are_the_libraries)
{
	char expected[64];

	begin_names(HONEST);
	snprintf(expected, sizeof(expected), "stack:%d:worker", (int)places.tid);
	ck_assert_str_eq(name_of(places.stack), expected);
	/* A test runs in a fork, where nobody knows which thread made it. */
	ck_assert_str_eq(name_of(places.arena), "glibc:arena1");
	ck_assert_str_eq(name_of(places.large), "glibc:large");
	ck_assert_str_eq(name_of(places.bss), "test_recognise:bss");
	ck_assert_str_eq(name_of(places.mapped), "");
	/* A handle is where ld.so keeps what it knows of the library. */
	ck_assert_str_eq(name_of((uintptr_t)dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD)), "ld.so:early");
	ck_assert_str_eq(name_of((uintptr_t)pthread_self()), "ld.so:tls");
	end_names();
}
END_TEST

/* As with glibc 2.42 and later, whose guards are no mappings. */
START_TEST(a_stack_without_a_guard_is_one)
{
	char expected[64];

	begin_names(NO_GUARD);
	snprintf(expected, sizeof(expected), "stack:%d:worker", (int)places.tid);
	ck_assert_str_eq(name_of(places.stack), expected);
	ck_assert_str_eq(name_of(places.stack - (7U << 20)), expected);
	end_names();
}
END_TEST

START_TEST(a_ring_that_never_closes_names_nothing)
{
	begin_names(RING_OPEN);
	ck_assert_str_eq(name_of(places.arena), "");
	ck_assert_str_eq(name_of(places.large), "glibc:large");
	end_names();
}
END_TEST

START_TEST(a_forged_header_names_nothing)
{
	begin_names(FORGED_LARGE);
	ck_assert_str_eq(name_of(places.mapped), "");
	ck_assert_str_eq(name_of(places.arena), "glibc:arena1");
	end_names();
}
END_TEST

static TCase *names_tests(void)
{
	TCase *tests = tcase_create("names");

	tcase_add_test(tests, a_ring_that_never_closes_names_nothing);
	if (!dlsym(RTLD_DEFAULT, "_thread_db_pthread_tid")) {
		puts("SKIP: names of threads: before 2.34 glibc does not tell debuggers where its threads are");
		return tests;
	}
	tcase_add_test(tests, names_are_the_libraries);
	tcase_add_test(tests, a_stack_without_a_guard_is_one);
	tcase_add_test(tests, a_forged_header_names_nothing);
	return tests;
}

int main(void)
{
	TCase *live = tcase_create("live");

	if (is_emulated()) {
		puts("SKIP: an emulator's memory is not the program's");
		return 77;
	}
	tcase_add_checked_fixture(live, begin, end);
	tcase_add_test(live, only_pages_that_are_there);
	tcase_add_test(live, shared_pages_stay_shared);
	tcase_add_test(live, reading_has_an_end);
	tcase_add_test(live, time_has_an_end);
	tcase_add_test(live, areas_are_found);
	tcase_add_test(live, symbols_are_where_they_are);
	tcase_add_test(live, a_file_is_read_once);
	tcase_add_test(live, heads_of_pages_that_are_there);
	return run_tests("recognise", live) || (!SANITIZED && run_tests("names", names_tests()));
}
