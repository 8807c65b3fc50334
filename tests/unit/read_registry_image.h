/* SPDX-License-Identifier: MIT */
/*
 * A registry laid out by hand in a flat piece of memory, and a reader that
 * serves it: for the unit tests, and as the seed and the memory of the fuzzer.
 */
#ifndef ANONNAME_TESTS_READ_REGISTRY_IMAGE_H
#define ANONNAME_TESTS_READ_REGISTRY_IMAGE_H

#include "../../src/read/registry.h"

#include <errno.h>
#include <string.h>

#define IMAGE_BASE   0x10000ULL
#define IMAGE_SIZE   (192U << 10)
#define IMAGE_TOP    0x1000U
#define IMAGE_BLOCKS 0x4000U      /* segments 0 and 1 of the blocks, in one piece */
#define IMAGE_NAMES  0x14000U     /* segments 0 and 1 of the names */

struct image {
	const unsigned char *bytes;
	size_t size;
	unsigned reads;
	void (*before_read)(struct image *image, uint64_t address, size_t size);
	unsigned char *writable;
};

static inline int image_read(void *context, uint64_t address, void *buffer, size_t size)
{
	struct image *image = context;

	image->reads++;
	if (image->before_read)
		image->before_read(image, address, size);
	if (address < IMAGE_BASE || address - IMAGE_BASE > image->size ||
	    size > image->size - (address - IMAGE_BASE))
		return -EIO;
	memcpy(buffer, image->bytes + (address - IMAGE_BASE), size);
	return 0;
}

static inline void image_put(unsigned char *bytes, size_t at, const void *data, size_t size)
{
	memcpy(bytes + at, data, size);
}

/* The granule index of a name put at the given slot of 96 bytes. */
static inline uint32_t image_name(unsigned char *bytes, unsigned slot, const char *text)
{
	struct registry_name head = { .refs = 1, .length = (uint8_t)strlen(text) };
	size_t at = IMAGE_NAMES + slot * 96U;

	image_put(bytes, at, &head, offsetof(struct registry_name, text));
	image_put(bytes, at + offsetof(struct registry_name, text), text, strlen(text));
	return slot * 96U / REGISTRY_NAME_GRANULE;
}

static inline void image_leaf(unsigned char *bytes, uint32_t block, uint32_t generation,
                              const struct registry_range *ranges, uint32_t count)
{
	struct registry_leaf leaf = { .generation = generation, .count = count };

	memcpy(leaf.range, ranges, count * sizeof(*ranges));
	image_put(bytes, IMAGE_BLOCKS + block * REGISTRY_BLOCK_SIZE, &leaf, sizeof(leaf));
}

static inline void image_top(unsigned char *bytes, uint64_t generation,
                             const struct registry_slot *slots, uint32_t count)
{
	struct registry_top top = { .generation = generation, .count = count, .capacity = 64 };

	image_put(bytes, IMAGE_TOP, &top, sizeof(top));
	image_put(bytes, IMAGE_TOP + sizeof(top), slots, count * sizeof(*slots));
}

static inline void image_root(unsigned char *bytes)
{
	struct root root = {
		.magic = ANONNAME_ROOT_MAGIC, .version = ANONNAME_ROOT_VERSION, .size = sizeof(root),
		.self = IMAGE_BASE, .sink = ROOT_SINK_REGISTRY,
		.registry = {
			.top = IMAGE_BASE + IMAGE_TOP,
			.blocks = { IMAGE_BASE + IMAGE_BLOCKS,
			            IMAGE_BASE + IMAGE_BLOCKS + REGISTRY_SEGMENT0_SIZE },
			.names = { IMAGE_BASE + IMAGE_NAMES,
			           IMAGE_BASE + IMAGE_NAMES + REGISTRY_SEGMENT0_SIZE },
		},
	};

	image_put(bytes, 0, &root, sizeof(root));
}

/* Two leaves, in blocks of different segments, three ranges, two names. */
static inline void image_build(unsigned char *bytes)
{
	struct registry_range first[] = {
		{ .start = 0x100000, .end = 0x102000 }, { .start = 0x102000, .end = 0x103000 },
	};
	struct registry_range second[] = { { .start = 0x200000, .end = 0x300000 } };
	struct registry_slot slots[] = {
		{ .low = 0, .ref = 3ULL << 32 | 7 }, { .low = 0x200000, .ref = 17ULL << 32 | 9 },
	};

	memset(bytes, 0, IMAGE_SIZE);
	image_root(bytes);
	first[0].name = image_name(bytes, 0, "glibc:arena1:42");
	first[1].name = second[0].name = image_name(bytes, 1, "python3.11:mmap");
	image_leaf(bytes, 3, 7, first, 2);
	image_leaf(bytes, 17, 9, second, 1);
	image_top(bytes, 1, slots, 2);
}

#endif
