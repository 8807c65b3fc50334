/* SPDX-License-Identifier: MIT */
/*
 * VMAs are a budget: vm.max_map_count, 65530 by default. A name keeps two
 * neighbours from merging, so a process that is near the limit gets coarser
 * names, and nearer still none: no label may be the reason why an mmap fails.
 * Documentation/admin-guide/sysctl/vm.rst.
 */
#include <fcntl.h>

#include "base/maps.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "base/text.h"
#include "sink/sink.h"

#define DEFAULT_LIMIT 65530

int sink_budget_left = 1 << 12;
uint8_t sink_budget_level;

static long read_limit(void)
{
	char buf[32];
	long fd = sys_open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);
	const char *p = buf;
	uint64_t limit = DEFAULT_LIMIT;

	if (sys_failed(fd))
		return DEFAULT_LIMIT;
	long n = sys_read((int)fd, buf, sizeof(buf));

	sys_close((int)fd);
	if (n <= 0 || !text_read_number(&p, buf + n, 10, &limit) || limit > 1U << 30)
		return DEFAULT_LIMIT;
	return (long)limit;
}

/*
 * Reading maps costs a microsecond for a few VMAs each time, so the next count
 * is due when a quarter of what is left may be spent. Names that are set
 * outnumber VMAs that are gained; that only makes us count too early.
 */
void sink_budget_count(void)
{
	long count = -1, limit = DEFAULT_LIMIT;

	if (sandbox_allows(MAY_READ_PROC)) {
		limit = read_limit();
		count = maps_read(NULL, NULL);
	}
	/* Blind: stay on the safe side. */
	if (count < 0)
		count = limit * 13 / 16;

	uint8_t level = BUDGET_FULL_NAMES;

	if (count > limit / 8 * 7)
		level = BUDGET_NO_NAMES;
	else if (count > limit / 4 * 3)
		level = BUDGET_COARSE_NAMES;
	store_relaxed(&sink_budget_level, level);

	long left = (limit - count) / 4;

	store_relaxed(&sink_budget_left, (int)MAX(left, 64));
}
