/* SPDX-License-Identifier: MIT */
/*
 * A program that reaches a limit of its own, of address space or of data, and
 * goes on: names stay, and what it maps when the limit is gone has one again.
 */
#include <sys/resource.h>

#include "live.h"

enum { KEPT = 20 };

/* Apart by a page without access, so that each is a VMA. */
static void keep(char *kept[KEPT])
{
	for (int i = 0; i < KEPT; i++) {
		kept[i] = map(MIB / 2);
		mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
}

/* In pages of 4 KiB: the size of the address space, or of data and stack. */
static unsigned long used(int column)
{
	FILE *f = fopen("/proc/self/statm", "r");
	unsigned long pages = 0;

	for (int i = 0; f && i <= column; i++)
		if (fscanf(f, "%lu", &pages) != 1)
			live_skip("cannot read /proc/self/statm");
	if (f)
		fclose(f);
	return pages;
}

static void reach(int which, int column, char *const kept[KEPT])
{
	const struct rlimit before = { RLIM_INFINITY, RLIM_INFINITY };
	struct rlimit limit = { used(column) * 4096 + 4 * MIB, RLIM_INFINITY };
	char *last = NULL, *p;

	check(setrlimit(which, &limit) == 0, "errno %d", errno);
	while ((p = map(4096)) != MAP_FAILED)
		last = p;
	check(last && errno == ENOMEM, "errno %d", errno);
	for (int i = 0; i < 10; i++)
		check(map(4096) == MAP_FAILED && mremap(kept[0], MIB / 2, 8 * MIB, MREMAP_MAYMOVE) == MAP_FAILED);
	setrlimit(which, &before);
	check_name(last, "limits:mmap");
	for (int i = 0; i < KEPT; i++)
		check_name(kept[i], "limits:mmap");
	p = map(MIB / 2);
	check_name(p, "limits:mmap");
	munmap(p, MIB / 2);
}

int main(void)
{
	char *kept[KEPT];

	keep(kept);
	reach(RLIMIT_AS, 0, kept);
	reach(RLIMIT_DATA, 5, kept);
	return live_status();
}
