/* SPDX-License-Identifier: MIT */
/*
 * The input is a heap of glibc's in another process, walked and with its lists
 * followed. Every 16th read changes a byte, as a process that runs does.
 *
 *   8 bytes: where top is, and whether the heap is main_arena's | its pages
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
	walk(&target, &image, data);
	free(image.bytes);
	return 0;
}
