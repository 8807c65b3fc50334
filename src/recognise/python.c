/* SPDX-License-Identifier: MIT */
/*
 * CPython's arenas: 1 MiB from 3.10 on, 256 KiB before, in pools of 16 and 4 KiB
 * that are aligned to that. A pool in use begins with
 *
 *   blocks in use, free block, next, previous, arena index, size class, next offset, last offset
 *
 * All pools of an arena have its index, and no others; the last offset follows
 * from the size class. That is checked of each pool that is there.
 */
#include "recognise.h"

#include "object.h"
#include "python.h"

#include <string.h>

#define INDEX_MAX (1U << 20)
#define SLOTS_MAX 64                /* for pools in an arena */
#define POOLS_MIN 2                 /* that agree with each other */

bool python_sizes(struct target *target, struct python_sizes *sizes)
{
	static const char *const names[] = { "libpython3.", "python3." };
	uint64_t minor = 0;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const struct object *object = object_named(target, names[i]);
		const char *digits = object ? object->name + strlen(names[i]) : "";
		struct text text = { digits, strspn(digits, "0123456789") };

		/* Not by scanf() or strtoul(): built with glibc 2.38, they need it. */
		if (text.len && text_u64(&text, 10, &minor))
			break;
	}
	*sizes = minor >= 10 ? (struct python_sizes){ 1U << 20, 16U << 10 } : (struct python_sizes){ 256U << 10, 4U << 10 };
	return minor != 0;
}

enum python_slot python_look_at(const struct python_pool *pool, bool there, uint64_t size)
{
	static const struct python_pool empty;

	if (!there || !memcmp(pool, &empty, sizeof(empty)))
		return PYTHON_EMPTY;
	/* One that was given back keeps what it was, but for its neighbours. */
	if (pool->size_class >= PYTHON_CLASSES || pool->arena >= INDEX_MAX || pool->last_offset != size - python_block_size(pool) ||
	    pool->used > size / 16 || (pool->used && (!pool->next || !pool->previous)))
		return PYTHON_FOREIGN;
	return PYTHON_POOL;
}

/*
 * Whether an arena is what lies there, from its first page to its last. Its
 * pools are taken into use from its beginning on, so the first is there; and
 * the slots in front of it and behind it are another's.
 */
static bool is_arena(struct target *target, const struct python_sizes *sizes, uint64_t start)
{
	/* [0] lies in front of it, and the last one behind. */
	struct python_pool pool[SLOTS_MAX + 2];
	bool there[SLOTS_MAX + 2];
	uint64_t first = (start + sizes->pool - 1) & ~(sizes->pool - 1);
	size_t last = (size_t)((start + sizes->arena - first) / sizes->pool) + 1;
	unsigned agree = 0;

	memory_heads(target, first - sizes->pool, last + 1, sizes->pool, there, pool, sizeof(*pool));
	if (python_look_at(&pool[1], there[1], sizes->pool) != PYTHON_POOL)
		return false;
	for (size_t i = 0; i <= last; i++) {
		enum python_slot slot = python_look_at(&pool[i], there[i], sizes->pool);
		bool same = slot == PYTHON_POOL && pool[i].arena == pool[1].arena, inside = i && i < last;

		if (inside ? slot != PYTHON_EMPTY && !same : same)
			return false;
		agree += inside && same;
	}
	return agree >= POOLS_MIN;
}

/* Arenas follow each other, from the lower or the upper end of what is nobody's, and behind large chunks. */
static void search(struct target *target, struct findings *findings, const struct python_sizes *sizes, uint64_t start, uint64_t end)
{
	while (end - start >= sizes->arena) {
		uint64_t large;

		if (is_arena(target, sizes, start)) {
			found_add(findings, start, start + sizes->arena, PYTHON_ARENA);
			start += sizes->arena;
		} else if ((large = large_at(target, start, end)) && large <= end - start) {
			start += large;
		} else {
			break;
		}
	}
	while (end - start >= sizes->arena && is_arena(target, sizes, end - sizes->arena)) {
		found_add(findings, end - sizes->arena, end, PYTHON_ARENA);
		end -= sizes->arena;
	}
}

void recognise_python(struct target *target, struct findings *findings)
{
	struct python_sizes sizes;

	if (!python_sizes(target, &sizes))
		return;
	for (uint64_t start = 0, end; findings_left(target, findings, &start, &end); start = end)
		search(target, findings, &sizes, start, end);
}
