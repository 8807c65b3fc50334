/* SPDX-License-Identifier: MIT */
/*
 * What the dynamic linker took for itself before there was a malloc: its list
 * of the objects that the program started with, and the variables (TLS) of the
 * first thread.
 *
 *   _r_debug.r_map --> link_map <--> link_map <--> ... <--> ld.so's own
 *                      each points back, and into tables beside it
 *
 *   control block --> dtv --> variables of each object, below the control block
 *
 * Objects behind ld.so's own in the list were loaded later, and lie in malloc's
 * memory: there the walk ends. What they point at is the linker's where it lies
 * in one area with such a structure, or in a small one.
 */
#include "recognise.h"

#include "glibc.h"
#include "pages.h"
#include "threads.h"

#define MAPS_MAX  4096
#define MAP_WORDS 128               /* of struct link_map that are looked at */
#define DTV_MAX   256
#define WORDS     512               /* of a page, 4 KiB */
#define AREAS_MAX 64
#define SMALL_MAX (64ULL << 10)
#define SPAN_MAX  (256ULL << 10)    /* from the first page that is ld.so's to the last, in one area */

/* The lowest and the highest page of ld.so's in an area. */
struct linker_area {
	const struct area *area;
	uint64_t low, high;
	bool variables;             /* of the first thread */
};

struct linker {
	struct pages *pages;        /* its structures lie near each other */
	struct linker_area area[AREAS_MAX];
	size_t areas;
};

static struct linker_area *known(struct linker *linker, uint64_t address)
{
	for (size_t i = 0; i < linker->areas; i++)
		if (linker->area[i].area->start <= address && address < linker->area[i].area->end)
			return &linker->area[i];
	return NULL;
}

static void widen(struct linker_area *at, uint64_t address)
{
	uint64_t low = address < at->low ? address : at->low, high = address > at->high ? address : at->high;

	if (high - low <= SPAN_MAX) {
		at->low = low;
		at->high = high;
	}
}

/* That this address is the linker's is certain. */
static void take(struct target *target, struct linker *linker, uint64_t address)
{
	const struct area *area = area_at(target, address);
	struct linker_area *at = known(linker, address);

	if (at)
		widen(at, address);
	else if (area && area->class == VMA_UNNAMED && area_is_anonymous(area) && linker->areas < AREAS_MAX)
		linker->area[linker->areas++] = (struct linker_area){ area, address, address, false };
}

/* It is, if it lies where such was found, or in a mapping too small for a malloc's. */
static void take_pointed(struct target *target, struct linker *linker, uint64_t address)
{
	struct linker_area *at = address ? known(linker, address) : NULL;
	const struct area *area = address && !at ? area_at(target, address) : NULL;

	if (at)
		widen(at, address);
	else if (area && area->end - area->start <= SMALL_MAX)
		take(target, linker, address);
}

/* struct link_map begins: l_addr, l_name, l_ld, l_next, l_prev. Calls for each word of those in front of ld.so's own. */
static void walk_maps(struct target *target, struct linker *linker, uint64_t first, uint64_t last, bool pointers)
{
	uint64_t at = first, before = 0, word[MAP_WORDS];

	for (unsigned i = 0; i < MAPS_MAX && at && at != last; i++) {
		if (!pages_get(linker->pages, at, word, sizeof(word)) || word[4] != before)
			return;
		for (size_t k = 0; pointers && k < MAP_WORDS; k++)
			take_pointed(target, linker, word[k]);
		if (!pointers) {
			take(target, linker, at);
			take(target, linker, at + sizeof(word) - 1);
		}
		before = at;
		at = word[3];
	}
}

/* ld.so's link_map is one of its variables. */
static uint64_t own_map(struct linker *linker, const struct object *loader, uint64_t at)
{
	uint64_t word[5];

	for (unsigned i = 0; i < MAPS_MAX && at; i++, at = word[3]) {
		if (!pages_get(linker->pages, at, word, sizeof(word)))
			return 0;
		if (word[0] == loader->base && loader->base <= at && at < loader->end)
			return at;
	}
	return 0;
}

static void take_maps(struct target *target, struct linker *linker)
{
	struct object *loader = object_named(target, "ld-linux");
	uint64_t debug = loader ? object_symbol(target, loader, "_r_debug", NULL) : 0, first, last;

	if (!debug || !pages_get(linker->pages, debug + sizeof(first), &first, sizeof(first)))
		return;
	last = own_map(linker, loader, first);
	if (!last)
		return;
	walk_maps(target, linker, first, last, false);
	walk_maps(target, linker, first, last, true);
}

/* Entries of a dtv are pairs: where the variables are, and what is to be freed; in front of them a generation. */
static void take_variables(struct target *target, struct linker *linker, uint64_t block, uint32_t dtv_offset)
{
	uint64_t dtv, count, entry[2];

	struct linker_area *at;

	take(target, linker, block);
	at = known(linker, block);
	if (!at)
		return;
	at->variables = true;
	if (!pages_get(linker->pages, block + dtv_offset, &dtv, sizeof(dtv)) ||
	    !pages_get(linker->pages, dtv - sizeof(entry), &count, sizeof(count)))
		return;
	take_pointed(target, linker, dtv);
	for (uint64_t i = 1; i <= count && i <= DTV_MAX && pages_get(linker->pages, dtv + i * sizeof(entry), entry, sizeof(entry)); i++)
		take_pointed(target, linker, entry[0]);
}

/* Where a process has one thread, libc's symbols are not read; but on x86-64 a control block points to itself, twice. */
static void find_block(struct target *target, struct linker *linker, uint64_t start, uint64_t end)
{
	uint64_t page = target->own.page, word[WORDS];

	for (uint64_t at = memory_next(target, start, end); at < end; at = memory_next(target, at + page, end)) {
		if (!pages_get(linker->pages, at, word, sizeof(word)))
			continue;
		for (size_t i = 0; i + 2 < WORDS; i++)
			if (thread_block_begins(word + i, at + i * sizeof(*word)))
				take_variables(target, linker, word[i], sizeof(*word));
	}
}

static bool has_variables(const struct linker *linker)
{
	for (size_t i = 0; i < linker->areas; i++)
		if (linker->area[i].variables)
			return true;
	return false;
}

/* Near what else it has, whoever has more of that mapping. */
static void find_variables_near(struct target *target, struct linker *linker)
{
	for (size_t i = 0; i < linker->areas && !has_variables(linker); i++) {
		const struct linker_area *at = &linker->area[i];
		uint64_t low = at->low & ~(target->own.page - 1), high = at->high;

		find_block(target, linker, low - at->area->start > SMALL_MAX ? low - SMALL_MAX : at->area->start,
		           at->area->end - high > SMALL_MAX ? high + SMALL_MAX : at->area->end);
	}
}

/* The linker takes them among the first libraries, at the upper end. What the program maps later lies below, and may be much. */
static void find_variables(struct target *target, const struct findings *findings, struct linker *linker)
{
	size_t looked = 0;

	for (size_t i = target->areas; i-- > 0 && looked < AREAS_MAX && !has_variables(linker);) {
		const struct area *area = &target->area[i];

		if (area->class != VMA_UNNAMED || !area_is_anonymous(area) || !area_is_writable(area) ||
		    area->end - area->start > SMALL_MAX || findings_have(findings, area->start))
			continue;
		looked++;
		find_block(target, linker, area->start, area->end);
	}
}

static void name_areas(struct target *target, struct findings *findings, struct linker *linker)
{
	struct object *libc = glibc_object(target);
	uint64_t page = target->own.page;
	uint32_t dtv;

	take_maps(target, linker);
	for (size_t i = 0; libc && i < findings->threads; i++)
		if (findings->thread[i].tid == target->pid && glibc_offset(target, libc, "_thread_db_pthread_dtvp", &dtv))
			take_variables(target, linker, findings->thread[i].control_block, dtv);
	if (linker->areas && !findings->threads) {
		find_variables_near(target, linker);
		find_variables(target, findings, linker);
	}
	for (size_t i = 0; i < linker->areas; i++)
		found_add(findings, linker->area[i].low & ~(page - 1), (linker->area[i].high & ~(page - 1)) + page,
		          linker->area[i].variables ? "ld.so:tls" : "ld.so:early");
}

void recognise_loader(struct target *target, struct findings *findings)
{
	struct linker linker = { .pages = pages_new(target, PAGES_FEW) };

	if (linker.pages)
		name_areas(target, findings, &linker);
	pages_free(linker.pages);
}
