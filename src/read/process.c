/* SPDX-License-Identifier: MIT */
/*
 * Puts maps or smaps, the registry and pagemap together. The story is
 * process_read(); each VMA then goes through take_vma().
 */
#include "process.h"
#include "core.h"
#include "list.h"
#include "shmem.h"
#include "wide.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

const char *const source_names[NAME_SOURCES] = {
	[NAME_KERNEL] = "kernel", [NAME_REGISTRY] = "registry", [NAME_OUTSIDE] = "outside",
};

enum name_source source_named(struct text word)
{
	for (enum name_source i = NAME_KERNEL; i < NAME_SOURCES; i++)
		if (text_is(word, source_names[i]))
			return i;
	return NAME_NONE;
}

/* maps, open, and what was read of it: so that its text can be looked through before the first VMA goes on. */
struct maps_file {
	int fd;
	char *ahead;
	size_t len, room;
	bool whole;                 /* that was all */
};

struct reader {
	const struct proc *proc;
	pid_t pid;
	pid_t thread;               /* through which it is read, when its main thread has ended; else 0 */
	enum process_mode mode;
	bool with_smaps;
	struct cost *cost;
	struct names_list {
		struct registry names;
		size_t cursor;      /* the first entry that may reach into this VMA */
	} list[NAME_SOURCES];       /* those of NAME_REGISTRY and NAME_OUTSIDE are used */
	uint64_t page;
	bool recognised;            /* names from outside were looked for */
	struct pagemap *pagemap;    /* opened when it is first needed, see need_pagemap() */
	struct zero_scan *zero;
	bool library_searched;
	bool library_seen;          /* its file went by, and nobody has asked it yet */
	bool nothing_locked, nothing_swapped, nothing_huge;
	bool merged_asked, nothing_merged; /* by KSM */
	bool prefers_smaps;         /* too much of it is shared */
	uint64_t deadline;          /* ns; figures that are not there by then are unknown */
	uint64_t asked;             /* about pages of VMAs that smaps gives exactly */
	struct process *process;
	region_function *each;
	int (*next)(void *context); /* a file of several processes: between two of them */
	void *context;
	struct region *part;        /* of one VMA, those not yet handed out */
	size_t parts, parts_room;
	size_t handed;              /* how many of its parts went before */
};

/* The directory of a thread answers as that of its process, though /proc does not list it. */
static pid_t live_id(const struct reader *reader)
{
	return reader->thread ? reader->thread : reader->pid;
}

/* A file of the process, below the thread through which it is read. */
static const char *file_name(const struct reader *reader, const char *name, char buffer[64])
{
	if (!reader->thread)
		return name;
	snprintf(buffer, 64, "task/%d/%s", (int)reader->thread, name);
	return buffer;
}

static struct pagemap *need_pagemap(struct reader *reader)
{
	if (!reader->pagemap && (reader->pagemap = malloc(sizeof(*reader->pagemap))))
		pagemap_open(reader->pagemap, reader->proc, live_id(reader), reader->deadline, reader->cost);
	return reader->pagemap && reader->pagemap->fd >= 0 ? reader->pagemap : NULL;
}

/* a * b / c without overflow, for shares of a whole. */
static uint64_t share(uint64_t whole, uint64_t part, uint64_t of)
{
	return of ? wide_share(whole, part, of) : 0;
}

static bool knows(const struct figures *figures, unsigned bits)
{
	return !(figures->unknown & bits);
}

/* Pages of shmem: when they are swapped out, only smaps tells, and for the whole VMA. */
static bool is_shmem(const struct vma *vma)
{
	return vma->class == VMA_SHARED || vma->class == VMA_SHARED_NAMED || vma->class == VMA_SHM;
}

/* VmSwap leaves out shared memory, and pagemap does as well. */
static bool swap_is_empty(void)
{
	struct sysinfo info;

	return !sysinfo(&info) && info.freeswap == info.totalswap;
}

/* Whether KSM has merged nothing of this process. */
static bool nothing_is_merged(struct reader *reader)
{
	if (!reader->merged_asked && reader->proc && reader->proc->live) {
		char name[64];
		FILE *file = fopen("/sys/kernel/mm/ksm/pages_shared", "re");
		int first = file ? getc(file) : access("/sys/kernel/mm", F_OK) ? EOF : '0';

		if (file)
			fclose(file);
		reader->nothing_merged = first == '0' ||
			proc_number(reader->proc, reader->pid, file_name(reader, "ksm_merging_pages", name)) == 0;
	}
	reader->merged_asked = true;
	return reader->nothing_merged;
}

/* KSM's pages look like a relative's. Where there are none of them, all are a relative's. */
static void settle_merged(struct reader *reader, struct figures *figures)
{
	uint64_t *value = figures->value;

	if (knows(figures, FIG_BIT(FIG_KSM)) || !knows(figures, FIG_BIT(FIG_ZERO)) || !nothing_is_merged(reader))
		return;
	figure_between(figures, FIG_KSM, 0, 0, 0);
	figure_between(figures, FIG_COW, value[FIG_COW], value[FIG_COW], 0);
}

/* Without smaps: what the counters of the whole process tell about this range. */
static void fill_in_from_process(struct reader *reader, struct vma *part)
{
	struct figures *figures = &part->figures;

	settle_merged(reader, figures);
	figures->unknown &= ~(FIG_BIT(FIG_SWAP_PSS) | FIG_BIT(FIG_LOCKED));
	figures->unknown |= FIG_ONLY_SMAPS;
	if (is_shmem(part) && !swap_is_empty())
		figures->unknown |= FIG_BIT(FIG_SWAP) | FIG_BIT(FIG_SWAP_PSS);
	if (figures->value[FIG_SWAP] && !reader->nothing_swapped)
		figures->unknown |= FIG_BIT(FIG_SWAP_PSS);
	if (!reader->nothing_locked)
		figures->unknown |= FIG_BIT(FIG_LOCKED);
}

/* How much of a figure a part can have at the most, by what was counted of it. */
static uint64_t capacity(const struct figures *part, enum figure figure)
{
	const uint64_t *value = part->value;

	switch (figure) {
	case FIG_ZERO:
	case FIG_KSM: return value[FIG_COW];
	case FIG_PSS: return (value[FIG_RSS] - value[FIG_USS]) / 2; /* beyond USS */
	case FIG_SWAP: return value[FIG_SIZE] > value[FIG_RSS] ? value[FIG_SIZE] - value[FIG_RSS] : 0;
	case FIG_SWAP_PSS: return value[FIG_SWAP];
	default: return value[FIG_RSS];
	}
}

/*
 * A figure of which only the whole is known, over the parts. Each has at least
 * what finds no room in the others, and at most what it has room for; when that
 * is one number, it is exact. Else all is given in proportion, so that it adds
 * up to the whole, and the part says how far that may be off.
 */
static void distribute(struct reader *reader, size_t count, enum figure figure, uint64_t whole)
{
	uint64_t all = 0, before = 0;

	for (size_t i = 0; i < count; i++)
		all += capacity(&reader->part[i].vma.figures, figure);
	whole = whole < all ? whole : all;
	for (size_t i = 0; i < count; i++) {
		struct figures *part = &reader->part[i].vma.figures;
		uint64_t room = capacity(part, figure), others = all - room, base = figure == FIG_PSS ? part->value[FIG_USS] : 0;
		uint64_t low = whole > others ? whole - others : 0, high = whole < room ? whole : room;
		uint64_t likely = share(whole, before + room, all) - share(whole, before, all);
		uint64_t rss = part->value[FIG_RSS], cow = part->value[FIG_COW];

		before += room;
		figure_between(part, figure, base + low, base + high, base + likely);
		likely = part->value[figure];
		/* What RSS and COW have too much. */
		if (figure == FIG_ZERO)
			figure_between(part, FIG_RSS, rss - high, rss - low, rss - likely);
		if (figure == FIG_ZERO || figure == FIG_KSM)
			figure_between(part, FIG_COW, cow - high, cow - low, cow - likely);
	}
}

static uint64_t sum_of_parts(const struct reader *reader, size_t count, enum figure figure)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += reader->part[i].vma.figures.value[figure];
	return sum;
}

static bool all_parts_know(const struct reader *reader, size_t count, enum figure figure)
{
	for (size_t i = 0; i < count; i++)
		if ((reader->part[i].vma.figures.unknown | reader->part[i].vma.figures.estimate) & FIG_BIT(figure))
			return false;
	return true;
}

/* With smaps: what pagemap could not tell about the parts of a VMA, from what smaps says of the whole. */
static void fill_in_from_whole(struct reader *reader, const struct vma *whole, size_t count)
{
	static const enum figure given[] = {
		FIG_ZERO, FIG_KSM, FIG_THP, FIG_SWAP, FIG_SWAP_PSS, FIG_PSS, FIG_DIRTY, FIG_CLEAN, FIG_LAZYFREE, FIG_PSS_DIRTY,
	};
	const uint32_t not_counted = FIG_BIT(FIG_SWAP_PSS) | FIG_ONLY_SMAPS;
	const struct figures *all = &whole->figures;

	for (size_t i = 0; i < sizeof(given) / sizeof(*given); i++) {
		enum figure k = given[i];
		uint64_t value = all->value[k], counted;

		if (k == FIG_ZERO) {
			/* Of what is mapped, what is not resident. */
			counted = sum_of_parts(reader, count, FIG_RSS);
			value = counted > all->value[FIG_RSS] ? counted - all->value[FIG_RSS] : 0;
		} else if (k == FIG_PSS) {
			value -= all->value[FIG_USS] < value ? all->value[FIG_USS] : value;
		}
		if (k == FIG_ZERO ? !knows(all, FIG_BIT(FIG_RSS)) : !knows(all, FIG_BIT(k)))
			continue;
		if (k == FIG_SWAP ? is_shmem(whole) : FIG_BIT(k) & not_counted || !all_parts_know(reader, count, k))
			distribute(reader, count, k, value);
	}
	for (size_t i = 0; i < count; i++) {
		struct figures *part = &reader->part[i].vma.figures;
		uint32_t marks = FIG_BIT(FIG_LOCKED);

		settle_merged(reader, part);
		part->unknown |= all->unknown & (not_counted | FIG_BIT(FIG_LOCKED));
		/* The kernel counts the PSS of a locked VMA. */
		part->value[FIG_LOCKED] = whole->locked ? part->value[FIG_PSS] : 0;
		part->unknown |= whole->locked && part->unknown & FIG_BIT(FIG_PSS) ? marks : 0;
		part->estimate |= whole->locked && part->estimate & FIG_BIT(FIG_PSS) ? marks : 0;
	}
}

/* All of it resident and private, or nothing of it there: then each part is like the whole. */
static bool is_uniform(const struct figures *f)
{
	uint64_t size = f->value[FIG_SIZE], rss = f->value[FIG_RSS];

	if (!knows(f, FIG_BIT(FIG_RSS) | FIG_BIT(FIG_USS) | FIG_BIT(FIG_SWAP) | FIG_BIT(FIG_THP)) ||
	    f->value[FIG_SWAP] || f->value[FIG_ZERO] || !knows(f, FIG_BIT(FIG_ZERO)) ||
	    f->value[FIG_KSM])
		return false;
	return !rss || (rss == size && f->value[FIG_USS] == size && !f->value[FIG_LAZYFREE] &&
	                (!f->value[FIG_CLEAN] || f->value[FIG_CLEAN] == size) &&
	                (!f->value[FIG_THP] || f->value[FIG_THP] == size));
}

/*
 * Of a core: the pages of anonymous memory that have something in them. Whether
 * one of zeroes was there, whoever wrote it may have left out. Of files it has
 * what somebody wanted.
 */
static void count_in_core(struct reader *reader, struct vma *part)
{
	const struct core *core = reader->proc->core;
	struct figures *f = &part->figures;

	f->unknown |= FIG_OF_PAGES | FIG_ONLY_SMAPS;
	if (vma_is_file(part) || part->class == VMA_SPECIAL)
		return;
	if (!core_count(core, part->start, part->end, reader->deadline, &f->value[FIG_RSS])) {
		reader->process->late = true;
		return;
	}
	f->unknown &= ~FIG_BIT(FIG_RSS);
	f->estimate |= FIG_BIT(FIG_RSS);
}

/* The figures of the first parts. */
static int split_figures(struct reader *reader, const struct vma *whole, size_t count)
{
	bool uniform = reader->with_smaps && is_uniform(&whole->figures);
	const struct core *core = reader->proc ? reader->proc->core : NULL;
	int error = 0;

	for (size_t i = 0; core && i < count; i++)
		count_in_core(reader, &reader->part[i].vma);
	if (core)
		return 0;
	if (!uniform && !reader->handed && need_pagemap(reader))
		pagemap_begin(reader->pagemap, whole->start, whole->end);
	for (size_t i = 0; i < count; i++) {
		struct vma *part = &reader->part[i].vma;
		struct figures *f = &part->figures;
		uint64_t size = part->end - part->start;
		int one = 0;

		part->anonymous = share(whole->anonymous, size, whole->end - whole->start);
		if (uniform) {
			for (unsigned k = FIG_RSS; k < FIG_PAGE_TABLES; k++)
				f->value[k] = whole->figures.value[k] ? size : 0;
			continue;
		}
		/* Mapped pages that nobody owns: without privilege they look like shared ones. */
		if (whole->class != VMA_SPECIAL || !text_starts(whole->name, "[vvar"))
			one = need_pagemap(reader) ? pagemap_count(reader->pagemap, part->start, part->end,
			                                           whole->perms[3] == 's', f) : -ENOENT;
		if (one)
			/* The whole may be known, its parts are not. */
			f->unknown |= FIG_OF_PAGES;
		else if (!reader->with_smaps)
			fill_in_from_process(reader, part);
		error = error ? error : one;
	}
	if (!uniform && !error && reader->with_smaps)
		fill_in_from_whole(reader, whole, count);
	return 0;
}

/* How a sum over all parts of a VMA is marked. */
static void mark_sums(struct reader *reader, const struct vma *whole, size_t count)
{
	bool whole_is_known = reader->with_smaps && count > 1;

	for (size_t i = 0; i < count; i++) {
		struct region *part = &reader->part[i];

		part->sum_unknown = part->vma.figures.unknown;
		part->sum_estimate = part->vma.figures.estimate;
		if (whole_is_known) {
			part->sum_unknown &= whole->figures.unknown;
			part->sum_estimate &= whole->figures.estimate;
		}
	}
}

/* What smaps does not tell of a VMA. */
static void complete_from_pagemap(struct reader *reader, struct vma *vma)
{
	struct figures *f = &vma->figures, counted;
	bool anonymous = vma_is_anonymous(vma);
	uint32_t open;
	int64_t bytes = 0;

	if (vma->class == VMA_ROLLUP)
		return;
	if (!anonymous || vma->perms[0] != 'r' ||
	    f->value[FIG_SIZE] <= f->value[FIG_RSS] + f->value[FIG_SWAP])
		f->unknown &= ~FIG_BIT(FIG_ZERO);
	open = (f->unknown | f->estimate) & (FIG_BIT(FIG_ZERO) | FIG_BIT(FIG_KSM) | FIG_BIT(FIG_COW) | FIG_BIT(FIG_PSS));
	if (!open || !reader->proc || !need_pagemap(reader) ||
	    (!reader->zero && !(reader->zero = calloc(1, sizeof(*reader->zero)))))
		return;
	if (open & FIG_BIT(FIG_ZERO)) {
		bytes = zero_scan_next(reader->zero, reader->pagemap, vma->start, vma->end);
		if (bytes >= 0)
			figure_between(f, FIG_ZERO, (uint64_t)bytes, (uint64_t)bytes, 0);
	}
	if (!anonymous && open & FIG_BIT(FIG_COW)) {
		bytes = pagemap_shared_anonymous(reader->pagemap, vma->start, vma->end);
		if (bytes >= 0)
			figure_between(f, FIG_COW, (uint64_t)bytes, (uint64_t)bytes, 0);
	}
	if (anonymous)
		settle_merged(reader, f);
	open &= f->unknown | f->estimate;
	/* Zero pages only where that does not take long. PSS: of shared hugetlb pages. */
	if (!pagemap_privileged(reader->pagemap) ||
	    !(open & FIG_BIT(FIG_PSS) || (anonymous && (open & FIG_BIT(FIG_KSM) || f->value[FIG_SIZE] < 1U << 30))))
		return;
	counted = *f;
	pagemap_begin(reader->pagemap, vma->start, vma->end);
	if (pagemap_count(reader->pagemap, vma->start, vma->end, vma->perms[3] == 's', &counted))
		return;
	for (unsigned k = 0; k < FIG_COUNT; k++)
		if (open & FIG_BIT(k) && !(counted.unknown & FIG_BIT(k))) {
			f->value[k] = counted.value[k];
			f->unknown &= ~FIG_BIT(k);
			f->estimate = (f->estimate & ~FIG_BIT(k)) | (counted.estimate & FIG_BIT(k));
		}
}

static void ask_counters(struct reader *reader)
{
	static const char *const keys[] = { "VmLck", "VmSwap", "HugetlbPages" };
	long values[3];
	char name[64];

	if (proc_keys(reader->proc, reader->pid, file_name(reader, "status", name), keys, values, 3))
		return;
	reader->nothing_locked = values[0] == 0;
	reader->nothing_swapped = values[1] == 0;
	reader->nothing_huge = values[2] <= 0;  /* a kernel without them has no such line */
}

/* Whether maps and pagemap give every figure exactly. */
static bool can_do_without_smaps(struct reader *reader)
{
	if (!need_pagemap(reader) || !reader->pagemap->scan || !pagemap_privileged(reader->pagemap) || !swap_is_empty())
		return false;
	ask_counters(reader);
	return reader->nothing_locked && reader->nothing_swapped && reader->nothing_huge;
}

/*
 * smaps costs the kernel 2.5 us a VMA whatever is in it, maps and pagemap a
 * fifth of that; but to learn who shares a page costs half of it. Shared
 * memory of gigabytes is therefore left to smaps.
 */
#define ASK_AT_FIRST 512
#define PREFERS_SMAPS 1                         /* results of take_vma() */
#define LATE          2
#define PARTS_AT_ONCE 64

/*
 * The time for figures, of a reader that is given 10 s (apart.c). Names and
 * sizes are then still to be had. The clock is looked at once in so many VMAs.
 */
#define FIGURES_NS 5000000000U
#define LATE_LOOK  64

static bool asks_too_much(const struct reader *reader)
{
	return reader->asked > ASK_AT_FIRST + 2 * reader->process->vmas;
}

/* Counts and hands out the parts of a VMA but for the last few. */
static int hand_out(struct reader *reader, const struct vma *vma, size_t keep)
{
	uint64_t asked = reader->pagemap ? reader->pagemap->asked : 0;
	size_t count = reader->parts - keep;
	bool split = reader->handed + reader->parts > 1;
	int error = 0;

	if (reader->mode != PROCESS_NAMES && (split || !reader->with_smaps))
		error = split_figures(reader, vma, count);
	mark_sums(reader, vma, count);
	if (!error && reader->pagemap && !split)
		reader->asked += reader->pagemap->asked - asked;
	if (!error && !reader->with_smaps && reader->mode != PROCESS_GENTLE && !reader->process->late &&
	    asks_too_much(reader))
		error = PREFERS_SMAPS;
	reader->process->split |= split;
	for (size_t i = 0; !error && i < count; i++)
		error = reader->each(reader->context, &reader->part[i]);
	reader->handed += count;
	reader->parts = keep;
	memmove(reader->part, reader->part + count, keep * sizeof(*reader->part));
	return error;
}

static int add_part(struct reader *reader, const struct vma *vma, uint64_t start, uint64_t end,
                    enum name_source source, const char *name)
{
	struct region *last = reader->parts ? &reader->part[reader->parts - 1] : NULL;
	struct region *part;

	/* Neighbours with one name are one region, as in the kernel. */
	if (last && name && last->source == source && text_is(last->vma.name, name)) {
		last->vma.end = end;
		last->vma.figures.value[FIG_SIZE] = end - last->vma.start;
		return 0;
	}
	/* One more may yet grow. Of smaps' figures each part gets a share, so there all are needed at once. */
	if (reader->parts == PARTS_AT_ONCE && !reader->with_smaps) {
		int error = hand_out(reader, vma, 1);

		if (error)
			return error;
	}
	part = list_grown(reader->part, reader->parts, &reader->parts_room, sizeof(*part), PARTS_AT_ONCE, LIST_ENDLESS);
	if (!part)
		return -ENOMEM;
	reader->part = part;
	part = &reader->part[reader->parts++];
	part->vma = *vma;
	part->vma.start = start;
	part->vma.end = end;
	if (vma_is_file(vma) || vma->class == VMA_SHARED)
		part->vma.offset += start - vma->start;
	part->vma.figures.value[FIG_SIZE] = end - start;
	part->source = vma->class == VMA_UNNAMED ? NAME_NONE : NAME_KERNEL;
	if (name) {
		part->vma.name = (struct text){ name, strlen(name) };
		part->vma.class = vma->class == VMA_SHARED ? VMA_SHARED_NAMED : VMA_NAMED;
		part->source = source;
	}
	return 0;
}

/* Where a list has its next name at or above an address, in whole pages; from end on: nowhere in the VMA. */
struct piece {
	uint64_t start, end;
	const char *name;
};

static struct piece next_piece(struct reader *reader, struct names_list *list, uint64_t at, uint64_t end)
{
	const struct registry *names = &list->names;
	uint64_t page = reader->page;

	for (; list->cursor < names->count; list->cursor++) {
		const struct registry_entry *entry = &names->entry[list->cursor];
		/* Figures are counted in pages, so names begin and end with them. */
		uint64_t from = entry->start & ~(page - 1), to = entry->end < end ? entry->end : end;

		from = from > at ? from : at;
		to = (to + page - 1) & ~(page - 1);
		if (from >= end)
			break;
		if (from < to)
			return (struct piece){ from, to, registry_name(names, list->cursor) };
		if (entry->end > end)
			break;
	}
	return (struct piece){ end, end, NULL };
}

static bool takes_recognised_name(const struct vma *vma)
{
	return vma->class == VMA_UNNAMED && vma->perms[3] == 'p';
}

/* Cuts a VMA where names begin and end. The registry's come first, and where it has none, what was recognised. */
static int cut(struct reader *reader, const struct vma *vma)
{
	struct names_list *registry = &reader->list[NAME_REGISTRY], *outside = &reader->list[NAME_OUTSIDE];
	const struct piece nothing = { vma->end, vma->end, NULL };
	uint64_t at = vma->start;
	int error = 0;

	reader->parts = reader->handed = 0;
	while (!error && at < vma->end) {
		struct piece first = vma_takes_registry_name(vma) ? next_piece(reader, registry, at, vma->end) : nothing;
		struct piece second = takes_recognised_name(vma) ? next_piece(reader, outside, at, vma->end) : nothing;
		enum name_source source = first.start > at ? NAME_OUTSIDE : NAME_REGISTRY;
		struct piece piece = source == NAME_REGISTRY ? first : second;

		if (source == NAME_OUTSIDE && piece.end > first.start)
			piece.end = first.start;
		if (piece.start > at)
			piece = (struct piece){ at, piece.start < first.start ? piece.start : first.start, NULL };
		error = add_part(reader, vma, at, piece.end, source, piece.name);
		at = piece.end;
	}
	return error;
}

static int take_vma(void *context, struct vma *vma)
{
	struct reader *reader = context;
	int error = vma->another ? reader->next(reader->context) : 0;

	if (error)
		return error;
	reader->process->vmas++;
	if (reader->with_smaps && reader->process->vmas % LATE_LOOK == 0 && clock_ns() > reader->deadline)
		return LATE;
	if (vma->class == VMA_FILE && reader->proc && shmem_is_device(reader->proc, reader->pid, vma->major, vma->minor))
		vma->class = VMA_SHM;
	if (!reader->library_searched && library_is_in(vma))
		reader->library_seen = true;
	if (vma->class == VMA_NAMED && reader->proc && reader->proc->unwanted & NAME_BIT(NAME_KERNEL)) {
		vma->class = VMA_UNNAMED;
		vma->name.len = 0;
	}
	if (reader->with_smaps)
		complete_from_pagemap(reader, vma);
	error = cut(reader, vma);
	return error ? error : hand_out(reader, vma, 0);
}

/* How much of maps is looked at before the first VMA goes on: some 200,000 VMAs. */
#define AHEAD_MAX  (16U << 20)
#define AHEAD_READ (64U << 10)

static void maps_file_close(struct maps_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	free(file->ahead);
	*file = (struct maps_file){ .fd = -1 };
}

/* Opens maps and reads it, to its end mostly. A failed read shows again when the rest is read. */
static int maps_file_open(struct reader *reader, struct maps_file *file)
{
	ssize_t got = 1;
	char name[64];

	*file = (struct maps_file){ .fd = proc_open(reader->proc, reader->pid, file_name(reader, "maps", name)) };
	if (file->fd < 0)
		return file->fd;
	while (got > 0 && file->len + AHEAD_READ <= AHEAD_MAX) {
		uint64_t began = clock_ns();

		if (file->room - file->len < AHEAD_READ) {
			size_t room = file->room ? 2 * file->room : 2 * AHEAD_READ;
			char *grown = realloc(file->ahead, room);

			if (!grown) {
				maps_file_close(file);
				return -ENOMEM;
			}
			file->ahead = grown;
			file->room = room;
		}
		got = read(file->fd, file->ahead + file->len, AHEAD_READ);
		file->len += got > 0 ? (size_t)got : 0;
		cost_add(reader->cost, began, got > 0 ? (uint64_t)got : 0);
	}
	file->whole = got == 0;
	return 0;
}

static struct text maps_file_ahead(const struct maps_file *file)
{
	return (struct text){ file->ahead, file->len };
}

/* What comes behind that; -1: nothing. */
static int maps_file_rest(const struct maps_file *file)
{
	return file->whole ? -1 : file->fd;
}

/* What the library in the process has to say. Uses up what of the file was not read ahead. */
static void read_registry(struct reader *reader, const struct maps_file *file)
{
	struct process *process = reader->process;
	struct library *library = &process->library;

	library_find(reader->proc, live_id(reader), maps_file_ahead(file), maps_file_rest(file), reader->cost, library);
	if (library->state == LIBRARY_READY && library->root.registry.top) {
		struct memory memory = library_memory(library);

		process->registry_error = registry_read(&memory, library->root_address, &reader->list[NAME_REGISTRY].names);
		process->registry_ranges = reader->list[NAME_REGISTRY].names.count;
		process->registry_names_bytes = reader->list[NAME_REGISTRY].names.names_len;
		process->registry_torn = reader->list[NAME_REGISTRY].names.torn;
		process->registry_refused = reader->list[NAME_REGISTRY].names.refused;
	}
	library_close(library);
	reader->library_searched = true;
}

/* What was not read ahead has been used up by somebody. */
static int maps_file_again(struct reader *reader, struct maps_file *file)
{
	if (file->whole)
		return 0;
	maps_file_close(file);
	return maps_file_open(reader, file);
}

static bool wants_registry(const struct reader *reader)
{
	return !reader->library_searched && proc_has_memory(reader->proc) && !(reader->proc->unwanted & NAME_BIT(NAME_REGISTRY));
}

static bool wants_outside(const struct reader *reader)
{
	return !reader->recognised && proc_has_memory(reader->proc) && reader->proc->recognise &&
	       !(reader->proc->unwanted & NAME_BIT(NAME_OUTSIDE));
}

/*
 * Opens maps. Where the library is among what was read of it, the registry is
 * read before the first VMA goes on. Else, in a process with very many VMAs,
 * its file shows later, and the process is read a second time. Names from
 * outside are looked for in the same text.
 */
static int open_maps(struct reader *reader, struct maps_file *file)
{
	int error = maps_file_open(reader, file);

	if (!error && wants_registry(reader)) {
		if (reader->library_seen || memmem(file->ahead, file->len, LIBRARY_NAME, sizeof(LIBRARY_NAME) - 1)) {
			read_registry(reader, file);
			error = maps_file_again(reader, file);
		} else {
			reader->library_searched = file->whole;
		}
	}
	if (!error && wants_outside(reader)) {
		reader->recognised = true;
		reader->process->recognise_error = reader->proc->recognise(reader->proc, live_id(reader), maps_file_ahead(file),
			maps_file_rest(file), &reader->list[NAME_OUTSIDE].names, &reader->process->recognised);
		error = maps_file_again(reader, file);
	}
	return error;
}

/* The same where maps is not what is read. */
static int ask_for_names(struct reader *reader)
{
	struct maps_file file;
	int error = wants_registry(reader) || wants_outside(reader) ? open_maps(reader, &file) : -EALREADY;

	if (!error)
		maps_file_close(&file);
	return error == -EALREADY ? 0 : error;
}

static bool same_process(const struct proc_identity *a, const struct proc_identity *b)
{
	return a->start_time == b->start_time && a->start_stack == b->start_stack;
}

/*
 * Names in a registry mean counting parts of VMAs in pagemap. With privilege
 * pagemap alone gives all figures, and smaps would cost as much again.
 */
static bool smaps_is_needed(struct reader *reader)
{
	if (reader->mode == PROCESS_NAMES || reader->process->late || reader->proc->core)
		return false;
	if (reader->mode == PROCESS_GENTLE) {
		ask_counters(reader);
		return false;
	}
	return reader->prefers_smaps || reader->mode == PROCESS_FIGURES_ALL || !reader->proc->live || !can_do_without_smaps(reader);
}

static int read_vmas(struct reader *reader)
{
	const unsigned recorded = reader->proc->live ? 0 : MAPS_RECORDED;
	struct maps_file file = { .fd = -1 };
	char name[64];
	int error = 0;

	reader->with_smaps = smaps_is_needed(reader);
	if (reader->with_smaps && (reader->mode != PROCESS_FIGURES_PLAIN || wants_outside(reader)))
		error = ask_for_names(reader);
	if (reader->with_smaps && !error)
		error = file.fd = proc_open(reader->proc, reader->pid, file_name(reader, "smaps", name));
	if (reader->with_smaps && error == -ENOENT) {
		/* A kernel without it (CONFIG_PROC_PAGE_MONITOR is off), or not recorded. */
		reader->process->no_smaps = true;
		reader->with_smaps = false;
		reader->mode = PROCESS_GENTLE;
		ask_counters(reader);
	}
	if (!reader->with_smaps)
		error = open_maps(reader, &file);
	if (error == -ENOENT && !reader->proc->live) {
		/* A recording may have smaps alone, and nobody is held up by a reader of that. */
		reader->with_smaps = true;
		error = file.fd = proc_open(reader->proc, reader->pid, file_name(reader, "smaps", name));
	}
	if (error < 0)
		return error;
	reader->process->vmas = reader->process->malformed = 0;
	for (unsigned i = 0; i < NAME_SOURCES; i++)
		reader->list[i].cursor = 0;

	error = maps_read(reader->proc->maps, maps_file_ahead(&file), maps_file_rest(&file), (reader->with_smaps ? MAPS_FIGURES : 0) | recorded,
	                  reader->cost, take_vma, reader, &reader->process->malformed);
	maps_file_close(&file);
	return error;
}

static int start_over(struct reader *reader)
{
	int error = reader->each(reader->context, NULL);

	free(reader->zero);
	reader->zero = NULL;
	return error ? error : read_vmas(reader);
}

/* A process that ended or called exec gives a list that is too short, without an error. */
static bool is_complete(struct reader *reader)
{
	struct proc_identity after;

	if (!reader->proc->live)
		return reader->process->vmas;
	/* pagemap was opened before the list: while its memory is there, so was the list's. */
	if (reader->pagemap && reader->pagemap->fd >= 0)
		return reader->process->vmas && pagemap_is_alive(reader->pagemap->fd);
	return !proc_identify(reader->proc, reader->pid, &after) &&
	       same_process(&reader->process->identity, &after) && reader->process->vmas;
}

static void reader_free(struct reader *reader)
{
	if (reader->pagemap)
		pagemap_close(reader->pagemap);
	free(reader->pagemap);
	free(reader->zero);
	free(reader->part);
	for (unsigned i = 0; i < NAME_SOURCES; i++)
		registry_free(&reader->list[i].names);
}

/* What is_complete() will need. Each file of /proc costs some 10 us to open, so no more than that. */
static int identify(struct reader *reader)
{
	int error;

	if (reader->proc->live && reader->mode != PROCESS_NAMES && need_pagemap(reader))
		return 0;
	error = proc_identify(reader->proc, reader->pid, &reader->process->identity);
	if (error && !reader->proc->live)
		/* A recorded tree may have no stat. */
		error = proc_exists(reader->proc, reader->pid);
	return error == -ENOENT ? -ESRCH : error;
}

/* Until nothing turns up that changes how it is to be read. */
static int read_until_settled(struct reader *reader)
{
	int error = read_vmas(reader);

	for (;;) {
		int again = error;

		if (error == PREFERS_SMAPS)
			reader->prefers_smaps = true;
		else if (error == LATE)
			reader->process->late = true;
		else if (!error && reader->library_seen && wants_registry(reader))
			error = ask_for_names(reader);
		else
			return error;
		if (again || reader->list[NAME_REGISTRY].names.count)
			error = start_over(reader);
	}
}

/* Reads the process through its main thread, or the one that is given. */
static int read_through(struct reader *reader)
{
	struct process *process = reader->process;
	int error;

	memset(process, 0, sizeof(*process));
	process->pid = reader->pid;
	process->thread = reader->thread;
	error = identify(reader);
	if (error || process->identity.kernel_thread)
		return error ? error : PROCESS_IS_KERNEL;
	error = read_until_settled(reader);
	process->late |= reader->pagemap && reader->pagemap->late;
	return error ? error : is_complete(reader) ? 0 : -ESRCH;
}

/* A thread that runs, of a process the main thread of which has ended; 0: there is none. */
static pid_t thread_that_runs(const struct proc *proc, pid_t pid)
{
	pid_t *threads = NULL, found = 0;
	size_t count = 0;

	if (proc_tasks(proc, pid, &threads, &count))
		return 0;
	for (size_t i = 0; !found && i < count; i++) {
		struct proc_identity identity;
		char name[64];

		snprintf(name, sizeof(name), "task/%d/stat", (int)threads[i]);
		if (threads[i] != pid && !proc_identify_by(proc, pid, name, &identity) && !strchr("ZX", identity.state))
			found = threads[i];
	}
	free(threads);
	return found;
}

int process_why_not(const struct proc *proc, pid_t pid, int error, pid_t *thread)
{
	struct proc_identity identity;

	*thread = 0;
	if ((error && error != -ESRCH && error != -EACCES && error != -EPERM) || proc_identify(proc, pid, &identity))
		return error;
	if (identity.kernel_thread)
		return PROCESS_IS_KERNEL;
	if (identity.state != 'Z')
		return error == -ESRCH && !proc->live ? PROCESS_IS_EMPTY : error;
	*thread = thread_that_runs(proc, pid);
	return *thread ? error : PROCESS_IS_ENDED;
}

int process_read(const struct proc *proc, pid_t pid, enum process_mode mode, struct cost *cost,
                 region_function *each, void *context, struct process *process)
{
	struct reader reader;
	pid_t thread = 0;
	int error, again;

	do {
		reader = (struct reader){
			.proc = proc, .pid = pid, .thread = thread, .mode = mode, .cost = cost,
			.page = (uint64_t)sysconf(_SC_PAGESIZE), .process = process, .each = each, .context = context,
			.deadline = clock_ns() + FIGURES_NS,
		};
		error = read_through(&reader);
		reader_free(&reader);
		if (!error || reader.thread)
			break;
		error = process_why_not(proc, pid, error, &thread);
		if (thread && process->vmas && (again = each(context, NULL)))
			return again;
	} while (thread);
	return error;
}

int process_read_smaps(int fd, struct cost *cost, region_function *each, int (*next)(void *context),
                       void *context, struct process *process)
{
	struct reader reader = {
		.mode = PROCESS_FIGURES, .with_smaps = true, .cost = cost, .page = 4096,
		.process = process, .each = each, .next = next, .context = context, .deadline = UINT64_MAX,
	};
	struct maps_reader *maps = maps_reader_new();
	int error = -ENOMEM;

	memset(process, 0, sizeof(*process));
	if (maps)
		error = maps_read(maps, (struct text){ 0 }, fd, MAPS_FIGURES | MAPS_RECORDED | MAPS_SEVERAL, cost, take_vma, &reader,
		                  &process->malformed);
	maps_reader_free(maps);
	free(reader.part);
	return error;
}
