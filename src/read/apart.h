/* SPDX-License-Identifier: MIT */
/*
 * Work that another process can make hang, done in children that may be left
 * behind. A read of somebody else's memory waits for whoever serves its pages,
 * which may be a FUSE server or a userfaultfd of that process that never
 * answers; such a read does not end even by SIGKILL. A reading of maps waits
 * for a lock that such a fault holds. So all that touches a process runs in a
 * child, and what it finds comes back through shared memory:
 *
 *   apart_run()  <--- messages ---  ring (shared)  <---  work(item), work(item), ...
 *        |  10 s without an end of the item: SIGKILL, -ETIME, the next child goes on
 *        |  1 s: a second child goes on with the other items meanwhile
 *
 * One child does all the items, as long as none is slow: it costs one fork for
 * a whole report.
 */
#ifndef ANONNAME_READ_APART_H
#define ANONNAME_READ_APART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct apart;

/* Child: a message to take(), copied. Waits while nobody takes them. */
void apart_send(struct apart *out, uint32_t kind, const void *head, size_t head_size, const void *rest,
                size_t rest_size);

/* Child: what is left to do for this item cannot hang, and is not counted any more. */
void apart_safe(struct apart *out);

struct apart_job {
	size_t items;
	/* In a child. Its result, 0 or a negative errno, arrives at done(). */
	int (*work)(void *context, size_t item, struct apart *out);
	/* Here, in the order of one child's messages. data is aligned for any type. Not 0: all work ends. */
	int (*take)(void *context, size_t item, uint32_t kind, const void *data, size_t size);
	/*
	 * Here, once for each item. -ETIME: it took too long; -EIO: the child died; -EAGAIN: no child could be had.
	 * NULL where there is but one item: what it would hear is apart_run()'s result.
	 */
	int (*done)(void *context, size_t item, int error);
	/* Here, a few times a second; may be NULL. true: no more items are begun, and those under way end with -EINTR. */
	bool (*stop)(void *context);
	void *context;
};

/*
 * 0, or -EINTR after stop(), or what take() or done() returned, or without done() the
 * item's error, or a negative errno where nothing could begin.
 */
int apart_run(const struct apart_job *job);

#endif
