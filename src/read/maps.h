/* SPDX-License-Identifier: MIT */
/*
 * /proc/PID/maps and smaps, one VMA at a time, so that a process with a
 * million VMAs needs no more memory to read than one with ten.
 */
#ifndef ANONNAME_READ_MAPS_H
#define ANONNAME_READ_MAPS_H

#include "figures.h"
#include "text.h"

#include <stdbool.h>
#include <stdint.h>

/* What is behind a VMA, as far as its line tells. */
enum vma_class {
	VMA_UNNAMED = 0,            /* anonymous, without a name */
	VMA_NAMED,                  /* [anon:NAME] */
	VMA_SHARED_NAMED,           /* [anon_shmem:NAME], Linux 6.2 */
	VMA_SHARED,                 /* shared anonymous memory, /dev/zero (deleted) */
	VMA_HEAP,
	VMA_STACK,
	VMA_SPECIAL,                /* [vdso] and whatever else the kernel put there */
	VMA_FILE,
	VMA_SHM,                    /* a file that is shared memory: memfd, System V, tmpfs */
	VMA_ROLLUP,                 /* all of a process, the only line of smaps_rollup */
};

struct vma {
	uint64_t start, end;
	char perms[5];
	uint64_t offset;
	uint64_t major, minor;
	uint64_t inode;
	enum vma_class class;
	struct text name;           /* NAME, [heap], a path; valid until the next line is read */
	bool another;               /* the first of another process in the same file */

	/* From smaps only. */
	struct figures figures;
	uint64_t anonymous;         /* private anonymous pages, in bytes; for files those that were copied */
	bool locked;                /* mlock */
	bool mergeable;             /* KSM may merge here; true when the kernel does not say */
};

/* One header line. False when it is not one. */
bool vma_parse(struct text line, struct vma *vma);

/* Private anonymous memory: what "anonymous RSS" is the sum of. */
bool vma_is_anonymous(const struct vma *vma);

/* Its name is a path. */
static inline bool vma_is_file(const struct vma *vma)
{
	return vma->class == VMA_FILE || vma->class == VMA_SHM;
}

/* Anonymous in the wider sense, where the registry may give the name. */
bool vma_takes_registry_name(const struct vma *vma);

/*
 * The buffers, and what was read before: processes have much in common. For one
 * reading at a time.
 */
struct maps_reader;
struct maps_reader *maps_reader_new(void);
void maps_reader_free(struct maps_reader *reader);

/* What is read. */
#define MAPS_FIGURES  1U                        /* smaps, not maps */
#define MAPS_RECORDED 2U                        /* a copy: its lines may end as on Windows */
#define MAPS_SEVERAL  4U                        /* a file that may hold several processes, one behind the other */

/*
 * Calls each for every VMA in the file, in order of address. A VMA that starts
 * before the previous one ended was seen twice, because the process changed
 * between two reads: it is cut or left out. Stops when each returns non-zero
 * and returns that.
 * ahead: the beginning of the file, where that was read already; fd -1: all of it.
 * malformed counts the lines that were neither a header nor a field.
 */
typedef int vma_function(void *context, struct vma *vma);

int maps_read(struct maps_reader *reader, struct text ahead, int fd, unsigned what, struct cost *cost,
              vma_function *each, void *context, uint64_t *malformed);

#endif
