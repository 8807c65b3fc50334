/* SPDX-License-Identifier: MIT */
/* Reads one process in a child, region by region. See process.h and apart.h. */
#include "apart.h"
#include "process.h"

#include <errno.h>
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
	int error;
};

/* In the child. */
static int send_region(void *context, const struct region *region)
{
	if (region)
		apart_send(context, REGION, region, sizeof(*region), region->vma.name.at, region->vma.name.len);
	else
		apart_send(context, FORGET, NULL, 0, NULL, 0);
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
static int take(void *context, size_t item, uint32_t kind, const void *data, size_t size)
{
	struct reading *reading = context;
	struct region region;
	struct result result;

	(void)item;
	if (kind == FORGET)
		return reading->each(reading->context, NULL);
	if (kind == REGION && size >= sizeof(region)) {
		memcpy(&region, data, sizeof(region));
		region.vma.name = (struct text){ (const char *)data + sizeof(region), size - sizeof(region) };
		return reading->each(reading->context, &region);
	}
	if (kind != RESULT || size != sizeof(result))
		return -EBADMSG;
	memcpy(&result, data, sizeof(result));
	*reading->process = result.process;
	cost_merge(reading->cost, &result.cost);
	return 0;
}

static int done(void *context, size_t item, int error)
{
	struct reading *reading = context;

	(void)item;
	reading->error = error;
	return 0;
}

int process_read_apart(const struct proc *proc, pid_t pid, enum process_mode mode, struct cost *cost,
                       region_function *each, void *context, struct process *process)
{
	struct reading reading = {
		.proc = proc, .pid = pid, .mode = mode, .cost = cost, .each = each, .context = context,
		.process = process, .error = -EIO,
	};
	const struct apart_job job = { .items = 1, .work = work, .take = take, .done = done, .context = &reading };
	int error;

	memset(process, 0, sizeof(*process));
	process->pid = pid;
	error = apart_run(&job);
	return error ? error : reading.error;
}
