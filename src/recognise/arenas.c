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
 * layout is that of glibc 2.27 to 2.42; a ring that does not close names nothing.
 */
#include "recognise.h"

#include "glibc.h"

#include <stdlib.h>

#define HEAP_SIZE   (64ULL << 20)
#define HEADER_MAX  0x80
#define ARENAS_MAX  4096

/* Words of struct malloc_state: bins are pairs that point at where they would be chunks. */
#define STATE_BINS   14
#define STATE_NEXT   270
#define STATE_SYSTEM 273
#define STATE_MAX    274
#define STATE_WORDS  275
#define BINS         127

struct arena {
	uint64_t address;
	pid_t tid;                  /* of the thread that uses it */
	unsigned threads;           /* that do */
};

struct arenas {
	struct arena arena[ARENAS_MAX]; /* oldest first */
	size_t count;
};

/* An empty bin points at itself, two words in front. A malloc that did anything has many empty ones. */
static bool may_be_main_arena(const struct glibc_data *data, size_t at)
{
	const uint64_t *state = data->word + at;
	uint64_t address = data->start + at * sizeof(*state);
	unsigned empty = 0;

	for (size_t i = 0; i < BINS; i++)
		empty += state[STATE_BINS + 2 * i] == address + (STATE_BINS - 2 + 2 * i) * sizeof(*state);
	return empty >= BINS / 2 && state[STATE_NEXT] && state[STATE_SYSTEM] % 4096 == 0 &&
	       state[STATE_SYSTEM] <= state[STATE_MAX];
}

/* Whether it lies where an arena does, and its heap says so. */
static bool is_arena(struct target *target, uint64_t arena)
{
	uint64_t heap = arena & ~(HEAP_SIZE - 1), owner;

	return heap && arena - heap <= HEADER_MAX && memory_word(target, heap, &owner) && owner == arena;
}

/* The ring, oldest first: a new arena is put behind main_arena. */
static bool read_ring(struct target *target, uint64_t main_arena, struct arenas *arenas)
{
	uint64_t at;

	arenas->count = 0;
	if (!memory_word(target, main_arena + STATE_NEXT * sizeof(at), &at))
		return false;
	while (at != main_arena) {
		if (arenas->count == ARENAS_MAX || !is_arena(target, at))
			return false;
		arenas->arena[arenas->count++].address = at;
		if (!memory_word(target, at + STATE_NEXT * sizeof(at), &at))
			return false;
	}
	for (size_t i = 0; i < arenas->count / 2; i++) {
		struct arena other = arenas->arena[i];

		arenas->arena[i] = arenas->arena[arenas->count - 1 - i];
		arenas->arena[arenas->count - 1 - i] = other;
	}
	return true;
}

/* A few words off, bins look right, too; but there no ring closes. */
static bool find_ring(struct target *target, const struct glibc_data *data, struct arenas *arenas)
{
	for (size_t at = 0; at + STATE_WORDS <= data->words; at++)
		if (may_be_main_arena(data, at) && read_ring(target, data->start + at * sizeof(*data->word), arenas))
			return true;
	return false;
}

static struct arena *arena_with(struct arenas *arenas, uint64_t address)
{
	for (size_t i = 0; i < arenas->count; i++)
		if (arenas->arena[i].address == address)
			return &arenas->arena[i];
	return NULL;
}

/* A thread's arena is one of its variables, which lie in front of its control block, or behind it. */
static void find_user(struct target *target, struct arenas *arenas, const struct found_thread *thread, uint64_t from)
{
	uint64_t page = target->own.page, word[1U << 9];
	struct arena *arena;

	from &= ~(page - 1);
	if (page > sizeof(word) || memory_get(target, from, word, page))
		return;
	for (size_t i = 0; i < page / sizeof(*word); i++) {
		arena = word[i] % HEAP_SIZE <= HEADER_MAX && word[i] ? arena_with(arenas, word[i]) : NULL;
		if (arena && arena->tid != thread->tid) {
			arena->tid = thread->tid;
			arena->threads++;
		}
	}
}

static void name_heap(struct target *target, struct findings *findings, struct arenas *arenas, uint64_t heap)
{
	uint64_t header[4];
	struct arena *arena;

	if (memory_get(target, heap, header, sizeof(header)) || header[2] > HEAP_SIZE || header[3] < header[2])
		return;
	arena = arena_with(arenas, header[0]);
	if (arena && arena->threads == 1)
		found_add(findings, heap, heap + HEAP_SIZE, "glibc:arena%zu:%d", (size_t)(arena - arenas->arena) + 1,
		          (int)arena->tid);
	else if (arena)
		found_add(findings, heap, heap + HEAP_SIZE, "glibc:arena%zu", (size_t)(arena - arenas->arena) + 1);
}

static void name_heaps(struct target *target, struct findings *findings, struct arenas *arenas)
{
	for (size_t i = 0; i < findings->threads; i++) {
		uint64_t block = findings->thread[i].control_block;

		find_user(target, arenas, &findings->thread[i], block - 1);
		find_user(target, arenas, &findings->thread[i], block - 1 - target->own.page);
	}
	for (size_t i = 0; i < target->areas; i++) {
		const struct area *area = &target->area[i];

		/* One heap may follow another in the same area. */
		for (uint64_t heap = (area->start + HEAP_SIZE - 1) & ~(HEAP_SIZE - 1);
		     heap < area->end && area_is_anonymous(area) && area_is_writable(area) && !target_is_spent(target);
		     heap += HEAP_SIZE)
			name_heap(target, findings, arenas, heap);
	}
}

void recognise_arenas(struct target *target, struct findings *findings)
{
	struct glibc_data *data = glibc_data_read(target);
	struct arenas *arenas = data ? calloc(1, sizeof(*arenas)) : NULL;

	if (arenas && find_ring(target, data, arenas))
		name_heaps(target, findings, arenas);
	free(arenas);
	free(data);
}
