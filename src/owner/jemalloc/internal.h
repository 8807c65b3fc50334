/* SPDX-License-Identifier: MIT */
/*
 * What the files of this folder share; nobody else includes it. From the bottom:
 *
 *   ctl.c      finds jemalloc's functions, and asks it by mallctl
 *   arenas.c   the table of arenas, and what each is called
 *   scope.c    names what jemalloc maps, by the arena for which it does
 *   hooks.c    the extent hooks, and arenas that have ours from the start
 *   threads.c  which arena a thread allocates from, or has for itself
 *   life.c     finds it, sets it up, notices that it went
 *   slots.c    the program's own calls of mallctl
 */
#ifndef ANONNAME_OWNER_JEMALLOC_INTERNAL_H
#define ANONNAME_OWNER_JEMALLOC_INTERNAL_H

#include "label/thread.h"
#include "owner/jemalloc/jemalloc.h"

/* --- ctl.c: what is known of it */

extern struct je {
	const struct object *object;
	uintptr_t start;                /* of the object: another one may come to its place */
	uint32_t state;                 /* 0: none, 1: being found and set up, 2: there */
	unsigned looked_at;             /* objects_generation when it was last looked for */
	bool settled;                   /* from now on a mapping without a scope need not be arena 0's */
	bool hook_every;                /* hooks on every arena: where its threads do not tell one (see je_thread) */
	bool mixed;                     /* opt.hpa: one mapping is for many arenas, and hooks would turn that off */
	bool retain;                    /* opt.retain: jemalloc's own dalloc always refuses */
	const char *mallctl_name, *mallctlbymib_name;
	struct extent_hooks *default_hooks;
	size_t oversize;                /* opt.oversize_threshold; 0: no such arena */
	unsigned automatic;             /* opt.narenas */
	uint32_t automatic_hooked;
	uint32_t arenas_known;          /* arenas.narenas when we last looked */
} je OURS;

static inline bool je_arena_a_thread(void) { return config_choice[CHOICE_JEMALLOC_ARENAS] == JEMALLOC_ARENAS_THREAD; }
static inline bool je_names_arenas(void) { return config_choice[CHOICE_JEMALLOC] <= JEMALLOC_HOOKS; }
/* The arena of the thread that maps is the arena of what is mapped. */
static inline bool je_threads_tell(void) { return je_names_arenas() && !je.hook_every && !je.mixed; }

/* mallctl's names; those up to OUR_PURGE have an arena's index in them. */
enum je_name { OUR_HOOKS, OUR_INITIALIZED, OUR_DESTROY, OUR_PURGE, OUR_CREATE, OUR_NARENAS, OUR_THREAD_ARENA, OUR_FLUSH, OUR_LOOKUP, MIBS };

/* Looks for an object that has all of its functions: je.object, or NULL. Then asks for the numbers of the names above. */
void je_search(void);
void je_number_names(void);

/* Returns what mallctl does: 0 or an errno. i: the arena, where the name has one. */
int je_control(unsigned what, unsigned i, void *old, size_t old_len, void *new, size_t new_len);
unsigned je_narenas(void);
bool je_initialized(unsigned i);

/* --- arenas.c */

/* jemalloc_types.h: MALLCTL_ARENAS_ALL is 4096; an index is below that. */
#define MAX_ARENAS 4096U
#define ARENA_CHUNK 64U

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

/* NULL: nobody has met one of that number; or, of arena_make, no memory. */
struct arena *arena_at(unsigned i);
struct arena *arena_make(unsigned i);

/* Whether nobody has met this arena since it was made. */
bool arena_meet(uint32_t i);

/* jemalloc was unloaded. */
void arenas_forget(void);

void arena_name_extent(unsigned i, uintptr_t start, size_t len);

/* The arena's owner changes: what it has mapped is found by its name, and gets the new one. */
void arena_give_to(unsigned i, enum kind kind, uint32_t tid, const char *thread);

/* --- scope.c, threads.c: the calling thread */

extern THREAD_LOCAL struct je_thread {
	struct extent_scope *scope;
	uint32_t arena;                 /* the arena that belongs to this thread, + 1 */
	/*
	 * The automatic arena that it allocates from, + 1; 0: not known. Hooks
	 * cost, and take away what jemalloc does only with its own; so an
	 * automatic arena is left without ours where its threads tell what it maps.
	 */
	uint32_t bound;
	bool asked;                     /* it has been asked for its arena */
	bool first;                     /* the process's first thread */
	bool has_state;                 /* jemalloc has made its state of this thread */
} je_thread OURS;

/* Asks for the thread's arena, and hooks it. */
void je_settle_arena(void);

/* What the calling thread is asked once, when jemalloc is there. */
void je_join(void);

/* An arena of the thread's own: where ANONNAME_JEMALLOC_ARENAS says so. */
void je_take_arena(void);

/* Some yields at most: a name is worth no hang. */
void je_wait_while(const uint32_t *state, uint32_t value);

/* --- hooks.c */

/* Hooks of arenas that we make ourselves. */
extern struct arena hooks_made_by_us OURS;

/* Ours before these, which may be jemalloc's own or the program's. */
void hooks_stand_before(struct arena *a, struct extent_hooks *next);

/* Puts our hooks before those of an arena that exists; false: it has them, or another thread is at it. */
bool hooks_put(unsigned i);

/* Before those of all arenas that exist. */
void je_hook_all(void);

#endif
