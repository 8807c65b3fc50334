/* SPDX-License-Identifier: MIT */
/*
 * Puts maps or smaps, the registry and pagemap together. The story is
 * process_read(); each VMA then goes through take_vma().
 */
#include "process.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

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
	enum process_mode mode;
	bool with_smaps;
	struct cost *cost;
	struct registry registry;
	uint64_t page;
	size_t cursor;              /* the first registry entry that may reach into this VMA */
	struct pagemap *pagemap;    /* opened when it is first needed, see need_pagemap() */
	struct zero_scan *zero;
	bool library_searched;
	bool library_seen;          /* its file went by, and nobody has asked it yet */
	bool nothing_locked, nothing_swapped, nothing_huge;
	bool prefers_smaps;         /* too much of it is shared */
	uint64_t deadline;          /* ns; figures that are not there by then are unknown */
	uint64_t asked;             /* about pages of VMAs that smaps gives exactly */
	struct process *process;
	region_function *each;
	void *context;
	struct region *part;        /* of one VMA, those not yet handed out */
	size_t parts, parts_room;
	size_t handed;              /* how many of its parts went before */
};

static struct pagemap *need_pagemap(struct reader *reader)
{
	if (!reader->pagemap && (reader->pagemap = malloc(sizeof(*reader->pagemap))))
		pagemap_open(reader->pagemap, reader->proc, reader->pid, reader->deadline, reader->cost);
	return reader->pagemap && reader->pagemap->fd >= 0 ? reader->pagemap : NULL;
}

/* a * b / c without overflow, for shares of a whole. */
static uint64_t share(uint64_t whole, uint64_t part, uint64_t of)
{
	return of ? (uint64_t)((unsigned __int128)whole * part / of) : 0;
}

static bool knows(const struct figures *figures, unsigned bits)
{
	return !(figures->unknown & bits);
}

/* Without smaps: what the counters of the whole process tell about this range. */
static void fill_in_from_process(const struct reader *reader, struct figures *figures)
{
	figures->unknown &= ~(FIG_BIT(FIG_SWAP_PSS) | FIG_BIT(FIG_LOCKED));
	if (figures->value[FIG_SWAP] && !reader->nothing_swapped)
		figures->unknown |= FIG_BIT(FIG_SWAP_PSS);
	if (!reader->nothing_locked)
		figures->unknown |= FIG_BIT(FIG_LOCKED);
}

/* With smaps: what pagemap could not tell about a part is its share of what smaps says of the VMA. */
static void fill_in_from_whole(const struct vma *whole, uint64_t shared_total, struct figures *part)
{
	const struct figures *all = &whole->figures;
	uint64_t shared = part->value[FIG_RSS] - part->value[FIG_USS];
	uint64_t all_shared = all->value[FIG_PSS] > all->value[FIG_USS]
	                      ? all->value[FIG_PSS] - all->value[FIG_USS] : 0;

	if (!knows(part, FIG_BIT(FIG_PSS)) && knows(all, FIG_BIT(FIG_PSS) | FIG_BIT(FIG_USS))) {
		part->value[FIG_PSS] = part->value[FIG_USS] + share(all_shared, shared, shared_total);
		part->unknown &= ~FIG_BIT(FIG_PSS);
		part->estimate |= FIG_BIT(FIG_PSS);
	}
	if (!knows(part, FIG_BIT(FIG_KSM)) && knows(all, FIG_BIT(FIG_KSM))) {
		part->value[FIG_KSM] = share(all->value[FIG_KSM], shared, shared_total);
		part->unknown &= ~FIG_BIT(FIG_KSM);
		part->value[FIG_COW] -= part->value[FIG_KSM] < part->value[FIG_COW]
		                        ? part->value[FIG_KSM] : part->value[FIG_COW];
		if (all->value[FIG_KSM])
			part->estimate |= FIG_BIT(FIG_KSM) | FIG_BIT(FIG_COW);
	}
	if (!knows(part, FIG_BIT(FIG_THP)) && knows(all, FIG_BIT(FIG_THP))) {
		part->value[FIG_THP] = share(all->value[FIG_THP], part->value[FIG_RSS], all->value[FIG_RSS]);
		part->unknown &= ~FIG_BIT(FIG_THP);
		if (all->value[FIG_THP])
			part->estimate |= FIG_BIT(FIG_THP);
	}
	part->unknown &= ~(FIG_BIT(FIG_SWAP_PSS) | FIG_BIT(FIG_LOCKED));
	part->unknown |= all->unknown & (FIG_BIT(FIG_SWAP_PSS) | FIG_BIT(FIG_LOCKED));
	part->value[FIG_SWAP_PSS] = share(all->value[FIG_SWAP_PSS], part->value[FIG_SWAP],
	                                  all->value[FIG_SWAP]);
	if (all->value[FIG_SWAP_PSS] != all->value[FIG_SWAP] && part->value[FIG_SWAP])
		part->estimate |= FIG_BIT(FIG_SWAP_PSS);
	for (unsigned k = FIG_DIRTY; k <= FIG_PSS_DIRTY; k++) {
		part->value[k] = share(all->value[k], part->value[FIG_RSS], all->value[FIG_RSS]);
		part->unknown = (part->unknown & ~FIG_BIT(k)) | (all->unknown & FIG_BIT(k));
		if (all->value[k] && all->value[k] != all->value[FIG_RSS])
			part->estimate |= FIG_BIT(k);
	}
	/* The kernel counts the PSS of a locked VMA. */
	part->value[FIG_LOCKED] = whole->locked ? part->value[FIG_PSS] : 0;
	if (whole->locked)
		part->estimate |= part->estimate & FIG_BIT(FIG_PSS) ? FIG_BIT(FIG_LOCKED) : 0;
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

/* The figures of the first parts. */
static int split_figures(struct reader *reader, const struct vma *whole, size_t count)
{
	bool uniform = reader->with_smaps && is_uniform(&whole->figures);
	uint64_t shared_total = 0;
	int error = 0;

	if (!uniform && !reader->handed && need_pagemap(reader))
		pagemap_begin(reader->pagemap, whole->start, whole->end);
	for (size_t i = 0; i < count; i++) {
		struct vma *part = &reader->part[i].vma;
		struct figures *f = &part->figures;
		uint64_t size = part->end - part->start;

		part->anonymous = share(whole->anonymous, size, whole->end - whole->start);
		if (uniform) {
			for (unsigned k = FIG_RSS; k < FIG_PAGE_TABLES; k++)
				f->value[k] = whole->figures.value[k] ? size : 0;
			continue;
		}
		/* Mapped pages that nobody owns: without privilege they look like shared ones. */
		if (whole->class == VMA_SPECIAL && text_starts(whole->name, "[vvar")) {
			fill_in_from_process(reader, f);
			continue;
		}
		error = need_pagemap(reader) ? pagemap_count(reader->pagemap, part->start, part->end, f) : -ENOENT;
		if (error) {
			/* The whole is known, its parts are not. */
			f->unknown |= FIG_OF_PAGES;
			continue;
		}
		shared_total += f->value[FIG_RSS] - f->value[FIG_USS];
	}
	for (size_t i = 0; !uniform && !error && i < count; i++) {
		struct figures *f = &reader->part[i].vma.figures;

		if (reader->with_smaps)
			fill_in_from_whole(whole, shared_total, f);
		else
			fill_in_from_process(reader, f);
	}
	return 0;
}

/* What smaps does not tell of a VMA. */
static void complete_from_pagemap(struct reader *reader, struct vma *vma)
{
	struct figures *f = &vma->figures;
	bool anonymous = vma_is_anonymous(vma);
	int64_t bytes = 0;

	if (!anonymous || vma->perms[0] != 'r' ||
	    f->value[FIG_SIZE] <= f->value[FIG_RSS] + f->value[FIG_SWAP])
		f->unknown &= ~FIG_BIT(FIG_ZERO);
	if (knows(f, FIG_BIT(FIG_ZERO) | FIG_BIT(FIG_KSM)) && !(f->estimate & (FIG_BIT(FIG_COW) | FIG_BIT(FIG_PSS))))
		return;
	if (!reader->proc || !need_pagemap(reader) ||
	    (!reader->zero && !(reader->zero = calloc(1, sizeof(*reader->zero)))))
		return;
	if (!knows(f, FIG_BIT(FIG_ZERO))) {
		bytes = zero_scan_next(reader->zero, reader->pagemap, vma->start, vma->end);
		if (bytes >= 0) {
			f->value[FIG_ZERO] = (uint64_t)bytes;
			f->unknown &= ~FIG_BIT(FIG_ZERO);
		}
	}
	if (!anonymous && f->estimate & FIG_BIT(FIG_COW)) {
		bytes = pagemap_shared_anonymous(reader->pagemap, vma->start, vma->end);
		if (bytes >= 0) {
			f->value[FIG_COW] = (uint64_t)bytes;
			f->estimate &= ~FIG_BIT(FIG_COW);
		}
	}
	/* PSS: of shared hugetlb pages. */
	if (f->estimate & FIG_BIT(FIG_PSS) && pagemap_privileged(reader->pagemap)) {
		struct figures counted = *f;

		pagemap_begin(reader->pagemap, vma->start, vma->end);
		if (!pagemap_count(reader->pagemap, vma->start, vma->end, &counted)) {
			f->value[FIG_PSS] = counted.value[FIG_PSS];
			f->estimate &= ~FIG_BIT(FIG_PSS);
		}
	}
	if (anonymous && (!knows(f, FIG_BIT(FIG_KSM)) ||
	                  (!knows(f, FIG_BIT(FIG_ZERO)) && f->value[FIG_SIZE] < 1U << 30)) &&
	    pagemap_privileged(reader->pagemap)) {
		struct figures counted = *f;

		pagemap_begin(reader->pagemap, vma->start, vma->end);
		if (!pagemap_count(reader->pagemap, vma->start, vma->end, &counted)) {
			f->value[FIG_KSM] = counted.value[FIG_KSM];
			f->value[FIG_COW] = counted.value[FIG_COW];
			f->value[FIG_ZERO] = counted.value[FIG_ZERO];
			f->unknown &= ~(FIG_BIT(FIG_KSM) | FIG_BIT(FIG_COW) | FIG_BIT(FIG_ZERO));
			f->estimate &= ~FIG_BIT(FIG_COW);
		}
	}
}

static void ask_counters(struct reader *reader)
{
	static const char *const keys[] = { "VmLck", "VmSwap", "HugetlbPages" };
	long values[3];

	if (proc_status_all(reader->proc, reader->pid, keys, values, 3))
		return;
	reader->nothing_locked = values[0] == 0;
	reader->nothing_swapped = values[1] == 0;
	reader->nothing_huge = values[2] <= 0;  /* a kernel without them has no such line */
}

/* VmSwap leaves out shared memory, and pagemap does as well. */
static bool swap_is_empty(void)
{
	struct sysinfo info;

	return !sysinfo(&info) && info.freeswap == info.totalswap;
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
                    const char *name)
{
	struct region *last = reader->parts ? &reader->part[reader->parts - 1] : NULL;
	struct region *part;

	/* Neighbours with one name are one region, as in the kernel. */
	if (last && name && last->source == NAME_REGISTRY && text_is(last->vma.name, name)) {
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
	if (reader->parts == reader->parts_room) {
		size_t room = reader->parts_room ? 2 * reader->parts_room : PARTS_AT_ONCE;
		struct region *grown = realloc(reader->part, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		reader->part = grown;
		reader->parts_room = room;
	}
	part = &reader->part[reader->parts++];
	part->vma = *vma;
	part->vma.start = start;
	part->vma.end = end;
	if (vma->class == VMA_FILE || vma->class == VMA_SHARED)
		part->vma.offset += start - vma->start;
	part->vma.figures.value[FIG_SIZE] = end - start;
	part->source = vma->class == VMA_UNNAMED ? NAME_NONE : NAME_KERNEL;
	if (name) {
		part->vma.name = (struct text){ name, strlen(name) };
		part->vma.class = vma->class == VMA_SHARED ? VMA_SHARED_NAMED : VMA_NAMED;
		part->source = NAME_REGISTRY;
	}
	return 0;
}

/* Cuts a VMA where the registry's names begin and end. */
static int cut(struct reader *reader, const struct vma *vma)
{
	const struct registry *registry = &reader->registry;
	uint64_t page = reader->page;
	uint64_t at = vma->start;
	int error = 0;

	reader->parts = reader->handed = 0;
	if (registry->count && vma_takes_registry_name(vma)) {
		while (reader->cursor < registry->count && registry->entry[reader->cursor].end <= vma->start)
			reader->cursor++;
		for (size_t i = reader->cursor; !error && i < registry->count; i++) {
			uint64_t start = registry->entry[i].start, end = registry->entry[i].end;

			if (start >= vma->end)
				break;
			start = start > vma->start ? start : vma->start;
			end = end < vma->end ? end : vma->end;
			/* Figures are counted in pages, so names begin and end with them. */
			start &= ~(page - 1);
			end = (end + page - 1) & ~(page - 1);
			if (start < at)
				start = at;
			if (start >= end)
				continue;
			if (start > at)
				error = add_part(reader, vma, at, start, NULL);
			if (!error)
				error = add_part(reader, vma, start, end, registry_name(registry, i));
			at = end;
		}
	}
	if (!error && at < vma->end)
		error = add_part(reader, vma, at, vma->end, NULL);
	return error;
}

static int take_vma(void *context, struct vma *vma)
{
	struct reader *reader = context;
	int error;

	reader->process->vmas++;
	if (reader->with_smaps && reader->process->vmas % LATE_LOOK == 0 && clock_ns() > reader->deadline)
		return LATE;
	if (!reader->library_searched && library_is_in(vma))
		reader->library_seen = true;
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

	*file = (struct maps_file){ .fd = proc_open(reader->proc, reader->pid, "maps") };
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

/* What the library in the process has to say. Uses the file up. */
static void read_registry(struct reader *reader, struct maps_file *file)
{
	struct process *process = reader->process;
	struct library *library = &process->library;

	library_find(reader->proc, reader->pid, maps_file_ahead(file), file->fd, reader->cost, library);
	if (library->state == LIBRARY_READY && library->root.registry.top) {
		struct memory memory = library_memory(library);

		process->registry_error = registry_read(&memory, library->root_address, &reader->registry);
		process->registry_ranges = reader->registry.count;
		process->registry_names_bytes = reader->registry.names_len;
		process->registry_torn = reader->registry.torn;
		process->registry_refused = reader->registry.refused;
	}
	library_close(library);
	reader->library_searched = true;
	maps_file_close(file);
}

/*
 * Opens maps. Where the library is among what was read of it, the registry is
 * read first, and then maps again. Else, in a process with very many VMAs, its
 * file shows later, and the process is read a second time.
 */
static int open_maps(struct reader *reader, struct maps_file *file)
{
	int error = maps_file_open(reader, file);

	if (error || reader->library_searched || !reader->proc->live)
		return error;
	if (!reader->library_seen && !memmem(file->ahead, file->len, LIBRARY_NAME, sizeof(LIBRARY_NAME) - 1)) {
		reader->library_searched = file->whole;
		return 0;
	}
	read_registry(reader, file);
	return maps_file_open(reader, file);
}

/* The same where maps is not what is read. */
static int ask_library(struct reader *reader)
{
	struct maps_file file;
	int error = reader->library_searched ? -EALREADY : open_maps(reader, &file);

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
	if (reader->mode == PROCESS_NAMES || reader->process->late)
		return false;
	if (reader->mode == PROCESS_GENTLE) {
		ask_counters(reader);
		return false;
	}
	return reader->prefers_smaps || reader->mode == PROCESS_FIGURES_ALL || !reader->proc->live || !can_do_without_smaps(reader);
}

static int read_vmas(struct reader *reader)
{
	struct maps_file file = { .fd = -1 };
	int error = 0;

	reader->with_smaps = smaps_is_needed(reader);
	if (!reader->with_smaps)
		error = open_maps(reader, &file);
	else if (reader->proc->live && reader->mode != PROCESS_FIGURES_PLAIN)
		error = ask_library(reader);
	if (reader->with_smaps && !error && (file.fd = proc_open(reader->proc, reader->pid, "smaps")) < 0)
		error = file.fd;
	if (error)
		return error;
	reader->process->vmas = reader->process->malformed = 0;
	reader->cursor = 0;

	error = maps_read(reader->proc->maps, maps_file_ahead(&file), file.fd, reader->with_smaps, reader->cost,
	                  take_vma, reader, &reader->process->malformed);
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
		return true;
	/* pagemap was opened before the list: while its memory is there, so was the list's. */
	if (reader->pagemap && reader->pagemap->fd >= 0)
		return reader->process->vmas && pagemap_is_alive(reader->pagemap);
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
	registry_free(&reader->registry);
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

int process_read(const struct proc *proc, pid_t pid, enum process_mode mode, struct cost *cost,
                 region_function *each, void *context, struct process *process)
{
	struct reader reader = {
		.proc = proc, .pid = pid, .mode = mode, .cost = cost, .page = (uint64_t)sysconf(_SC_PAGESIZE),
		.process = process, .each = each, .context = context, .deadline = clock_ns() + FIGURES_NS,
	};
	int error;

	memset(process, 0, sizeof(*process));
	process->pid = pid;
	error = identify(&reader);
	if (error || process->identity.kernel_thread) {
		reader_free(&reader);
		return error;
	}
	error = read_vmas(&reader);
	for (;;) {
		int again = error;

		if (error == PREFERS_SMAPS)
			reader.prefers_smaps = true;
		else if (error == LATE)
			process->late = true;
		else if (!error && reader.library_seen && !reader.library_searched && proc->live)
			error = ask_library(&reader);
		else
			break;
		if (again || reader.registry.count)
			error = start_over(&reader);
	}
	process->late |= reader.pagemap && reader.pagemap->late;
	if (!error && !process->vmas && proc->live) {
		/* Nothing at all: a kernel thread, or one that has ended. */
		proc_identify(proc, pid, &process->identity);
		error = process->identity.kernel_thread ? 0 : -ESRCH;
	} else if (!error && !is_complete(&reader)) {
		error = -ESRCH;
	}
	reader_free(&reader);
	return error;
}

int process_read_smaps(int fd, struct cost *cost, region_function *each, void *context,
                       struct process *process)
{
	struct reader reader = {
		.mode = PROCESS_FIGURES, .with_smaps = true, .cost = cost, .page = 4096,
		.process = process, .each = each, .context = context, .deadline = UINT64_MAX,
	};
	struct maps_reader *maps = maps_reader_new();
	int error = -ENOMEM;

	memset(process, 0, sizeof(*process));
	if (maps)
		error = maps_read(maps, (struct text){ 0 }, fd, true, cost, take_vma, &reader, &process->malformed);
	maps_reader_free(maps);
	free(reader.part);
	return error;
}
