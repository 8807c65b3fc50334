/* SPDX-License-Identifier: MIT */
/* The names that the environment asks for, in a live program: styled MMAP STACK, with %t for the thread. */
#include <pthread.h>

#include "live.h"

static void *on_stack(void *wanted)
{
	char here = 0;

	check_name(&here, wanted);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t;

	if (argc != 3)
		return 2;
	if (!live_active())
		live_skip("the library is not in this process");
	check_name(map(64 * KIB), argv[1]);
	check(pthread_create(&t, NULL, on_stack, argv[2]) == 0, "pthread_create");
	pthread_join(t, NULL);
	return live_status();
}
