/* SPDX-License-Identifier: MIT */
/* The input is a file of anonname snapshot; it is compared with an empty one, in every form of output. */
#include "../../tools/tool.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char empty[] = "{\"format\": \"anonname-snapshot\", \"version\": 1, \"names\": [], \"total\": {}}";

static int file_of(const void *data, size_t size, char *path, size_t path_size)
{
	int fd = memfd_create("snapshot", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, path_size, "/proc/self/fd/%d", fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char forms[][8] = { "--json", "--csv", "--human", "--fold" };
	static char null_path[32];
	char path[32], command[] = "diff";
	int fd;

	if (!*null_path) {
		file_of(empty, sizeof(empty) - 1, null_path, sizeof(null_path));
		/* The stream alone: the fuzzer itself has something to say. */
		stderr = fopen("/dev/null", "w");
		if (!stderr || !freopen("/dev/null", "w", stdout))
			abort();
	}
	fd = file_of(data, size, path, sizeof(path));
	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++)
		for (int swapped = 0; swapped < 2; swapped++) {
			char *argv[] = { command, forms[i], swapped ? null_path : path, swapped ? path : null_path, NULL };

			optind = 0;
			tool_diff(4, argv);
		}
	close(fd);
	return 0;
}
