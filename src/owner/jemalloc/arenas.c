/* SPDX-License-Identifier: MIT */
/* The table of jemalloc's arenas, and what each is called. See internal.h. */
#include "owner/jemalloc/internal.h"

#include "base/own.h"
#include "base/text.h"
#include "sink/shown.h"

static struct arena *chunks[MAX_ARENAS / ARENA_CHUNK] COLD_BSS;
static uint64_t met[MAX_ARENAS / 64] COLD_BSS;  /* arenas that were made or bound to */

struct arena *arena_at(unsigned i)
{
	struct arena *chunk = i < MAX_ARENAS ? load_acquire(&chunks[i / ARENA_CHUNK]) : NULL;

	return chunk ? &chunk[i % ARENA_CHUNK] : NULL;
}

struct arena *arena_make(unsigned i)
{
	struct arena *none = NULL, *chunk;

	if (i >= MAX_ARENAS || arena_at(i))
		return arena_at(i);
	chunk = own_map(ARENA_CHUNK * sizeof(*chunk), "jemalloc");
	if (!chunk)
		return NULL;
	for (unsigned k = 0; k < ARENA_CHUNK; k++)
		chunk[k].kind = KIND_EXTENT;
	/* Somebody was faster: theirs is taken, ours stays unused. It happens at most once a chunk. */
	__atomic_compare_exchange_n(&chunks[i / ARENA_CHUNK], &none, chunk, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
	return arena_at(i);
}

bool arena_meet(uint32_t i)
{
	return i < MAX_ARENAS && !(__atomic_fetch_or(&met[i / 64], 1UL << i % 64, __ATOMIC_RELAXED) & 1UL << i % 64);
}

void arenas_forget(void)
{
	__builtin_memset(met, 0, sizeof(met));
	for (unsigned i = 0; i < MAX_ARENAS; i++)
		if (arena_at(i))
			store_relaxed(&arena_at(i)->state, (uint32_t)ARENA_NEW);
}

void jemalloc_arena_gone(unsigned i)
{
	struct arena *a = arena_at(i);

	if (i < MAX_ARENAS)
		__atomic_fetch_and(&met[i / 64], ~(1UL << i % 64), __ATOMIC_RELAXED);
	if (!a)
		return;
	a->kind = KIND_EXTENT;
	a->discard = false;
	store_release(&a->label, (const char *)NULL);
	store_release(&a->state, (uint32_t)ARENA_NEW);
}

/* --- names ------------------------------------------------------------------------- */

static enum kind arena_describe(unsigned i, struct fields *f)
{
	const struct arena *a = arena_at(i);
	enum kind kind = a ? (enum kind)a->kind : KIND_EXTENT;
	const char *label = a ? load_acquire(&a->label) : NULL;

	*f = (struct fields){ .allocator = "jemalloc", .library = je.object ? je.object->name : NULL, .index = i, .has_index = true };
	if (kind == KIND_THREAD_ARENA) {
		f->tid = a->tid;
		f->thread = label;
	} else if (kind == KIND_NAMED_HEAP) {
		f->label = label;
	}
	return kind;
}

void arena_name_extent(unsigned i, uintptr_t start, size_t len)
{
	struct fields f;
	enum kind kind = arena_describe(i, &f);

	label_range(kind, start, len, &f);
}

struct rename {
	unsigned arena;
	char old[ANONNAME_NAME_MAX + 1];
};

static bool rename_one(const struct shown *range, void *context)
{
	const struct rename *r = context;

	if (text_equal(range->name, r->old))
		arena_name_extent(r->arena, range->start, range->end - range->start);
	return true;
}

static void owner_name(unsigned i, char name[ANONNAME_NAME_MAX + 1])
{
	struct fields f;
	enum kind kind = arena_describe(i, &f);

	f.program = objects_program();
	config_format(kind, &f, false, name);
}

void arena_give_to(unsigned i, enum kind kind, uint32_t tid, const char *thread)
{
	struct arena *a = arena_at(i);
	struct rename r = { .arena = i };

	owner_name(i, r.old);
	if (thread) {
		char *unused = a->thread[a->label == a->thread[0]];

		text_copy(unused, COMM_SIZE, thread);
		store_release(&a->label, (const char *)unused);
	}
	a->tid = tid;
	a->kind = (uint8_t)kind;
	shown_each(rename_one, &r);
}
