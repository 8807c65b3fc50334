/* SPDX-License-Identifier: MIT */
/* A list of ranges and names. See findings.h. */
#include "findings.h"

#include "../format/name.h"
#include "../read/list.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOUND_FIRST 64

/* Its place among the names, the last one's where that is the same; SIZE_MAX: no room. */
static size_t keep_name(struct findings *f, const char *name)
{
	size_t len = strlen(name) + 1, at = f->names_len;
	char *grown;

	if (f->count && !strcmp(f->names + f->found[f->count - 1].name, name))
		return f->found[f->count - 1].name;
	if (at + len > f->names_room) {
		grown = realloc(f->names, 2 * f->names_room + FOUND_NAME_MAX);
		if (!grown)
			return SIZE_MAX;
		f->names = grown;
		f->names_room = 2 * f->names_room + FOUND_NAME_MAX;
	}
	memcpy(f->names + at, name, len);
	f->names_len += len;
	return at;
}

void found_add(struct findings *f, uint64_t start, uint64_t end, const char *format, ...)
{
	char name[FOUND_NAME_MAX];
	struct found *found;
	va_list args;
	size_t at;

	if (start >= end)
		return;
	/* What was there may have moved. */
	found = list_grown(f->found, f->count, &f->room, sizeof(*found), FOUND_FIRST, FOUND_MAX);
	if (!found)
		return;
	f->found = found;
	va_start(args, format);
	vsnprintf(name, sizeof(name), format, args);
	va_end(args);
	for (char *c = name; *c; c++)
		*c = name_clean_char(*c);
	at = keep_name(f, name);
	if (at != SIZE_MAX)
		f->found[f->count++] = (struct found){ start, end, at };
}

void found_thread_add(struct findings *f, uint64_t control_block, pid_t tid)
{
	struct found_thread *thread = list_grown(f->thread, f->threads, &f->threads_room, sizeof(*thread), FOUND_FIRST, FOUND_MAX);

	if (!thread)
		return;
	f->thread = thread;
	f->thread[f->threads++] = (struct found_thread){ control_block, tid };
}

static int by_start(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* The first settled finding that ends above the address. */
static size_t seek(const struct found *found, size_t count, uint64_t address)
{
	return list_seek(found, count, sizeof(*found), address);
}

/* What is new goes into the gaps of what is settled; of two new ones that overlap, the lower has both's memory. */
void findings_settle(struct findings *f)
{
	size_t old = f->settled, fresh = f->count - old;
	struct found *added = fresh ? malloc(fresh * sizeof(*added)) : NULL;
	uint64_t at = 0;

	/* Nothing new, or no room for it. */
	if (!added) {
		f->count = old;
		return;
	}
	memcpy(added, f->found + old, fresh * sizeof(*added));
	qsort(added, fresh, sizeof(*added), by_start);
	f->count = old;
	for (size_t i = 0; i < fresh; i++) {
		struct found piece = added[i];
		size_t next;

		piece.start = piece.start > at ? piece.start : at;
		for (next = seek(f->found, old, piece.start); piece.start < piece.end; next++) {
			uint64_t end = next < old && f->found[next].start < piece.end ? f->found[next].start : piece.end;
			struct found *room;

			if (end > piece.start) {
				room = list_grown(f->found, f->count, &f->room, sizeof(*room), FOUND_FIRST, FOUND_MAX);
				if (!room)
					break;
				f->found = room;
				f->found[f->count++] = (struct found){ piece.start, end, piece.name };
			}
			piece.start = end < piece.end ? f->found[next].end : piece.end;
		}
		at = added[i].end > at ? added[i].end : at;
	}
	free(added);
	qsort(f->found, f->count, sizeof(*f->found), by_start);
	f->settled = f->count;
}

bool findings_have(const struct findings *f, uint64_t address)
{
	size_t i = seek(f->found, f->settled, address);

	return i < f->settled && f->found[i].start <= address;
}

bool findings_left(const struct target *target, const struct findings *f, uint64_t *start, uint64_t *end)
{
	size_t next = seek(f->found, f->settled, *start);

	for (size_t i = area_seek(target, *start); i < target->areas; i++) {
		const struct area *area = &target->area[i];
		uint64_t at = area->start > *start ? area->start : *start;

		if (area->class != VMA_UNNAMED || !area_is_anonymous(area) || !area_is_writable(area))
			continue;
		while (next < f->settled && f->found[next].start <= at && at < area->end) {
			at = f->found[next].end > at ? f->found[next].end : at;
			next++;
		}
		if (at >= area->end)
			continue;
		*start = at;
		*end = next < f->settled && f->found[next].start < area->end ? f->found[next].start : area->end;
		return true;
	}
	return false;
}

void findings_free(struct findings *f)
{
	free(f->found);
	free(f->names);
	free(f->thread);
	*f = (struct findings){ 0 };
}
