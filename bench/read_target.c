/* SPDX-License-Identifier: MIT */
/*
 * A process to read: with many VMAs, with many named ranges in few VMAs, or one
 * that times its own mmap while somebody reads it. Prints its pid when it is
 * ready and goes on until its standard input ends.
 *
 *   vmas N               N VMAs of one touched page, which cannot merge
 *   ranges N MIB         MIB of touched memory in N ranges, each with a name
 *   latency MIB SECONDS  MIB of touched memory; the percentiles of mmap + munmap
 *   memory MIB           MIB of touched memory
 *   chunks MIB           MIB of chunks of 32 to 64 bytes, a few of them freed
 *
 * And what the readers are measured against, as plain as can be:
 *
 *   drain FILE...        reads files to nowhere
 *   drain-loop FILE      the same without an end
 *   pagemap PID          reads pagemap of every VMA to nowhere
 *   query PID            asks PROCMAP_QUERY for every VMA with its name; fails before Linux 6.11
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

#define PAGE 4096UL

static void *map(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

static void *touched(size_t mib)
{
	char *p = map(mib << 20);

	memset(p, 1, mib << 20);
	return p;
}

/* What a chunk takes is its size and 8 bytes, rounded up to 16: 48 on average here. */
static void make_chunks(size_t mib)
{
	for (size_t i = 0; i < (mib << 20) / 48; i++) {
		char *p = malloc(24 + i % 3 * 16);

		if (!p)
			exit(1);
		memset(p, 1, 24);
		if (i % 16 == 7)
			free(p);
	}
}

static void make_vmas(size_t count)
{
	char *p = map(count * PAGE);

	memset(p, 1, count * PAGE);
	for (size_t i = 0; i < count; i += 2)
		if (mprotect(p + i * PAGE, PAGE, PROT_READ)) {
			perror("mprotect (is vm.max_map_count high enough?)");
			exit(1);
		}
}

static void make_ranges(size_t count, size_t mib)
{
	char *p = touched(mib), name[80];
	size_t size = (mib << 20) / count / PAGE * PAGE;

	for (size_t i = 0; i < count; i++) {
		/* A few hundred names, as a large program has; neighbours differ. */
		snprintf(name, sizeof(name), "bench:range%zu", i % 300);
		prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p + i * size, size, name);
	}
}

static int order(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static void measure_latency(size_t mib, unsigned seconds)
{
	enum { ROOM = 4 << 20 };
	uint32_t *took = malloc(ROOM * sizeof(*took));
	uint64_t end;
	size_t n = 0;

	touched(mib);
	memset(took, 0, ROOM * sizeof(*took));
	printf("%d\n", (int)getpid());
	fflush(stdout);
	getchar();
	end = now() + seconds * 1000000000ULL;
	while (n < ROOM) {
		uint64_t began = now();
		char *p = map(16 * PAGE);

		munmap(p, 16 * PAGE);
		took[n++] = (uint32_t)((now() - began) / 100);
		if (began > end)
			break;
	}
	qsort(took, n, sizeof(*took), order);
	printf("%zu %.4f %.4f %.4f\n", n, took[n / 2] / 1e4, took[n * 999 / 1000] / 1e4, took[n - 1] / 1e4);
}

static void drain(const char *path)
{
	static char buffer[1 << 17];
	int fd = open(path, O_RDONLY);

	/* Other users' processes, and those that have ended, give nothing. */
	if (fd < 0)
		return;
	while (read(fd, buffer, sizeof(buffer)) > 0)
		;
	close(fd);
}

static void drain_pagemap(const char *pid)
{
	static char buffer[1 << 16], line[8192];
	FILE *maps;
	int fd;

	snprintf(line, sizeof(line), "/proc/%s/maps", pid);
	maps = fopen(line, "r");
	snprintf(line, sizeof(line), "/proc/%s/pagemap", pid);
	fd = open(line, O_RDONLY);
	if (!maps || fd < 0) {
		perror(line);
		exit(1);
	}
	while (fgets(line, sizeof(line), maps)) {
		unsigned long start = strtoul(line, NULL, 16), end = strtoul(strchr(line, '-') + 1, NULL, 16);

		for (off_t at = (off_t)(start / PAGE * 8), last = (off_t)(end / PAGE * 8); at < last;) {
			size_t want = last - at < (off_t)sizeof(buffer) ? (size_t)(last - at) : sizeof(buffer);
			ssize_t got = pread(fd, buffer, want, at);

			if (got <= 0)
				break;
			at += got;
		}
	}
	fclose(maps);
	close(fd);
}

/* linux/fs.h of 6.11; the headers that this is built with may be older. */
struct query {
	uint64_t size, flags, address, start, end, vma_flags, page_size, offset, inode;
	uint32_t major, minor, name_size, build_id_size;
	uint64_t name, build_id;
};

static int query_all(const char *pid)
{
	const uint64_t or_the_next = 1 << 4;
	struct query query = { .size = sizeof(query) };
	char name[4096];
	int fd, found = 0;

	snprintf(name, sizeof(name), "/proc/%s/maps", pid);
	fd = open(name, O_RDONLY);
	for (uint64_t at = 0;; at = query.end, found++) {
		query.flags = or_the_next;
		query.address = at;
		query.name = (uintptr_t)name;
		query.name_size = sizeof(name);
		if (ioctl(fd, _IOWR('f', 17, struct query), &query))
			break;
	}
	close(fd);
	return found ? 0 : 1;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	size_t a = argc > 2 ? strtoul(argv[2], NULL, 10) : 0, b = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;

	if (!strcmp(what, "latency") && b) {
		measure_latency(a, (unsigned)b);
		return 0;
	}
	if (!strcmp(what, "drain")) {
		for (int i = 2; i < argc; i++)
			drain(argv[i]);
		return 0;
	}
	if (!strcmp(what, "drain-loop"))
		for (;;)
			drain(argv[2]);
	if (!strcmp(what, "pagemap")) {
		drain_pagemap(argv[2]);
		return 0;
	}
	if (!strcmp(what, "query"))
		return query_all(argv[2]);
	if (!strcmp(what, "vmas"))
		make_vmas(a);
	else if (!strcmp(what, "ranges") && b)
		make_ranges(a, b);
	else if (!strcmp(what, "memory"))
		touched(a);
	else if (!strcmp(what, "chunks"))
		make_chunks(a);
	else {
		fprintf(stderr, "usage: read_target vmas N | ranges N MIB | latency MIB SECONDS | memory MIB | chunks MIB |\n"
		        "       drain FILE... | drain-loop FILE | pagemap PID | query PID\n");
		return 2;
	}
	printf("%d\n", (int)getpid());
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}
