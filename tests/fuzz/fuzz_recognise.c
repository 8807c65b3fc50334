/* SPDX-License-Identifier: MIT */
/*
 * The input is another process's memory, as hostile as it can be: a page of
 * where its mappings are and how long, then bytes that lie at whatever address a
 * recogniser asks for. Each recogniser sees them. What it names must be sorted,
 * not overlap, and lie in what may be named; and reading comes to an end.
 */
#include "../../src/heap/heap.h"
#include "../../src/heap/hotspot.h"
#include "../../src/recognise/hotspot.h"
#include "../../src/recognise/object.h"
#include "../../src/recognise/recognise.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define AREAS 8
#define FIRST 0xc000000000ULL       /* Go's; all others take what comes */
#define UNIT  (1ULL << 20)
#define DATA  (16ULL << 10)         /* of an object; and as much is its .bss, */
#define LARGE (3ULL << 20)          /* but for the last one's where the input says so: room for an allocator's tree */
#define HAS_LARGE(data) ((data)[2] >> 4 == 0xf) /* it takes long, so few say so */
#define IS_DENSE(data) ((data)[3] >> 4 == 0xf)
#define READS 200
#define PAGE  4096

static heap_reader *const readers[] = { heap_go, heap_v8, heap_jemalloc, heap_tcmalloc };
#define FIRST_LARGE 2                /* from this on they have trees */

/* The program is each runtime at once: its objects have the names that are asked for. */
static const char *const names[] = { "php", "libruby", "node", "python3.11", "libjvm.so", "libc.so.6", "ld-linux", "beam.smp", "mariadbd", "luajit", "sbcl", "mono-sgen", "program" };

#define OBJECTS (sizeof(names) / sizeof(*names))

struct image_bytes {
	const uint8_t *bytes;
	size_t size;
	bool is_dense;
};

static char path[1];

/* The bytes lie everywhere, again and again: so that any pointer leads to some. */
static int bytes_read(void *context, uint64_t address, void *buffer, size_t size)
{
	const struct image_bytes *image = context;

	for (size_t done = 0; done < size;) {
		size_t from = (address + done) % image->size, part = image->size - from;

		part = part < size - done ? part : size - done;
		memcpy((char *)buffer + done, image->bytes + from, part);
		done += part;
	}
	return 0;
}

static uint64_t bytes_next(void *context, uint64_t from, uint64_t to)
{
	(void)context;
	from = (from + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	return from < to ? from : to;
}

/* Mostly one page of eight is there: what begins at a multiple of 32 KiB is seen, and searches have not so many to look at. */
static bool bytes_present(void *context, uint64_t from, size_t pages, uint64_t *bits)
{
	const struct image_bytes *image = context;
	size_t first = (size_t)(-(from / PAGE) & 7);

	for (size_t i = 0; i < (pages + 63) / 64; i++)
		bits[i] = image->is_dense ? UINT64_MAX : 0x0101010101010101ULL << first;
	return true;
}

static void make_areas(struct area *area, const uint8_t *data)
{
	uint64_t at = FIRST;

	for (size_t i = 0; i < AREAS; i++) {
		area[i] = (struct area){ .start = at, .end = at + (1 + data[i] % 8) * UNIT, .perms = "rw-p", .path = path,
		                         .class = data[i] & 0x80 ? VMA_HEAP : VMA_UNNAMED };
		at = area[i].end + (data[i] & 0x40 ? UNIT : 0);
	}
}

static void allow_all(struct target *target)
{
	target_allow(target, &target->limits);
	target->reads = target->bytes = 0;
}

static void check(struct target *target, struct findings *findings)
{
	findings_settle(findings);
	for (size_t i = 0; i < findings->settled; i++) {
		const struct found *found = &findings->found[i];

		if (found->start >= found->end || found->name >= findings->names_len || (i && found[-1].end > found->start) ||
		    strlen(findings->names + found->name) >= FOUND_NAME_MAX)
			abort();
	}
	if (target->reads > READS)
		abort();
	allow_all(target);
}

/* What is unknown is more than all else, and of a system that is unknown no more is told. */
static void check_heaps(const struct heaps *heaps)
{
	for (size_t i = 0; i < heaps->count; i++)
		if (heaps->arena[i].figure[HEAP_LIVE] != HEAP_UNKNOWN && heaps->arena[i].figure[HEAP_LIVE] > heaps->arena[i].figure[HEAP_SYSTEM])
			abort();
}

/* Each is what its file would say, and the files are not there: what only symbols lead to is not looked at. */
static void make_objects(struct object *object, bool has_large)
{
	static struct image small = {
		.soname = "object", .machine = EM_X86_64, .no_symbols = true, .segments = 1,
		.segment = { { .p_type = PT_LOAD, .p_flags = PF_R | PF_W, .p_filesz = DATA, .p_memsz = 2 * DATA } },
	}, large = {
		.soname = "large", .machine = EM_X86_64, .no_symbols = true, .segments = 1,
		.segment = { { .p_type = PT_LOAD, .p_flags = PF_R | PF_W, .p_filesz = DATA, .p_memsz = DATA + LARGE } },
	};

	for (size_t i = 0; i < OBJECTS; i++) {
		bool is_large = has_large && i + 1 == OBJECTS;

		object[i] = (struct object){ .path = names[i], .name = names[i], .state = OBJECT_READ, .fd = -1, .base = FIRST,
		                             .image = is_large ? &large : &small, .end = FIRST + DATA + (is_large ? LARGE : DATA) };
	}
}

/* libjvm.so's table is in its file; so where its variables are the input says. */
static void find_variables(const struct image_bytes *bytes, uint64_t *at, size_t count)
{
	for (size_t i = 0; i < count; i++)
		at[i] = bytes->bytes[2 * i % bytes->size] | (uint64_t)bytes->bytes[(2 * i + 1) % bytes->size] << 8;
}

static void try_hotspot(struct target *target, struct findings *findings, const struct image_bytes *bytes, struct heaps *heaps)
{
	struct hotspot hotspot = { .target = target, .findings = findings };
	uint64_t at[HEAP_HOTSPOT_VARIABLES];

	find_variables(bytes, hotspot.at, HOTSPOT_PLACES);
	hotspot_name(&hotspot);
	check(target, findings);
	find_variables(bytes, at, HEAP_HOTSPOT_VARIABLES);
	heap_hotspot_at(&hotspot, at, heaps);
	allow_all(target);
	heap_hotspot_concurrent_at(&hotspot, at, heaps);
	allow_all(target);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct proc nowhere = { .fd = -1 };
	struct area area[AREAS];
	struct object object[OBJECTS];
	struct image_bytes bytes = { data + AREAS, size - AREAS, size > AREAS && IS_DENSE(data) };
	struct findings findings = { 0 };
	struct heaps heaps = { 0 };
	struct target target = {
		.memory = { bytes_read, &bytes }, .next = bytes_next, .present = bytes_present, .fetch = bytes_read,
		.proc = &nowhere, .pid = 1, .area = area, .areas = AREAS, .object = object, .objects = OBJECTS,
		.own = { .mem = -1, .pagemap = -1, .page = PAGE },
		/* An input is done in a moment. */
		.limits = { READS, READS * (uint64_t)PAGE, UINT64_MAX, UINT64_MAX },
	};

	if (size <= AREAS)
		return 0;
	make_areas(area, data);
	make_objects(object, HAS_LARGE(data));
	/* One object, and the program is static. */
	if (data[0] & 0x20) {
		target.object = &object[OBJECTS - 1];
		target.objects = 1;
	}
	for (size_t i = 0; recognisers[i]; i++) {
		recognisers[i](&target, &findings);
		check(&target, &findings);
	}
	try_hotspot(&target, &findings, &bytes, &heaps);
	/* The heaps that are found by objects, and by a tree where there is one: fuzz_heap.c has no objects. */
	for (size_t i = 0; i < (HAS_LARGE(data) ? sizeof(readers) / sizeof(*readers) : FIRST_LARGE); i++) {
		readers[i](&target, &findings, &heaps);
		allow_all(&target);
	}
	check_heaps(&heaps);
	heaps_free(&heaps);
	findings_free(&findings);
	return 0;
}
