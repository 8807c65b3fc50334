/* SPDX-License-Identifier: MIT */
/*
 * The input is the memory of a process: a registry at its start, whatever it
 * points to behind it. To make reading it twice
 * differ, every 16th read changes a byte.
 */
#include "../unit/read_registry_image.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void stir(struct image *image, uint64_t address, size_t size)
{
	if (image->size && image->reads % 16 == 0)
		image->writable[(address * 31 + size) % image->size] ^= (unsigned char)image->reads;
}

static void check(const struct registry *registry)
{
	uint64_t last = 0;

	for (size_t i = 0; i < registry->count; i++) {
		const struct registry_entry *entry = &registry->entry[i];
		size_t len;

		if (entry->start < last || entry->end <= entry->start || entry->name >= registry->names_len)
			abort();
		last = entry->end;
		len = strlen(registry_name(registry, i));
		if (len > ANONNAME_NAME_MAX || entry->name + len >= registry->names_len)
			abort();
		for (size_t j = 0; j < len; j++)
			if (registry_name(registry, i)[j] < 0x20 || registry_name(registry, i)[j] > 0x7e)
				abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char *bytes;
	struct image image = { .size = size };
	struct memory memory = { image_read, &image };
	struct registry registry;
	struct root root;

	if (size > 1 << 20)
		return 0;
	bytes = malloc(size + 1);
	if (!bytes)
		return 0;
	memcpy(bytes, data, size);
	image.bytes = image.writable = bytes;
	registry_read_root(&memory, IMAGE_BASE, &root);
	for (int changing = 0; changing < 2; changing++) {
		image.reads = 0;
		image.before_read = changing ? stir : NULL;
		if (registry_read(&memory, IMAGE_BASE, &registry) == 0) {
			check(&registry);
			registry_free(&registry);
		}
		if (image.reads > 200000)
			abort();
	}
	free(bytes);
	return 0;
}
