/* SPDX-License-Identifier: MIT */
/* Finds jemalloc, sets everything up, notices that it went. See internal.h. */
#include "owner/jemalloc/internal.h"

#include "base/root.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "base/text.h"
#include "sink/shown.h"

/* That much may be asked for once and given back untouched; opt.oversize_threshold is 8 MiB by default. */
#define MAX_OVERSIZE (64UL << 20)

/* Where not, any thread commits and decommits, by mapping anew, what is in any arena. Documentation/vm/overcommit-accounting.rst. */
static bool overcommits(void)
{
	uint64_t mode;

	return sandbox_allows(MAY_READ_PROC) && sys_number("/proc/sys/vm/overcommit_memory", &mode) && mode < 2;
}

/*
 * What does not change as long as this jemalloc is loaded. It is asked as soon as it
 * is found, and never later: mallctl takes a lock, and not everywhere may we.
 */
static void ask_once(void)
{
	const char *percpu = NULL;
	size_t len;

	je_number_names();
	len = sizeof(je.automatic);
	jemalloc_functions.mallctl("opt.narenas", &je.automatic, &len, NULL, 0);
	len = sizeof(je.oversize);
	if (jemalloc_functions.mallctl("opt.oversize_threshold", &je.oversize, &len, NULL, 0) != 0)
		je.oversize = 0;
	len = sizeof(je.retain);
	if (jemalloc_functions.mallctl("opt.retain", &je.retain, &len, NULL, 0) != 0)
		je.retain = false;
	je_control(OUR_HOOKS, 0, &je.default_hooks, sizeof(je.default_hooks), NULL, 0);
	hooks_stand_before(&hooks_made_by_us, je.default_hooks);
	len = sizeof(je.mixed);
	if (jemalloc_functions.mallctl("opt.hpa", &je.mixed, &len, NULL, 0) != 0)
		je.mixed = false;
	/* Linked into the program it maps as the program does: only in a hook that is told apart. */
	je.hook_every = config_choice[CHOICE_JEMALLOC] == JEMALLOC_HOOKS || je.object->class != OBJECT_ALLOCATOR ||
		     !overcommits();
	/*
	 * Arenas by CPU are made when a thread comes to run there, in the middle
	 * of its malloc. So they are all made now. jemalloc 5.2.1 must be given
	 * its own hooks first.
	 */
	len = sizeof(percpu);
	if (jemalloc_functions.mallctl("opt.percpu_arena", &percpu, &len, NULL, 0) != 0 || !percpu || text_equal(percpu, "disabled"))
		return;
	je.hook_every = true;
	je.automatic = je_narenas() - (je.oversize != 0);
	for (unsigned i = 0; i < je.automatic; i++) {
		struct extent_scope s;

		jemalloc_scope_begin(&s, i);
		if (!je_initialized(i))
			je_control(OUR_HOOKS, i, NULL, 0, &je.default_hooks, sizeof(je.default_hooks));
		jemalloc_scope_end(&s, i);
	}
}

static bool find(void)
{
	je_search();
	if (!je.object) {
		part_set(PART_JEMALLOC, PART_DECLINED, REASON_ABSENT);
		return false;
	}
	ask_once();
	return true;
}

/* It was unloaded: what its arenas mapped is still there, and so are its hooks' names. */
static bool still_there(void)
{
	if (je.object->start == je.start && je.object->end)
		return true;
	je.object = NULL;
	je.settled = je_thread.asked = false;
	je.arenas_known = je.automatic_hooked = 0;
	arenas_forget();
	store_release(&je.state, 0U);
	return false;
}

/* --- jemalloc inside a program ------------------------------------------------------ */

/*
 * jemalloc looks an address up in a tree whose leaves span 128 MiB or more
 * (rtree.h), and asked about an address that no leaf spans it crashes. So it is
 * asked only about those near memory that it gave out.
 */
#define LEAF_SPAN (128UL << 20)

struct earlier {
	uintptr_t start, end;   /* what may be asked about */
	char name[2][ANONNAME_NAME_MAX + 1];
};

static bool name_earlier(const struct shown *range, void *context)
{
	const struct earlier *e = context;
	uintptr_t end = MIN(range->end, e->end);
	unsigned arena;

	if (!text_equal(range->name, e->name[0]) && !text_equal(range->name, e->name[1]))
		return true;
	for (uintptr_t at = MAX(range->start, e->start); at < end; at += page_size) {
		if (je_control(OUR_LOOKUP, 0, &arena, sizeof(arena), &at, sizeof(at)) == 0) {
			arena_name_extent(arena, range->start, range->end - range->start);
			break;
		}
	}
	return true;
}

/*
 * A program with jemalloc linked in maps for itself, too, so what was mapped
 * before the hooks were there has the program's name. Which of it are extents,
 * jemalloc knows.
 */
static void name_what_was_before(void)
{
	struct fields f = { .library = je.object->name, .tid = thread_tid(), .program = objects_program() };
	struct earlier e;
	void *given;

	if (je.object->class == OBJECT_ALLOCATOR)
		return;
	given = jemalloc_functions.mallocx(1, 0);
	if (!given)
		return;
	e.start = (uintptr_t)given & ~(LEAF_SPAN - 1);
	e.end = e.start + LEAF_SPAN;
	jemalloc_functions.dallocx(given, 0);
	config_format(KIND_MMAP, &f, false, e.name[0]);
	config_format(KIND_MMAP_BIG, &f, false, e.name[1]);
	shown_each(name_earlier, &e);
}

/* --- the whole of it ---------------------------------------------------------------- */

/*
 * jemalloc makes the arena for large allocations when it is asked for the
 * first, where nobody sees it, and any thread may do that. So that is done
 * here. Not by its number: jemalloc then gives back at once what is freed there.
 */
static void make_oversize(void)
{
	struct extent_scope s;
	unsigned i = SCOPE_UNKNOWN;
	void *p = NULL;

	if (je.hook_every || !je.oversize)
		return;
	jemalloc_scope_begin(&s, SCOPE_UNKNOWN);
	if (je.oversize <= MAX_OVERSIZE)
		p = jemalloc_functions.mallocx(je.oversize, 0);
	if (p) {
		je_control(OUR_LOOKUP, 0, &i, sizeof(i), &p, sizeof(p));
		jemalloc_functions.dallocx(p, 0);
	}
	jemalloc_scope_end(&s, i);
	if (i != SCOPE_UNKNOWN && i >= je.automatic)
		hooks_put(i);
	else
		je.hook_every = true;
}

/* It has just been found. */
static void set_up(void)
{
	make_oversize();
	je_hook_all();
	je.settled = !je.hook_every || (arena_at(0) && load_relaxed(&arena_at(0)->state) == ARENA_HOOKED);
	name_what_was_before();
	part_set(PART_JEMALLOC, je.settled ? PART_ACTIVE : PART_DECLINED, je.settled ? REASON_NONE : REASON_NO_EFFECT);
}

void jemalloc_seek(void)
{
	unsigned generation = objects_generation();
	uint32_t no = 0;

	if (!label_active() || !je_names_arenas()) {
		part_set(PART_JEMALLOC, PART_DECLINED, REASON_OFF);
		return;
	}
	if (jemalloc_calls() && still_there()) {
		je_hook_all();
		je_join();
		return;
	}
	if (generation != load_relaxed(&je.looked_at) &&
	    __atomic_compare_exchange_n(&je.state, &no, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		store_relaxed(&je.looked_at, generation);
		no = find() ? 2 : 0;
		if (no)
			set_up();
		store_release(&je.state, no);
	}
	/* Another thread is at it: as in settle_arena. */
	je_wait_while(&je.state, 1);
	if (jemalloc_calls())
		je_join();
}

void jemalloc_thread_begins(const struct new_thread *new)
{
	(void)new;
	if (!je_names_arenas())
		return;
	if (!jemalloc_calls())
		jemalloc_seek();
	if (!jemalloc_calls())
		return;
	if (load_relaxed(&je.automatic_hooked) < je.automatic)
		je_settle_arena();
	if (je_arena_a_thread())
		je_take_arena();
	if (je_narenas() != load_relaxed(&je.arenas_known))
		je_hook_all();
}
