/* SPDX-License-Identifier: MIT */
/*
 * VMAs are a budget: vm.max_map_count, 65530 by default. A name keeps two
 * neighbours from merging, so a process that is near the limit gets coarser
 * names, and nearer still none: no label may be the reason why an mmap fails.
 * Documentation/admin-guide/sysctl/vm.rst.
 */
#include <sys/mman.h>
#include <sys/prctl.h>

#include "base/maps.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "base/text.h"
#include "sink/sink.h"

#define DEFAULT_LIMIT 65530

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

static bool given_back;
int sink_budget_left = 1 << 12;
uint8_t sink_budget_level;

static long read_limit(void)
{
	uint64_t limit;

	if (!sys_number("/proc/sys/vm/max_map_count", &limit) || limit > 1U << 30)
		return DEFAULT_LIMIT;
	return (long)limit;
}

/*
 * Reading maps costs a microsecond for a few VMAs each time, so the next count
 * is due when a quarter of what is left may be spent, at the earliest. Names that are set
 * outnumber VMAs that are gained; that only makes us count too early.
 */
void sink_budget_count(void)
{
	long count = -1, limit = DEFAULT_LIMIT;

	if (sandbox_allows(MAY_READ_PROC)) {
		limit = read_limit();
		count = maps_each(NULL, NULL);
	}
	/* Blind: stay on the safe side. */
	if (count < 0)
		count = limit * 13 / 16;

	uint8_t level = BUDGET_FULL_NAMES;

	if (load_relaxed(&given_back) || count > limit / 8 * 7)
		level = BUDGET_NO_NAMES;
	else if (count > limit / 4 * 3)
		level = BUDGET_COARSE_NAMES;
	store_relaxed(&sink_budget_level, level);

	/* With so many VMAs a count takes tens of milliseconds: it must stay seldom. */
	long left = level == BUDGET_NO_NAMES ? limit / 8 : MAX((limit - count) / 4, limit / 32);

	store_relaxed(&sink_budget_left, (int)MAX(left, 64));
}

/* --- giving back -------------------------------------------------------------- */

/*
 * mm/mremap.c, move_vma: a mapping is not moved where fewer than six more VMAs
 * are allowed. No other call needs as many.
 */
#define VMAS_NEEDED 6U
#define TRIAL_PAGES (VMAS_NEEDED + 1)

/* Tries it: every second page with another protection. Says no for want of address space or of kernel memory, too. */
static bool more_vmas_can_be_had(void)
{
	long pages = sys_mmap(NULL, TRIAL_PAGES * page_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool can = !sys_failed(pages);

	if (!can)
		return false;
	for (unsigned i = 1; can && i < TRIAL_PAGES; i += 2)
		can = !sys_failed(sys_mprotect((void *)(pages + (long)(i * page_size)), page_size, PROT_READ));
	sys_munmap((void *)pages, TRIAL_PAGES * page_size);
	return can;
}

/*
 * Is the number of VMAs why the call failed? Most that fail with ENOMEM have
 * another reason (overcommit), and the trial says so soon. Where it fails, too,
 * that may be RLIMIT_AS or a cgroup's limit, so the VMAs are counted.
 */
static bool out_of_vmas(void)
{
	return sandbox_allows(MAY_MAP | MAY_UNMAP | MAY_PROTECT | MAY_READ_PROC) && !more_vmas_can_be_had() &&
	       maps_each(NULL, NULL) > read_limit() - (long)(VMAS_NEEDED + 1);
}

/* A run of VMAs that touch and could carry names: cleared by one call. */
struct run {
	uintptr_t start, end;
	unsigned count;
};

static void clear_run(struct run *run)
{
	if (run->count > 1)
		sys_prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, run->start, run->end - run->start, 0);
	run->count = 0;
}

static bool collect(struct maps_line *line, void *context)
{
	struct run *run = context;
	bool part = line->anonymous && !line->special;

	if (!part || (run->count && run->end != line->start))
		clear_run(run);
	if (part) {
		if (!run->count++)
			run->start = line->start;
		run->end = line->end;
	}
	return true;
}

bool sink_give_back(void)
{
	struct run run = { 0, 0, 0 };

	if (!(sink_modes() & ROOT_SINK_KERNEL) || load_relaxed(&given_back) || !sandbox_allows(MAY_NAME) || !out_of_vmas())
		return false;
	if (__atomic_exchange_n(&given_back, true, __ATOMIC_RELAXED))
		return false;
	store_relaxed(&sink_budget_level, (uint8_t)BUDGET_NO_NAMES);
	maps_each(collect, &run);
	clear_run(&run);
	return true;
}
