/* SPDX-License-Identifier: MIT */
/* Reads pages that a process owns. See memory.h. */
#include "memory.h"
#include "core.h"
#include "list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Documentation/admin-guide/mm/pagemap.rst */
#define PM_PRESENT (1ULL << 63)
#define PM_SWAPPED (1ULL << 62)
#define PM_FILE    (1ULL << 61)
#define PM_WATCHED (1ULL << 57)     /* a userfaultfd waits for writes; of a page swapped out: perhaps for reads */

#define PAGES_AT_ONCE 64

int process_memory_open(struct process_memory *memory, const struct proc *proc, pid_t pid)
{
	memset(memory, 0, sizeof(*memory));
	memory->page = (uint64_t)sysconf(_SC_PAGESIZE);
	memory->pagemap = memory->mem = -1;
	memory->core = proc->core;
	if (proc->core)
		return 0;
	memory->pagemap = proc_open(proc, pid, "pagemap");
	memory->mem = proc_open(proc, pid, "mem");
	if (memory->mem < 0 || memory->pagemap < 0) {
		int error = memory->mem < 0 ? memory->mem : memory->pagemap;

		process_memory_close(memory);
		return error;
	}
	return 0;
}

void process_memory_close(struct process_memory *memory)
{
	if (memory->mem >= 0)
		close(memory->mem);
	if (memory->pagemap >= 0)
		close(memory->pagemap);
	free(memory->range);
	*memory = (struct process_memory){ .mem = -1, .pagemap = -1 };
}

/* Where pages of the process's own can be: a file's private mapping has those that were written to. */
static bool may_be_own(const struct vma *vma)
{
	return vma->perms[3] == 'p' && (vma_is_anonymous(vma) || vma->class == VMA_FILE);
}

int process_memory_add(struct process_memory *memory, const struct vma *vma)
{
	struct memory_range *last = memory->ranges ? &memory->range[memory->ranges - 1] : NULL, *grown;

	if (!may_be_own(vma))
		return 0;
	if (last && last->end == vma->start) {
		last->end = vma->end;
		return 0;
	}
	grown = list_grown(memory->range, memory->ranges, &memory->room, sizeof(*grown), 64, LIST_ENDLESS);
	if (!grown)
		return -ENOMEM;
	memory->range = grown;
	memory->range[memory->ranges++] = (struct memory_range){ vma->start, vma->end };
	return 0;
}

static bool is_in_range(const struct process_memory *memory, uint64_t start, uint64_t end)
{
	size_t i = list_seek(memory->range, memory->ranges, sizeof(*memory->range), start);

	return i < memory->ranges && memory->range[i].start <= start && end <= memory->range[i].end;
}

static bool is_own(const struct process_memory *memory, uint64_t entry)
{
	if (entry & PM_FILE)
		return false;
	return entry & PM_PRESENT || (!memory->present_only && (entry & (PM_SWAPPED | PM_WATCHED)) == PM_SWAPPED);
}

static bool pages_are_own(const struct process_memory *memory, uint64_t start, uint64_t end)
{
	uint64_t entry[PAGES_AT_ONCE], first = start / memory->page, last = (end - 1) / memory->page;

	while (first <= last) {
		size_t count = last - first + 1 < PAGES_AT_ONCE ? (size_t)(last - first + 1) : PAGES_AT_ONCE;

		if (pread(memory->pagemap, entry, count * sizeof(*entry), (off_t)(first * sizeof(*entry))) !=
		    (ssize_t)(count * sizeof(*entry)))
			return false;
		for (size_t i = 0; i < count; i++)
			if (!is_own(memory, entry[i]))
				return false;
		first += count;
	}
	return true;
}

bool process_memory_has(const struct process_memory *memory, uint64_t address, size_t size)
{
	if (!size || address > (uint64_t)INT64_MAX - size || !is_in_range(memory, address, address + size))
		return false;
	return memory->core ? core_there_to(memory->core, address, address + size) == address + size :
	                      pages_are_own(memory, address, address + size);
}

int process_memory_read(struct process_memory *memory, uint64_t address, void *buffer, size_t size)
{
	size_t done = 0;

	if (memory->core)
		return core_read(memory->core, address, buffer, size);
	if (!process_memory_has(memory, address, size))
		return -EFAULT;
	while (done < size) {
		ssize_t got = pread(memory->mem, (char *)buffer + done, size - done, (off_t)(address + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -errno : -ESRCH;
		done += (size_t)got;
	}
	return pages_are_own(memory, address, address + size) ? 0 : -EFAULT;
}
