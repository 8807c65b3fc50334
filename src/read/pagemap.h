/* SPDX-License-Identifier: MIT */
/*
 * Counts the pages of a range from /proc/PID/pagemap: what smaps gives for a
 * VMA, this gives for any part of one. It holds the target's mmap lock for
 * 2 MiB of pages at a time (smaps: for the whole VMA).
 */
#ifndef ANONNAME_READ_PAGEMAP_H
#define ANONNAME_READ_PAGEMAP_H

#include "figures.h"
#include "proc.h"
#include "text.h"

#include <stdbool.h>
#include <stdint.h>

#define PAGEMAP_ENTRIES 8192

struct pagemap {
	int fd;                     /* -1: not there, error says why */
	int error;
	int kpagecount, kpageflags; /* those of struct proc; -1: no privilege */
	bool scan;                  /* PAGEMAP_SCAN, Linux 6.7 */
	uint64_t page;              /* bytes */
	struct cost *cost;
	uint64_t deadline;          /* ns: after that nothing is read */
	bool late;                  /* it was reached */
	uint64_t held;              /* ns that the target's mmap lock was held without a pause */
	uint64_t limit;             /* how far a read may go */
	uint64_t ahead;             /* bytes of that beyond the VMA, see pagemap_begin() */
	uint64_t last_frame;        /* asked for last: their numbers often follow each other */
	uint64_t asked;             /* how often kpagecount and kpageflags were read, each a system call */
	uint64_t now;               /* ns, as of the last read */
	/* What entry[] holds: [window, window_end). Up to empty_to nothing is there, up to zero_to zero pages. */
	uint64_t window, window_end, empty_to, zero_to;
	uint64_t huge_from, huge_to; /* asked last: alike from here to there, and what came of it */
	uint64_t huge_piece;        /* how far to ask next */
	bool huge_answer;
	uint64_t entry[PAGEMAP_ENTRIES];
};

/* What was not counted by the deadline fails with -ETIME. */
int pagemap_open(struct pagemap *pagemap, const struct proc *proc, pid_t pid, uint64_t deadline, struct cost *cost);
void pagemap_close(struct pagemap *pagemap);

/*
 * Whether the process still has the memory that it had when pagemap was
 * opened: it neither ended nor called exec since.
 */
bool pagemap_is_alive(int fd);

/* With PFNs: PSS and KSM of a part of a VMA are exact. */
static inline bool pagemap_privileged(const struct pagemap *pagemap)
{
	return pagemap->kpagecount >= 0 && pagemap->kpageflags >= 0;
}

/*
 * Says what will be counted next: a VMA, whole or in parts. One read serves all
 * its parts, and where VMAs lie close together, the next ones.
 */
void pagemap_begin(struct pagemap *pagemap, uint64_t start, uint64_t end);

/*
 * Fills in RSS, PSS, USS, COW, KSM, ZERO, SWAP and THP of a page aligned range;
 * what cannot be had is marked. Where zero pages are not told from shared ones,
 * RSS and COW are the most that they can be, and ZERO the least; where KSM's are
 * not, COW has them. swap_pss and locked are left alone. shared: of a MAP_SHARED
 * mapping, in which a page of no file is a device's and not memory.
 */
int pagemap_count(struct pagemap *pagemap, uint64_t start, uint64_t end, bool shared, struct figures *figures);

/*
 * Bytes of anonymous pages shared with another process, KSM's among them, or
 * -1. For a private file mapping, where smaps does not tell them from the file's.
 */
int64_t pagemap_shared_anonymous(struct pagemap *pagemap, uint64_t start, uint64_t end);

/* Bytes of zero pages in the range, or -1 when that cannot be had. */
int64_t pagemap_zero(struct pagemap *pagemap, uint64_t start, uint64_t end);

/*
 * The same for many VMAs in order of address, as smaps names them. One scan
 * may look further than the VMA that asked, so that thousands of small ones do
 * not cost a system call each. All zero at the start.
 */
struct zero_scan {
	uint64_t scanned_to;        /* what is known reaches to here */
	uint64_t ahead;             /* how far the last scan looked beyond its VMA */
	size_t count, at;           /* known regions, the first not yet passed */
	struct {
		uint64_t start, end, categories;
	} region[64];
};

int64_t zero_scan_next(struct zero_scan *zero, struct pagemap *pagemap, uint64_t start, uint64_t end);

#endif
