/* SPDX-License-Identifier: MIT */
/*
 * SBCL's dynamic space: its runtime exports where it begins, how long it is, and
 * how many pages of 32 KiB its table has (src/runtime/gencgc.c). The beginning of
 * it may be mapped from the core file that the program started with.
 */
#include "recognise.h"

#include "object.h"

#define PAGE_BYTES (32ULL << 10)

static bool read_variable(struct target *target, struct object *runtime, const char *name, uint64_t *value)
{
	uint64_t address = object_symbol(target, runtime, name, NULL);

	return address && memory_word(target, address, value);
}

/* Whether a mapping begins there: the core's, or what was reserved. */
static bool is_mapped_from(const struct target *target, uint64_t start)
{
	const struct area *area = area_at(target, start);

	return area && area->start == start;
}

void recognise_sbcl(struct target *target, struct findings *findings)
{
	struct object *runtime = object_named(target, "sbcl");
	uint64_t start, size, pages, used;

	if (!runtime || !object_read(target, runtime) || !read_variable(target, runtime, "DYNAMIC_SPACE_START", &start) ||
	    !read_variable(target, runtime, "dynamic_space_size", &size) || !read_variable(target, runtime, "page_table_pages", &pages) ||
	    !read_variable(target, runtime, "next_free_page", &used))
		return;
	/* The table has a page for each, and as many are in use as there may be. */
	if (!size || size % PAGE_BYTES || size / PAGE_BYTES != pages || used > pages || size > UINT64_MAX - start || !is_mapped_from(target, start))
		return;
	for (uint64_t from = start, end; findings_left(target, findings, &from, &end) && from < start + size; from = end)
		found_add(findings, from, end < start + size ? end : start + size, "sbcl:heap");
}
