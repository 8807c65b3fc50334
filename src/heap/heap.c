/* SPDX-License-Identifier: MIT */
/* The allocators that can be looked into, and how what they have comes from the child that reads it. See heap.h. */
#include "heap.h"

#include "../read/apart.h"
#include "../read/pagemap.h"
#include "../read/process.h"
#include "../recognise/recognise.h"

#include <errno.h>
#include <string.h>

static heap_reader *const readers[] = {
	heap_glibc,
	heap_jemalloc,
	heap_mimalloc,
	heap_tcmalloc,
	heap_python,
	heap_hotspot,
	heap_go,
	heap_v8,
};

/* Beside what recognising may cost: after eight seconds apart.c gives the process up, and what was found with it. */
static const struct target_limits limits = {
	.reads = 1U << 28, .bytes = 1ULL << 40, .cpu_ns = 8000000000ULL, .wall_ns = 6500000000ULL,
};

void heap_read(struct target *target, const struct findings *findings, struct heaps *heaps)
{
	target_allow(target, &limits);
	for (size_t i = 0; i < sizeof(readers) / sizeof(*readers); i++)
		readers[i](target, findings, heaps);
}

/* --- apart -------------------------------------------------------------------- */

struct reading {
	const struct proc *proc;
	pid_t pid;
	struct heaps *heaps;
};

/* Kernels differ in whether the maps of what has no memory cannot be opened or are empty. */
static int open_target(struct target *target, const struct proc *proc, pid_t pid)
{
	int error = target_open(target, proc, pid);
	pid_t thread;

	if (!error && target->areas)
		return 0;
	if (!error) {
		target_close(target);
		error = -ESRCH;
	}
	error = process_why_not(proc, pid, error, &thread);
	return thread ? target_open(target, proc, thread) : error;
}

/* What is sent. */
enum { ARENA, CUT_SHORT };

/* What ends, or calls exec, while it is read looks as if it had less. */
static int read_all(const struct reading *reading, struct heaps *heaps)
{
	struct findings findings = { 0 };
	struct target target;
	int error = open_target(&target, reading->proc, reading->pid);

	if (error)
		return error;
	recognise_all(&target, &findings);
	heaps->cut = target.spent;
	heap_read(&target, &findings, heaps);
	heaps->cut |= target.spent;
	error = pagemap_is_alive(target.own.pagemap) ? 0 : -ESRCH;
	target_close(&target);
	findings_free(&findings);
	return error;
}

static int work(void *context, size_t item, struct apart *out)
{
	const struct reading *reading = context;
	struct heaps heaps = { 0 };
	int error = read_all(reading, &heaps);

	(void)item;
	if (error) {
		heaps_free(&heaps);
		return error;
	}
	apart_safe(out);
	for (size_t i = 0; i < heaps.count; i++)
		apart_send(out, ARENA, &heaps.arena[i], sizeof(*heaps.arena), NULL, 0);
	if (heaps.cut)
		apart_send(out, CUT_SHORT, NULL, 0, NULL, 0);
	heaps_free(&heaps);
	return 0;
}

/* The child has read what is hostile, so what it says is checked as that is. */
static int take(void *context, size_t item, uint32_t kind, const void *data, size_t size)
{
	struct reading *reading = context;
	const struct heap_arena *sent = data;
	struct heap_arena *arena;

	(void)item;
	if (kind == CUT_SHORT) {
		reading->heaps->cut = true;
		return 0;
	}
	if (kind != ARENA || size != sizeof(*sent) || sent->kind >= HEAP_KINDS || sent->sizes > HEAP_SIZES_MAX)
		return -EBADMSG;
	arena = heaps_add(reading->heaps, sent->kind, "");
	if (!arena)
		return -ENOMEM;
	*arena = *sent;
	text_clean(arena->name, sizeof(arena->name), (struct text){ sent->name, strnlen(sent->name, sizeof(sent->name)) });
	memcpy(arena->label, arena->name, sizeof(arena->label));
	arena->class = sent->kind == HEAP_GLIBC_MAIN ? VMA_HEAP : VMA_NAMED;
	return 0;
}

int heap_read_apart(const struct proc *proc, pid_t pid, struct heaps *heaps)
{
	struct reading reading = { .proc = proc, .pid = pid, .heaps = heaps };
	const struct apart_job job = { .items = 1, .work = work, .take = take, .context = &reading };

	return apart_run(&job);
}

/* --- what they are called ------------------------------------------------------- */

static void label(struct heap_arena *arena, const struct vma *vma)
{
	arena->class = vma->class;
	text_clean(arena->label, sizeof(arena->label), vma->name);
	if ((arena->kind == HEAP_JEMALLOC || arena->kind == HEAP_MIMALLOC) && vma->class == VMA_NAMED)
		memcpy(arena->name, arena->label, sizeof(arena->name));
}

static int label_those_in(void *context, const struct region *region)
{
	struct heaps *heaps = context;

	/* NULL: it is read again, and they are labelled again. */
	for (size_t i = 0; region && i < heaps->count; i++)
		if (heaps->arena[i].address >= region->vma.start && heaps->arena[i].address < region->vma.end)
			label(&heaps->arena[i], &region->vma);
	return 0;
}

int heaps_label(const struct proc *proc, pid_t pid, struct heaps *heaps)
{
	struct process process;
	struct cost cost = { 0 };

	int error = process_read_apart(proc, pid, PROCESS_NAMES, &cost, label_those_in, heaps, &process);

	heaps_merge(heaps, HEAP_MIMALLOC);
	return error;
}
