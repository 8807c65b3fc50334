/* SPDX-License-Identifier: MIT */
/* Looks through the variables of an object, several pages at once. See object.h. */
#include "object.h"
#include "view.h"

#include <string.h>

#define PAGE_WORDS    512           /* of a larger page, so many at a time */
#define VARIABLES_MAX 4096          /* so often */

struct search {
	struct target *target;
	object_variables_function *each;
	void *context;
	unsigned looked;            /* pages */
	bool found;
};

/* The words of a page; those that follow it are in the next one, which may not be there. */
static bool look_at_page(struct search *search, uint64_t at, const char *bytes, size_t size)
{
	uint64_t word[PAGE_WORDS + VARIABLES_AHEAD - 1];
	const size_t page = PAGE_WORDS * sizeof(*word), ahead = sizeof(word) - page;

	memcpy(word, bytes, size < sizeof(word) ? page : sizeof(word));
	if (size < sizeof(word) && memory_get(search->target, at + page, word + PAGE_WORDS, ahead))
		memset(word + PAGE_WORDS, 0, ahead);
	for (size_t i = 0; i < PAGE_WORDS; i++)
		if (word[i] && search->each(search->context, at + i * sizeof(*word), word + i))
			return true;
	return false;
}

static bool look_at_run(void *context, uint64_t address, const char *bytes, size_t size)
{
	struct search *search = context;
	const size_t page = PAGE_WORDS * sizeof(uint64_t);

	for (size_t at = 0; at < size && !search->found && search->looked < VARIABLES_MAX; at += page, search->looked++)
		search->found = look_at_page(search, address + at, bytes + at, size - at);
	return search->found || search->looked == VARIABLES_MAX;
}

bool object_variables(struct target *target, const struct object *object, object_variables_function *each, void *context)
{
	struct search search = { .target = target, .each = each, .context = context };

	for (size_t i = object->first; i < target->areas && target->area[i].start < object->end; i++) {
		const struct area *area = &target->area[i];

		if (area_is_writable(area) && view_runs(target, area->start, area->end < object->end ? area->end : object->end, look_at_run, &search))
			break;
	}
	return search.found;
}
