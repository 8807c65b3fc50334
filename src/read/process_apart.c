/* SPDX-License-Identifier: MIT */
/* Reads one process in a child, region by region. See process.h and apart.h. */
#include "apart.h"
#include "process.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

enum { REGION, FORGET, RESULT };

struct result {
	struct process process;
	struct cost cost;
};

struct reading {
	const struct proc *proc;
	pid_t pid;
	enum process_mode mode;
	struct cost *cost;
	region_function *each;
	void *context;
	struct process *process;
};

/*
 * A region on its way: most of it is zero, and every cache line that is sent
 * wanders from one processor to another. So only the words that are not zero
 * go, and a mask says which those are.
 *
 *   mask | words ... | name
 */
#define WORDS (sizeof(struct region) / sizeof(uint64_t))
_Static_assert(sizeof(struct region) % sizeof(uint64_t) == 0 && WORDS <= 64, "one bit a word");
/* They are looked at in groups, for figures that nobody asked for are zeroes in a row. */
#define GROUP  4U
#define GROUPS ((WORDS + GROUP - 1) / GROUP)

/* What lies between members says nothing: it is not sent, where the compiler can clear it. */
#if defined(__has_builtin)
#if __has_builtin(__builtin_clear_padding)
#define CLEAR_PADDING(object) __builtin_clear_padding(object)
#endif
#endif
#ifndef CLEAR_PADDING
#define CLEAR_PADDING(object) ((void)0)
#endif

/* In the child. */
static int send_region(void *context, const struct region *region)
{
	uint64_t word[GROUPS * GROUP], sent[1 + GROUPS * GROUP], mask = 0;
	struct region clean;
	struct text name;
	unsigned count = 1;

	if (!region) {
		apart_send(context, FORGET, NULL, 0, NULL, 0);
		return 0;
	}
	name = region->vma.name;
	memset(word + (GROUPS - 1) * GROUP, 0, GROUP * sizeof(*word));
	clean = *region;
	clean.vma.name.at = NULL;
	CLEAR_PADDING(&clean);
	memcpy(word, &clean, sizeof(clean));
	for (unsigned group = 0; group < GROUPS * GROUP; group += GROUP) {
		if (!(word[group] | word[group + 1] | word[group + 2] | word[group + 3]))
			continue;
		for (unsigned i = group; i < group + GROUP; i++) {
			sent[count] = word[i];
			count += word[i] != 0;
			mask |= (uint64_t)(word[i] != 0) << i;
		}
	}
	sent[0] = mask;
	apart_send(context, REGION, sent, count * sizeof(*sent), name.at, name.len);
	return 0;
}

static int work(void *context, size_t item, struct apart *out)
{
	const struct reading *reading = context;
	struct result result = { .cost = { 0 } };
	int error = process_read(reading->proc, reading->pid, reading->mode, &result.cost, send_region, out,
	                         &result.process);

	(void)item;
	apart_safe(out);
	apart_send(out, RESULT, &result, sizeof(result), NULL, 0);
	return error;
}

/* Here. */
static int take_region(const struct reading *reading, const uint64_t *sent, size_t size)
{
	uint64_t word[WORDS] = { 0 };
	const uint64_t *next = sent + 1;
	struct region region;

	for (uint64_t mask = sent[0]; mask; mask &= mask - 1)
		word[__builtin_ctzll(mask)] = *next++;
	memcpy(&region, word, sizeof(region));
	region.vma.name.at = (const char *)next;
	if ((const char *)sent + size != region.vma.name.at + region.vma.name.len)
		return -EBADMSG;
	return reading->each(reading->context, &region);
}

static int take(void *context, size_t item, uint32_t kind, const void *data, size_t size)
{
	struct reading *reading = context;
	struct result result;

	(void)item;
	if (kind == FORGET)
		return reading->each(reading->context, NULL);
	if (kind == REGION)
		return take_region(reading, data, size);
	if (kind != RESULT || size != sizeof(result))
		return -EBADMSG;
	memcpy(&result, data, sizeof(result));
	*reading->process = result.process;
	cost_merge(reading->cost, &result.cost);
	return 0;
}

int process_read_apart(const struct proc *proc, pid_t pid, enum process_mode mode, struct cost *cost,
                       region_function *each, void *context, struct process *process)
{
	struct reading reading = {
		.proc = proc, .pid = pid, .mode = mode, .cost = cost, .each = each, .context = context,
		.process = process,
	};
	const struct apart_job job = { .items = 1, .work = work, .take = take, .context = &reading };

	memset(process, 0, sizeof(*process));
	process->pid = pid;
	return apart_run(&job);
}
