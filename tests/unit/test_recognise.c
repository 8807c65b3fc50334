/* SPDX-License-Identifier: MIT */
/* What recognisers read another process with: its pages that are there, its objects and their symbols. */
#include "../../src/recognise/memory.h"
#include "../../src/recognise/object.h"
#include "run.h"

#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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
	ck_assert(!target_open(&target, &proc, child, ""));
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

START_TEST(reading_has_an_end)
{
	char text[8];

	target.bytes = TARGET_BYTES;
	ck_assert(target_is_spent(&target));
	ck_assert_int_eq(memory_get(&target, (uintptr_t)memory + 700 * PAGE, text, sizeof(text)), -EDQUOT);
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
	struct object *libc = object_named(&target, "libc.so.6");
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

int main(void)
{
	TCase *live = tcase_create("live");

	tcase_add_checked_fixture(live, begin, end);
	tcase_add_test(live, only_pages_that_are_there);
	tcase_add_test(live, reading_has_an_end);
	tcase_add_test(live, areas_are_found);
	tcase_add_test(live, symbols_are_where_they_are);
	return run_tests("recognise", live);
}
