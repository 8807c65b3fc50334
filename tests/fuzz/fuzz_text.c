/* SPDX-License-Identifier: MIT */
/*
 * The input is what a process calls itself and its things: a name of memory, a
 * path, a control group. What comes of it must be safe to show.
 */
#include "../../src/read/names.h"
#include "../../src/read/place.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_shown(const char *text, size_t room)
{
	size_t len = strnlen(text, room);

	if (len == room)
		abort();
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			abort();
}

/* Cleaned text is not changed by cleaning it again, but where it was cut. */
static void check_clean(struct text text)
{
	char clean[NAME_PART_MAX], again[NAME_PART_MAX], small[16];

	text_clean(small, sizeof(small), text);
	check_shown(small, sizeof(small));
	text_clean(clean, sizeof(clean), text);
	check_shown(clean, sizeof(clean));
	text_clean(again, sizeof(again), (struct text){ clean, strlen(clean) });
	if (strcmp(clean, again))
		abort();
}

static void check_place(const char *cgroup)
{
	char unit[PLACE_MAX], container[PLACE_MAX];

	place_unit(cgroup, unit, sizeof(unit));
	place_container(cgroup, container, sizeof(container));
	check_shown(unit, sizeof(unit));
	check_shown(container, sizeof(container));
	place_is_in(cgroup, cgroup);
	place_is_in("/a/b.service/c", cgroup);
}

static void check_row(struct text text, enum vma_class class)
{
	struct name_table table = { .limit = 1 };
	struct region region = { .vma = { .class = class, .name = text }, .source = NAME_KERNEL };
	char part[NAME_PART_MAX];

	if (names_add(&table, &region) || names_add(&table, &region) || table.rows != 1)
		abort();
	name_owner(table.row, part, sizeof(part));
	check_shown(part, sizeof(part));
	name_library(table.row, part, sizeof(part));
	check_shown(part, sizeof(part));
	name_thread(table.row, part, sizeof(part));
	check_shown(part, sizeof(part));
	name_fold(table.row->name, part, sizeof(part));
	check_shown(part, sizeof(part));
	if (!name_kind(table.row))
		abort();
	names_free(&table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct text text = { (const char *)data, size };
	char cgroup[PLACE_MAX];

	check_clean(text);
	text_clean(cgroup, sizeof(cgroup), text);
	check_place(cgroup);
	check_row(text, VMA_NAMED);
	check_row(text, VMA_FILE);
	check_row(text_base_name(text), VMA_SPECIAL);
	return 0;
}
