/* SPDX-License-Identifier: MIT */
/* jemalloc's arenas and their extents. See jemalloc.h. */
#include "owner/jemalloc/jemalloc.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

#include "base/elf.h"
#include "base/root.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "base/text.h"
#include "label/thread.h"
#include "owner/owner.h"
#include "sink/shown.h"

/* jemalloc_types.h: MALLCTL_ARENAS_ALL is 4096; an index is below that. */
#define MAX_ARENAS 4096U
#define CHUNK 64U
/* A thread that hooks an arena takes some microseconds, but may be put off its processor. */
#define MAX_YIELDS 10000U
/* That much may be asked for once and given back untouched; opt.oversize_threshold is 8 MiB by default. */
#define MAX_OVERSIZE (64UL << 20)

enum { ARENA_NEW, ARENA_BUSY, ARENA_HOOKED };

struct arena {
	struct extent_hooks ours;       /* first: what jemalloc hands to our hooks */
	struct extent_hooks *next;      /* whose place they took */
	uint32_t state;
	bool foreign;                   /* next are the program's own, not jemalloc's */
	bool discard;                   /* it is being destroyed, and its memory with it */
	uint8_t kind;                   /* enum kind */
	uint32_t tid;                   /* KIND_THREAD_ARENA: whose it is */
	uintptr_t self;                 /* its control block (pthread_self) */
	uint32_t next_free;             /* waiting for a thread: index + 1 of the next */
	const char *label;              /* KIND_NAMED_HEAP: its name; KIND_THREAD_ARENA: the thread's */
	char thread[2][COMM_SIZE];      /* one is shown while the other is written */
};

static struct arena *chunks[MAX_ARENAS / CHUNK] COLD_BSS;

/*
 * Hooks for the arenas that we make ourselves, given when they are made: only
 * then jemalloc asks them for the arena's own memory, too, which it would
 * leave behind when the arena is destroyed. Their index is told by the call.
 */
static struct arena made_by_us;

struct jemalloc jemalloc_functions;
static const struct object *je_object;
static uintptr_t je_start;
static uint32_t je_state;               /* 0: none, 1: being found and set up, 2: there */
static unsigned looked_at;              /* objects_generation when it was last looked for */
static bool settled;                    /* from now on a mapping without a scope need not be arena 0's */
static bool hook_every;                 /* hooks on every arena: where its threads do not tell one (see bound) */
static bool mixed;                      /* opt.hpa: one mapping is for many arenas, and hooks would turn that off */
static const char *mallctl_name, *mallctlbymib_name;
static struct extent_hooks *default_hooks;
static unsigned automatic;              /* opt.narenas */
static bool retain;                     /* opt.retain: jemalloc's own dalloc always refuses */
static size_t oversize;                 /* opt.oversize_threshold; 0: no such arena */
static uint32_t automatic_hooked;
static uint64_t met[MAX_ARENAS / 64] COLD_BSS;  /* arenas that were made or bound to */
static uint32_t arenas_known;           /* arenas.narenas when we last looked */

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;   /* of waiting arenas; no hook takes it */
static uint32_t pool;                   /* the first arena that waits for a thread, + 1 */

static THREAD_LOCAL struct extent_scope *scope;
static THREAD_LOCAL uint32_t my_arena;  /* the arena that belongs to this thread, + 1 */
/*
 * The automatic arena that this thread allocates from, + 1; 0: not known. Hooks
 * cost, and take away what jemalloc does only with its own; so an automatic
 * arena is left without ours where its threads tell what it maps.
 */
static THREAD_LOCAL uint32_t bound;
static THREAD_LOCAL bool asked;         /* it has been asked for its arena */
static THREAD_LOCAL bool first;         /* the process's first thread */
static THREAD_LOCAL bool has_state;     /* jemalloc has made its state of this thread */

enum { OUR_HOOKS, OUR_INITIALIZED, OUR_DESTROY, OUR_PURGE, OUR_CREATE, OUR_NARENAS, OUR_THREAD_ARENA, OUR_FLUSH, OUR_LOOKUP, MIBS };
static struct mib {
	const char *name;
	size_t len;
	size_t at[4];
} mibs[MIBS] = {
	[OUR_HOOKS] = { .name = "arena.0.extent_hooks" },
	[OUR_INITIALIZED] = { .name = "arena.0.initialized" },
	[OUR_DESTROY] = { .name = "arena.0.destroy" },
	[OUR_PURGE] = { .name = "arena.0.purge" },
	[OUR_CREATE] = { .name = "arenas.create" },
	[OUR_NARENAS] = { .name = "arenas.narenas" },
	[OUR_THREAD_ARENA] = { .name = "thread.arena" },
	[OUR_FLUSH] = { .name = "thread.tcache.flush" },
	[OUR_LOOKUP] = { .name = "arenas.lookup" },
};

const struct jemalloc *jemalloc_calls(void) { return load_acquire(&je_state) == 2 ? &jemalloc_functions : NULL; }
const char *jemalloc_mallctl_name(void) { return mallctl_name; }
const char *jemalloc_mallctlbymib_name(void) { return mallctlbymib_name; }

static bool arena_a_thread(void) { return config_choice[CHOICE_JEMALLOC_ARENAS] == JEMALLOC_ARENAS_THREAD; }
static bool names_arenas(void) { return config_choice[CHOICE_JEMALLOC] <= JEMALLOC_HOOKS; }
/* The arena of the thread that maps is the arena of what is mapped. */
static bool threads_tell(void) { return names_arenas() && !hook_every && !mixed; }

/* --- names ------------------------------------------------------------------------- */

static struct arena *arena_at(unsigned i)
{
	struct arena *chunk = i < MAX_ARENAS ? load_acquire(&chunks[i / CHUNK]) : NULL;

	return chunk ? &chunk[i % CHUNK] : NULL;
}

static enum kind describe(unsigned i, struct fields *f)
{
	const struct arena *a = arena_at(i);
	enum kind kind = a ? (enum kind)a->kind : KIND_EXTENT;
	const char *label = a ? load_acquire(&a->label) : NULL;

	*f = (struct fields){ .allocator = "jemalloc", .library = je_object ? je_object->name : NULL, .index = i, .has_index = true };
	if (kind == KIND_THREAD_ARENA) {
		f->tid = a->tid;
		f->thread = label;
	} else if (kind == KIND_NAMED_HEAP) {
		f->label = label;
	}
	return kind;
}

static void name_extent(unsigned i, uintptr_t start, size_t len)
{
	struct fields f;
	enum kind kind = describe(i, &f);

	label_range(kind, start, len, &f);
}

bool jemalloc_is(const struct object *o)
{
	return o == je_object;
}

static void name_mapped(uintptr_t start, size_t len)
{
	struct extent_scope *s = scope;

	if (config_choice[CHOICE_JEMALLOC] == JEMALLOC_OFF)
		return;
	if (s && s->arena == SCOPE_UNKNOWN && s->count < ARRAY_SIZE(s->range)) {
		s->range[s->count].start = start;
		s->range[s->count++].len = len;
		return;
	}
	if (s && s->arena != SCOPE_UNKNOWN) {
		if (s->count < ARRAY_SIZE(s->range)) {
			s->range[s->count].start = start;
			s->range[s->count++].len = len;
		}
		name_extent(s->arena, start, len);
		return;
	}
	/* Before they are told apart there is one arena: jemalloc makes the others later. */
	if (names_arenas() && !settled)
		name_extent(0, start, len);
	else if (bound && threads_tell())
		name_extent(bound - 1, start, len);
	/*
	 * jemalloc makes the arena for large allocations when the first one is
	 * asked for, where we cannot hook it in time. It is the only one that is
	 * that large and has no hooks of ours.
	 */
	else if (hook_every && oversize && len >= oversize)
		name_extent(automatic, start, len);
	else
		label_range(KIND_HEAP, start, len, &(struct fields){ .allocator = "jemalloc",
								    .library = je_object ? je_object->name : NULL });
}

/* A program with jemalloc linked in maps for itself too: there only what a scope catches is jemalloc's. */
bool jemalloc_mapped(const struct mapping *m, const struct object *asker, enum kind *kind)
{
	(void)kind;
	if (asker->class != OBJECT_ALLOCATOR && !scope)
		return false;
	name_mapped(m->start, m->len);
	return true;
}

void jemalloc_unmapped(uintptr_t start, size_t len)
{
	struct extent_scope *s = scope;

	for (uint32_t i = 0; s && i < s->count; i++) {
		uintptr_t from = s->range[i].start, upto = from + s->range[i].len;

		if (start + len <= from || start >= upto)
			continue;
		if (start > from)
			upto = start;
		else
			from = MIN(start + len, upto);
		s->range[i].start = from;
		s->range[i].len = upto - from;
	}
}

void jemalloc_scope_begin(struct extent_scope *s, uint32_t arena)
{
	s->outer = scope;
	s->arena = arena;
	s->count = 0;
	s->program_named = false;
	scope = s;
}

void jemalloc_scope_end(struct extent_scope *s, uint32_t arena)
{
	scope = s->outer;
	if (s->outer && s->program_named)
		s->outer->program_named = true;
	if (s->arena != SCOPE_UNKNOWN)
		return;
	for (uint32_t i = 0; i < s->count; i++) {
		if (arena == SCOPE_UNKNOWN)
			name_mapped(s->range[i].start, s->range[i].len);
		else
			name_extent(arena, s->range[i].start, s->range[i].len);
	}
}

/* Whether nobody has met this arena since it was made. */
static bool meet(uint32_t i)
{
	return i < MAX_ARENAS && !(__atomic_fetch_or(&met[i / 64], 1UL << i % 64, __ATOMIC_RELAXED) & 1UL << i % 64);
}

void jemalloc_scope_met(struct extent_scope *s, uint32_t arena)
{
	if (meet(arena) && s->count) {
		s->count--;
		name_extent(arena, s->range[s->count].start, s->range[s->count].len);
	}
	jemalloc_scope_end(s, arena == SCOPE_UNKNOWN ? SCOPE_UNKNOWN : 0);
}

void jemalloc_program_named(void)
{
	if (scope)
		scope->program_named = true;
}

/* --- the extent hooks ------------------------------------------------------------------ */

static bool covered(const struct extent_scope *s, uintptr_t start, size_t len)
{
	for (uint32_t i = 0; i < s->count; i++)
		if (s->range[i].start <= start && start + len <= s->range[i].start + s->range[i].len)
			return true;
	return false;
}

static void *on_alloc(struct extent_hooks *h, void *at, size_t size, size_t align, bool *zero, bool *commit, unsigned i)
{
	struct arena *a = (struct arena *)h;
	struct extent_hooks *next = load_acquire(&a->next);
	struct extent_scope s;
	void *r;

	/* It is being made, and its name is not there yet: jemalloc_arena_create's scope gets it. */
	if (a == &made_by_us && scope && scope->arena == SCOPE_UNKNOWN)
		return next->alloc(next, at, size, align, zero, commit, i);
	jemalloc_scope_begin(&s, i);
	r = next->alloc(next, at, size, align, zero, commit, i);
	jemalloc_scope_end(&s, i);
	/* Later versions keep flags in the low bits. */
	uintptr_t start = (uintptr_t)r & ~(uintptr_t)0xff;

	if (r && !s.program_named && !covered(&s, start, size))
		name_extent(i, start, size);
	if (!r && a == &made_by_us)
		errno = ENOMEM;         /* mallocx does not set it, anonname_heap_malloc promises it */
	return r;
}

/* Where overcommit is off jemalloc commits and decommits by mapping anew: the scope catches it. */
static bool in_scope(struct arena *a, bool (*f)(struct extent_hooks *, void *, size_t, size_t, size_t, unsigned),
		     void *at, size_t size, size_t offset, size_t len, unsigned i)
{
	struct extent_scope s;
	bool failed;

	jemalloc_scope_begin(&s, i);
	failed = f(load_acquire(&a->next), at, size, offset, len, i);
	jemalloc_scope_end(&s, i);
	/* A program's own hooks may map behind our back. */
	if (!failed && a->foreign && !s.program_named)
		name_extent(i, (uintptr_t)at + offset, len);
	return failed;
}

static bool on_commit(struct extent_hooks *h, void *at, size_t size, size_t offset, size_t len, unsigned i)
{
	struct arena *a = (struct arena *)h;

	return in_scope(a, a->next->commit, at, size, offset, len, i);
}

static bool on_decommit(struct extent_hooks *h, void *at, size_t size, size_t offset, size_t len, unsigned i)
{
	struct arena *a = (struct arena *)h;

	return in_scope(a, a->next->decommit, at, size, offset, len, i);
}

static bool on_purge_lazy(struct extent_hooks *h, void *at, size_t size, size_t offset, size_t len, unsigned i)
{
	struct arena *a = (struct arena *)h;

	return in_scope(a, a->next->purge_lazy, at, size, offset, len, i);
}

static bool on_purge_forced(struct extent_hooks *h, void *at, size_t size, size_t offset, size_t len, unsigned i)
{
	struct arena *a = (struct arena *)h;

	return in_scope(a, a->next->purge_forced, at, size, offset, len, i);
}

static bool unmap(void *at, size_t size)
{
	struct sink_unmap begun = sink_unmap_begin((uintptr_t)__builtin_frame_address(0));
	long r = sys_munmap(at, size);

	if (r == 0)
		jemalloc_unmapped((uintptr_t)at, page_up(size));
	sink_unmap_end(begun, (uintptr_t)at, size, r == 0);
	return r == 0;
}

static bool on_dalloc(struct extent_hooks *h, void *at, size_t size, bool committed, unsigned i)
{
	struct arena *a = (struct arena *)h;
	bool kept = a->next->dalloc ? a->next->dalloc(a->next, at, size, committed, i) : true;

	/* jemalloc keeps addresses for later (opt.retain); a destroyed heap has no later. */
	if (kept && a == &made_by_us && arena_at(i)->discard)
		kept = !unmap(at, size);
	return kept;
}

static void on_destroy(struct extent_hooks *h, void *at, size_t size, bool committed, unsigned i)
{
	struct arena *a = (struct arena *)h;

	a->next->destroy(a->next, at, size, committed, i);
}

static bool on_split(struct extent_hooks *h, void *at, size_t size, size_t left, size_t right, bool committed, unsigned i)
{
	struct arena *a = (struct arena *)h;

	return a->next->split(a->next, at, size, left, right, committed, i);
}

static bool on_merge(struct extent_hooks *h, void *left, size_t left_size, void *right, size_t right_size, bool committed,
		     unsigned i)
{
	struct arena *a = (struct arena *)h;

	return a->next->merge(a->next, left, left_size, right, right_size, committed, i);
}

/* libc's: where the heap ends. */
extern char *__curbrk __attribute__((weak));

/*
 * In the place of jemalloc's own merge, which asks for the thread's state, the
 * slow way inside a hook, only to say that two extents may be merged if none
 * of them or both are from sbrk. Above the heap's end none is.
 */
static bool merge_quickly(struct extent_hooks *h, void *left, size_t left_size, void *right, size_t right_size,
			  bool committed, unsigned i)
{
	if (likely(&__curbrk && (uintptr_t)left >= (uintptr_t)__curbrk))
		return false;
	return on_merge(h, left, left_size, right, right_size, committed, i);
}

/* jemalloc asks whether a hook is there at all: what was not, is not now. */
static void stand_before(struct arena *a, struct extent_hooks *next)
{
	a->foreign = next != default_hooks;
	store_release(&a->next, next);
	/*
	 * jemalloc's own look at no first argument. Those that never map are
	 * called straight: jemalloc splits and merges often. And a dalloc that
	 * always refuses is left out, as jemalloc does not ask its own then.
	 */
	if (!a->foreign) {
		a->ours = *next;
		a->ours.alloc = on_alloc;
		a->ours.commit = on_commit;
		a->ours.decommit = on_decommit;
		a->ours.merge = merge_quickly;
		if (a == &made_by_us)
			a->ours.dalloc = on_dalloc;
		else if (retain)
			a->ours.dalloc = NULL;
		return;
	}
	a->ours = (struct extent_hooks){
		.alloc = on_alloc,
		.dalloc = next->dalloc ? on_dalloc : NULL,
		.destroy = next->destroy ? on_destroy : NULL,
		.commit = next->commit ? on_commit : NULL,
		.decommit = next->decommit ? on_decommit : NULL,
		.purge_lazy = next->purge_lazy ? on_purge_lazy : NULL,
		.purge_forced = next->purge_forced ? on_purge_forced : NULL,
		.split = next->split ? on_split : NULL,
		.merge = next->merge ? on_merge : NULL,
	};
}

/* --- asking jemalloc ---------------------------------------------------------------------- */

static int control(unsigned what, unsigned i, void *old, size_t old_len, void *new, size_t new_len)
{
	const struct mib *m = &mibs[what];
	size_t mib[4];

	if (!m->len)
		return ENOENT;
	__builtin_memcpy(mib, m->at, sizeof(mib));
	/* Only arena.<i> names have an index; it is the second number. */
	if (what <= OUR_PURGE)
		mib[1] = i;
	return jemalloc_functions.mallctlbymib(mib, m->len, old, old ? &old_len : NULL, new, new_len);
}

static unsigned narenas(void)
{
	unsigned n = 0;

	control(OUR_NARENAS, 0, &n, sizeof(n), NULL, 0);
	return n;
}

static bool initialized(unsigned i)
{
	bool yes = false;

	control(OUR_INITIALIZED, i, &yes, sizeof(yes), NULL, 0);
	return yes;
}

static struct arena *arena_make(unsigned i)
{
	struct arena *none = NULL, *chunk;
	size_t size = page_up(CHUNK * sizeof(*chunk));

	if (i >= MAX_ARENAS || arena_at(i))
		return arena_at(i);
	if (!sandbox_allows(MAY_MAP))
		return NULL;
	long r = sys_mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (sys_failed(r))
		return NULL;
	chunk = (struct arena *)(uintptr_t)r;
	for (unsigned k = 0; k < CHUNK; k++)
		chunk[k].kind = KIND_EXTENT;
	if (!__atomic_compare_exchange_n(&chunks[i / CHUNK], &none, chunk, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		sys_munmap(chunk, size);
	else
		label_range(KIND_OWN, (uintptr_t)r, size, &(struct fields){ .thing = "jemalloc" });
	return arena_at(i);
}

/*
 * Puts our hooks before those of an arena that exists. Never twice: the
 * program may have read ours meanwhile and forward to them from its own.
 */
static bool hook_arena(unsigned i)
{
	struct arena *a = arena_make(i);
	struct extent_hooks *old = NULL, *new;
	uint32_t no = ARENA_NEW;

	if (!a || !__atomic_compare_exchange_n(&a->state, &no, ARENA_BUSY, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
		return false;
	new = &a->ours;
	/* Another thread may just be making one that has our hooks from the start. */
	if (control(OUR_HOOKS, i, &old, sizeof(old), NULL, 0) == 0 && old && old->alloc && old != new &&
	    old != &made_by_us.ours && (hook_every || i >= automatic || old != default_hooks)) {
		stand_before(a, old);
		if (control(OUR_HOOKS, i, NULL, 0, &new, sizeof(new)) == 0) {
			store_release(&a->state, (uint32_t)ARENA_HOOKED);
			if (i < automatic)
				__atomic_add_fetch(&automatic_hooked, 1, __ATOMIC_RELAXED);
			return true;
		}
	}
	no = ARENA_BUSY;
	__atomic_compare_exchange_n(&a->state, &no, ARENA_NEW, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
	return false;
}

static void give_to(unsigned i, enum kind kind, uint32_t tid, const char *thread);

/* --- finding it ------------------------------------------------------------------------------ */

static const char *const prefixes[] = { "", "je_", "_rjem_" };
static const struct wanted {
	const char *name;
	size_t offset;
} wanted[] = {
	{ "mallctl", offsetof(struct jemalloc, mallctl) },
	{ "mallctlnametomib", offsetof(struct jemalloc, mallctlnametomib) },
	{ "mallctlbymib", offsetof(struct jemalloc, mallctlbymib) },
	{ "mallocx", offsetof(struct jemalloc, mallocx) },
	{ "rallocx", offsetof(struct jemalloc, rallocx) },
	{ "sallocx", offsetof(struct jemalloc, sallocx) },
	{ "dallocx", offsetof(struct jemalloc, dallocx) },
};

/* An object that has all of it under one prefix. The first in the order of the search wins. */
static void try_object(const struct object *o)
{
	static char names[2][24];
	struct elf_symbols symbols;

	if (je_object || o->class == OBJECT_SELF || o->class == OBJECT_LOADER || !object_symbols(o, &symbols))
		return;
	for (size_t p = 0; p < ARRAY_SIZE(prefixes); p++) {
		struct jemalloc found = { .mallctl = NULL };
		size_t have = 0;

		for (; have < ARRAY_SIZE(wanted); have++) {
			char name[32];
			struct text t;
			const ElfW(Sym) *symbol;

			text_init(&t, name, sizeof(name));
			text_add(&t, prefixes[p]);
			text_add(&t, wanted[have].name);
			symbol = elf_find(&symbols, name);
			if (!symbol || ELF64_ST_TYPE(symbol->st_info) != STT_FUNC)
				break;
			if (have == 0)
				text_copy(names[0], sizeof(names[0]), name);
			else if (have == 2)
				text_copy(names[1], sizeof(names[1]), name);
			*(uintptr_t *)((char *)&found + wanted[have].offset) = o->base + symbol->st_value;
		}
		if (have < ARRAY_SIZE(wanted))
			continue;
		jemalloc_functions = found;
		je_object = o;
		object_give(o, OWNER_JEMALLOC);
		je_start = o->start;
		mallctl_name = names[0];
		mallctlbymib_name = names[1];
		return;
	}
}

/* Where not, any thread commits and decommits, by mapping anew, what is in any arena. Documentation/vm/overcommit-accounting.rst. */
static bool overcommits(void)
{
	uint64_t mode;

	return sandbox_allows(MAY_READ_PROC) && sys_number("/proc/sys/vm/overcommit_memory", &mode) && mode < 2;
}

static void ask_once(void)
{
	const char *percpu = NULL;
	size_t len;

	for (unsigned m = 0; m < MIBS; m++) {
		mibs[m].len = ARRAY_SIZE(mibs[m].at);
		if (jemalloc_functions.mallctlnametomib(mibs[m].name, mibs[m].at, &mibs[m].len) != 0)
			mibs[m].len = 0;
	}
	len = sizeof(automatic);
	jemalloc_functions.mallctl("opt.narenas", &automatic, &len, NULL, 0);
	len = sizeof(oversize);
	if (jemalloc_functions.mallctl("opt.oversize_threshold", &oversize, &len, NULL, 0) != 0)
		oversize = 0;
	len = sizeof(retain);
	if (jemalloc_functions.mallctl("opt.retain", &retain, &len, NULL, 0) != 0)
		retain = false;
	control(OUR_HOOKS, 0, &default_hooks, sizeof(default_hooks), NULL, 0);
	stand_before(&made_by_us, default_hooks);
	len = sizeof(mixed);
	if (jemalloc_functions.mallctl("opt.hpa", &mixed, &len, NULL, 0) != 0)
		mixed = false;
	/* Linked into the program it maps as the program does: only in a hook that is told apart. */
	hook_every = config_choice[CHOICE_JEMALLOC] == JEMALLOC_HOOKS || je_object->class != OBJECT_ALLOCATOR ||
		     !overcommits();
	/*
	 * Arenas by CPU are made when a thread comes to run there, in the middle
	 * of its malloc. So they are all made now. jemalloc 5.2.1 must be given
	 * its own hooks first.
	 */
	len = sizeof(percpu);
	if (jemalloc_functions.mallctl("opt.percpu_arena", &percpu, &len, NULL, 0) != 0 || !percpu || text_equal(percpu, "disabled"))
		return;
	hook_every = true;
	automatic = narenas() - (oversize != 0);
	for (unsigned i = 0; i < automatic; i++) {
		struct extent_scope s;

		jemalloc_scope_begin(&s, i);
		if (!initialized(i))
			control(OUR_HOOKS, i, NULL, 0, &default_hooks, sizeof(default_hooks));
		jemalloc_scope_end(&s, i);
	}
}

static bool find(void)
{
	je_object = NULL;
	objects_each(try_object);
	if (!je_object) {
		part_set(PART_JEMALLOC, PART_DECLINED, REASON_ABSENT);
		return false;
	}
	ask_once();
	return true;
}

/* It was unloaded: what its arenas mapped is still there, and so are its hooks' names. */
static bool still_there(void)
{
	if (je_object->start == je_start && je_object->end)
		return true;
	je_object = NULL;
	settled = asked = false;
	arenas_known = automatic_hooked = 0;
	__builtin_memset(met, 0, sizeof(met));
	for (unsigned i = 0; i < MAX_ARENAS; i++)
		if (arena_at(i))
			store_relaxed(&arena_at(i)->state, (uint32_t)ARENA_NEW);
	store_release(&je_state, 0U);
	return false;
}

/*
 * Which arenas exist jemalloc tells from the state of the last `epoch`, and
 * that is the program's to advance. But to ask for the hooks of one past the
 * automatic ones makes none.
 */
static void hook_all(void)
{
	unsigned n = narenas();

	for (unsigned i = 0; i < MIN(n, MAX_ARENAS); i++) {
		struct arena *a = arena_at(i);

		if (!(a && load_relaxed(&a->state) == ARENA_HOOKED) && (i >= automatic || initialized(i)))
			hook_arena(i);
	}
	store_relaxed(&arenas_known, n);
}

/* --- jemalloc inside a program */

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
		if (control(OUR_LOOKUP, 0, &arena, sizeof(arena), &at, sizeof(at)) == 0) {
			name_extent(arena, range->start, range->end - range->start);
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
	struct fields f = { .library = je_object->name, .tid = thread_tid(), .program = objects_program() };
	struct earlier e;
	void *given;

	if (je_object->class == OBJECT_ALLOCATOR)
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

void jemalloc_thread_bound(unsigned i) { bound = i < automatic ? i + 1 : 0; }

/* Some yields at most: a name is worth no hang. */
static void wait_while(const uint32_t *state, uint32_t value)
{
	for (unsigned tries = 0; tries < MAX_YIELDS && load_acquire(state) == value && sandbox_allows(MAY_YIELD); tries++)
		sys_call6(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

/*
 * A thread's first allocation picks its arena, and may make it. Asking which
 * one does that now, where it can be hooked.
 */
static void settle_arena(void)
{
	struct extent_scope s;
	unsigned i = SCOPE_UNKNOWN;

	asked = true;
	jemalloc_scope_begin(&s, SCOPE_UNKNOWN);
	if (control(OUR_THREAD_ARENA, 0, &i, sizeof(i), NULL, 0) != 0)
		i = SCOPE_UNKNOWN;
	has_state = true;
	jemalloc_scope_met(&s, i);
	if (i == SCOPE_UNKNOWN)
		return;
	hook_arena(i);
	jemalloc_thread_bound(i);
	/* Another thread is at it: what this one maps before it is done would be nobody's. */
	if (arena_at(i))
		wait_while(&arena_at(i)->state, ARENA_BUSY);
}

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

	if (hook_every || !oversize)
		return;
	jemalloc_scope_begin(&s, SCOPE_UNKNOWN);
	if (oversize <= MAX_OVERSIZE)
		p = jemalloc_functions.mallocx(oversize, 0);
	if (p) {
		control(OUR_LOOKUP, 0, &i, sizeof(i), &p, sizeof(p));
		jemalloc_functions.dallocx(p, 0);
	}
	jemalloc_scope_end(&s, i);
	if (i != SCOPE_UNKNOWN && i >= automatic)
		hook_arena(i);
	else
		hook_every = true;
}

void jemalloc_start(void)
{
	/* Before there are others: its first allocation has picked arena 0, or will. */
	first = true;
	bound = 1;
}

/*
 * What the calling thread is asked once. For the first thread that is in our
 * constructor, even where a thread that an earlier constructor started has
 * found jemalloc before.
 */
static void join(void)
{
	if (asked)
		return;
	settle_arena();
	/* The first thread's is arena 0, which also holds jemalloc's own tables. */
	if (first && settled && arena_a_thread() && arena_make(0)) {
		my_arena = 1;
		arena_at(0)->self = (uintptr_t)pthread_self();
		give_to(0, KIND_THREAD_ARENA, thread_tid(), thread_name());
	}
}

/* It has just been found. */
static void set_up(void)
{
	make_oversize();
	hook_all();
	settled = !hook_every || (arena_at(0) && load_relaxed(&arena_at(0)->state) == ARENA_HOOKED);
	name_what_was_before();
	part_set(PART_JEMALLOC, settled ? PART_ACTIVE : PART_DECLINED, settled ? REASON_NONE : REASON_NO_EFFECT);
}

void jemalloc_seek(void)
{
	unsigned generation = objects_generation();
	uint32_t no = 0;

	if (!label_active() || !names_arenas()) {
		part_set(PART_JEMALLOC, PART_DECLINED, REASON_OFF);
		return;
	}
	if (jemalloc_calls() && still_there()) {
		hook_all();
		join();
		return;
	}
	if (generation != load_relaxed(&looked_at) &&
	    __atomic_compare_exchange_n(&je_state, &no, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		store_relaxed(&looked_at, generation);
		no = find() ? 2 : 0;
		if (no)
			set_up();
		store_release(&je_state, no);
	}
	/* Another thread is at it: as in settle_arena. */
	wait_while(&je_state, 1);
	if (jemalloc_calls())
		join();
}

/* --- arenas that come and go ---------------------------------------------------------------------- */

void jemalloc_arena_made(unsigned i)
{
	hook_arena(i);
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

int jemalloc_arena_create(enum kind kind, const char *label, unsigned *arena)
{
	struct extent_hooks *hooks = &made_by_us.ours;
	struct extent_scope s;
	unsigned i = 0;
	struct arena *a;
	int error;

	if (!jemalloc_calls())
		return -ENOTSUP;
	jemalloc_scope_begin(&s, SCOPE_UNKNOWN);
	error = control(OUR_CREATE, 0, &i, sizeof(i), &hooks, sizeof(hooks));
	a = error ? NULL : arena_make(i);
	if (a) {
		a->tid = kind == KIND_THREAD_ARENA ? thread_tid() : 0;
		if (kind == KIND_THREAD_ARENA) {
			text_copy(a->thread[0], COMM_SIZE, label);
			label = a->thread[0];
		}
		store_release(&a->label, label);
		a->kind = (uint8_t)kind;
		a->next = default_hooks;
		store_release(&a->state, (uint32_t)ARENA_HOOKED);
	}
	jemalloc_scope_met(&s, error ? SCOPE_UNKNOWN : i);
	if (error)
		return -error;
	if (!a) {
		control(OUR_DESTROY, i, NULL, 0, NULL, 0);
		jemalloc_arena_gone(i);
		return -ENOMEM;
	}
	*arena = i;
	return 0;
}

int jemalloc_arena_destroy(unsigned i)
{
	struct arena *a = arena_at(i);
	int error;

	a->discard = true;
	error = control(OUR_DESTROY, i, NULL, 0, NULL, 0);
	if (error)
		a->discard = false;
	else
		jemalloc_arena_gone(i);
	return -error;
}

/* --- threads ------------------------------------------------------------------------------------------ */

/* --- an arena a thread */

struct rename {
	unsigned arena;
	char old[ANONNAME_NAME_MAX + 1];
};

static bool rename_one(const struct shown *range, void *context)
{
	const struct rename *r = context;

	if (text_equal(range->name, r->old))
		name_extent(r->arena, range->start, range->end - range->start);
	return true;
}

static void owner_name(unsigned i, char name[ANONNAME_NAME_MAX + 1])
{
	struct fields f;
	enum kind kind = describe(i, &f);

	f.program = objects_program();
	config_format(kind, &f, false, name);
}

/* The arena's owner changes: what it has mapped is found by its name, and gets the new one. */
static void give_to(unsigned i, enum kind kind, uint32_t tid, const char *thread)
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

/* From the arenas whose threads have ended, or a new one. Without one the thread shares, as jemalloc does. */
static void take_arena(void)
{
	unsigned i;

	pthread_mutex_lock(&pool_lock);
	i = pool - 1;
	if (pool)
		pool = arena_at(i)->next_free;
	pthread_mutex_unlock(&pool_lock);
	if (i != UINT32_MAX)
		give_to(i, KIND_THREAD_ARENA, thread_tid(), thread_name());
	else if (jemalloc_arena_create(KIND_THREAD_ARENA, thread_name(), &i) != 0)
		return;
	if (control(OUR_THREAD_ARENA, 0, NULL, 0, &i, sizeof(i)) != 0) {
		jemalloc_arena_destroy(i);
		return;
	}
	arena_at(i)->self = (uintptr_t)pthread_self();
	my_arena = i + 1;
	jemalloc_thread_bound(i);
}

/* What the thread left behind stays in the arena, named by its number until another thread comes. */
void jemalloc_thread_ends(void)
{
	unsigned i = my_arena - 1;

	if (!my_arena || !jemalloc_calls())
		return;
	my_arena = 0;
	control(OUR_FLUSH, 0, NULL, 0, NULL, 0);
	/* Nobody allocates there for a while, and without allocations nothing decays. */
	control(OUR_PURGE, i, NULL, 0, NULL, 0);
	arena_at(i)->self = 0;
	give_to(i, KIND_EXTENT, 0, NULL);
	pthread_mutex_lock(&pool_lock);
	arena_at(i)->next_free = pool;
	pool = i + 1;
	pthread_mutex_unlock(&pool_lock);
}

/* tsd.h: set when jemalloc makes its state of a thread, and again when it has dropped it, to be called once more. */
void jemalloc_thread_state_set(void)
{
	/* Without its state a thread is served from arena 0. */
	if (has_state)
		jemalloc_thread_bound(0);
	has_state = true;
}

void jemalloc_thread_renamed(uintptr_t self, const char *name)
{
	if (!arena_a_thread() || !jemalloc_calls())
		return;
	for (unsigned i = 0; i < MAX_ARENAS; i++) {
		struct arena *a = arena_at(i);

		if (!a)
			i |= CHUNK - 1;
		else if (a->kind == KIND_THREAD_ARENA && a->self == self)
			give_to(i, KIND_THREAD_ARENA, a->tid, name);
	}
}

void jemalloc_thread_begins(const struct new_thread *new)
{
	(void)new;
	if (!names_arenas())
		return;
	if (!jemalloc_calls())
		jemalloc_seek();
	if (!jemalloc_calls())
		return;
	if (load_relaxed(&automatic_hooked) < automatic)
		settle_arena();
	if (arena_a_thread())
		take_arena();
	if (narenas() != load_relaxed(&arenas_known))
		hook_all();
}

/*
 * An arena that another thread was hooking is free to be hooked again. The
 * arenas of threads that do not exist here keep their names: their memory was
 * those threads'.
 */
void jemalloc_fork_child(void)
{
	uint32_t busy = 1;

	pool_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	if (my_arena)
		give_to(my_arena - 1, KIND_THREAD_ARENA, thread_tid(), NULL);

	for (unsigned i = 0; i < MAX_ARENAS; i++) {
		struct arena *a = arena_at(i);

		if (a && load_relaxed(&a->state) == ARENA_BUSY)
			store_relaxed(&a->state, (uint32_t)ARENA_NEW);
	}
	if (__atomic_compare_exchange_n(&je_state, &busy, 0, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		store_relaxed(&looked_at, 0U);
}

/* --- the program's own calls ----------------------------------------------------------------------------- */

enum jemalloc_control jemalloc_control(const size_t *mib, size_t len)
{
	static const struct {
		uint8_t what;
		enum jemalloc_control means;
	} table[] = {
		{ OUR_CREATE, CONTROL_CREATE },
		{ OUR_DESTROY, CONTROL_DESTROY },
		{ OUR_HOOKS, CONTROL_HOOKS },
		{ OUR_THREAD_ARENA, CONTROL_BIND },
	};

	for (size_t t = 0; t < ARRAY_SIZE(table); t++) {
		const struct mib *m = &mibs[table[t].what];

		if (len && len == m->len && mib[0] == m->at[0] && mib[len - 1] == m->at[len - 1])
			return table[t].means;
	}
	return CONTROL_OTHER;
}

bool jemalloc_hooks_get(unsigned i, struct extent_hooks **program)
{
	struct arena *a = arena_at(i);

	if (!a || load_acquire(&a->state) != ARENA_HOOKED)
		return false;
	*program = load_acquire(&a->next);
	return true;
}

bool jemalloc_hooks_set(unsigned i, struct extent_hooks *program)
{
	struct arena *a = arena_at(i);

	if (!a || load_acquire(&a->state) != ARENA_HOOKED)
		return false;
	/* A program that got hold of ours (by a call that nobody could see) must not be sent in a circle. */
	if (program != &a->ours)
		stand_before(a, program);
	return true;
}
