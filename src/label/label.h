/* SPDX-License-Identifier: MIT */
/*
 * From an event to a name: what the region is, who asked for it, what it is
 * called. The hooks call these functions after the system call succeeded;
 * nothing here can make it fail. label.c is where to start reading.
 */
#ifndef ANONNAME_LABEL_LABEL_H
#define ANONNAME_LABEL_LABEL_H

#include "label/config.h"
#include "sink/sink.h"

/* Mappings from here up get their thread's id: few enough, and worth telling apart. */
#define BIG_MAPPING (1UL << 20)

/* A mapping that the program, or libc for it, has just made. */
struct mapping {
	uintptr_t start;
	size_t len;
	int prot;
	int flags;
	uintptr_t caller;       /* the return address of the call */
	uintptr_t frame;        /* the hook's own frame, for walk_to_owner */
};

/*
 * Reads the configuration, the loaded objects and what is mapped already.
 * Runs once, at the first call of a hook or in the constructor, whichever
 * comes first, and before a second thread exists.
 */
void label_start(void);

/* May be asked at any time: false before label_start, and when nothing is to be named. */
static inline bool label_active(void) { return sink_modes() != 0; }

void label_mapped(const struct mapping *m);

/* A part of a mapping, or several, is about to become executable in the memory of that kind. */
void label_executable(const struct mapping *m);

/* Before anything is unmapped or moved; label_unmapped, label_moved or label_objects_closed ends it. */
static inline struct sink_unmap label_unmap_begin(void);
/* A chunk of libc's malloc that is a mapping of its own, which no hook saw. */
void label_chunk(uintptr_t start, size_t len, uintptr_t caller, uintptr_t frame);
void label_unmapped(struct sink_unmap unmap, uintptr_t start, size_t len, bool unmapped);
void label_moved(struct sink_unmap unmap, uintptr_t old, size_t old_len, uintptr_t to, size_t to_len, int flags);
void label_sigstack(uintptr_t start, size_t len);

/* The program has named memory itself: its name wins over what an extent hook would say. */
void label_program_named(void);

/* dlopen and dlclose have returned, or something else that is called without malloc's locks held. */
void label_objects_changed(void);
void label_objects_closed(struct sink_unmap unmap);

/* A dlopen goes on behind our back: the next call that can bring the table up to date should. */
void label_objects_will_change(void);
void label_objects_catch_up(void);

/* After the start: does the kernel tell a child that it is one? If not, only these handlers do. */
bool label_notices_forks(void);
void label_fork_prepare(void);
void label_fork_parent(void);
void label_fork_child(void);

/* pthread_atfork, which not every libc has under one name. */
void label_at_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void));

/* A fork that no handler saw (a raw clone): notices it, and does what the handler would have done. */
void label_notice_fork(void);

/*
 * A child that runs in our memory (vfork) is the caller: what it does to itself
 * is none of the parent's. False where that cannot be found out.
 */
bool label_by_guest(void);

/*
 * May a piece of a mapping be named? Only private anonymous memory that is not
 * malloc's: there the name would stay when it is freed. And with kernel names
 * not out of the middle of a region that huge pages may back, which an edge
 * would split. Reads maps.
 */
bool label_fits(uintptr_t start, size_t len);

struct sink_unmap label_unmap_begin_in(uintptr_t frame);

/* In the caller's own frame: it ends when the caller does, also by a jump. */
static inline __attribute__((always_inline)) struct sink_unmap label_unmap_begin(void)
{
	return label_unmap_begin_in((uintptr_t)__builtin_frame_address(0));
}

/* Names a whole range by its kind; the fields that every name may use are filled in. */
void label_range(enum kind kind, uintptr_t start, size_t len, const struct fields *f);

#endif
