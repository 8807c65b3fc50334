/* SPDX-License-Identifier: MIT */
/* Counts pages of a range. See pagemap.h and Documentation/admin-guide/mm/pagemap.rst. */
#include "pagemap.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define PM_PRESENT   (1ULL << 63)
#define PM_SWAPPED   (1ULL << 62)
#define PM_FILE      (1ULL << 61)
#define PM_EXCLUSIVE (1ULL << 56)
#define PM_PFN       ((1ULL << 55) - 1)

#define KPF_NOPAGE    (1ULL << 20)
#define KPF_KSM       (1ULL << 21)
#define KPF_ZERO_PAGE (1ULL << 24)

/* linux/fs.h of 6.7; the headers that this is built with may be older. */
struct scan_region {
	uint64_t start, end, categories;
};

struct scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define SCAN_PRESENT (1U << 3)
#define SCAN_SWAPPED (1U << 4)
#define SCAN_ZERO    (1U << 5)
#define SCAN_HUGE    (1U << 6)
#define SCAN_IOCTL   _IOWR('f', 16, struct scan)

#define TALLY_BLOCK  64
#define HUGE_PAGE    (2ULL << 20)
#define SCAN_PIECE   (64ULL << 20)              /* bounds how long the target's lock is held */
/* For the next page, where there is none: mostly there are no page tables either. 4 GiB of empty ones cost 1.5 ms. */
#define SCAN_FURTHER (4ULL << 30)
/* For pages that are alike, where those before were: as small ones they cost 1 ms. */
#define SCAN_ALIKE   (1ULL << 30)
#define LOCK_HELD    200000                     /* ns */
#define LOCK_PAUSE   20000                      /* ns; the kernel's timer slack adds 50 us */

void pagemap_begin(struct pagemap *pagemap, uint64_t start, uint64_t end)
{
	const uint64_t least = 64 * pagemap->page, most = PAGEMAP_ENTRIES * pagemap->page;
	bool hit = start >= pagemap->window && start < pagemap->window_end;

	pagemap->ahead = hit ? pagemap->ahead * 2 : pagemap->ahead / 2;
	if (pagemap->ahead < least)
		pagemap->ahead = least;
	if (pagemap->ahead > most)
		pagemap->ahead = most;
	pagemap->limit = end + pagemap->ahead;
	if (pagemap->limit < end)
		pagemap->limit = end;
}

int pagemap_open(struct pagemap *pagemap, const struct proc *proc, pid_t pid, uint64_t deadline, struct cost *cost)
{
	static int scan_known;      /* a fact of the kernel: 1 yes, -1 no */
	struct scan probe = { .size = sizeof(probe) };

	pagemap->kpagecount = proc->kpagecount;
	pagemap->kpageflags = proc->kpageflags;
	pagemap->scan = false;
	pagemap->last_frame = pagemap->asked = pagemap->held = 0;
	pagemap->error = 0;
	pagemap->limit = pagemap->ahead = pagemap->window = pagemap->window_end = 0;
	pagemap->empty_to = pagemap->zero_to = 0;
	pagemap->huge_from = pagemap->huge_to = pagemap->huge_piece = 0;
	pagemap->deadline = deadline;
	pagemap->late = false;
	pagemap->cost = cost;
	pagemap->page = (uint64_t)sysconf(_SC_PAGESIZE);
	pagemap->fd = proc->live ? proc_open(proc, pid, "pagemap") : -ENOENT;
	if (pagemap->fd < 0) {
		pagemap->error = pagemap->fd;
		pagemap->fd = -1;
		return pagemap->error;
	}
	if (!scan_known)
		scan_known = ioctl(pagemap->fd, SCAN_IOCTL, &probe) == 0 ? 1 : -1;
	pagemap->scan = scan_known > 0;
	return 0;
}

void pagemap_close(struct pagemap *pagemap)
{
	if (pagemap->fd >= 0)
		close(pagemap->fd);
	pagemap->fd = -1;
}

bool pagemap_is_alive(int fd)
{
	uint64_t entry;

	/* A read at address 0 gives an entry as long as there is an address space. */
	return pread(fd, &entry, sizeof(entry), 0) == sizeof(entry);
}

/*
 * After what holds the target's mmap lock. Who reads on at once has the lock
 * again before a thread of the target that waits for it to map something is on
 * a processor: the kernel lets readers pass a waiting writer for 4 ms
 * (RWSEM_WAIT_TIMEOUT in kernel/locking/rwsem.c). So after each 200 us there is
 * a pause that is long enough to wake up in.
 */
static void held_lock(struct pagemap *pagemap, uint64_t began, uint64_t bytes)
{
	const struct timespec pause = { .tv_nsec = LOCK_PAUSE };

	pagemap->held += cost_add(pagemap->cost, began, bytes);
	if (pagemap->held < LOCK_HELD)
		return;
	nanosleep(&pause, NULL);
	pagemap->held = 0;
}

/* Whether the time is over. What is counted by then is right, the rest is not known. */
static bool is_late(struct pagemap *pagemap, uint64_t now)
{
	pagemap->late |= now > pagemap->deadline;
	return pagemap->late;
}

/* The next region with any of the categories, or false. */
static int scan_next(struct pagemap *pagemap, uint64_t *start, uint64_t end, uint64_t all, uint64_t any,
                     uint64_t max_pages, struct scan_region *region)
{
	/* A search for pages that are alike ends at the first that is not. */
	uint64_t piece = any && !max_pages ? SCAN_ALIKE : SCAN_PIECE;

	while (*start < end) {
		struct scan scan = {
			.size = sizeof(scan), .start = *start,
			.end = end - *start > piece ? *start + piece : end,
			.vec = (uintptr_t)region, .vec_len = 1, .max_pages = max_pages,
			.category_mask = all, .category_anyof_mask = any,
			.return_mask = SCAN_ZERO | SCAN_HUGE | SCAN_PRESENT,
		};
		uint64_t began = clock_ns();
		int found = is_late(pagemap, began) ? -1 : ioctl(pagemap->fd, SCAN_IOCTL, &scan);

		if (pagemap->late)
			return -ETIME;
		held_lock(pagemap, began, 0);
		if (found < 0)
			return -errno;
		if (scan.walk_end <= *start)
			return -EIO;
		*start = scan.walk_end;
		if (found)
			return 1;
		/* It stops at the first page, so nothing but emptiness is walked over. */
		if (max_pages == 1 && piece < SCAN_FURTHER)
			piece *= 2;
	}
	return 0;
}

int64_t pagemap_zero(struct pagemap *pagemap, uint64_t start, uint64_t end)
{
	struct scan_region region;
	int64_t sum = 0;
	int found;

	if (!pagemap->scan)
		return -1;
	while ((found = scan_next(pagemap, &start, end, SCAN_ZERO, 0, 0, &region)) > 0)
		sum += (int64_t)(region.end - region.start);
	return found < 0 ? -1 : sum;
}

int64_t zero_scan_next(struct zero_scan *zero, struct pagemap *pagemap, uint64_t start, uint64_t end)
{
	const uint64_t ahead_min = 1 << 20, ahead_max = SCAN_PIECE;
	int64_t sum = 0;

	if (!pagemap->scan)
		return -1;
	for (;;) {
		struct scan scan = { .size = sizeof(scan) };
		uint64_t began;
		int found;

		/* What is known of this VMA. */
		for (; zero->at < zero->count && zero->region[zero->at].start < end; zero->at++) {
			uint64_t from = zero->region[zero->at].start, to = zero->region[zero->at].end;

			if (to <= start)
				continue;
			sum += (int64_t)((to < end ? to : end) - (from > start ? from : start));
			if (to > end)
				break;
		}
		if (zero->scanned_to >= end)
			return sum;
		if (zero->scanned_to > start)
			start = zero->scanned_to;
		else if (start - zero->scanned_to > ahead_min)
			zero->ahead = ahead_min; /* looking ahead from the last would not have helped */
		else if (zero->ahead < ahead_max)
			zero->ahead *= 2;
		scan.start = start;
		scan.end = end + zero->ahead;
		scan.vec = (uintptr_t)zero->region;
		scan.vec_len = sizeof(zero->region) / sizeof(*zero->region);
		scan.category_mask = SCAN_ZERO;
		scan.return_mask = SCAN_ZERO;
		began = clock_ns();
		if (is_late(pagemap, began))
			return -1;
		found = ioctl(pagemap->fd, SCAN_IOCTL, &scan);
		if (found < 0) {
			/* Beyond the end of the address space. */
			scan.end = end;
			found = ioctl(pagemap->fd, SCAN_IOCTL, &scan);
		}
		held_lock(pagemap, began, 0);
		if (found < 0 || scan.walk_end <= start)
			return -1;
		zero->count = (size_t)found;
		zero->at = 0;
		zero->scanned_to = scan.walk_end;
	}
}

struct tally {
	uint64_t present, exclusive, file_shared, swapped;
	uint64_t anon_shared;       /* COW, KSM or the zero page */
	bool devices;               /* there can be none of these: what looks like them is a device's */
	/* With privilege. */
	uint64_t ksm, zero;
	double shared_part;         /* bytes of PSS in shared pages */
	uint64_t unasked, unasked_anon; /* pages of which kpagecount or kpageflags said nothing */
};

/*
 * Who shares a page frame, as it was asked for lately: the pages of libc are
 * those of every process, and to ask is two system calls. Frames belong to the
 * machine, so one table serves all processes; what is not touched costs nothing.
 */
#define FRAMES 32768

static struct frame {
	uint64_t number_flags;                  /* 0: nothing */
	uint32_t uses;
	uint32_t when;                          /* ms */
} frames[FRAMES];

#define FRAME_KSM     1U
#define FRAME_ZERO    2U
#define FRAME_NO_PAGE 4U
#define FRAME_VALID   8U
#define FRAME_FLAGS   16U                       /* the three above were asked for */
#define FRAME_SHIFT   5
#define FRAMES_AT_ONCE 64
#define FRAME_FRESH   200                       /* ms: a report of a machine takes that long */

/*
 * kpagecount and kpageflags of a frame; false: it went away. What is mapped of a
 * file is neither KSM's nor the zero page, which nothing counts: no flags then.
 */
static bool ask_frames(struct pagemap *pagemap, uint64_t number, bool of_file)
{
	uint64_t uses[FRAMES_AT_ONCE], flags[FRAMES_AT_ONCE] = { 0 };
	/* Frames that follow one another, up or down, were likely given together: a block of them then. */
	bool block = number - pagemap->last_frame + 1 <= 2;
	uint64_t first = block ? number / FRAMES_AT_ONCE * FRAMES_AT_ONCE : number;
	size_t want = block ? FRAMES_AT_ONCE : 1;
	ssize_t got = pread(pagemap->kpagecount, uses, want * 8, (off_t)(first * 8));
	bool plain = of_file && got >= (ssize_t)(8 * (number - first + 1)) && uses[number - first];
	ssize_t also = plain ? got : pread(pagemap->kpageflags, flags, want * 8, (off_t)(first * 8));
	size_t count = got < 8 || also < 8 ? 0 : (size_t)(got < also ? got : also) / 8;

	pagemap->asked++;
	for (size_t i = 0; i < count; i++) {
		uint64_t known = (first + i) << FRAME_SHIFT | FRAME_VALID | (plain ? 0 : FRAME_FLAGS);

		known |= flags[i] & KPF_KSM ? FRAME_KSM : 0;
		known |= flags[i] & KPF_ZERO_PAGE ? FRAME_ZERO : 0;
		known |= flags[i] & KPF_NOPAGE ? FRAME_NO_PAGE : 0;
		frames[(first + i) % FRAMES] = (struct frame){
			.number_flags = known, .uses = (uint32_t)uses[i], .when = (uint32_t)(pagemap->now / 1000000),
		};
	}
	return first + count > number;
}

/* What is known of a page frame, or NULL. */
static const struct frame *find_frame(struct pagemap *pagemap, uint64_t number, bool of_file)
{
	uint64_t wanted = number << FRAME_SHIFT | FRAME_VALID | (of_file ? 0 : FRAME_FLAGS);
	const struct frame *frame = &frames[number % FRAMES];
	uint32_t age = (uint32_t)(pagemap->now / 1000000) - frame->when;
	bool same = frame->number_flags >> FRAME_SHIFT == number && (frame->number_flags & wanted) == wanted;
	bool found = (same && age <= FRAME_FRESH) || ask_frames(pagemap, number, of_file);

	pagemap->last_frame = number;
	return found ? frame : NULL;
}

static void tally_shared(struct pagemap *pagemap, uint64_t entry, struct tally *tally)
{
	const struct frame *frame = entry & PM_PFN ? find_frame(pagemap, entry & PM_PFN, entry & PM_FILE) : NULL;
	uint64_t flags = frame ? frame->number_flags : 0;

	/* Mapped, but no page that somebody could own: a device's, or [vvar]'s. */
	if (frame && !(entry & PM_FILE) && !(flags & FRAME_ZERO) && (!frame->uses || flags & FRAME_NO_PAGE)) {
		tally->present--;
		return;
	}
	/* Linux 6.18 calls the huge zero page a file's. */
	if (entry & PM_FILE && !(flags & FRAME_ZERO))
		tally->file_shared++;
	else
		tally->anon_shared++;
	if (!frame) {
		tally->unasked++;
		tally->unasked_anon += !(entry & PM_FILE);
		return;
	}
	if (flags & FRAME_ZERO) {
		tally->zero++;
		return;
	}
	tally->ksm += (flags & FRAME_KSM) != 0;
	tally->shared_part += (double)pagemap->page / (double)(frame->uses ? frame->uses : 1);
}

static void tally_entry(struct pagemap *pagemap, uint64_t entry, struct tally *tally)
{
	if (entry & PM_PRESENT) {
		tally->present++;
		if (entry & PM_EXCLUSIVE)
			tally->exclusive++;
		else if (tally->devices && !(entry & PM_FILE))
			tally->present--;
		else if (pagemap_privileged(pagemap))
			tally_shared(pagemap, entry, tally);
		else if (entry & PM_FILE)
			tally->file_shared++;
		else
			tally->anon_shared++;
	} else if (entry & PM_SWAPPED) {
		tally->swapped++;
	}
}

/* Most pages are their process's own, or not there: those are counted without a branch. */
static void tally_entries(struct pagemap *pagemap, const uint64_t *entries, size_t count,
                          struct tally *tally)
{
	for (size_t i = 0; i < count; i += TALLY_BLOCK) {
		size_t n = count - i < TALLY_BLOCK ? count - i : TALLY_BLOCK;
		uint64_t own = 0, other = 0;

		for (size_t j = i; j < i + n; j++) {
			uint64_t bits = entries[j] & (PM_PRESENT | PM_EXCLUSIVE);

			own += bits == (PM_PRESENT | PM_EXCLUSIVE);
			other |= (bits == PM_PRESENT) | (entries[j] & PM_SWAPPED);
		}
		if (!other) {
			tally->present += own;
			tally->exclusive += own;
			continue;
		}
		for (size_t j = i; j < i + n; j++)
			tally_entry(pagemap, entries[j], tally);
	}
}

/*
 * The first pages from here on that are there and alike, up to a page that is
 * not. One call, however many they are.
 */
static bool scan_alike(struct pagemap *pagemap, uint64_t from, uint64_t end, struct scan_region *region)
{
	return scan_next(pagemap, &from, end, 0, SCAN_PRESENT | SCAN_SWAPPED, 0, region) > 0;
}

/*
 * Whether a huge page begins at this address: a system call, so the answer is
 * kept. Where there is one, many may follow, and the next call asks for more.
 */
static bool is_huge(struct pagemap *pagemap, uint64_t block)
{
	struct scan_region region;
	uint64_t end;

	if (block >= pagemap->huge_from && block < pagemap->huge_to)
		return pagemap->huge_answer;
	if (block != pagemap->huge_to || pagemap->huge_piece < pagemap->page)
		pagemap->huge_piece = pagemap->page;
	end = block + pagemap->huge_piece;
	pagemap->huge_answer = false;
	pagemap->huge_from = block;
	pagemap->huge_to = block + HUGE_PAGE;
	if (!scan_alike(pagemap, block, end, &region) || region.start != block) {
		pagemap->huge_piece = 0;
		return false;
	}
	pagemap->huge_answer = (region.categories & (SCAN_HUGE | SCAN_ZERO)) == SCAN_HUGE;
	if (region.end / HUGE_PAGE * HUGE_PAGE > pagemap->huge_to)
		pagemap->huge_to = region.end / HUGE_PAGE * HUGE_PAGE;
	pagemap->huge_piece = !pagemap->huge_answer || region.end != end ? 0
	                      : end - block < HUGE_PAGE ? 2 * HUGE_PAGE
	                      : end - block < SCAN_PIECE ? 2 * (end - block) : end - block;
	return pagemap->huge_answer;
}

/*
 * Whether pages between two addresses of one huge page's place may be its own.
 * A system call less for nearly all: such pages are all there and all alike, and
 * where frames are told, theirs follow one another from an aligned one on.
 */
static bool may_be_huge(const struct pagemap *pagemap, uint64_t start, uint64_t end)
{
	const uint64_t *entry = pagemap->entry + (start - pagemap->window) / pagemap->page;
	uint64_t pages = (end - start) / pagemap->page, first = entry[0], last = entry[pages - 1];
	uint64_t inside = start % HUGE_PAGE / pagemap->page;

	if (!(first & PM_PRESENT) || (first ^ last) & ~PM_PFN)
		return false;
	return !(first & PM_PFN) || ((first & PM_PFN) % (HUGE_PAGE / pagemap->page) == inside &&
	                             (last & PM_PFN) == (first & PM_PFN) + pages - 1);
}

/* Bytes in huge pages between two addresses of the window. */
static uint64_t huge_bytes(struct pagemap *pagemap, uint64_t start, uint64_t end)
{
	uint64_t sum = 0;

	for (uint64_t at = start, next; at < end; at = next) {
		next = (at & ~(HUGE_PAGE - 1)) + HUGE_PAGE;
		if (next > end)
			next = end;
		if (may_be_huge(pagemap, at, next) && is_huge(pagemap, at & ~(HUGE_PAGE - 1)))
			sum += next - at;
	}
	return sum;
}

/* Fills the window from at on. 0: nothing can be read there. */
static int read_window(struct pagemap *pagemap, uint64_t at, uint64_t end)
{
	uint64_t want = (end - at) / pagemap->page, began = pagemap->now = clock_ns();
	struct scan_region region;
	ssize_t got;
	bool empty = true;

	if (want > PAGEMAP_ENTRIES)
		want = PAGEMAP_ENTRIES;
	if (is_late(pagemap, began))
		return -ETIME;
	pagemap->empty_to = pagemap->zero_to = 0;
	do
		got = pread(pagemap->fd, pagemap->entry, want * 8, (off_t)(at / pagemap->page * 8));
	while (got < 0 && errno == EINTR);
	held_lock(pagemap, began, got > 0 ? (uint64_t)got : 0);
	if (got < 8)
		return got < 0 ? -errno : 0;
	pagemap->window = at;
	pagemap->window_end = at + (uint64_t)got / 8 * pagemap->page;
	if (!pagemap->scan || pagemap->window_end >= end)
		return 1;
	for (size_t i = 0; empty && i < (size_t)got / 8; i++)
		empty = !(pagemap->entry[i] & (PM_PRESENT | PM_SWAPPED));
	if (empty) {
		/* A whole window of nothing: let the kernel find where something begins. */
		int found;

		at = pagemap->window_end;
		found = scan_next(pagemap, &at, end, 0, SCAN_PRESENT | SCAN_SWAPPED, 1, &region);
		if (found >= 0)
			pagemap->empty_to = found ? region.start : end;
	}
	return 1;
}

/* Whether a window may be all zero pages: mapped, and nobody's. */
static bool may_be_zero(const struct pagemap *pagemap)
{
	size_t last = (size_t)((pagemap->window_end - pagemap->window) / pagemap->page) - 1;
	const uint64_t bits = PM_PRESENT | PM_EXCLUSIVE;

	return last + 1 == PAGEMAP_ENTRIES && (pagemap->entry[0] & bits) == PM_PRESENT &&
	       (pagemap->entry[last / 2] & bits) == PM_PRESENT && (pagemap->entry[last] & bits) == PM_PRESENT;
}

/*
 * Who only reads from a large piece of memory has the zero page at all of it,
 * half a million huge ones in 1 TiB. At the end of such a window the kernel
 * counts on. True: there are more, up to zero_to.
 */
static bool find_zero(struct pagemap *pagemap, uint64_t at, uint64_t end)
{
	uint64_t piece = end - at > SCAN_ALIKE ? SCAN_ALIKE : end - at;
	struct scan_region region;

	if (!pagemap->scan || end <= at)
		return false;
	/* One page first: where it is another's the search for the end of its like is for nothing. */
	if (!scan_alike(pagemap, at, at + pagemap->page, &region) || !(region.categories & SCAN_ZERO) ||
	    !scan_alike(pagemap, at, at + piece, &region) || region.start != at || !(region.categories & SCAN_ZERO))
		return false;
	pagemap->zero_to = region.end;
	return true;
}

/*
 * The entries of [at, to), as far as one read has them; NULL: nothing is there,
 * or zero pages are, up to zero_to.
 * limit: how far a read may go. 1, 0 where nothing can be read, or a negative errno.
 */
static int entries_from(struct pagemap *pagemap, uint64_t at, uint64_t end, uint64_t limit,
                        const uint64_t **entries, uint64_t *to)
{
	if (at >= pagemap->window_end && at < pagemap->empty_to) {
		*to = end < pagemap->empty_to ? end : pagemap->empty_to;
		*entries = NULL;
		return 1;
	}
	if (at && (at == pagemap->zero_to || (at == pagemap->window_end && may_be_zero(pagemap))))
		find_zero(pagemap, at, end);
	if (at >= pagemap->window_end && at < pagemap->zero_to) {
		*to = end < pagemap->zero_to ? end : pagemap->zero_to;
		*entries = NULL;
		return 1;
	}
	if (at < pagemap->window || at >= pagemap->window_end) {
		int got = read_window(pagemap, at, limit);

		if (got <= 0)
			return got;
	}
	*to = end < pagemap->window_end ? end : pagemap->window_end;
	*entries = pagemap->entry + (at - pagemap->window) / pagemap->page;
	return 1;
}

int64_t pagemap_shared_anonymous(struct pagemap *pagemap, uint64_t start, uint64_t end)
{
	uint64_t sum = 0;

	for (uint64_t at = start, to; at < end; at = to) {
		const uint64_t *entries;

		if (entries_from(pagemap, at, end, end, &entries, &to) <= 0)
			return -1;
		for (size_t i = 0; entries && i < (to - at) / pagemap->page; i++)
			sum += (entries[i] & (PM_PRESENT | PM_FILE | PM_EXCLUSIVE)) == PM_PRESENT;
	}
	return (int64_t)(sum * pagemap->page);
}

/* What entries_from() gave without entries. */
static uint64_t tally_zero(const struct pagemap *pagemap, uint64_t at, uint64_t to, struct tally *tally)
{
	uint64_t pages = at < pagemap->zero_to ? (to - at) / pagemap->page : 0;

	tally->present += pages;
	tally->anon_shared += pages;
	tally->zero += pages;
	return pages * pagemap->page;
}

/* What the pages come to. zero: bytes of zero pages, negative where nobody tells. */
static void figures_of(const struct pagemap *pagemap, const struct tally *tally, int64_t zero, struct figures *figures)
{
	const uint64_t page = pagemap->page, shared = (tally->anon_shared + tally->file_shared) * page;
	bool privileged = pagemap_privileged(pagemap);
	uint64_t anon = tally->anon_shared * page, known = zero > 0 ? (uint64_t)zero : 0, maybe = 0, part;
	uint64_t rss = tally->present * page, uss = tally->exclusive * page, unasked = tally->unasked * page;

	if (privileged) {
		known = tally->zero * page;
		maybe = tally->unasked_anon * page;
	} else if (zero < 0) {
		maybe = anon;
	}
	known = known < anon ? known : anon;
	anon -= known;
	rss -= known;
	figure_between(figures, FIG_USS, uss, uss, uss);
	figure_between(figures, FIG_SWAP, tally->swapped * page, tally->swapped * page, 0);
	figure_between(figures, FIG_ZERO, known, known + maybe, known);
	figure_between(figures, FIG_RSS, rss - maybe, rss, rss);
	if (privileged) {
		part = uss + (uint64_t)tally->shared_part;
		figure_between(figures, FIG_PSS, part, part + unasked / 2, part + unasked / 4);
		part = tally->ksm * page < anon ? tally->ksm * page : anon;
		figure_between(figures, FIG_KSM, part, part + maybe, part);
		anon -= part;
		figure_between(figures, FIG_COW, anon - (maybe < anon ? maybe : anon), anon, anon);
		return;
	}
	/* Of a shared page this process has half at the most. */
	figure_between(figures, FIG_PSS, uss, uss + (shared - known) / 2, uss + (shared - known) / 4);
	figure_between(figures, FIG_KSM, 0, anon, 0);
	figure_between(figures, FIG_COW, 0, anon, anon);
}

int pagemap_count(struct pagemap *pagemap, uint64_t start, uint64_t end, bool shared, struct figures *figures)
{
	struct tally tally = { .devices = shared };
	uint64_t thp = 0, limit = end > pagemap->limit ? end : pagemap->limit;
	int64_t zero = 0;

	for (uint64_t at = start, to; at < end; at = to) {
		uint64_t before = tally.present, shared_before = tally.anon_shared;
		const uint64_t *entries;
		int got = entries_from(pagemap, at, end, limit, &entries, &to);

		if (got < 0)
			return got;
		/* Beyond what the process can map (the vsyscall page), or it has ended. */
		if (!got)
			break;
		if (!entries) {
			uint64_t more = tally_zero(pagemap, at, to, &tally);

			zero += zero < 0 ? 0 : (int64_t)more;
			continue;
		}
		tally_entries(pagemap, entries, (to - at) / pagemap->page, &tally);
		if (pagemap->scan && tally.present > before)
			thp += huge_bytes(pagemap, at, to);
		/* Only where it may be: in an address space of 16 TiB even looking takes a second. */
		if (!pagemap_privileged(pagemap) && tally.anon_shared > shared_before && zero >= 0) {
			int64_t more = pagemap_zero(pagemap, at, to);

			zero = more < 0 ? -1 : zero + more;
		}
	}
	figures_of(pagemap, &tally, zero, figures);
	figure_between(figures, FIG_THP, thp, pagemap->scan ? thp : tally.present * pagemap->page, thp);
	return 0;
}
