/* SPDX-License-Identifier: MIT */
/*
 * glibc's arenas of threads. All arenas are a ring that main_arena, in libc's
 * data, belongs to; each but that lies behind the header of its first heap, and
 * a heap is 64 MiB, aligned to as much:
 *
 *   main_arena.next --> newest arena --> ... --> oldest --> main_arena
 *                           | lies in
 *   heap (aligned) ---> header: arena, previous heap, size, ...
 *
 * malloc/malloc.c: struct malloc_state, malloc/arena.c: struct _heap_info. The
 * layouts are those of glibc 2.27 to 2.43; a ring that does not close names nothing.
 */
#include "recognise.h"

#include "glibc.h"

#include <stdio.h>
#include <stdlib.h>

#define HEADER_MAX  0x80

/* Bins are pairs of words that point at where they would be chunks. */
#define BINS        127
#define WORDS_MAX   275

static const struct glibc_layout layouts[] = {
	{ .fastbins = 2, .fastbins_count = 10, .bins = 14, .next = 270, .system = 273, .max = 274, .words = 275 },
	/* From 2.43 on there are no fastbins. */
	{ .fastbins = 1, .fastbins_count = 0, .bins = 3, .next = 259, .system = 262, .max = 263, .words = 264 },
};

/* An empty bin's two links lead to itself, two words in front; one in use has none of these. */
static bool may_be_bins(const uint64_t *bin, uint64_t address)
{
	for (size_t i = 0; i < BINS; i++, bin += 2, address += 2 * sizeof(*bin)) {
		uint64_t itself = address - 2 * sizeof(*bin);

		if (!bin[0] || !bin[1] || bin[0] % 8 || bin[1] % 8 || (bin[0] == itself) != (bin[1] == itself))
			return false;
	}
	return true;
}

static bool may_be_main_arena(const struct glibc_data *data, size_t at, const struct glibc_layout *layout)
{
	const uint64_t *state = data->word + at;

	/* Whole pages, but for what a static program has in front of malloc's part of [heap]. */
	return state[layout->next] && state[layout->system] && state[layout->system] <= state[layout->max] &&
	       state[layout->max] < 1ULL << 48 &&
	       may_be_bins(state + layout->bins, data->start + (at + layout->bins) * sizeof(*state));
}

/* Whether it lies where an arena does, and its heap says so. */
static bool is_arena(struct target *target, uint64_t arena)
{
	uint64_t heap = arena & ~(GLIBC_HEAP_SIZE - 1), owner;

	return heap && arena - heap <= HEADER_MAX && memory_word(target, heap, &owner) && owner == arena;
}

/* The ring, oldest first: a new arena is put behind main_arena. */
static bool read_ring(struct target *target, struct glibc_arenas *arenas)
{
	uint64_t at, next = arenas->layout->next * sizeof(at);

	arenas->count = 0;
	if (!memory_word(target, arenas->main + next, &at))
		return false;
	while (at != arenas->main) {
		if (arenas->count == GLIBC_ARENAS_MAX || !is_arena(target, at))
			return false;
		arenas->arena[arenas->count++].address = at;
		if (!memory_word(target, at + next, &at))
			return false;
	}
	for (size_t i = 0; i < arenas->count / 2; i++) {
		struct glibc_arena other = arenas->arena[i];

		arenas->arena[i] = arenas->arena[arenas->count - 1 - i];
		arenas->arena[arenas->count - 1 - i] = other;
	}
	return true;
}

/* A few words off, bins look right, too; but there no ring closes. */
static bool find_ring(struct target *target, const struct glibc_data *data, struct glibc_arenas *arenas)
{
	for (size_t at = 0; at + WORDS_MAX <= data->words; at++)
		for (size_t i = 0; i < sizeof(layouts) / sizeof(*layouts); i++) {
			/* What is made to look right at every word costs as much as reads do. */
			if (!may_be_main_arena(data, at, &layouts[i]) || target_is_spent(target))
				continue;
			arenas->layout = &layouts[i];
			arenas->main = data->start + at * sizeof(*data->word);
			if (read_ring(target, arenas))
				return true;
		}
	return false;
}

/* Its index; arenas->count: there is none. */
static size_t arena_with(const struct glibc_arenas *arenas, uint64_t address)
{
	size_t i = 0;

	while (i < arenas->count && arenas->arena[i].address != address)
		i++;
	return i;
}

/* A thread's arena is one of its variables, which lie in front of its control block, or behind it. */
static void find_user(struct target *target, struct glibc_arenas *arenas, const struct found_thread *thread, uint64_t from)
{
	uint64_t page = target->own.page, word[1U << 9];

	from &= ~(page - 1);
	if (page > sizeof(word) || memory_get(target, from, word, page))
		return;
	for (size_t i = 0; i < page / sizeof(*word); i++) {
		size_t index = word[i] % GLIBC_HEAP_SIZE <= HEADER_MAX && word[i] ? arena_with(arenas, word[i]) : arenas->count;

		if (index < arenas->count && arenas->arena[index].tid != thread->tid) {
			arenas->arena[index].tid = thread->tid;
			arenas->arena[index].threads++;
		}
	}
}

/*
 * An arena is called after the thread that made it. When that ends the next one
 * gets it, and nothing tells. So whoever has one now made it only where no thread
 * has ended: the faults of those are the process's, and no thread's. After a fork
 * all that is there was made by another process's threads.
 */
static bool all_threads_are_there(const struct target *target)
{
	struct proc_identity whole, thread;
	char name[64];
	unsigned long long faults = 0;
	pid_t *tids = NULL;
	size_t count = 0;
	bool known = !target->proc->core && !proc_tasks(target->proc, target->pid, &tids, &count);

	for (size_t i = 0; known && i < count; i++) {
		snprintf(name, sizeof(name), "task/%d/stat", (int)tids[i]);
		known = !proc_identify_by(target->proc, target->pid, name, &thread);
		faults += thread.faults;
	}
	free(tids);
	/* What is read last has all faults of meanwhile, too. */
	return known && !proc_identify(target->proc, target->pid, &whole) && !whole.forked && whole.faults == faults;
}

struct glibc_arenas *glibc_arenas_find(struct target *target, const struct findings *findings)
{
	struct glibc_data *data = glibc_data_read(target);
	struct glibc_arenas *arenas = data ? calloc(1, sizeof(*arenas)) : NULL;
	bool found = arenas && find_ring(target, data, arenas);

	for (size_t i = 0; found && i < findings->threads && !target_is_spent(target); i++) {
		uint64_t block = findings->thread[i].control_block;

		find_user(target, arenas, &findings->thread[i], block - 1);
		find_user(target, arenas, &findings->thread[i], block - 1 - target->own.page);
	}
	free(data);
	if (!found) {
		free(arenas);
		return NULL;
	}
	arenas->made = arenas->count && all_threads_are_there(target);
	return arenas;
}

/* One heap may follow another in the same area. */
const struct glibc_arena *glibc_heap_next(struct target *target, const struct glibc_arenas *arenas, uint64_t *at,
                                          struct glibc_heap_head *head)
{
	for (size_t i = area_seek(target, *at); i < target->areas; i++) {
		const struct area *area = &target->area[i];
		uint64_t heap = area->start > *at ? area->start : *at;

		for (heap = (heap + GLIBC_HEAP_SIZE - 1) & ~(GLIBC_HEAP_SIZE - 1);
		     heap < area->end && area_is_anonymous(area) && area_is_writable(area) && !target_is_spent(target);
		     heap += GLIBC_HEAP_SIZE) {
			size_t index = memory_get(target, heap, head, sizeof(*head)) || head->size > GLIBC_HEAP_SIZE ||
			               head->writable < head->size ? arenas->count : arena_with(arenas, head->arena);

			*at = heap;
			if (index < arenas->count)
				return &arenas->arena[index];
		}
	}
	return NULL;
}

void glibc_arena_name(const struct glibc_arenas *arenas, const struct glibc_arena *arena, char *name, size_t size)
{
	size_t index = (size_t)(arena - arenas->arena) + 1;

	if (arenas->made && arena->threads == 1)
		snprintf(name, size, "glibc:arena%zu:%d", index, (int)arena->tid);
	else
		snprintf(name, size, "glibc:arena%zu", index);
}

/* Whether a heap lies anywhere: libc's variables need not be searched where none does. */
static bool may_have_heaps(const struct target *target)
{
	for (size_t i = 0; i < target->areas; i++) {
		const struct area *area = &target->area[i];

		if (((area->start + GLIBC_HEAP_SIZE - 1) & ~(GLIBC_HEAP_SIZE - 1)) < area->end &&
		    area_is_anonymous(area) && area_is_writable(area))
			return true;
	}
	return false;
}

void recognise_arenas(struct target *target, struct findings *findings)
{
	struct glibc_arenas *arenas = may_have_heaps(target) ? glibc_arenas_find(target, findings) : NULL;
	const struct glibc_arena *arena;
	struct glibc_heap_head head;
	char name[FOUND_NAME_MAX];

	for (uint64_t heap = 0; arenas && (arena = glibc_heap_next(target, arenas, &heap, &head)); heap += GLIBC_HEAP_SIZE) {
		glibc_arena_name(arenas, arena, name, sizeof(name));
		found_add(findings, heap, heap + GLIBC_HEAP_SIZE, "%s", name);
	}
	free(arenas);
}
