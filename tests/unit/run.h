/* SPDX-License-Identifier: MIT */
/* The end of each unit test's main: runs its tests and gives the exit status. */
#ifndef ANONNAME_TESTS_UNIT_RUN_H
#define ANONNAME_TESTS_UNIT_RUN_H

#include <check.h>

static inline int run_tests(const char *name, TCase *tests)
{
	Suite *suite = suite_create(name);
	SRunner *runner = srunner_create(suite);
	int failed;

	/* What hangs must end; what is slow, on a busy machine, must not fail: Check's own limit is 4 seconds. */
	tcase_set_timeout(tests, 600);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}

#endif
