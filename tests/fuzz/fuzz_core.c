/* SPDX-License-Identifier: MIT */
/*
 * The input is a core file. It is read as anonname report --core does, names
 * recognised, and its registry's.
 */
#include "../../src/read/core.h"
#include "../../src/read/names.h"
#include "../../src/recognise/recognise.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct state {
	struct name_table table;
	uint64_t last;
};

static int take_region(void *context, const struct region *region)
{
	struct state *state = context;

	if (!region) {
		names_free(&state->table);
		state->last = 0;
		return 0;
	}
	if (region->vma.start >= region->vma.end || region->vma.start < state->last)
		abort();
	state->last = region->vma.end;
	return names_add(&state->table, region);
}

static void read_core(struct core *core)
{
	struct state state = { .last = 0 };
	struct process process;
	struct cost cost = { 0 };
	struct proc proc;

	if (proc_init_with(&proc, core))
		return;
	proc.recognise = recognise;
	process_read(&proc, core_pid(core), PROCESS_FIGURES, &cost, take_region, &state, &process);
	names_free(&state.table);
	proc_close(&proc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	struct core *core;

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	if (!core_open_file(fd, &core))
		read_core(core);
	return 0;
}
