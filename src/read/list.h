/* SPDX-License-Identifier: MIT */
/* What lists have in common: they grow, and those of ranges in order are searched by address. */
#ifndef ANONNAME_READ_LIST_H
#define ANONNAME_READ_LIST_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>

#define LIST_ENDLESS SIZE_MAX

/*
 * The list, with room for one more element of size bytes. Where count has reached
 * *room, that doubles, from first on and up to most elements. NULL: no memory, or
 * there may be no more, and the list is as it was.
 */
static inline void *list_grown(void *list, size_t count, size_t *room, size_t size, size_t first, size_t most)
{
	size_t wanted = *room ? 2 * *room : first;
	void *grown;

	if (count < *room)
		return list;
	grown = wanted <= most ? realloc(list, wanted * size) : NULL;
	if (grown)
		*room = wanted;
	return grown;
}

/* The first of count ranges in order that ends above the address. Each has size bytes and begins with its start and end. */
static inline size_t list_seek(const void *list, size_t count, size_t size, uint64_t address)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const uint64_t *range = (const void *)((const char *)list + middle * size);

		if (range[1] <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The order of process and thread ids, for qsort() and bsearch(). */
static inline int list_pid_order(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

#endif
