/* SPDX-License-Identifier: MIT */
/*
 * jemalloc in this process: found at run time, never linked to. What it maps
 * is named by the arena. An mmap alone does not tell which; two things do. Of
 * the automatic arenas, that each thread is bound to one. Everywhere else (or
 * on request everywhere) extent hooks of ours, which forward to the ones that
 * were there and name what they map.
 *
 * Three contexts. In a hook (extent hook, mmap) nothing may call mallctl,
 * which takes a lock that the caller may hold. Where an arena is being made,
 * a scope catches its mappings. Everything else here is for a safe context:
 * the constructor, the start and the end of a thread, after dlopen and
 * dlclose, and calls of the public API.
 */
#ifndef ANONNAME_OWNER_JEMALLOC_H
#define ANONNAME_OWNER_JEMALLOC_H

#include "label/label.h"
#include "label/objects.h"
#include "label/thread.h"

/* jemalloc(3), "extent_hooks_t". Those that return bool return false for success. */
struct extent_hooks {
	void *(*alloc)(struct extent_hooks *, void *addr, size_t size, size_t align, bool *zero, bool *commit, unsigned arena);
	bool (*dalloc)(struct extent_hooks *, void *addr, size_t size, bool committed, unsigned arena);
	void (*destroy)(struct extent_hooks *, void *addr, size_t size, bool committed, unsigned arena);
	bool (*commit)(struct extent_hooks *, void *addr, size_t size, size_t offset, size_t len, unsigned arena);
	bool (*decommit)(struct extent_hooks *, void *addr, size_t size, size_t offset, size_t len, unsigned arena);
	bool (*purge_lazy)(struct extent_hooks *, void *addr, size_t size, size_t offset, size_t len, unsigned arena);
	bool (*purge_forced)(struct extent_hooks *, void *addr, size_t size, size_t offset, size_t len, unsigned arena);
	bool (*split)(struct extent_hooks *, void *addr, size_t size, size_t a, size_t b, bool committed, unsigned arena);
	bool (*merge)(struct extent_hooks *, void *a, size_t a_size, void *b, size_t b_size, bool committed, unsigned arena);
};

/* jemalloc(3): the calls that we make. */
struct jemalloc {
	int (*mallctl)(const char *name, void *old, size_t *old_len, void *new, size_t new_len);
	int (*mallctlnametomib)(const char *name, size_t *mib, size_t *mib_len);
	int (*mallctlbymib)(const size_t *mib, size_t mib_len, void *old, size_t *old_len, void *new, size_t new_len);
	void *(*mallocx)(size_t size, int flags);
	void *(*rallocx)(void *p, size_t size, int flags);
	size_t (*sallocx)(const void *p, int flags);
	void (*dallocx)(void *p, int flags);
};

/* The functions of the one that was found. */
extern struct jemalloc jemalloc_functions;

/* NULL: none in the process, or not to be touched. */
const struct jemalloc *jemalloc_calls(void);

/* Is it the object that has them? */
bool jemalloc_is(const struct object *o);

/* The names of the two functions by which a program may change hooks, with its prefix. */
const char *jemalloc_mallctl_name(void);
const char *jemalloc_mallctlbymib_name(void);

/* Safe contexts: look for jemalloc if there is none yet, and hook the arenas that have no hooks of ours. */
void jemalloc_seek(void);

/* As owner.h has them; jemalloc_look also turns the slots of new objects that call it (slots.c). */
bool jemalloc_mapped(const struct mapping *m, const struct object *asker, enum kind *kind);
void jemalloc_unmapped(uintptr_t start, size_t len);
void jemalloc_start(void);
void jemalloc_thread_begins(const struct new_thread *new);
void jemalloc_thread_ends(void);
void jemalloc_thread_renamed(uintptr_t self, const char *name);
void jemalloc_look(void);
void jemalloc_program_named(void);
void jemalloc_fork_child(void);

/* jemalloc has called pthread_setspecific in this thread, for its only key. */
void jemalloc_thread_state_set(void);

/* This thread allocates from that arena from now on. */
void jemalloc_thread_bound(unsigned arena);

/* Bytes, but for blocks. What lies in the caches of threads is live. */
struct jemalloc_figures {
	uint64_t live, trimmable, pinned, metadata, resident, blocks;
};

/* 0 or -ENOTSUP: it was built without statistics. */
int jemalloc_arena_figures(unsigned arena, struct jemalloc_figures *figures);

/*
 * Between begin and end this thread makes an arena, or changes one: what
 * jemalloc maps is kept, and named when the arena's index is known.
 */
struct extent_scope {
	struct extent_scope *outer;
	uint32_t arena;                 /* SCOPE_UNKNOWN: not known yet */
	uint32_t count;                 /* ranges below; more are named "heap" */
	bool program_named;             /* the program has named memory itself */
	struct {
		uintptr_t start;
		size_t len;
	} range[8];
};
#define SCOPE_UNKNOWN UINT32_MAX
void jemalloc_scope_begin(struct extent_scope *s, uint32_t arena);
/* Memory that jemalloc got: named after the innermost scope, or kept for its end where the arena is not known yet. */
void jemalloc_name_mapped(uintptr_t start, size_t len);
void jemalloc_scope_end(struct extent_scope *s, uint32_t arena);

/*
 * Ends a scope of SCOPE_UNKNOWN in which this arena may have been made: it was
 * if nobody has met it before. Its own block comes last then (ctl.c:
 * ctl_arena_init); what jemalloc maps before that, tables of its own and a
 * thread's cache, is arena 0's.
 */
void jemalloc_scope_met(struct extent_scope *s, uint32_t arena);

/* A new arena with our hooks: its extents are called after the label by that kind's template. Returns 0 or -errno. */
int jemalloc_arena_create(enum kind kind, const char *label, unsigned *arena);

/* Gives all its memory back. Nobody may be using it. */
int jemalloc_arena_destroy(unsigned arena);

/* What the program's own mallctl calls mean for us; see slots.c. */
void jemalloc_arena_made(unsigned arena);
void jemalloc_arena_gone(unsigned arena);
bool jemalloc_hooks_get(unsigned arena, struct extent_hooks **program);
bool jemalloc_hooks_set(unsigned arena, struct extent_hooks *program);

/* arenas.create, arena.<i>.destroy, arena.<i>.extent_hooks and thread.arena as jemalloc numbers them. */
enum jemalloc_control { CONTROL_OTHER, CONTROL_CREATE, CONTROL_DESTROY, CONTROL_HOOKS, CONTROL_BIND };
enum jemalloc_control jemalloc_control(const size_t *mib, size_t len);

#endif
