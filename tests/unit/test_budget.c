/* SPDX-License-Identifier: MIT */
/* sink/budget.c: names get coarser as this process really nears vm.max_map_count. */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/sandbox.h"
#include "base/sys.h"
#include "emulated.h"
#include "run.h"
#include "sink/sink.h"

enum { LIMIT_MOST = 1 << 20 };

static long limit;
static char *space;
static long filled;

/* Each second page with another protection: as many VMAs as pages. */
static void fill(long vmas)
{
	for (; filled < vmas; filled++)
		if (filled & 1 && mprotect(space + filled * (long)page_size, page_size, PROT_READ))
			ck_abort_msg("no more than %ld VMAs can be had", filled);
}

static enum sink_budget counted(void)
{
	sink_budget_count();
	return sink_budget();
}

START_TEST(levels)
{
	ck_assert_int_eq(counted(), BUDGET_FULL_NAMES);
	/* A quarter of what is left, with a part of the limit at least. */
	ck_assert_int_le(sink_budget_left, (int)(limit / 4));
	ck_assert_int_ge(sink_budget_left, (int)(limit / 32));

	fill(limit / 16 * 11);
	ck_assert_int_eq(counted(), BUDGET_FULL_NAMES);
	fill(limit / 16 * 13);
	ck_assert_int_eq(counted(), BUDGET_COARSE_NAMES);
	fill(limit / 16 * 15);
	ck_assert_int_eq(counted(), BUDGET_NO_NAMES);

	/* And back, when the memory goes. */
	munmap(space, (size_t)limit * page_size);
	ck_assert_int_eq(counted(), BUDGET_FULL_NAMES);
}
END_TEST

/* Where /proc cannot be read, names stay on the safe side. */
START_TEST(blind)
{
	uint32_t rights = sandbox_restrict(MAY_ALL & ~MAY_READ_PROC);

	ck_assert_int_eq(counted(), BUDGET_COARSE_NAMES);
	sandbox_restore(rights);
	ck_assert_int_eq(counted(), BUDGET_FULL_NAMES);
}
END_TEST

/* An ENOMEM that has another reason takes no name away. */
START_TEST(nothing_to_give_back)
{
	store_relaxed(&root.sink, ROOT_SINK_KERNEL);
	ck_assert(!sink_give_back());
	ck_assert_int_eq(counted(), BUDGET_FULL_NAMES);
	store_relaxed(&root.sink, ROOT_SINK_REGISTRY);
	ck_assert(!sink_give_back());
}
END_TEST

/* Nor where not even the trial finds room: without address space, with VMAs left. */
START_TEST(out_of_address_space)
{
	struct rlimit all, none = { 0, 0 };
	bool gave_back;

	getrlimit(RLIMIT_AS, &all);
	none.rlim_max = all.rlim_max;
	store_relaxed(&root.sink, ROOT_SINK_KERNEL);
	setrlimit(RLIMIT_AS, &none);
	gave_back = sink_give_back();
	setrlimit(RLIMIT_AS, &all);
	ck_assert(!gave_back);
	ck_assert_int_eq(counted(), BUDGET_FULL_NAMES);
}
END_TEST

/* At the limit the names go, once and for good. */
START_TEST(given_back)
{
	long i = 0;

	store_relaxed(&root.sink, ROOT_SINK_KERNEL);
	while (i < limit && !mprotect(space + i * (long)page_size, page_size, i & 1 ? PROT_READ : PROT_NONE))
		i++;
	ck_assert_int_lt(i, limit);
	ck_assert(sink_give_back());
	ck_assert_int_eq(sink_budget(), BUDGET_NO_NAMES);
	ck_assert(!sink_give_back());
	munmap(space, (size_t)limit * page_size);
	ck_assert_int_eq(counted(), BUDGET_NO_NAMES);
}
END_TEST

static void setup(void)
{
	FILE *f = fopen("/proc/sys/vm/max_map_count", "r");

	ck_assert(f && fscanf(f, "%ld", &limit) == 1);
	fclose(f);
	filled = 0;
	space = mmap(NULL, (size_t)limit * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ck_assert(space != MAP_FAILED);
}

int main(void)
{
	FILE *f = fopen("/proc/sys/vm/max_map_count", "r");
	TCase *tests = tcase_create("budget");

	/* Some systems allow so many that reaching the limit takes too long. */
	if (!f || fscanf(f, "%ld", &limit) != 1 || limit > LIMIT_MOST) {
		printf("SKIP: vm.max_map_count cannot be read or is too large to reach\n");
		return 77;
	}
	fclose(f);
	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_test(tests, levels);
	tcase_add_test(tests, blind);
	tcase_add_test(tests, nothing_to_give_back);
	tcase_add_test(tests, out_of_address_space);
	/* At its limit of mappings an emulator itself gets no memory. */
	if (!is_emulated())
		tcase_add_test(tests, given_back);
	return run_tests("budget", tests);
}
