/* SPDX-License-Identifier: MIT */
/* Reads a range of memory from its beginning to its end. See view.h. */
#include "view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RANGE_MAX (1ULL << 40)      /* 32 MiB of bits */
#define PIECE     (64ULL << 20)     /* which pages are there is asked for so many bytes at once, and holds for the time these take */

int view_open(struct view *view, struct target *target, uint64_t start, uint64_t end)
{
	uint64_t page = target->own.page;
	size_t pages;

	*view = (struct view){ .target = target, .start = start & ~(page - 1), .end = (end + page - 1) & ~(page - 1), .ahead = 1 };
	if (start >= end || view->end - view->start > RANGE_MAX)
		return -EINVAL;
	pages = (view->end - view->start) / page;
	view->window = malloc(VIEW_WINDOW);
	view->there = calloc(pages / 64 + 1, sizeof(*view->there));
	if (view->window && view->there && memory_present(target, view->start, pages, view->there))
		return 0;
	view_close(view);
	return -ENOMEM;
}

void view_close(struct view *view)
{
	free(view->window);
	free(view->there);
	view->window = NULL;
	view->there = NULL;
}

static bool page_is_there(const struct view *view, uint64_t address)
{
	uint64_t i = (address - view->start) / view->target->own.page;

	return view->there[i / 64] >> i % 64 & 1;
}

uint64_t view_there(const struct view *view, uint64_t from, uint64_t to)
{
	uint64_t page = view->target->own.page, i = (from - view->start) / page, end = (to - view->start + page - 1) / page, count = 0;

	while (i < end) {
		uint64_t bits = view->there[i / 64] >> i % 64, left = 64 - i % 64;

		if (left > end - i) {
			left = end - i;
			bits &= (1ULL << left) - 1;
		}
		count += (uint64_t)__builtin_popcountll(bits);
		i += left;
	}
	return count * page;
}

bool view_resident(struct target *target, uint64_t start, uint64_t end, uint64_t *bytes)
{
	struct view view;

	*bytes = 0;
	if (start == end)
		return true;
	if (view_open(&view, target, start, end))
		return false;
	*bytes = view_there(&view, start, end);
	view_close(&view);
	return true;
}

bool view_move(struct view *view, uint64_t address)
{
	uint64_t page = view->target->own.page, from = address & ~(page - 1), to = from;
	size_t most = VIEW_WINDOW / page;

	if (address < view->start || address >= view->end)
		return false;
	/* A jump means large chunks, of which only the first pages are wanted. */
	view->ahead = from != view->to ? 1 : 2 * view->ahead < most ? 2 * view->ahead : most;
	for (size_t i = 0; i < view->ahead && to < view->end && page_is_there(view, to); i++)
		to += page;
	view->from = view->to = from;
	if (to == from || memory_fetch(view->target, from, view->window, to - from))
		return false;
	view->to = to;
	return true;
}

/* The first page at or above the address that is there; the end: there is none. */
static uint64_t next_there(const struct view *view, uint64_t address)
{
	uint64_t page = view->target->own.page, end = (view->end - view->start) / page, i = (address - view->start) / page;

	while (i < end && !(view->there[i / 64] >> i % 64 & 1))
		i = view->there[i / 64] >> i % 64 ? i + 1 : (i / 64 + 1) * 64;
	return i < end ? view->start + i * page : view->end;
}

static bool runs_of(struct view *view, view_run_function *each, void *context)
{
	uint64_t page = view->target->own.page, at = view->start;

	while ((at = next_there(view, at)) < view->end && !target_is_spent(view->target)) {
		if (!view_move(view, at)) {
			at += page;
			continue;
		}
		if (each(context, at, view->window, view->to - at))
			return true;
		at = view->to;
	}
	return false;
}

bool view_runs(struct target *target, uint64_t start, uint64_t end, view_run_function *each, void *context)
{
	bool done = false;

	for (uint64_t at = start; at < end && !done && !target_is_spent(target); at += PIECE) {
		struct view view;

		if (view_open(&view, target, at, end - at < PIECE ? end : at + PIECE))
			return false;
		done = runs_of(&view, each, context);
		view_close(&view);
	}
	return done;
}
