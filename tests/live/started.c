/* SPDX-License-Identifier: MIT */
/*
 * Started by `launcher` under a filter that is in force already: alive,
 * mapping, and named by the registry. With the argument `all` it must have
 * found out that the filter has nothing against the library.
 */
#include "base/registry_format.h"
#include "live.h"

int main(int argc, char **argv)
{
	char *p = NULL;

	for (int i = 0; i < 4000; i++)
		p = mmap(NULL, 8192, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(p != MAP_FAILED, "errno %d", errno);
	free(malloc(4 * MIB));
	check(live_active(), "the library gave up");
	if (argc > 1) {
		check(live_root()->kernel_error != EPERM && !live_root()->sandbox, "it holds back from the kernel");
		check(live_root()->part_state[PART_DETOUR_MMAP] == PART_ACTIVE, "it holds back from the detour");
	} else {
		check(!live_kernel_names(), "it goes on to the kernel");
	}
	if (live_active())
		check_name(p, "started:mmap");
	(void)argv;
	return live_status();
}
