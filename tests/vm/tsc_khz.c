/* SPDX-License-Identifier: MIT */
/*
 * Prints the frequency of this processor's time-stamp counter in kHz.
 *
 * QEMU hands the counter to the guest as it is, and a guest that has to measure
 * it on a busy host can be wrong by a factor of 40: seen once, and the guest's
 * time ran that much too fast.  Here a disturbed reading can be told from a good one.
 */
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

struct reading {
	long ns;
	unsigned long long tsc;
};

/* The reading that took the least time of several: nothing came between. */
static struct reading read_both(void)
{
	struct reading best = { 0 };
	long best_took = -1;

	for (int i = 0; i < 50; i++) {
		struct timespec before, after;
		clock_gettime(CLOCK_MONOTONIC_RAW, &before);
		unsigned long long tsc = __rdtsc();
		clock_gettime(CLOCK_MONOTONIC_RAW, &after);

		long start = before.tv_sec * 1000000000L + before.tv_nsec;
		long took = after.tv_sec * 1000000000L + after.tv_nsec - start;
		if (best_took < 0 || took < best_took) {
			best = (struct reading){ start + took / 2, tsc };
			best_took = took;
		}
	}
	return best;
}

int main(void)
{
	struct reading first = read_both();
	nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
	struct reading second = read_both();

	printf("%.0f\n", (double)(second.tsc - first.tsc) / (double)(second.ns - first.ns) * 1e6);
}
