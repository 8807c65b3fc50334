/* SPDX-License-Identifier: MIT */
/*
 * A process whose memory is looked at: says "ready" and waits for the end of
 * its input. With a number, it holds that many anonymous mappings with gaps
 * between them, mapped in order of address or scattered; and each with a name
 * that the program gives it, no two the same.
 * usage: hold [MAPPINGS [scattered [different]]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

#define PIECE 65536UL
#define STRIDE 7919     /* a prime: i * STRIDE % count visits every place once */

int main(int argc, char **argv)
{
	size_t count = argc > 1 ? (size_t)atol(argv[1]) : 0;
	size_t stride = argc > 2 ? STRIDE : 1;
	char *room = NULL;
	char c;

	if (count) {
		room = mmap(NULL, (2 * count + 1) * PIECE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (room == MAP_FAILED || munmap(room, (2 * count + 1) * PIECE) != 0)
			return 1;
	}
	for (size_t i = 0; i < count; i++) {
		char *at = room + i * stride % count * 2 * PIECE;

		if (mmap(at, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED) {
			perror("mmap");
			return 1;
		}
		if (argc > 3) {
			char name[80];

			snprintf(name, sizeof(name), "libexample.so.1:mmap:%zu", 1000000 + i);
			prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, at, PIECE, name);
		}
	}
	if (write(1, "ready\n", 6) != 6)
		return 1;
	while (read(0, &c, 1) > 0)
		;
	return 0;
}
