/* SPDX-License-Identifier: MIT */
/*
 * What happens, as the hooks see it, and what follows from it. They call these
 * functions after the system call succeeded; nothing here can make it fail.
 * event.c is where to start reading.
 */
#ifndef ANONNAME_EVENT_EVENT_H
#define ANONNAME_EVENT_EVENT_H

#include "label/label.h"
#include "label/mapping.h"
#include "label/thread.h"
#include "sink/sink.h"

/* --- memory: event.c */

void event_mapped(const struct mapping *m);

/* A part of a mapping, or several, is about to become executable in the memory of that kind. */
void event_executable(const struct mapping *m);

/* The same of memory that is to be written. */
void event_writable(uintptr_t start, size_t len);

/* libc's malloc gave a chunk that no hook saw: a mapping of its own, or one in a heap of a thread's arena. */
void event_chunk(uintptr_t start, size_t len, uintptr_t caller, uintptr_t frame);
void event_chunk_in_heap(uintptr_t chunk);

/* Before anything is unmapped or moved; event_unmapped or event_moved ends it. */
static inline struct sink_unmap event_unmap_begin(void);
void event_unmapped(struct sink_unmap unmap, uintptr_t start, size_t len, bool unmapped);
void event_moved(struct sink_unmap unmap, uintptr_t old, size_t old_len, uintptr_t to, size_t to_len, int flags);
void event_sigstack(uintptr_t start, size_t len);

/* The program has named memory itself: its name wins over what an owner would say. */
void event_program_named(void);

/* --- the process: life.c */

/*
 * Reads the configuration, the loaded objects and what is mapped already.
 * Runs once, at the first call of a hook or in the constructor, whichever
 * comes first, and before a second thread exists.
 */
void event_start(void);

/* A thread is about to be given this stack by the program; it got it not. */
void event_stack_given(uintptr_t start, uintptr_t end);
void event_stack_not_given(uintptr_t start, uintptr_t end);

/* From inside the thread. */
void event_thread_begins(const struct new_thread *new);
void event_thread_ends(void);

/* The calling thread exits here: what a handler interrupted of ours does not go on, and holds nothing. */
void event_thread_exits(void);

/* The thread whose control block (pthread_self) is at self has a new name. */
void event_thread_renamed(uintptr_t self, const char *name);

/* A safe moment: no lock of an allocator's or of the dynamic linker's is held, and objects may have come or gone. */
void event_look(void);

/* dlopen has returned, or something else that is called without malloc's locks held. */
void event_objects_changed(void);

/* Around dlclose; frame: the caller's, which ends with the call, also by a jump. */
struct event_close {
	struct sink_unmap unmap;
	bool paused;            /* nobody walks through what goes away */
};
struct event_close event_objects_closing(uintptr_t frame);
void event_objects_closed(struct event_close close);

/* A dlopen goes on behind our back: the next call that can bring the table up to date should. */
void event_objects_will_change(void);
void event_objects_catch_up(void);

/* After the start: does the kernel tell a child that it is one? If not, only these handlers do. */
bool event_notices_forks(void);
void event_fork_prepare(void);
void event_fork_parent(void);
void event_fork_child(void);

/* pthread_atfork, which not every libc has under one name. */
void event_at_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void));

/* A fork that no handler saw (a raw clone): notices it, and does what the handler would have done. */
static inline void event_notice_fork(void);

/*
 * A child that runs in our memory (vfork) is the caller: what it does to itself
 * is none of the parent's. False where that cannot be found out.
 */
bool event_by_guest(void);

/* --- */

extern uint32_t *event_fork_mark OURS;          /* 0 there: a child that nobody has noticed */

static inline void event_notice_fork(void)
{
	if (unlikely(!load_relaxed(event_fork_mark)))
		event_fork_child();
}

struct sink_unmap event_unmap_begin_in(uintptr_t frame);

/* In the caller's own frame: it ends when the caller does, also by a jump. */
static inline __attribute__((always_inline)) struct sink_unmap event_unmap_begin(void)
{
	return event_unmap_begin_in((uintptr_t)__builtin_frame_address(0));
}

#endif
