/* SPDX-License-Identifier: MIT */
/* Names a page and says what came of it: see each-patch.sh. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

static int named(int flags, const char *name)
{
	void *p = mmap(NULL, 4096, PROT_READ, MAP_ANONYMOUS | flags, -1, 0);

	return prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, 4096, name) == 0;
}

static int shown(const char *name)
{
	char line[512];
	FILE *maps = fopen("/proc/self/maps", "r");
	int found = 0;

	while (maps && fgets(line, sizeof(line), maps))
		found |= strstr(line, name) != NULL;
	if (maps)
		fclose(maps);
	return found;
}

int main(void)
{
	int private = named(MAP_PRIVATE, "a-page"), shared = named(MAP_SHARED, "a-shared-page");

	printf("%s, %s%s\n", private ? "named" : "not named", shown("[anon:a-page]") ? "shown" : "not shown",
	       shared && shown("[anon_shmem:a-shared-page]") ? ", shared too" : "");
	return 0;
}
