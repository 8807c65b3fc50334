/* SPDX-License-Identifier: MIT */
/*
 * The input is a heap of glibc's in another process, walked and with its lists
 * followed. Every 16th read changes a byte, as a process that runs does.
 *
 *   8 bytes: where top is, whether the heap is main_arena's, whether it is none but
 *   a segment of mimalloc's | its pages
 */
#include "../../src/heap/chunks.h"
#include "../../src/heap/heap.h"
#include "../../src/heap/lists.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PAGE     4096
#define BASE     0x7f0000000000ULL

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct image {
	uint8_t *bytes;
	size_t size;                /* whole pages */
	unsigned reads;
};

static uint8_t *byte_at(const struct image *image, uint64_t address)
{
	return &image->bytes[address % image->size];
}

static int image_read(void *context, uint64_t address, void *buffer, size_t size)
{
	struct image *image = context;

	if (++image->reads % 16 == 0)
		*byte_at(image, address * 31 + image->reads) ^= (uint8_t)image->reads;
	if (address < BASE || address - BASE > image->size || size > image->size - (address - BASE))
		return -EFAULT;
	memcpy(buffer, image->bytes + (address - BASE), size);
	return 0;
}

/* A page that begins with a byte of all ones is not there. */
static bool image_present(void *context, uint64_t from, size_t pages, uint64_t *bits)
{
	const struct image *image = context;

	for (size_t i = 0; i < pages; i++)
		bits[i / 64] |= (uint64_t)(*byte_at(image, from - BASE + i * PAGE) != 0xff) << i % 64;
	return true;
}

static struct target target_of(struct image *image)
{
	return (struct target){
		.memory = { image_read, image }, .present = image_present, .fetch = image_read, .own = { .page = PAGE },
		.limits = { UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX },
	};
}

static void walk(struct target *target, const struct image *image, const uint8_t *head)
{
	static struct chunks chunks;
	static struct cached cached;
	static struct pages *pages;
	struct chunk_range range = { .start = BASE, .first = BASE, .end = BASE + image->size, .is_main = head[4] & 1 };
	struct list_range all = { BASE, BASE + image->size, 0 };
	struct lists lists = { .target = target, .range = &all, .ranges = 1, .cached = &cached };
	struct view view;
	uint32_t top;

	/* Once: it is 16 MiB. */
	pages = pages ? pages : pages_new(target, PAGES_MANY);
	if (!pages)
		return;
	pages_forget(pages);
	lists.pages = pages;
	memset(&chunks, 0, sizeof(chunks));
	memset(&cached, 0, sizeof(cached));
	memcpy(&top, head, sizeof(top));
	range.top = top ? BASE + top % image->size / 16 * 16 : 0;
	if (!view_open(&view, target, range.start, range.end)) {
		if (chunks_walk(&chunks, &view, &range) && chunks.trimmable + chunks.pinned > image->size)
			abort();
		view_close(&view);
		for (size_t i = 0; i < chunks.suspects.count; i++)
			lists_read_cache(&lists, chunks.suspects.at[i]);
		lists_read_fastbins(&lists, 0, BASE, 10);
	}
	free(chunks.suspects.at);
}

#define SEGMENT      (32ULL << 20)
#define ENTRIES      512
#define ENTRY        80
#define FIRST_ENTRY  264            /* behind the head */

/* A head that is believed, and entries that lead to each other: what they say of their blocks is the input's. */
static void make_segment(uint8_t *bytes)
{
	static const uint64_t head[] = { 0, BASE, ENTRIES, 1, 0, ENTRIES, 8 };
	uint64_t pages = 0;
	uint32_t place[2] = { 1, 0 };

	for (unsigned i = 0; i < ENTRIES; i += place[0]) {
		uint8_t *entry = bytes + FIRST_ENTRY + i * ENTRY;
		uint32_t size;

		place[0] = i ? entry[0] % 8 + 1U : 1;
		if (place[0] > ENTRIES - i)
			place[0] = ENTRIES - i;
		memcpy(entry, place, sizeof(place));
		memcpy(&size, entry + 28, sizeof(size));
		pages += i && size > 1;
	}
	memset(bytes, 0, FIRST_ENTRY);
	memcpy(bytes + FIRST_ENTRY - sizeof(head), head, sizeof(head));
	memcpy(bytes + FIRST_ENTRY - sizeof(head), &pages, sizeof(pages));
}

static uint64_t image_next(void *context, uint64_t from, uint64_t to)
{
	(void)context;
	(void)to;
	return from;
}

static void walk_segment(struct target *target, const struct image *image)
{
	struct area area = { .start = BASE, .end = BASE + SEGMENT, .class = VMA_UNNAMED, .perms = "rw-p" };
	struct findings findings = { 0 };
	struct heaps heaps = { 0 };

	if (image->size < FIRST_ENTRY + ENTRIES * ENTRY)
		return;
	make_segment(image->bytes);
	target->next = image_next;
	target->area = &area;
	target->areas = 1;
	heap_mimalloc(target, &findings, &heaps);
	for (size_t i = 0; i < heaps.count; i++) {
		const uint64_t *figure = heaps.arena[i].figure;

		if (figure[HEAP_LIVE] != HEAP_UNKNOWN && figure[HEAP_LIVE] + figure[HEAP_FREE] + figure[HEAP_METADATA] != figure[HEAP_SYSTEM])
			abort();
	}
	heaps_free(&heaps);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct image image;
	static struct target target; /* the pages that are kept read it */

	if (size < 8 || size > 1 << 20)
		return 0;
	image.size = (size - 8 + PAGE - 1) / PAGE * PAGE + PAGE;
	image.bytes = calloc(1, image.size);
	if (!image.bytes)
		return 0;
	memcpy(image.bytes, data + 8, size - 8);
	image.reads = 0;
	target = target_of(&image);
	if (data[5] & 1)
		walk_segment(&target, &image);
	else
		walk(&target, &image, data);
	free(image.bytes);
	return 0;
}
