/* SPDX-License-Identifier: MIT */
/*
 * What suite-openmpi runs on two processes.  Each step's buffers come from
 * malloc and go back at once, at addresses that the next step uses again: a
 * registration cache that misses an munmap would send stale memory.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 40, BYTES = 1 << 20 };

static int rank;

static void say(const char *test, int right)
{
	if (rank == 0)
		printf("%s %s\n", right ? "pass" : "fail", test);
}

/* Each byte of a step's message says the step. */
static int send_and_receive(void)
{
	int right = 1;

	for (int step = 0; step < STEPS; step++) {
		size_t len = BYTES + (size_t)step * 4096;
		unsigned char *out = malloc(len), *in = calloc(1, len);

		memset(out, step, len);
		MPI_Sendrecv(out, (int)len, MPI_BYTE, !rank, step, in, (int)len, MPI_BYTE, !rank, step, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		right = right && !memcmp(out, in, len);
		free(out);
		free(in);
	}
	return right;
}

static int get_from_a_window(void)
{
	int right = 1;

	for (int step = 0; step < STEPS / 4; step++) {
		unsigned char *shown = malloc(BYTES), *got = calloc(1, BYTES);
		MPI_Win window;

		memset(shown, step + rank, BYTES);
		MPI_Win_create(shown, BYTES, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &window);
		MPI_Win_fence(0, window);
		MPI_Get(got, BYTES, MPI_BYTE, !rank, 0, BYTES, MPI_BYTE, window);
		MPI_Win_fence(0, window);
		right = right && got[0] == (unsigned char)(step + !rank) && got[BYTES - 1] == got[0];
		MPI_Win_free(&window);
		free(shown);
		free(got);
	}
	return right;
}

static int reduce(void)
{
	int right = 1;

	for (int step = 0; step < STEPS / 4; step++) {
		int n = BYTES / 4, *mine = malloc(BYTES), *sum = calloc(1, BYTES);

		for (int i = 0; i < n; i++)
			mine[i] = i + rank;
		MPI_Allreduce(mine, sum, n, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
		right = right && sum[0] == 1 && sum[n - 1] == 2 * (n - 1) + 1;
		free(mine);
		free(sum);
	}
	return right;
}

int main(int argc, char **argv)
{
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	say("send and receive", send_and_receive());
	say("get from a window", get_from_a_window());
	say("reduce", reduce());
	MPI_Finalize();
	return 0;
}
