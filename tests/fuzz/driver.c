/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzzer's function over files where libFuzzer is not to be had, each
 * also cut short and with single bytes changed, so that the seeds are of use
 * in every `make check`.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of exactly this size, so that a sanitizer sees a byte too far. */
static void run(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	if (!copy)
		abort();
	memcpy(copy, data, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

int main(int argc, char **argv)
{
	static uint8_t data[1 << 20];
	uint32_t random = 1;

	for (int i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		size_t size;

		if (!file) {
			perror(argv[i]);
			return 1;
		}
		size = fread(data, 1, sizeof(data), file);
		fclose(file);
		run(data, size);
		for (int round = 0; size && round < 2000; round++) {
			size_t at;
			uint8_t old;

			random = random * 1664525 + 1013904223;
			at = (random >> 8) % size;
			old = data[at];
			data[at] = (uint8_t)(random >> 16);
			run(data, round % 4 ? size : at);
			data[at] = old;
		}
		printf("%s: %zu bytes\n", argv[i], size);
	}
	return 0;
}
