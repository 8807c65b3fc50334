/* SPDX-License-Identifier: MIT */
/*
 * A small JIT, for perf.sh: makes three functions that run hot, each in its own
 * page, and says in /tmp/perf-PID.map what they are called. usage: jit HOW
 *   mmap         writable and executable from the start
 *   mprotect     written, then made executable
 *   reservation  pieces of a large one, written, then made executable
 *   late         as reservation, and the last one only when SIGUSR1 comes
 * Prints a line when all is there, and runs until it is killed.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define P 4096UL
#define RW (PROT_READ | PROT_WRITE)
#define RX (PROT_READ | PROT_EXEC)

#if defined(__x86_64__)
/* mov $100000, %ecx; 1: dec %ecx; jnz 1b; ret */
static const unsigned char code[] = { 0xb9, 0xa0, 0x86, 0x01, 0x00, 0xff, 0xc9, 0x75, 0xfc, 0xc3 };
#else
/* movz w9, #0x86a0; movk w9, #1, lsl #16; 1: subs w9, w9, #1; b.ne 1b; ret */
static const unsigned int code[] = { 0x5290d409, 0x72a00029, 0x71000529, 0x54ffffe1, 0xd65f03c0 };
#endif

static volatile sig_atomic_t wanted;

static void on_signal(int sig)
{
	(void)sig;
	wanted = 1;
}

static void *make(char *at, int prot)
{
	memcpy(at, code, sizeof(code));
	if (prot && mprotect(at, P, prot))
		abort();
	__builtin___clear_cache(at, at + sizeof(code));
	return at;
}

int main(int argc, char **argv)
{
	const char *how = argc > 1 ? argv[1] : "";
	char *all = MAP_FAILED, path[64];
	void *hot[3] = { NULL };
	FILE *map;

	if (!strcmp(how, "mmap"))
		all = mmap(NULL, 3 * P, RW | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	else if (!strcmp(how, "mprotect"))
		all = mmap(NULL, 3 * P, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	else if (!strcmp(how, "reservation") || !strcmp(how, "late"))
		all = mmap(NULL, 1024 * P, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (all == MAP_FAILED)
		return 2;
	if (!strcmp(how, "reservation") || !strcmp(how, "late")) {
		all += 512 * P;
		mprotect(all, 8 * P, RW);
	}
	signal(SIGUSR1, on_signal);
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
	map = fopen(path, "w");
	for (int i = 0; i < 3; i++) {
		fprintf(map, "%lx %zx hot_%d\n", (unsigned long)(all + i * P), sizeof(code), i);
		if (i < 2 || strcmp(how, "late"))
			hot[i] = make(all + i * P, strcmp(how, "mmap") ? RX : 0);
	}
	fclose(map);
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		if (wanted && !hot[2])
			hot[2] = make(all + 2 * P, RX);
		for (int i = 0; i < 3; i++)
			if (hot[i])
				((void (*)(void))hot[i])();
	}
}
