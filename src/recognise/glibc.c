/* SPDX-License-Identifier: MIT */
/* Copies libc's variables. See glibc.h. */
#include "glibc.h"

#include <stdlib.h>

#define OFFSET_MAX (1U << 16)

bool glibc_offset(struct target *target, struct object *libc, const char *name, uint32_t *offset)
{
	uint64_t at = object_symbol(target, libc, name, NULL);
	uint32_t words[3];

	if (!at || !object_constant(target, libc, at, words, sizeof(words)) || words[2] > OFFSET_MAX)
		return false;
	*offset = words[2];
	return true;
}

uint64_t glibc_heap(const struct target *target)
{
	for (size_t i = 0; i < target->areas; i++)
		if (target->area[i].class == VMA_HEAP)
			return target->area[i].start;
	return 0;
}

/* Up to 2.32 its file has the version in its name. */
static struct object *find_libc(struct target *target)
{
	struct object *libc = object_named(target, "libc.so.6");

	return libc ? libc : object_named(target, "libc-2.");
}

struct glibc_data *glibc_data_read(struct target *target)
{
	struct object *libc = find_libc(target);
	struct glibc_data *data = libc && object_read(target, libc) ? calloc(1, sizeof(*data)) : NULL;
	const Elf64_Phdr *last = libc && libc->segments ? &libc->segment[libc->segments - 1] : NULL;
	uint64_t page = target->own.page, end;

	if (!data || !last || !(last->p_flags & PF_W)) {
		free(data);
		return NULL;
	}
	data->start = (libc->base + last->p_vaddr) & ~(page - 1);
	end = (libc->end + page - 1) & ~(page - 1);
	if (end - data->start > sizeof(data->word))
		end = data->start + sizeof(data->word);
	data->words = (end - data->start) / sizeof(*data->word);
	for (uint64_t at = data->start; at < end; at += page)
		memory_get(target, at, (char *)data->word + (at - data->start), page);
	return data;
}
