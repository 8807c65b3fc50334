/* SPDX-License-Identifier: MIT */
/* Copies libc's variables. See glibc.h. */
#include "glibc.h"

#include <stdlib.h>
#include <string.h>

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

struct object *glibc_object(struct target *target)
{
	struct object *libc = object_named(target, "libc.so.6");

	return libc ? libc : object_named(target, "libc-2.");
}

/* Its variables are one piece of memory where all of them are there, else page by page. */
static void read_data(struct target *target, struct glibc_data *data)
{
	uint64_t size = data->words * sizeof(*data->word), page = target->own.page;

	if (!memory_get(target, data->start, data->word, size))
		return;
	memset(data->word, 0, size);
	for (uint64_t at = 0; at < size; at += page)
		memory_get(target, data->start + at, (char *)data->word + at, page);
}

struct glibc_data *glibc_data_read(struct target *target)
{
	struct object *shared = glibc_object(target), *libc = shared ? shared : object_static(target);
	const Elf64_Phdr *last = libc && object_read(target, libc) ? &libc->image->segment[libc->image->segments - 1] : NULL;
	uint64_t page = target->own.page, most = shared ? GLIBC_DATA_MAX : PROGRAM_DATA_MAX, start, end;
	struct glibc_data *data;

	if (!last || !(last->p_flags & PF_W))
		return NULL;
	start = (libc->base + last->p_vaddr) & ~(page - 1);
	end = (libc->base + last->p_vaddr + last->p_filesz + page - 1) & ~(page - 1);
	if (start >= end || end - start > most)
		return NULL;
	data = malloc(sizeof(*data) + (end - start));
	if (!data)
		return NULL;
	data->start = start;
	data->words = (end - start) / sizeof(*data->word);
	read_data(target, data);
	return data;
}
