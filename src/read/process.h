/* SPDX-License-Identifier: MIT */
/*
 * One process as a list of regions, each with its name and its figures: the
 * VMAs of the kernel, cut where the registry knows several names in one.
 * Everything that a tool shows comes from here.
 */
#ifndef ANONNAME_READ_PROCESS_H
#define ANONNAME_READ_PROCESS_H

#include "library.h"
#include "maps.h"
#include "pagemap.h"
#include "proc.h"
#include "registry.h"

#include <errno.h>

enum name_source {
	NAME_NONE = 0,
	NAME_KERNEL,
	NAME_REGISTRY,
	NAME_OUTSIDE,               /* recognised */
	NAME_SOURCES
};

/* As they are written: NULL for NAME_NONE. */
extern const char *const source_names[NAME_SOURCES];
enum name_source source_named(struct text word);

/* For struct proc. */
#define NAME_BIT(source) (1U << (source))
#define NAMES_ALL        (NAME_BIT(NAME_KERNEL) | NAME_BIT(NAME_REGISTRY) | NAME_BIT(NAME_OUTSIDE))


struct region {
	struct vma vma;             /* of a part: its own start, end, offset, class and name */
	enum name_source source;
	/*
	 * Marks for sums over all parts of its VMA: what is not known of a part may
	 * be known of the whole, and the values of the parts add up to that.
	 */
	uint32_t sum_unknown, sum_estimate;
};

/*
 * Non-zero stops the reading and is its result. region NULL: forget all
 * regions so far, the process is read again from the start.
 */
typedef int region_function(void *context, const struct region *region);

enum process_mode {
	PROCESS_NAMES = 0,          /* maps: no figures but the size */
	PROCESS_FIGURES,            /* the quickest way to all figures but FIG_ONLY_SMAPS */
	PROCESS_FIGURES_ALL,        /* those too: from smaps */
	PROCESS_FIGURES_PLAIN,      /* the same, quicker where the process has not our library, slower where it has */
	PROCESS_GENTLE,             /* never smaps: holds the target's mmap lock for a moment only */
};

struct process {
	pid_t pid;
	pid_t thread;               /* its main thread has ended, and it was read through this one; else 0 */
	bool no_smaps;              /* figures were asked for, and there is no smaps: what --gentle gives */
	struct proc_identity identity; /* only as far as the reading needed it; see proc_identify() */
	struct library library;     /* closed again; its root can be looked at */
	int registry_error;
	int recognise_error;
	struct cost recognised;     /* what it cost: longest_ns is all of its time */
	size_t registry_ranges, registry_names_bytes, registry_torn, registry_refused;
	uint64_t vmas;              /* the kernel's, not ours */
	uint64_t malformed;         /* lines of maps or smaps that made no sense */
	bool split;                 /* some VMA held several names */
	bool late;                  /* it took too long: figures are missing */
};

/* What process_read() answers for processes that have no memory. */
#define PROCESS_IS_KERNEL  (-ENODATA)           /* a kernel thread */
#define PROCESS_IS_EMPTY   (-ENOMSG)            /* recorded, and its maps or smaps holds nothing */
#define PROCESS_IS_ENDED   (-ECHILD)            /* a zombie: only its parent has not asked for its end yet */

/*
 * What is the matter with a process that could not be read, in the same words
 * for every file that says so in another way: one of those above, or error (0
 * asks before anything was tried).
 * Where its main thread alone has ended, thread is one through which all of it
 * can be read: its directory answers as the process's does.
 */
int process_why_not(const struct proc *proc, pid_t pid, int error, pid_t *thread);

/*
 * Reads a process; it may hang, so this is for a child (apart.h). Errors: those
 * above, -ESRCH (no such process, or it ended or called exec while it was read:
 * the regions handed out so far are of no use), -EACCES, -EPERM, and what each
 * returned.
 */
int process_read(const struct proc *proc, pid_t pid, enum process_mode mode, struct cost *cost,
                 region_function *each, void *context, struct process *process);

/* The same in a child. -ETIME: the process kept it waiting too long. process->library is closed. */
int process_read_apart(const struct proc *proc, pid_t pid, enum process_mode mode, struct cost *cost,
                       region_function *each, void *context, struct process *process);

/*
 * The same from a recorded smaps file, without a process. A file may hold
 * several, one behind the other: next is called between two, and its result
 * ends the reading if it is not zero.
 */
int process_read_smaps(int fd, struct cost *cost, region_function *each, int (*next)(void *context),
                       void *context, struct process *process);

#endif
