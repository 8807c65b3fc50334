/* SPDX-License-Identifier: MIT */
/*
 * The input is a process: the files of /proc/PID one after the other, each but
 * the last ended by the bytes ff fe fd fc. Read as if it were a live one, in
 * every mode, its library's memory and page tables included.
 */
#include "../../src/read/names.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const files[] = {
	"1/stat", "1/status", "1/mem", "1/pagemap", "1/maps", "1/smaps", "1/comm",
	"kpagecount", "kpageflags",
};

#define FILES (sizeof(files) / sizeof(*files))

static char directory[] = "/dev/shm/fuzz_tree.XXXXXX";
static int file[FILES];
static struct proc proc;

static void clean_up(void)
{
	char path[sizeof(directory) + 32];

	for (size_t i = 0; i < FILES; i++) {
		snprintf(path, sizeof(path), "%s/%s", directory, files[i]);
		unlink(path);
	}
	snprintf(path, sizeof(path), "%s/1", directory);
	rmdir(path);
	rmdir(directory);
}

static void set_up(void)
{
	if (!mkdtemp(directory) || proc_init(&proc, directory))
		abort();
	atexit(clean_up);
	if (mkdirat(proc.fd, "1", 0700))
		abort();
	for (size_t i = 0; i < FILES; i++) {
		file[i] = openat(proc.fd, files[i], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
		if (file[i] < 0)
			abort();
	}
	proc.live = true;
}

struct state {
	struct name_table table;
	uint64_t last;
};

static int take(void *context, const struct region *region)
{
	struct state *state = context;

	if (!region) {
		names_free(&state->table);
		state->last = 0;
		return 0;
	}
	if (region->vma.start < state->last || region->vma.end <= region->vma.start)
		abort();
	state->last = region->vma.end;
	return names_add(&state->table, region);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t separator[4] = { 0xff, 0xfe, 0xfd, 0xfc };
	static bool ready;

	if (!ready)
		set_up();
	ready = true;
	for (size_t i = 0; i < FILES; i++) {
		const uint8_t *end = i + 1 < FILES && size ? memmem(data, size, separator, sizeof(separator)) : NULL;
		size_t len = end ? (size_t)(end - data) : size;

		if (ftruncate(file[i], 0) || (len && pwrite(file[i], data, len, 0) != (ssize_t)len))
			abort();
		data += end ? len + sizeof(separator) : len;
		size -= end ? len + sizeof(separator) : len;
	}
	for (int mode = PROCESS_NAMES; mode <= PROCESS_GENTLE; mode++)
		for (int privileged = 0; privileged < 2; privileged++) {
			struct state state = { 0 };
			struct process process;
			struct cost cost = { 0 };
			char comm[64];

			proc.kpagecount = privileged ? file[FILES - 2] : -1;
			proc.kpageflags = privileged ? file[FILES - 1] : -1;
			process_read(&proc, 1, (enum process_mode)mode, &cost, take, &state, &process);
			names_sum(&state.table);
			names_labelled(&state.table.totals);
			names_free(&state.table);
			proc_comm(&proc, 1, comm, sizeof(comm));
			for (const char *p = comm; *p; p++)
				if ((unsigned char)*p < 0x20 || *p == 0x7f)
					abort();
		}
	return 0;
}
