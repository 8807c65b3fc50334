// SPDX-License-Identifier: MIT
/*
 * What names cost the calls that carry them.  Prints nanoseconds a call; under
 * QEMU's -icount these are instructions, kernel and user together, and repeat
 * from run to run.  bench/kernel.sh runs it and makes the table.
 *
 *	fork-bench fork NAMES PAGES [VMAS]	fork of a process with that many VMAs,
 *			PAGES touched in each; the child ends at once; NAMES is none,
 *			equal or different
 *	fork-bench calls	naming, mmap and munmap, mprotect, an empty call
 *	fork-bench maps NAMES	reading /proc/self/maps with 1000 VMAs
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

#define PAGE 4096UL
#define RW (PROT_READ | PROT_WRITE)

enum names { NONE, EQUAL, DIFFERENT };

static void need(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* The longest name there may be: 79 bytes that end in @number. */
static const char *longest(unsigned number)
{
	static char text[80];
	char *digit = text + sizeof text - 1;

	memset(text, 'n', sizeof text - 1);
	for (; number; number /= 10)
		*--digit = (char)('0' + number % 10);
	return text;
}

static void set_name(void *start, size_t len, const char *text)
{
	need(!prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, start, len, text), "naming");
}

/*
 * @vmas areas of ten pages.  Each second one is read-only, so that no two merge
 * whatever they are called.
 */
static char *many(unsigned vmas, unsigned pages, enum names names)
{
	const size_t size = 10 * PAGE;
	char *mem = mmap(NULL, vmas * size, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	need(mem != MAP_FAILED, "mmap");
	for (unsigned i = 0; i < vmas; i++)
		for (unsigned p = 0; p < pages; p++)
			mem[i * size + p * PAGE] = 1;
	for (unsigned i = 0; i < vmas; i += 2)
		need(!mprotect(mem + i * size, size, PROT_READ), "mprotect");
	if (names == EQUAL)
		set_name(mem, vmas * size, longest(0));
	if (names == DIFFERENT)
		for (unsigned i = 0; i < vmas; i++)
			set_name(mem + i * size, size, longest(i));
	return mem;
}

static void bench_fork(enum names names, unsigned pages, unsigned vmas)
{
	enum { WARM = 1, RUNS = 3 };
	double forks = 0, exits = 0, start;

	many(vmas, pages, names);
	for (int i = 0; i < WARM + RUNS; i++) {
		pid_t pid;

		start = now();
		/* Not libc's fork, whose handlers are not what is measured. */
		pid = (pid_t)syscall(SYS_fork);
		need(pid >= 0, "fork");
		if (!pid)
			_exit(0);
		if (i >= WARM)
			forks += now() - start;
		start = now();
		need(waitpid(pid, NULL, 0) == pid, "waitpid");
		if (i >= WARM)
			exits += now() - start;
	}
	printf("%.0f %.0f\n", forks / RUNS, exits / RUNS);
}

static void report(const char *what, double start, unsigned runs)
{
	printf("%s %.1f\n", what, (now() - start) / runs);
}

static void bench_calls(void)
{
	enum { RUNS = 2000 };
	char *mem = mmap(NULL, 64 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	double start;
	int named;

	need(mem != MAP_FAILED, "mmap");
	for (int round = 0; round < 2; round++) {	/* the first warms up */
		if (round)
			start = now();
		for (int i = 0; i < RUNS; i++)
			syscall(SYS_getppid);
	}
	report("getppid", start, RUNS);

	start = now();
	for (int i = 0; i < RUNS; i++)
		munmap(mmap(NULL, 16 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 16 * PAGE);
	report("mmap+munmap", start, RUNS);

	start = now();
	for (int i = 0; i < RUNS; i++)
		mprotect(mem + 16 * PAGE, PAGE, i & 1 ? RW : PROT_READ);
	report("mprotect-split-merge", start, RUNS);

	start = now();
	for (int i = 0; i < RUNS; i++)
		madvise(mem + 16 * PAGE, PAGE, i & 1 ? MADV_DOFORK : MADV_DONTFORK);
	report("madvise-split-merge", start, RUNS);

	start = now();
	for (int i = 0; i < RUNS; i++) {
		pid_t pid = (pid_t)syscall(SYS_fork);

		if (!pid)
			_exit(0);
		need(pid > 0 && waitpid(pid, NULL, 0) == pid, "fork");
		if (i == 50) {
			report("fork+exit", start, i + 1);
			break;
		}
	}

	named = !prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, mem, PAGE, NULL);
	if (!named)
		return;
	start = now();
	for (int i = 0; i < RUNS; i++) {
		char *fresh = mmap(NULL, 16 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		set_name(fresh, 16 * PAGE, "owner:thing");
		munmap(fresh, 16 * PAGE);
	}
	report("mmap+name+munmap", start, RUNS);

	set_name(mem, 64 * PAGE, "owner:thing");
	start = now();
	for (int i = 0; i < RUNS; i++)
		set_name(mem, 64 * PAGE, "owner:thing");
	report("name-as-before", start, RUNS);
	start = now();
	for (int i = 0; i < RUNS; i++)
		set_name(mem, 64 * PAGE, i & 1 ? "owner:thing" : "owner:other");
	report("name-anew", start, RUNS);
	start = now();
	for (int i = 0; i < RUNS; i++)
		set_name(mem + 16 * PAGE, PAGE, i & 1 ? "owner:thing" : "owner:other");
	report("name-split-merge", start, RUNS);
	start = now();
	for (int i = 0; i < RUNS; i++)
		mprotect(mem + 16 * PAGE, PAGE, i & 1 ? RW : PROT_READ);
	report("mprotect-split-merge-named", start, RUNS);
}

static void bench_maps(enum names names)
{
	enum { RUNS = 20, VMAS = 1000 };
	static char buffer[65536];
	double start = 0;

	many(VMAS, 0, names);
	for (int i = -1; i < RUNS; i++) {
		int fd = open("/proc/self/maps", O_RDONLY);

		if (i == 0)
			start = now();
		while (read(fd, buffer, sizeof buffer) > 0)
			;
		close(fd);
	}
	printf("%.0f\n", (now() - start) / RUNS);
}

static enum names names_of(const char *text)
{
	return !strcmp(text, "equal") ? EQUAL : !strcmp(text, "different") ? DIFFERENT : NONE;
}

int main(int argc, char **argv)
{
	if (argc >= 4 && !strcmp(argv[1], "fork"))
		bench_fork(names_of(argv[2]), (unsigned)atoi(argv[3]), argc > 4 ? (unsigned)atoi(argv[4]) : 64000);
	else if (argc == 2 && !strcmp(argv[1], "calls"))
		bench_calls();
	else if (argc == 3 && !strcmp(argv[1], "maps"))
		bench_maps(names_of(argv[2]));
	else
		return fprintf(stderr, "usage: fork-bench fork NAMES PAGES [VMAS] | calls | maps NAMES\n"), 2;
	return 0;
}
