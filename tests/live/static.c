/* SPDX-License-Identifier: MIT */
/* Linked with -static: LD_PRELOAD does not reach it, and it runs as ever. */
#include "live.h"

int main(void)
{
	char *p = map(MIB);

	p[0] = 1;
	free(malloc(2 * MIB));
	printf("mapped: %d, the library: %s\n", p != MAP_FAILED, live_root() ? "here" : "not here");
	fflush(stdout);
	return 42;
}
