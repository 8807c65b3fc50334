/* SPDX-License-Identifier: MIT */
/*
 * Names a page through the call of 32-bit programs (int $0x80), and says what its
 * maps line shows: the kernel's second way in, with a table of its own.
 */
#include <stdio.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define PRCTL_32 172
#define PR_SET_VMA 0x53564d41

static int32_t prctl_32(uint32_t what, void *start, uint32_t length, const char *name)
{
	int32_t r;

	__asm__ volatile("int $0x80" : "=a"(r)
			 : "a"(PRCTL_32), "b"(PR_SET_VMA), "c"(what), "d"((uint32_t)(uintptr_t)start), "S"(length),
			   "D"((uint32_t)(uintptr_t)name)
			 : "memory", "r8", "r9", "r10", "r11");
	return r;
}

static int shown(const void *at, const char *name)
{
	char line[512], start[32];
	FILE *maps = fopen("/proc/self/maps", "r");
	int found = 0;

	snprintf(start, sizeof(start), "%08lx-", (unsigned long)at);
	while (maps && fgets(line, sizeof(line), maps))
		found |= !strncmp(line, start, strlen(start)) && strstr(line, name);
	if (maps)
		fclose(maps);
	return found;
}

int main(void)
{
	char *p = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	int32_t named, refused, other;

	if (p == MAP_FAILED)
		return 1;
	strcpy(p, "by-32-bits");
	strcpy(p + 100, "not[allowed");
	named = prctl_32(0, p + 4096, 4096, p);
	refused = prctl_32(0, p + 4096, 4096, p + 100);
	other = prctl_32(1, p + 4096, 4096, p);
	printf("%d %d %d, %s\n", named, refused, other, shown(p + 4096, "[anon:by-32-bits]") ? "shown" : "not shown");
	return 0;
}
