/* SPDX-License-Identifier: MIT */
/* A cache of pages, each in the one place that its address has. See pages.h. */
#include "pages.h"

#include <stdlib.h>
#include <string.h>

#define BYTES  4096                 /* of a larger page, so many around the address */
#define ABSENT 1

struct pages {
	struct target *target;
	size_t count;
	uint64_t *address;          /* behind the bytes; 0: none; + ABSENT: it cannot be read, which costs as much to learn */
	char bytes[][BYTES];
};

struct pages *pages_new(struct target *target, size_t count)
{
	size_t bytes = sizeof(struct pages) + count * BYTES;
	/* Not cleared: of many pages a few are used mostly. */
	struct pages *pages = malloc(bytes + count * sizeof(*pages->address));

	if (!pages)
		return NULL;
	pages->target = target;
	pages->count = count;
	pages->address = (void *)((char *)pages + bytes);
	pages_forget(pages);
	return pages;
}

void pages_free(struct pages *pages)
{
	free(pages);
}

void pages_forget(struct pages *pages)
{
	memset(pages->address, 0, pages->count * sizeof(*pages->address));
}

bool pages_get(struct pages *pages, uint64_t address, void *buffer, size_t size)
{
	uint64_t page = address & ~(uint64_t)(BYTES - 1);
	size_t slot = page / BYTES % pages->count;

	if (address - page + size > BYTES)
		return !memory_get(pages->target, address, buffer, size);
	if (!page || pages->address[slot] == page + ABSENT)
		return false;
	if (pages->address[slot] != page) {
		bool there = !memory_get(pages->target, page, pages->bytes[slot], BYTES);

		pages->address[slot] = there ? page : page + ABSENT;
		if (!there)
			return false;
	}
	memcpy(buffer, pages->bytes[slot] + (address - page), size);
	return true;
}
