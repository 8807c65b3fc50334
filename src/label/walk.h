/* SPDX-License-Identifier: MIT */
/*
 * Who asked malloc: walks the stack from a call that libc, an allocator or the
 * C++ runtime made, to the first frame that is none of these. The answer is
 * kept by call path, so the same path is walked once.
 */
#ifndef ANONNAME_LABEL_WALK_H
#define ANONNAME_LABEL_WALK_H

#include "label/objects.h"

/* Decides whether walking is possible. Maps nothing yet. */
void walk_start(bool wanted);

/*
 * caller: the return address of the hook's caller. frame: an address in the
 * hook's own frame, the same distance from the caller's frame in each call
 * from there. Returns the object, or NULL where it cannot be told.
 */
const struct object *walk_to_owner(uintptr_t caller, uintptr_t frame);

/*
 * The same walk for others: visit hears of each frame from the caller's on, until
 * it says that it has enough (false). ip: its return address. at: where on the
 * stack that stands; 0: not found, or the first frame's. Returns false where
 * there was no end of it.
 */
typedef bool walk_visit(uintptr_t ip, uintptr_t at, void *context);
bool walk_frames(uintptr_t caller, uintptr_t frame, walk_visit *visit, void *context);

/*
 * Around a dlclose: a walk reads the unwind tables of objects, and they are unmapped
 * now. Waits for a walk that is on its way, and until walk_resume() no other begins:
 * the caller that it would have found is then not known. False: the wait took too
 * long, and there is nothing to resume.
 * frame: the caller's own. When a handler leaves dlclose by a jump (longjmp), nobody
 * calls walk_resume(), but the frame is gone, and by that the pause is seen to be over.
 */
bool walk_pause(uintptr_t frame);
void walk_resume(bool paused);

/* The calling thread ends: none of its frames goes on. */
void walk_thread_end(void);

void walk_fork_prepare(void);
void walk_fork_parent(void);
void walk_fork_child(void);

#endif
