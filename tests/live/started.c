/* SPDX-License-Identifier: MIT */
/*
 * Started by `launcher` under a filter that is in force already: alive,
 * mapping, and named by the registry. With the argument `all` it must have
 * found out that the filter has nothing against the library; with `malloc`, as a
 * service of systemd's, it sees what libc's malloc maps; with `nothing` it is no
 * service, and does not.
 */
#include <malloc.h>
#include <stdlib.h>

#include "format/registry_format.h"
#include "live.h"

/* What malloc maps has a name as long as it is there. */
static void malloc_is_seen(void)
{
	const char *name = "glibc:large:started";

	/* It rises with each chunk that is freed, unless it is set. */
	mallopt(M_MMAP_THRESHOLD, (int)MIB);

	char *p = malloc(4 * MIB), *q = calloc(5, MIB), *r = NULL, *s = memalign(64 * KIB, 3 * MIB), *old;

	check_name(p, name);
	check_name(p + 4 * MIB - 1, name);
	check_name(q, name);
	check(posix_memalign((void **)&r, MIB, 6 * MIB) == 0, "posix_memalign");
	check_name(r, name);
	check_name(s, name);
	check(realloc(s, 2UL << 60) == NULL, "so much memory");
	check_name(s, name);
	old = p;
	p = realloc(p, 80 * MIB);
	check_name(p, name);
	check_name(p + 80 * MIB - 1, name);
	check(p == old || !live_name(old)[0] || !strcmp(live_name(old), name), "the old place is %s", live_name(old));
	p = reallocarray(p, 2, MIB);
	check_name(p + 2 * MIB - 1, name);
	check(strcmp(live_name(p + 3 * MIB), name), "what realloc cut off keeps its name");
	free(p);
	check(!live_name(p)[0], "freed, and still %s", live_name(p));
	free(q);
	free(r);
	free(s);
	free(NULL);
}

int main(int argc, char **argv)
{
	char *p = NULL;
	bool all = argc > 1 && !strcmp(argv[1], "all");

	for (int i = 0; i < 4000; i++)
		p = mmap(NULL, 8192, i % 2 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(p != MAP_FAILED, "errno %d", errno);
	free(malloc(4 * MIB));
	check(live_active(), "the library gave up");
	if (argc > 1 && !strcmp(argv[1], "malloc"))
		malloc_is_seen();
	if (argc > 1 && !strcmp(argv[1], "nothing"))
		check(!live_name(malloc(4 * MIB))[0], "it has changed what it may not");
	if (all) {
		check(live_root()->kernel_error != EPERM && !live_root()->sandbox, "it holds back from the kernel");
		check(live_root()->part_state[PART_DETOUR_MMAP] == PART_ACTIVE, "it holds back from the detour");
	} else {
		check(!live_kernel_names(), "it goes on to the kernel");
	}
	if (live_active())
		check_name(p, "started:mmap");
	return live_status();
}
