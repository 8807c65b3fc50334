/* SPDX-License-Identifier: MIT */
/*
 * Who may change the registry. See queue.h.
 *
 *     a thread, or a signal handler above one
 *         | holder free?  yes: hold -> apply what waits -> make the change -> let go
 *         | no
 *         v
 *     note -> waiting (newest first) -> applying (oldest first) -> the holder makes the change
 *             order_waiting             order_applying
 *
 * A handler may leave any of this by a jump (longjmp), and a thread may end in
 * the middle of it. So whatever is held is marked with the address of the frame
 * that holds it: the thread itself, called again in a frame further up, sees
 * that the frame is gone, and puts in order what it left. To others a thread
 * that is gone looks the same as one that is stopped, and two in one change
 * would be the end of both: nobody else takes anything away.
 */
#include "sink/registry/queue.h"

#include "arch.h"
#include "base/own.h"
#include "base/root.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "sink/registry/registry.h"

/*
 * taken: 0 free; the frame that writes it, and that it stays until the holder is
 * through with it; then DONE, until the holder has forgotten it. Never a part of the op.
 */
struct note {
	uintptr_t taken;
	struct note *next;         /* the one that was handed in before */
	struct note *after;        /* the one that was handed in next; the holder's */
	struct op op;
};
#define DONE 1U

/*
 * 64 notes: more than threads that can be inside a change at once on most
 * machines. When a thread is kept from running in the middle of a change, or a
 * handler above one makes many calls, more come by the chunk.
 */
#define FIRST_NOTES 64U
#define CHUNK_SIZE (64UL << 10)
#define CHUNKS 8U
static struct note first_notes[FIRST_NOTES] COLD_BSS;
static struct note *chunk[CHUNKS];
#define CHUNK_NOTES (CHUNK_SIZE / sizeof(struct note))

#define MAX_SPINS 2000U
#define MAX_YIELDS 1000U
/* So often the holder looks for new notes before it asks others to wait for it. */
#define MANY_ROUNDS 4U

static uintptr_t holder;                /* the frame that holds the registry; 0: nobody */
static struct note *cut;                /* the holder's: what it takes from those that wait, newest first */
static bool left;                       /* a change was left in the middle: see recover */
static bool short_of_notes;
static bool crowded;                    /* the holder asks others to wait: see let_go */
static bool alone;                      /* in a fork's child, which has no other threads yet */

/* Handlers of fork run while it is held: no frame tells that it is not. */
#define FORK_FRAME UINTPTR_MAX
static THREAD_LOCAL bool fork_holds;
bool registry_lost_changes;
bool queue_wanted;

/* --- unmaps ------------------------------------------------------------------------ */

void registry_unmapped(uintptr_t start, uintptr_t end, uint32_t stamp)
{
	struct op op = { .kind = OP_CLEAR, .start = start, .end = end, .stamp = stamp, .unless_newer = true };

	if (start < end)
		queue_change(&op);
}

void registry_unmap_end(struct registry_unmap unmap, uintptr_t start, uintptr_t end, bool unmapped)
{
	if (unmapped)
		registry_unmapped(start, end, unmap.stamp);
	if (likely(unmap.slot != NULL))
		store_release(unmap.slot, 0UL);
	else
		__atomic_sub_fetch(&order_unmaps_without, 1, __ATOMIC_RELEASE);
	if (likely(registry_open.unmaps != 0))
		registry_open.unmaps--;
}

/* --- notes --------------------------------------------------------------------------- */

static struct note *note_in(struct note *from, size_t count, uintptr_t frame)
{
	for (size_t i = 0; i < count; i++)
		if (slot_claim(&from[i].taken, frame))
			return &from[i];
	return NULL;
}

static struct note *note_take(uintptr_t frame)
{
	struct note *note = note_in(first_notes, FIRST_NOTES, frame), *more;

	for (unsigned i = 0; !note && i < CHUNKS && (more = load_acquire(&chunk[i])); i++)
		note = note_in(more, CHUNK_NOTES, frame);
	return note;
}

/* Another chunk. Its pages are named once they can be used: to name them may take a note. */
static bool more_notes(void)
{
	for (unsigned i = 0; i < CHUNKS; i++) {
		struct note *none = NULL, *more;

		if (load_relaxed(&chunk[i]))
			continue;
		more = own_pages(CHUNK_SIZE);
		if (!more)
			return false;
		if (__atomic_compare_exchange_n(&chunk[i], &none, more, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
			count_add(COUNT_BYTES, CHUNK_SIZE);
			own_note(more, CHUNK_SIZE, "registry");
			return true;
		}
		/* Another thread was faster: its chunk will do. */
		if (sandbox_allows(MAY_UNMAP))
			sys_munmap(more, CHUNK_SIZE);
		return true;
	}
	return false;
}

static bool list_has(const struct note *list, const struct note *note, bool forwards)
{
	while (list && list != note)
		list = forwards ? list->after : list->next;
	return list != NULL;
}

/*
 * Notes that a jump left are free again: those that the holder had done, and
 * those that were never handed in because their writer's frame is gone.
 */
static void collect(struct note *from, size_t count, uintptr_t here)
{
	for (size_t i = 0; i < count; i++) {
		struct note *note = &from[i];
		uintptr_t taken = load_acquire(&note->taken);
		bool nobodys = taken == DONE || frame_is_gone(taken, here) || (alone && !frame_is_mine(taken));

		if (taken && nobodys && !list_has(load_acquire(&order_waiting), note, false) &&
		    !list_has(cut, note, false) && !list_has(order_applying, note, true))
			store_release(&note->taken, 0UL);
	}
}

/* For the holder, where something was left in the middle or notes ran short. */
static void recover(uintptr_t here)
{
	struct note *more;

	store_relaxed(&left, false);
	store_relaxed(&short_of_notes, false);
	if (order_applying || list_has(load_acquire(&order_waiting), cut, false))
		cut = NULL;
	collect(first_notes, FIRST_NOTES, here);
	for (unsigned i = 0; i < CHUNKS && (more = load_acquire(&chunk[i])); i++)
		collect(more, CHUNK_NOTES, here);
	alone = false;
}

/* Takes what waits off its list. It is in order_waiting, in `cut` or in order_applying at each instant. */
static void take_waiting(void)
{
	struct note *newest, *oldest = NULL;

	while (!cut && (newest = load_acquire(&order_waiting))) {
		struct note *expected = newest;

		cut = newest;
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		if (!__atomic_compare_exchange_n(&order_waiting, &expected, NULL, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			cut = NULL;
	}
	for (struct note *n = cut, *after = NULL; n; after = n, n = n->next) {
		n->after = after;
		oldest = n;
	}
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	order_applying = oldest;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	cut = NULL;
}

static __attribute__((noinline)) void apply_waiting(uintptr_t frame)
{
	if (unlikely(load_relaxed(&left) || load_relaxed(&short_of_notes)))
		recover(frame);
	if (!order_applying)
		take_waiting();
	while (order_applying) {
		struct note *note = order_applying, *after = note->after;

		registry_apply(&note->op);
		/* These are addresses of the program's memory: see leaf_replace. */
		note->op.start = note->op.end = note->op.to = 0;
		store_relaxed(&note->taken, (uintptr_t)DONE);
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		order_applying = after;
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		store_release(&note->taken, 0UL);
		if (!after)
			take_waiting();
	}
}

static inline bool something_waits(void)
{
	return load_relaxed(&order_waiting) || load_relaxed(&left);
}

/* --- who holds it ----------------------------------------------------------------------- */

/*
 * frame: the caller's, which stays until it lets go. False where somebody else
 * holds. The frame is noted before and after: a handler may come in between,
 * and hold and let go itself.
 *
 *     who leaves a note              the holder
 *     waiting = note   (seq_cst)     holder = 0        (seq_cst)
 *     holder ?         (seq_cst)     waiting ?         (seq_cst)
 *
 * One of the two sees what the other wrote, so no note is left to nobody. With a
 * weaker load of the holder aarch64 may make it before the note is visible.
 */
static inline bool hold(uintptr_t frame)
{
	uintptr_t nobody = 0;

	if (__atomic_load_n(&holder, __ATOMIC_SEQ_CST))
		return false;
	registry_open.holder = frame;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (!__atomic_compare_exchange_n(&holder, &nobody, frame, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		registry_open.holder = 0;
		return false;
	}
	registry_open.holder = frame;
	return true;
}

/* In the frame below us, which does not go on before we return. */
static bool held_below(void)
{
	uintptr_t frame = load_relaxed(&holder);

	return fork_holds || (frame && frame == registry_open.holder) || frame_is_mine(frame);
}

/* true: it is somebody else's, or nobody's, and we are through. Else a note came just before, and we hold it again. */
static inline bool release(uintptr_t frame)
{
	__atomic_store_n(&holder, 0, __ATOMIC_SEQ_CST);
	registry_open.holder = 0;
	return likely(!__atomic_load_n(&order_waiting, __ATOMIC_SEQ_CST)) || !hold(frame);
}

/*
 * Others may leave notes as fast as these are applied. After some rounds they
 * wait for us a while before they leave another one, so this ends.
 */
static __attribute__((noinline)) void let_go_applying(uintptr_t frame)
{
	unsigned rounds = 0;

	do {
		if (unlikely(something_waits()))
			apply_waiting(frame);
		if (unlikely(++rounds == MANY_ROUNDS))
			store_relaxed(&crowded, true);
	} while (!release(frame));
	if (unlikely(rounds >= MANY_ROUNDS))
		store_relaxed(&crowded, false);
}

static inline void let_go(uintptr_t frame)
{
	if (unlikely(something_waits()) || unlikely(!release(frame)))
		let_go_applying(frame);
}

/*
 * A handler jumped out of our change (longjmp), or our vfork child was killed in
 * it. What it was building was not published, so the registry is whole.
 */
static bool take_back(uintptr_t here)
{
	uintptr_t frame = load_relaxed(&holder);

	if (!frame_is_gone(frame, here))
		return false;
	store_relaxed(&left, true);
	return __atomic_compare_exchange_n(&holder, &frame, 0, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

static inline void change(struct op *op, uintptr_t frame)
{
	if (unlikely(something_waits()))
		apply_waiting(frame);
	registry_apply(op);
	let_go(frame);
}

static void pass_time(unsigned tries)
{
	if (tries < MAX_SPINS)
		arch_relax();
	else if (sandbox_allows(MAY_YIELD))
		sys_call6(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

/*
 * The holder was put off its processor, or has more to do than it gets done: let
 * it run, unless it is the frame below us. Then more notes are got; without any
 * the change is lost, and noted as that.
 */
static struct note *note_wait(uintptr_t frame, bool *held)
{
	struct note *note = NULL;

	for (unsigned tries = 0; tries < MAX_SPINS + MAX_YIELDS && !held_below(); tries++) {
		pass_time(tries);
		*held = hold(frame);
		if (*held || (!load_relaxed(&crowded) && (note = note_take(frame))))
			return note;
	}
	store_relaxed(&short_of_notes, true);
	while (!(note = note_take(frame)) && more_notes())
		;
	if (!note) {
		count_add(COUNT_DROPPED, 1);
		store_relaxed(&registry_lost_changes, true);
	}
	return note;
}

static __attribute__((noinline)) void submit_note(struct op *op, uintptr_t frame)
{
	struct note *note = load_relaxed(&crowded) ? NULL : note_take(frame);
	bool held = false;

	if (unlikely(!note))
		note = note_wait(frame, &held);
	if (held)
		change(op, frame);
	if (!note)
		return;
	note->op = *op;
	note->next = load_relaxed(&order_waiting);
	while (!__atomic_compare_exchange_n(&order_waiting, &note->next, note, true, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
		;
	/* The holder may have looked just before. */
	registry_settle();
}

void queue_submit(struct op *op)
{
	uintptr_t frame = (uintptr_t)__builtin_frame_address(0);

	if (likely(hold(frame)) || (take_back(frame) && hold(frame)))
		change(op, frame);
	else
		submit_note(op, frame);
}

void registry_settle(void)
{
	uintptr_t frame = (uintptr_t)__builtin_frame_address(0);

	if (hold(frame) || (take_back(frame) && hold(frame)))
		let_go(frame);
}

void registry_notice_left(uintptr_t here)
{
	order_forget_gone(here);
	if (take_back(here))
		registry_settle();
	else if (registry_open.holder != load_relaxed(&holder))
		registry_open.holder = 0;
}

bool registry_lost_and_quiet(void)
{
	return !load_relaxed(&holder) && __atomic_exchange_n(&registry_lost_changes, false, __ATOMIC_RELAXED);
}

/* --- what waits, looked up ------------------------------------------------------------------ */

/* What the note makes of the name at *addr. A move sends the search on to where it came from. */
static enum registry_waits says(const struct op *op, uintptr_t *addr)
{
	uintptr_t a = *addr;

	switch ((enum op_kind)op->kind) {
	case OP_SET: return a >= op->start && a < op->end ? REGISTRY_NAMED : REGISTRY_SAYS_NOTHING;
	case OP_CLEAR: return a >= op->start && a < op->end ? REGISTRY_CLEARED : REGISTRY_SAYS_NOTHING;
	case OP_START: return REGISTRY_SAYS_NOTHING;
	case OP_MOVE: break;
	}
	if (a >= op->to && a - op->to < op->to_len)
		*addr = op->start + MIN(a - op->to, op->end - op->start - 1);
	else if (a >= op->start && a < op->end && !op->keep)
		return REGISTRY_CLEARED;
	return REGISTRY_SAYS_NOTHING;
}

/* From the note on, to those before it, up to `last`. */
static enum registry_waits search_back(const struct note *note, const struct note *last, uintptr_t *addr, const struct op **found)
{
	enum registry_waits said = REGISTRY_SAYS_NOTHING;

	for (; note && said == REGISTRY_SAYS_NOTHING; note = note == last ? NULL : note->next) {
		said = says(&note->op, addr);
		*found = &note->op;
	}
	return said;
}

enum registry_waits registry_waiting(uintptr_t *addr, struct registry_range *range, char *name)
{
	const struct note *newest;
	const struct op *op = NULL;
	enum registry_waits said;

	/* Else the notes are applied, or another thread does that now. */
	if (!held_below() || !load_relaxed(&holder))
		return REGISTRY_SAYS_NOTHING;
	for (newest = order_applying; newest && newest->after;)
		newest = newest->after;
	said = search_back(load_acquire(&order_waiting), NULL, addr, &op);
	if (said == REGISTRY_SAYS_NOTHING)
		said = order_applying ? search_back(newest, order_applying, addr, &op) : search_back(cut, NULL, addr, &op);
	if (said != REGISTRY_NAMED)
		return said;
	range->start = op->start;
	range->end = op->end;
	__builtin_memcpy(name, op->name, op->len);
	name[op->len] = '\0';
	return said;
}

/* --- threads that end, and fork ------------------------------------------------------------ */

/* No frame of the thread goes on. */
void registry_thread_end(void)
{
	uintptr_t frame = load_relaxed(&holder);

	order_forget_mine();
	if (!frame || fork_holds || !held_below())
		return;
	store_relaxed(&left, true);
	__atomic_compare_exchange_n(&holder, &frame, 0, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
	registry_settle();
}

void registry_fork_prepare(void)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);

	/* Not for ever: the holder may be a thread that is stopped, or the frame below us. */
	take_back(here);
	for (unsigned spins = 0; spins < 100 * MAX_SPINS && !held_below(); spins++) {
		fork_holds = hold(FORK_FRAME);
		arch_relax();
	}
}

void registry_fork_parent(void)
{
	if (!fork_holds)
		return;
	fork_holds = false;
	let_go(FORK_FRAME);
}

/* Only we exist here: what other threads held and had on its way is nobody's. */
void registry_fork_child(void)
{
	order_forget_others();
	if (!fork_holds && held_below())
		return;         /* we are inside the change ourselves, and go on with it */
	alone = true;
	store_relaxed(&left, true);
	if (!fork_holds)
		store_relaxed(&holder, 0UL);
	registry_fork_parent();
	registry_settle();
}
