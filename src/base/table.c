/* SPDX-License-Identifier: MIT */
/* Places by address. See table.h. */
#include "base/table.h"

#include "base/own.h"

#define PROBES 8U
#define KEY_FREE 1U

static struct place *level_at(struct table *t, unsigned k)
{
	return k == 0 ? t->first : load_acquire(&t->level[k]);
}

static uint32_t level_size(unsigned k)
{
	return TABLE_FIRST << (2 * k);
}

struct place *table_search(struct table *t, uintptr_t key)
{
	for (unsigned k = 0; k < TABLE_LEVELS; k++) {
		struct place *level = level_at(t, k);

		if (!level)
			return NULL;
		for (uint32_t i = 0; i < PROBES; i++) {
			struct place *p = &level[(table_hash(key) + i) & (level_size(k) - 1)];
			uintptr_t found = load_acquire(&p->key);

			if (found == key)
				return p;
			/* A key goes to the first place that is free, so it is in none behind this one. */
			if (!found)
				return NULL;
		}
	}
	return NULL;
}

static struct place *level_make(struct table *t, unsigned k)
{
	struct place *level = own_map(level_size(k) * sizeof(struct place), "places");
	struct place *none = NULL;

	/* Lost a race: the pages stay, unused; it happens at most once a level. */
	if (level && !__atomic_compare_exchange_n(&t->level[k], &none, level, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		return none;
	return level;
}

struct place *table_add(struct table *t, uintptr_t key)
{
	struct place *found = table_find(t, key);

	for (unsigned k = 0; !found && k < TABLE_LEVELS; k++) {
		struct place *level = level_at(t, k);

		if (!level)
			level = level_make(t, k);
		if (!level)
			return NULL;
		for (uint32_t i = 0; !found && i < PROBES; i++) {
			struct place *p = &level[(table_hash(key) + i) & (level_size(k) - 1)];
			uintptr_t old = load_relaxed(&p->key);

			if (old <= KEY_FREE &&
			    __atomic_compare_exchange_n(&p->key, &old, key, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
				found = p;
		}
	}
	return found;
}

void table_remove(struct place *p)
{
	store_relaxed(&p->used, 0U);
	store_relaxed(&p->tid, 0U);
	store_relaxed(&p->early_tid, 0U);
	store_relaxed(&p->end, 0UL);
	/* The memory may be the program's, and what points to it would hide it from a search for leaks. */
	store_relaxed(&p->start, 0UL);
	store_release(&p->key, (uintptr_t)KEY_FREE);
}

void table_each(struct table *t, bool (*each)(struct place *p, void *context), void *context)
{
	for (unsigned k = 0; k < TABLE_LEVELS; k++) {
		struct place *level = level_at(t, k);

		if (!level)
			return;
		for (uint32_t i = 0; i < level_size(k); i++)
			if (load_acquire(&level[i].key) > KEY_FREE && !each(&level[i], context))
				return;
	}
}
