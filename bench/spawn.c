/* SPDX-License-Identifier: MIT */
/*
 * What preloading costs at the start of a program: starts /bin/true with no
 * library, with an empty one and with each given one in turn, many rounds, so
 * that all see the same noise. For each: median wall time and median processor
 * time (wait4) in microseconds, the medians of the differences from the empty
 * one in the same round, and the mean number of page faults: they are most of
 * what the time goes to, and noise does not change them.
 * usage: spawn ROUNDS EMPTY LIBRARY...
 */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#define MAX_LIBRARIES 8

static double microseconds(const struct timeval *t)
{
	return (double)t->tv_sec * 1e6 + (double)t->tv_usec;
}

static void start_true(const char *library, double *wall, double *cpu, double *faults)
{
	char preload[4096], program[] = "/bin/true", path[] = "PATH=/usr/bin:/bin";
	char *argv[] = { program, NULL };
	char *envp[] = { path, library ? preload : NULL, NULL };
	struct timespec begin, end;
	struct rusage use;
	int status;
	pid_t pid;

	snprintf(preload, sizeof(preload), "LD_PRELOAD=%s", library ? library : "");
	clock_gettime(CLOCK_MONOTONIC, &begin);
	if (posix_spawn(&pid, argv[0], NULL, NULL, argv, envp) != 0 || wait4(pid, &status, 0, &use) != pid || status != 0) {
		fprintf(stderr, "spawn: /bin/true with LD_PRELOAD=%s did not run\n", library ? library : "");
		exit(1);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	*wall = (double)(end.tv_sec - begin.tv_sec) * 1e6 + (double)(end.tv_nsec - begin.tv_nsec) / 1e3;
	*cpu = microseconds(&use.ru_utime) + microseconds(&use.ru_stime);
	*faults += (double)use.ru_minflt;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int n)
{
	qsort(values, (size_t)n, sizeof(*values), compare);
	return values[n / 2];
}

int main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[1]) : 0;
	int n = argc - 1;       /* none, EMPTY, LIBRARY... */

	if (rounds < 1 || n > MAX_LIBRARIES) {
		fprintf(stderr, "usage: spawn ROUNDS EMPTY LIBRARY...\n");
		return 2;
	}
	double *wall[MAX_LIBRARIES], *cpu[MAX_LIBRARIES], *more[2], faults[MAX_LIBRARIES] = { 0 };

	for (int i = 0; i < n; i++) {
		wall[i] = calloc((size_t)rounds, sizeof(double));
		cpu[i] = calloc((size_t)rounds, sizeof(double));
	}
	for (int k = 0; k < 2; k++)
		more[k] = calloc((size_t)rounds, sizeof(double));
	for (int r = 0; r < rounds; r++)
		for (int i = 0; i < n; i++) {
			/* Who comes first changes every round. */
			int at = (i + r) % n;

			start_true(at ? argv[at + 1] : NULL, &wall[at][r], &cpu[at][r], &faults[at]);
		}
	printf("%10s %10s %14s %14s %8s  library\n", "wall us", "cpu us", "wall - empty", "cpu - empty", "faults");
	double *empty_wall = malloc(sizeof(double) * (size_t)rounds), *empty_cpu = malloc(sizeof(double) * (size_t)rounds);

	memcpy(empty_wall, wall[1], sizeof(double) * (size_t)rounds);
	memcpy(empty_cpu, cpu[1], sizeof(double) * (size_t)rounds);
	for (int i = 0; i < n; i++) {
		for (int r = 0; r < rounds; r++) {
			more[0][r] = wall[i][r] - empty_wall[r];
			more[1][r] = cpu[i][r] - empty_cpu[r];
		}
		printf("%10.1f %10.1f %14.1f %14.1f %8.1f  %s\n", median(wall[i], rounds), median(cpu[i], rounds),
		       median(more[0], rounds), median(more[1], rounds), faults[i] / rounds, i ? argv[i + 1] : "(none)");
	}
	return 0;
}
