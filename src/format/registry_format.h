/* SPDX-License-Identifier: MIT */
/*
 * The bytes that a process with libanonname keeps and that another process
 * reads: what the library decided (struct root) and, on kernels without
 * PR_SET_VMA_ANON_NAME, the map from address range to name (the registry).
 * The writer (src/sink) and the reader (src/read) share this file and nothing
 * else.
 *
 *   libanonname.so's data -------> struct root ---> struct registry_top
 *                                    |                  | slot.ref = block, generation
 *                                    |                  v
 *                                    |  blocks[] ---> struct registry_leaf { ranges }
 *                                    |                                         | name
 *                                    `- names[] ----> struct registry_name  <--'
 *
 * How it can be read while it changes, without stopping the process:
 *  - A leaf never changes once a slot refers to it. A change builds a new leaf
 *    in a free block, with a generation that was never used before, and stores
 *    the slot's ref: one atomic 64-bit store.
 *  - So a copy of a leaf is consistent when the slot held the same ref before
 *    and after it was copied, and the copy's own generation agrees.
 *  - A name stays as long as a published leaf refers to it. The same check
 *    covers it.
 *  - A top is replaced in the same way, through root.registry.top.
 * A reader must treat all of it as hostile: another user's process wrote it.
 *
 * All values are in the byte order and word size of the process (64-bit).
 */
#ifndef ANONNAME_FORMAT_REGISTRY_FORMAT_H
#define ANONNAME_FORMAT_REGISTRY_FORMAT_H

#include <stdint.h>

/*
 * The ELF note in libanonname.so, for whoever has the object itself. Its
 * description is one int64_t: the distance in bytes from the description to
 * struct root. A reader of another process does not read the file's pages: it
 * looks for the magic in the writable data of the mapped file.
 */
#define ANONNAME_NOTE_NAME "anonname"
#define ANONNAME_NOTE_TYPE 1

#define ANONNAME_ROOT_MAGIC   0x314745524e4f4e41ULL /* "ANONREG1" */
#define ANONNAME_ROOT_VERSION 1U

/* The longest name, without its NUL: include/linux/mm.h, ANON_VMA_NAME_MAX_LEN is 80 with it. */
#define ANONNAME_NAME_MAX 79

enum root_sink {
	ROOT_SINK_NONE = 0,         /* not started, or ANONNAME_SINK=off */
	ROOT_SINK_KERNEL = 1 << 0,
	ROOT_SINK_REGISTRY = 1 << 1,
};

/* How a part of the library that can be declined fared. */
enum part_state {
	PART_UNTRIED = 0,
	PART_ACTIVE,
	PART_DECLINED,              /* reason says why */
};

/* Each part that start-up decides on: parts.def has these, why one was declined, and what is counted. */
enum part {
#define PART(id, ...) PART_##id,
#include "parts.def"
	PART_COUNT,
	PART_ROOM = 16,             /* room in the format */
};

enum part_reason {
#define REASON(id, ...) REASON_##id,
#include "parts.def"
	REASON_COUNT,
};

enum root_counter {
#define COUNTER(id, ...) COUNT_##id,
#include "parts.def"
	COUNT_COUNT,
	COUNT_ROOM = 24,
};

#define REGISTRY_BLOCK_SIZE    1024U
#define REGISTRY_LEAF_RANGES   42U
#define REGISTRY_NAME_GRANULE  16U
#define REGISTRY_SEGMENTS      20U
#define REGISTRY_SEGMENT0_SIZE 16384U

struct registry_range {
	uint64_t start;             /* first byte */
	uint64_t end;               /* one past the last */
	uint32_t name;              /* granule index of a struct registry_name */
	uint32_t stamp;             /* when it was set; the writer's own use */
};

struct registry_leaf {
	uint32_t generation;        /* never 0 while published */
	uint32_t count;             /* ranges, sorted by start, not overlapping */
	uint64_t reserved;
	struct registry_range range[REGISTRY_LEAF_RANGES];
};

/*
 * One slot a leaf, sorted by low: every range in the leaf starts at or above
 * it and below the next slot's. ref is block << 32 | generation.
 */
struct registry_slot {
	uint64_t low;
	uint64_t ref;
};

struct registry_top {
	uint64_t generation;        /* 0 while it is being rewritten */
	uint32_t count;             /* slots in use */
	uint32_t capacity;
	struct registry_slot slot[];
};

/* Stands at names + granule * REGISTRY_NAME_GRANULE. */
struct registry_name {
	uint32_t next;              /* the writer's hash chain */
	uint32_t refs;
	uint32_t hash;
	uint8_t length;             /* at most ANONNAME_NAME_MAX */
	char text[];                /* not NUL terminated for the reader's purposes */
};

/*
 * Blocks and names live in segments that only grow in number. Segment 0 has
 * REGISTRY_SEGMENT0_SIZE bytes, segment k > 0 as many as all before it:
 * 16 KiB, 16, 32, 64, ... A segment that is not there yet is 0.
 */
struct root_registry {
	uint64_t top;                           /* address of the struct registry_top, 0: none */
	uint64_t blocks[REGISTRY_SEGMENTS];
	uint64_t names[REGISTRY_SEGMENTS];
};

struct root {
	uint64_t magic;
	uint32_t version;
	uint32_t size;                          /* of this structure */
	uint64_t self;                          /* its own address; 0 until it is filled in */
	uint32_t sink;                          /* enum root_sink */
	int32_t kernel_error;                   /* the probe's errno, 0 when the kernel can */
	uint32_t sandbox;                       /* 1: a seccomp filter keeps us from the prctl */
	uint32_t reserved;
	uint8_t part_state[PART_ROOM];          /* enum part_state */
	uint8_t part_reason[PART_ROOM];         /* enum part_reason */
	uint64_t counter[COUNT_ROOM];
	struct root_registry registry;
};

/* The size and the offset of segment k, see struct root_registry. */
static inline uint64_t registry_segment_size(unsigned k)
{
	return (uint64_t)REGISTRY_SEGMENT0_SIZE << (k ? k - 1 : 0);
}

static inline uint64_t registry_segment_start(unsigned k)
{
	return k ? (uint64_t)REGISTRY_SEGMENT0_SIZE << (k - 1) : 0;
}

_Static_assert(sizeof(struct registry_range) == 24, "format");
_Static_assert(sizeof(struct registry_leaf) == REGISTRY_BLOCK_SIZE, "format");
_Static_assert(__builtin_offsetof(struct registry_name, text) == 13, "format");

#endif
