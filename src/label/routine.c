/* SPDX-License-Identifier: MIT */
/* From a thread's start routine to a word. See routine.h. */
#include "label/routine.h"

#include "base/elf.h"
#include "base/text.h"
#include "label/objects.h"

/*
 * Libraries whose threads all start in the same function, with the caller's own
 * behind the argument: its first word points to that function (GLib, OpenMP) or
 * to the table of virtual functions of the caller's class (std::thread, Boost,
 * Qt). These call pthread_create with such arguments only.
 */
static bool starts_for_others(const struct object *o)
{
	static const char *const names[] = { "libstdc++.so", "libglib-2.0.so", "libgomp.so", "libboost_thread.so", "libQt5Core.so", "libQt6Core.so" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (text_begins(o->name, names[i]))
			return true;
	return false;
}

/* A table of symbols is searched from end to end: microseconds up to this many buckets, and once a routine. */
#define BUCKETS_MAX 1024

static const char *symbol_of(const struct object *o, uintptr_t function)
{
	struct elf_symbols symbols;
	const ElfW(Sym) *s;

	if (!object_symbols(o, &symbols) || elf_buckets(&symbols) > BUCKETS_MAX)
		return NULL;
	s = elf_symbol_at(&symbols, function);
	return s ? elf_string(&symbols, s->st_name) : NULL;
}

static void find_name(const struct object *o, uintptr_t function, char name[ROUTINE_SIZE])
{
	const char *found = symbol_of(o, function);

	if (!found)
		found = text_equal(o->name, objects_program()) ? "" : o->name;
	text_copy(name, ROUTINE_SIZE, found);
}

/*
 * A program has few routines, however many threads. An entry is filled once and
 * read from then on; when objects came or went its library may be another's,
 * and it is filled again. Who finds it being filled goes without.
 */
enum { EMPTY, BUSY, READY };
static struct known {
	uint32_t state;
	uint32_t objects;       /* objects_generation */
	uintptr_t function;
	char name[ROUTINE_SIZE];
} known[16] COLD_BSS;

static bool is_known(struct known *k, uintptr_t function, char name[ROUTINE_SIZE])
{
	if (load_acquire(&k->state) != READY || load_relaxed(&k->function) != function ||
	    load_relaxed(&k->objects) != objects_generation())
		return false;
	text_copy(name, ROUTINE_SIZE, k->name);
	/* It may have been taken for another one meanwhile. */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return load_relaxed(&k->state) == READY && load_relaxed(&k->function) == function;
}

static void keep(struct known *k, uintptr_t function, const char name[ROUTINE_SIZE])
{
	uint32_t state = load_relaxed(&k->state);

	if (state == BUSY || !__atomic_compare_exchange_n(&k->state, &state, BUSY, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	store_release(&k->function, function);
	store_relaxed(&k->objects, objects_generation());
	text_copy(k->name, ROUTINE_SIZE, name);
	store_release(&k->state, READY);
}

void routine_name(uintptr_t function, const void *arg, char name[ROUTINE_SIZE])
{
	const struct object *o = objects_find(function);
	struct known *k;

	name[0] = '\0';
	if (o && starts_for_others(o) && arg && (uintptr_t)arg % sizeof(uintptr_t) == 0) {
		function = *(const uintptr_t *)arg;
		o = objects_find(function);
	}
	if (!o)
		return;
	k = &known[(function >> 4 ^ function >> 12) % ARRAY_SIZE(known)];
	if (is_known(k, function, name))
		return;
	find_name(o, function, name);
	keep(k, function, name);
}
