/* SPDX-License-Identifier: MIT */
/* Reads another process's memory for the recognisers. See memory.h. */
#include "memory.h"
#include "object.h"

#include "../read/core.h"
#include "../read/list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Documentation/admin-guide/mm/pagemap.rst */
#define PM_PRESENT   (1ULL << 63)
#define PM_FILE      (1ULL << 61)
#define PM_EXCLUSIVE (1ULL << 56)

#define AREAS_MAX  (1U << 18)

/* The processor's time is a system call, as long as a read is. */
#define CALLS_A_CLOCK 32

bool area_is_anonymous(const struct area *area)
{
	return area->perms[3] == 'p' && (area->class == VMA_UNNAMED || area->class == VMA_NAMED);
}

bool area_is_writable(const struct area *area)
{
	return area->perms[0] == 'r' && area->perms[1] == 'w' && area->perms[3] == 'p';
}

bool area_may_be_allocators(const struct area *area)
{
	return area_is_writable(area) && (area_is_anonymous(area) || area->class == VMA_HEAP);
}

size_t area_seek(const struct target *target, uint64_t address)
{
	return list_seek(target->area, target->areas, sizeof(*target->area), address);
}

const struct area *area_at(const struct target *target, uint64_t address)
{
	size_t i = area_seek(target, address);

	return i < target->areas && target->area[i].start <= address ? &target->area[i] : NULL;
}

static bool time_is_up(const struct target *target)
{
	return clock_cpu_ns() - target->began_cpu >= target->limits.cpu_ns || clock_ns() - target->began >= target->limits.wall_ns;
}

bool target_is_spent(struct target *target)
{
	const struct target_limits *most = &target->limits;

	if (!target->spent)
		target->spent = target->reads >= most->reads || target->bytes >= most->bytes ||
		                (target->asked++ % CALLS_A_CLOCK == 0 && time_is_up(target));
	return target->spent;
}

void target_allow(struct target *target, const struct target_limits *limits)
{
	target->limits = *limits;
	target->spent = false;
}

bool memory_is_anonymous(struct target *target, uint64_t start, uint64_t end)
{
	size_t i = area_seek(target, start);

	for (; i < target->areas && target->area[i].start <= start && !target_is_spent(target); i++) {
		if (!area_is_anonymous(&target->area[i]))
			return false;
		if (target->area[i].end >= end)
			return true;
		start = target->area[i].end;
	}
	return false;
}

int memory_get(struct target *target, uint64_t address, void *buffer, size_t size)
{
	int error;

	if (target_is_spent(target))
		return -EDQUOT;
	target->reads++;
	error = target->memory.read(target->memory.context, address, buffer, size);
	/* Who searched where nothing is has read nothing, and leaves the others their share. */
	target->bytes += error ? 0 : size;
	return error;
}

bool memory_word(struct target *target, uint64_t address, uint64_t *word)
{
	return !memory_get(target, address, word, sizeof(*word));
}

bool memory_u32(struct target *target, uint64_t address, uint32_t *word)
{
	return !memory_get(target, address, word, sizeof(*word));
}

uint64_t memory_next(struct target *target, uint64_t from, uint64_t to)
{
	if (target_is_spent(target))
		return to;
	target->reads++;
	return target->next(target->memory.context, from, to);
}

bool memory_present(struct target *target, uint64_t from, size_t pages, uint64_t *bits)
{
	if (target_is_spent(target))
		return false;
	target->reads++;
	return target->present(target->memory.context, from, pages, bits);
}

int memory_fetch(struct target *target, uint64_t address, void *buffer, size_t size)
{
	if (target_is_spent(target))
		return -EDQUOT;
	target->reads++;
	target->bytes += size;
	return target->fetch(target->memory.context, address, buffer, size);
}

static size_t gather(struct target *target, const struct iovec *there, const struct iovec *here, size_t count)
{
	size_t done = target->gather ? target->gather(target->memory.context, there, here, count) : 0;

	if (done)
		return done;
	while (done < count && !target->fetch(target->memory.context, (uintptr_t)there[done].iov_base, here[done].iov_base, here[done].iov_len))
		done++;
	return done;
}

void memory_heads(struct target *target, uint64_t from, size_t count, uint64_t step, bool *there, void *buffer, size_t size)
{
	uint64_t bits[HEADS_MAX * HEADS_STEP / 64], pages = step / target->own.page;
	struct iovec far[HEADS_MAX], near[HEADS_MAX];
	size_t index[HEADS_MAX], present = 0, done = 0;
	bool known = pages && pages <= HEADS_STEP && memory_present(target, from, (count - 1) * pages + 1, bits);

	for (size_t i = 0; i < count; i++) {
		there[i] = known && bits[i * pages / 64] >> i * pages % 64 & 1;
		if (!there[i])
			continue;
		index[present] = i;
		far[present] = (struct iovec){ (void *)(uintptr_t)(from + i * step), size };
		near[present++] = (struct iovec){ (char *)buffer + i * size, size };
	}
	while (done < present) {
		done += gather(target, &far[done], &near[done], present - done);
		if (done < present)
			there[index[done++]] = false;
	}
	target->bytes += present * size;
}

/* --- a process ---------------------------------------------------------------- */

/* Which of its pages are there, as pagemap had it: from here on, or earlier, and it is asked for once a piece. */
static bool window_read(struct target *target, uint64_t from, uint64_t to)
{
	struct page_window *w = &target->window;
	uint64_t page = target->own.page, count = (to - from + page - 1) / page;
	ssize_t got;

	if (from >= w->start && from < w->end)
		return true;
	target->reads++;
	count = count < WINDOW_PAGES ? count : WINDOW_PAGES;
	got = pread(target->own.pagemap, w->entry, count * sizeof(*w->entry), (off_t)(from / page * sizeof(*w->entry)));
	w->start = from;
	w->end = from + (got > 0 ? (size_t)got / sizeof(*w->entry) : 0) * page;
	return w->end > from;
}

static uint64_t own_next(void *context, uint64_t from, uint64_t to)
{
	struct target *target = context;
	struct page_window *w = &target->window;
	uint64_t page = target->own.page;

	from &= ~(page - 1);
	while (from < to && !target_is_spent(target) && window_read(target, from, to))
		for (; from < to && from < w->end; from += page)
			if ((w->entry[(from - w->start) / page] & (PM_PRESENT | PM_FILE)) == PM_PRESENT)
				return from;
	return to;
}

static bool own_present(void *context, uint64_t from, size_t pages, uint64_t *bits)
{
	struct target *target = context;
	uint64_t page = target->own.page, entry[WINDOW_PAGES], shared = 0;

	target->exclusive_from = target->exclusive_to = 0;
	memset(bits, 0, (pages + 63) / 64 * sizeof(*bits));
	for (size_t done = 0; done < pages; done += WINDOW_PAGES) {
		size_t count = pages - done < WINDOW_PAGES ? pages - done : WINDOW_PAGES;

		if (pread(target->own.pagemap, entry, count * sizeof(*entry), (off_t)((from / page + done) * sizeof(*entry))) !=
		    (ssize_t)(count * sizeof(*entry)))
			return false;
		for (size_t i = 0; i < count; i++) {
			bits[(done + i) / 64] |= (uint64_t)((entry[i] & (PM_PRESENT | PM_FILE)) == PM_PRESENT) << (done + i) % 64;
			shared |= (entry[i] & (PM_PRESENT | PM_EXCLUSIVE)) == PM_PRESENT;
		}
	}
	if (!shared) {
		target->exclusive_from = from;
		target->exclusive_to = from + pages * page;
	}
	return true;
}

/*
 * By process id a read costs two thirds of what it does through /proc/PID/mem,
 * which copies twice. It never reads a device's memory, so it may go beyond where
 * an area ended when the list of them was read. But it pins pages, and one that
 * is shared since a fork the kernel copies for that (5.19: gup_must_unshare()):
 * so only pages are read by it that pagemap shows to be mapped once.
 */
static bool may_pin(const struct target *target, uint64_t address, size_t size)
{
	return target->at_once && address >= target->exclusive_from && address < target->exclusive_to &&
	       size <= target->exclusive_to - address;
}

/* Through /proc/PID/mem a device's memory could be read. */
static bool is_private(const struct target *target, uint64_t from, size_t size)
{
	const struct area *area;

	for (uint64_t at = from; at - from < size; at = area->end) {
		area = area_at(target, at);
		if (!area || area->perms[3] != 'p')
			return false;
	}
	return true;
}

static int own_fetch(void *context, uint64_t address, void *buffer, size_t size)
{
	struct target *target = context;
	struct iovec here = { buffer, size }, there = { (void *)(uintptr_t)address, size };

	if (may_pin(target, address, size) && process_vm_readv(target->pid, &here, 1, &there, 1, 0) == (ssize_t)size)
		return 0;
	if (!is_private(target, address, size))
		return -EFAULT;
	return pread(target->own.mem, buffer, size, (off_t)address) == (ssize_t)size ? 0 : -EFAULT;
}

/* Whoever changes it meanwhile could have done so before. */
static int own_read(void *context, uint64_t address, void *buffer, size_t size)
{
	struct target *target = context;

	if (!process_memory_has(&target->own, address, size) ||
	    pread(target->own.mem, buffer, size, (off_t)address) != (ssize_t)size)
		return -EFAULT;
	return 0;
}

static size_t own_gather(void *context, const struct iovec *there, const struct iovec *here, size_t count)
{
	struct target *target = context;
	const struct iovec *last = &there[count - 1];
	ssize_t got = -1;

	if (may_pin(target, (uintptr_t)there->iov_base, (uintptr_t)last->iov_base + last->iov_len - (uintptr_t)there->iov_base))
		got = process_vm_readv(target->pid, here, count, there, count, 0);
	return got < 0 ? 0 : (size_t)got / here->iov_len;
}

/* --- a core file ---------------------------------------------------------------- */

static uint64_t core_own_next(void *context, uint64_t from, uint64_t to)
{
	struct target *target = context;

	return core_next(target->proc->core, from, to);
}

static bool core_own_present(void *context, uint64_t from, size_t pages, uint64_t *bits)
{
	struct target *target = context;
	const struct core *core = target->proc->core;
	uint64_t page = target->own.page, end = from + pages * page, to;

	memset(bits, 0, (pages + 63) / 64 * sizeof(*bits));
	for (uint64_t at = core_next(core, from, end); at < end; at = core_next(core, to, end)) {
		to = core_there_to(core, at, end);
		if (to <= at)
			return false;
		for (; at < to; at += page)
			bits[(at - from) / page / 64] |= 1ULL << (at - from) / page % 64;
	}
	return true;
}

/* Files' pages are another matter, as in a process. */
static int core_own_read(void *context, uint64_t address, void *buffer, size_t size)
{
	struct target *target = context;

	if (!process_memory_has(&target->own, address, size))
		return -EFAULT;
	return core_read(target->proc->core, address, buffer, size);
}

static void read_core(struct target *target)
{
	target->next = core_own_next;
	target->present = core_own_present;
	target->fetch = core_own_read;
	target->gather = NULL;
	target->memory.read = core_own_read;
	/* Nothing runs that could be held up. */
	target->limits.cpu_ns = target->limits.wall_ns;
}

/* --- opening -------------------------------------------------------------------- */

static char no_path[1];

/* Neighbours that are parts of one file share the text of its path. */
static char *keep_path(const struct target *target, const struct vma *vma)
{
	const struct area *last = target->areas ? &target->area[target->areas - 1] : NULL;

	if (vma->class != VMA_FILE && vma->class != VMA_SHM)
		return no_path;
	if (last && last->path != no_path && strlen(last->path) == vma->name.len && !memcmp(last->path, vma->name.at, vma->name.len))
		return last->path;
	return strndup(vma->name.at, vma->name.len);
}

static int add_area(void *context, struct vma *vma)
{
	struct target *target = context;
	struct area *area = list_grown(target->area, target->areas, &target->room, sizeof(*area), 128, AREAS_MAX);

	if (!area)
		return -ENOMEM;
	target->area = area;
	area = &target->area[target->areas];
	*area = (struct area){
		.start = vma->start, .end = vma->end, .offset = vma->offset, .major = vma->major, .minor = vma->minor,
		.inode = vma->inode, .class = vma->class, .path = keep_path(target, vma),
	};
	if (!area->path)
		return -ENOMEM;
	memcpy(area->perms, vma->perms, sizeof(area->perms));
	target->areas++;
	return process_memory_add(&target->own, vma);
}

int target_open_maps(struct target *target, const struct proc *proc, pid_t pid, struct text ahead, int maps)
{
	int error;

	*target = (struct target){
		.proc = proc, .pid = pid, .next = own_next, .present = own_present, .fetch = own_fetch, .gather = own_gather, .at_once = proc_is_own(proc),
		.limits = { TARGET_READS, TARGET_BYTES, TARGET_CPU_NS, TARGET_WALL_NS }, .began = clock_ns(), .began_cpu = clock_cpu_ns(),
	};
	target->memory = (struct memory){ own_read, target };
	if (proc->core)
		read_core(target);
	error = process_memory_open(&target->own, proc, pid);
	if (error)
		return error;
	target->own.present_only = true;
	error = maps_read(proc->maps, ahead, maps, 0, NULL, add_area, target, NULL);
	if (!error)
		error = objects_find(target);
	if (error)
		target_close(target);
	return error;
}

int target_open(struct target *target, const struct proc *proc, pid_t pid)
{
	int maps = proc_open(proc, pid, "maps"), error;

	if (maps < 0)
		return maps;
	error = target_open_maps(target, proc, pid, (struct text){ 0 }, maps);
	close(maps);
	return error;
}

void target_close(struct target *target)
{
	objects_free(target);
	for (size_t i = 0; i < target->areas; i++)
		if (target->area[i].path != no_path && (i + 1 == target->areas || target->area[i + 1].path != target->area[i].path))
			free(target->area[i].path);
	free(target->area);
	process_memory_close(&target->own);
	*target = (struct target){ .own = { .mem = -1, .pagemap = -1 } };
}
