/* SPDX-License-Identifier: MIT */
/*
 * Another process's memory, as recognisers see it: where its mappings are, which
 * pages are there, and bytes of those. A page that is absent or swapped out is
 * never touched, so that reading changes nothing in the process. All that comes
 * from here is hostile: whoever reads it checks it, and how much is read of one
 * process has an end.
 *
 *   maps --------> area[] ---- area_at(), in order of address
 *   pagemap -----> memory_next() --- the next page that is there
 *   mem ---------> memory_get() ---- bytes of pages that are all there
 */
#ifndef ANONNAME_RECOGNISE_MEMORY_H
#define ANONNAME_RECOGNISE_MEMORY_H

#include "../read/maps.h"
#include "../read/memory.h"
#include "../read/proc.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* A mapping. */
struct area {
	uint64_t start, end, offset;
	uint64_t major, minor, inode;
	enum vma_class class;
	char perms[5];
	char *path;                 /* of a file; "" of everything else */
};

struct object;

/* What recognising one process may cost, in reads, bytes and time, unless more is allowed. */
#define TARGET_READS   400000
#define TARGET_BYTES   (256ULL << 20)
/* Our own time on the processor: that others are at work, too, costs no name. */
#define TARGET_CPU_NS  1000000000ULL
/* In all, whoever made it last: before apart.h gives the process up, and its figures with it. */
#define TARGET_WALL_NS 5000000000ULL

struct target_limits {
	uint64_t reads, bytes, cpu_ns, wall_ns;
};

/* What pagemap says of the pages from start to end. */
#define WINDOW_PAGES 512            /* 2 MiB of addresses */
struct page_window {
	uint64_t start, end;
	uint64_t entry[WINDOW_PAGES];
};

struct target {
	struct memory memory;       /* where bytes come from: a process, or a test */
	uint64_t (*next)(void *context, uint64_t from, uint64_t to); /* see memory_next() */
	bool (*present)(void *context, uint64_t from, size_t pages, uint64_t *bits); /* see memory_present() */
	int (*fetch)(void *context, uint64_t address, void *buffer, size_t size);    /* see memory_fetch() */
	/* Several at once, of the same size; how many it had, from the first on. NULL: one by one. */
	size_t (*gather)(void *context, const struct iovec *there, const struct iovec *here, size_t count);
	const struct proc *proc;
	pid_t pid;
	struct area *area;          /* sorted, not overlapping */
	size_t areas, room;
	struct object *object;      /* object.h */
	size_t objects;
	bool has_program;           /* it was found among them */
	struct process_memory own;  /* what memory reads */
	struct page_window window;  /* where next() was last */
	bool at_once;               /* the process can be read by its id */
	uint64_t exclusive_from, exclusive_to; /* what present() was last asked for, when no page of it is another's, too */
	struct target_limits limits;
	uint64_t space;             /* its mount namespace; 0: not asked for yet. This and the next two are image.c's */
	uint64_t mount;             /* the minor number that was looked up last, + 1 */
	bool mount_served;          /* by a program, for all that is known */
	uint64_t reads, bytes;      /* so far */
	uint64_t began, began_cpu;  /* when the reading began, and the processor's time then */
	unsigned asked;             /* how often target_is_spent() was called */
	bool spent;                 /* a limit was reached: something may be missing */
};

/* 0 or a negative errno. */
int target_open(struct target *target, const struct proc *proc, pid_t pid);
/* The same with its maps, open and the beginning of it read. */
int target_open_maps(struct target *target, const struct proc *proc, pid_t pid, struct text ahead, int maps);
void target_close(struct target *target);

/*
 * Whether nothing more is to be read of it, which stays so until target_allow().
 * Reads fail by themselves then; a loop without reads asks.
 */
bool target_is_spent(struct target *target);

/* From here on these limits hold, for all that was read and is going to be. */
void target_allow(struct target *target, const struct target_limits *limits);

/* The area that holds the address, or NULL. */
const struct area *area_at(const struct target *target, uint64_t address);

/* The first that ends above the address; target->areas: none. */
size_t area_seek(const struct target *target, uint64_t address);

/* Private anonymous memory, whatever the kernel calls it; the heap and the stack are not meant. */
bool area_is_anonymous(const struct area *area);
bool area_is_writable(const struct area *area);
/* Where an allocator may have its structures: writable, and anonymous or the heap. */
bool area_may_be_allocators(const struct area *area);

/* Whether it is private anonymous memory from end to end; a guard is some of it, too. */
bool memory_is_anonymous(struct target *target, uint64_t start, uint64_t end);

/* All of size bytes, or -EFAULT: some page is not there, or not the process's own; -EDQUOT: enough was read. */
int memory_get(struct target *target, uint64_t address, void *buffer, size_t size);

/* A word; false where it cannot be read. */
bool memory_word(struct target *target, uint64_t address, uint64_t *word);
bool memory_u32(struct target *target, uint64_t address, uint32_t *word);

/* The first page that is there at or above from, and below to; to: there is none. */
uint64_t memory_next(struct target *target, uint64_t from, uint64_t to);

/* Which of so many pages are there: a bit each, the first page's is the lowest of bits[0]. false: nobody says. */
bool memory_present(struct target *target, uint64_t from, size_t pages, uint64_t *bits);

/*
 * For much memory: bytes of pages that memory_present() has just shown to be
 * there. memory_get() looks before each read, which this leaves out.
 */
int memory_fetch(struct target *target, uint64_t address, void *buffer, size_t size);

/*
 * The first bytes of so many pages, HEADS_MAX or fewer, which lie step bytes
 * apart, HEADS_STEP pages or fewer. there[i] says whether it could be read; then
 * its bytes are the i-th size bytes of buffer.
 */
#define HEADS_MAX  256
#define HEADS_STEP 4
void memory_heads(struct target *target, uint64_t from, size_t count, uint64_t step, bool *there, void *buffer, size_t size);

#endif
