/* SPDX-License-Identifier: MIT */
/*
 * The calls that map, unmap and move memory.
 *
 * As a rule the exported symbol (arch/NAME/stubs.S) jumps on to libc's function with
 * the stack as it found it, and our jump there leads to detoured_mmap, which so
 * sees the program's own return address and frame: nothing has to be remembered.
 *
 * Somebody may stand in between: another preloaded library, or a patch on
 * libc's function that leads to a tool's hook. Then the caller can no longer be
 * seen from below, and perhaps the call never comes by below. So it goes by way
 * of by_mmap, which keeps who called in the thread's `way`, calls on, and
 * names what came of it unless that was done on the way.
 *
 *   mmap, exported --> by_mmap --> the next mmap --> ... --> detoured_mmap or syscall()
 *                         |  way: caller, frame                   |
 *                         |<------------------- way: named -------'
 *                         v
 *                   named here if it was not
 *
 * A patch on our own exported symbol is meant for all calls in the process, too:
 * those that libc makes inside are led through it then, in the same way.
 */
#include "hook/hook.h"

#include <errno.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/sys.h"
#include "event/event.h"
#include "hook/detour.h"
#include "label/objects.h"
#include "label/thread.h"
#include "label/walk.h"

struct hook_direct hook_direct[CALL_COUNT];
uint64_t hook_undo[CALL_COUNT];
enum hook_trial hook_trial;

static long with_errno(long r)
{
	if (unlikely(sys_failed(r))) {
		errno = (int)-r;
		return -1;
	}
	return r;
}

/* --- the way of a call -------------------------------------------------------------- */

/*
 * The call that this thread has on its way through others' functions. It is
 * known below by its first two arguments: what a signal handler or a tool asks
 * for meanwhile is another call. Each way is kept by value and put back after
 * the call, so one that a longjmp has left behind is never followed anywhere:
 * the next way overwrites it, and until then it fits no call but the same one.
 */
static THREAD_LOCAL struct way {
	enum hook_call call;            /* written last: before that nothing fits */
	bool taken;                     /* it came by below, and was made there */
	const void *addr;
	size_t len;
	uintptr_t caller, frame;
	long result;                    /* of what was made below */
} way;

/* For signal handlers of the same thread. */
static void in_this_order(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static void way_put(const struct way *w)
{
	way.call = CALL_NONE;
	in_this_order();
	way.taken = w->taken;
	way.addr = w->addr;
	way.len = w->len;
	way.caller = w->caller;
	way.frame = w->frame;
	way.result = w->result;
	in_this_order();
	way.call = w->call;
}

/* Returns what was on its way before, for way_end. */
static struct way way_begin(enum hook_call call, const void *addr, size_t len, uintptr_t caller, uintptr_t frame)
{
	struct way outer = way;

	way_put(&(struct way){ .call = call, .addr = addr, .len = len, .caller = caller, .frame = frame });
	return outer;
}

/* true: this very call was made and named below. */
static bool way_end(const struct way *outer, uintptr_t frame, long result)
{
	bool named = way.frame == frame && way.taken && way.result == result;

	way_put(outer);
	return named;
}

static bool is_libc(uintptr_t caller)
{
	const struct object *o = objects_find(caller);

	return o && o->class == OBJECT_LIBC;
}

/* Is it the call on its way? What libc asks for inside, in a handler's malloc for one, never is. */
static bool on_its_way(enum hook_call call, const void *addr, size_t len, uintptr_t caller)
{
	return way.call == call && !way.taken && way.addr == addr && way.len == len && !is_libc(caller);
}

static inline bool way_take(enum hook_call call, const void *addr, size_t len, uintptr_t caller)
{
	if (likely(way.call != call) || !on_its_way(call, addr, len, caller))
		return false;
	way.taken = true;
	return true;
}

/* --- our own ---------------------------------------------------------------------- */

static void mapped(long r, size_t len, int prot, int flags, uintptr_t caller, uintptr_t frame)
{
	struct mapping m = {
		.start = (uintptr_t)r, .len = len, .prot = prot, .flags = flags, .caller = caller, .frame = frame,
	};

	event_mapped(&m);
}

/* What is kept out of line, so that the rest needs no registers for it. */
#define SELDOM __attribute__((noinline, cold))

/* Built into detoured_mmap and hook_mmap: a call less on the way that every call takes. Likewise below. */
#define BUILT_IN static inline __attribute__((always_inline))

BUILT_IN long make_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off, uintptr_t caller, uintptr_t frame)
{
	bool on_way = way_take(CALL_MMAP, addr, len, caller);
	long r = sys_mmap(addr, len, prot, flags, fd, off);

	if (unlikely(r == -ENOMEM) && sink_give_back())
		r = sys_mmap(addr, len, prot, flags, fd, off);
	if (unlikely(on_way)) {
		caller = way.caller;
		frame = way.frame;
		way.result = r;
	}
	if (likely(!sys_failed(r)))
		mapped(r, len, prot, flags, caller, frame);
	return r;
}

static uint64_t bytes_at(uintptr_t function)
{
	return *(const uint64_t *)function;
}

/* A breakpoint comes and goes, and leads nowhere else. */
static bool is_patched(uint64_t now, uint64_t before)
{
	return !detour_breakpoints_only((const uint8_t *)&now, (const uint8_t *)&before, sizeof(now)) &&
	       !detour_breakpoints_only((const uint8_t *)&before, (const uint8_t *)&now, sizeof(now));
}

static bool libc_is_patched(enum hook_call call)
{
	const struct hook_direct *d = &hook_direct[call];

	return d->detoured && bytes_at(d->detoured) != d->libc_bytes && is_patched(bytes_at(d->detoured), d->libc_bytes);
}

/* Likely within the frames of a hook and what it calls. */
#define HOOK_FRAMES 1024

static bool find_code(const struct object *o, uintptr_t inside, uintptr_t *start, uintptr_t *end)
{
	const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)o->start;
	const ElfW(Phdr) *segment = (const ElfW(Phdr) *)(o->start + header->e_phoff);

	for (unsigned i = 0; i < header->e_phnum; i++, segment++) {
		*start = o->base + segment->p_vaddr;
		*end = *start + segment->p_memsz;
		if (segment->p_type == PT_LOAD && inside >= *start && inside < *end)
			return true;
	}
	return false;
}

/* A word on the stack that looks like libc's return address, and whether a frame goes on there. */
struct suspect {
	uintptr_t word, at;
	bool is_frame, passed;
};

static bool look_for_suspect(uintptr_t ip, uintptr_t at, void *context)
{
	struct suspect *s = context;

	s->is_frame = ip == s->word;
	s->passed = at > s->at;
	return !s->is_frame && !s->passed;
}

/* Something old may stand on the stack, too. Where nobody can walk so far, it is believed. */
static bool is_live(struct suspect s, uintptr_t caller, uintptr_t frame)
{
	walk_frames(caller, frame, look_for_suspect, &s);
	return s.is_frame || !s.passed;
}

/*
 * A hook that somebody has put on libc's mmap asks in the place of who called
 * it. If that was libc, its return address stands on the stack, behind a call of
 * mmap. The program's own calls are on their way by by_mmap.
 */
static uintptr_t who_called_libc(uintptr_t caller, uintptr_t frame)
{
	uintptr_t function = hook_direct[CALL_MMAP].detoured, start, end, top = MIN(thread_self()->stack_end, frame + HOOK_FRAMES);
	const struct object *libc = objects_find(function);

	if (!libc || is_libc(caller) || frame < thread_self()->stack_start || !find_code(libc, function, &start, &end))
		return caller;
	for (uintptr_t at = frame; at + sizeof(uintptr_t) <= top; at += sizeof(uintptr_t)) {
		uintptr_t word = *(const uintptr_t *)at;

		if (word > start + 8 && word < end && detour_called(word) == function &&
		    is_live((struct suspect){ word, at, false, false }, caller, frame))
			return word;
	}
	return caller;
}

long hook_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off, uintptr_t caller, uintptr_t frame)
{
	if (unlikely(libc_is_patched(CALL_MMAP)) && !on_its_way(CALL_MMAP, addr, len, caller))
		caller = who_called_libc(caller, frame);
	return make_mmap(addr, len, prot, flags, fd, off, caller, frame);
}

BUILT_IN long make_munmap(void *addr, size_t len, uintptr_t caller)
{
	bool on_way = way_take(CALL_MUNMAP, addr, len, caller);
	struct sink_unmap unmap = event_unmap_begin();
	long r = sys_munmap(addr, len);

	if (unlikely(r == -ENOMEM) && sink_give_back())
		r = sys_munmap(addr, len);
	if (unlikely(on_way))
		way.result = r;
	event_unmapped(unmap, (uintptr_t)addr, len, r == 0);
	return r;
}

long hook_munmap(void *addr, size_t len, uintptr_t caller)
{
	return make_munmap(addr, len, caller);
}

static void moved(struct sink_unmap unmap, void *old, size_t old_len, long r, size_t len, int flags)
{
	if (likely(!sys_failed(r)))
		event_moved(unmap, (uintptr_t)old, old_len, (uintptr_t)r, len, flags);
	else
		event_unmapped(unmap, 0, 0, false);
}

long hook_mremap(void *old, size_t old_len, size_t len, int flags, void *to, uintptr_t caller)
{
	bool on_way = way_take(CALL_MREMAP, old, old_len, caller);
	struct sink_unmap unmap = event_unmap_begin();
	long r = sys_mremap(old, old_len, len, flags, to);

	if (unlikely(r == -ENOMEM) && sink_give_back())
		r = sys_mremap(old, old_len, len, flags, to);
	if (unlikely(on_way))
		way.result = r;
	moved(unmap, old, old_len, r, len, flags);
	return r;
}

static SELDOM void before_code(void *addr, size_t len, int prot, uintptr_t caller)
{
	event_executable(&(struct mapping){ .start = (uintptr_t)addr, .len = len, .prot = prot, .flags = MAP_PRIVATE | MAP_ANONYMOUS,
					     .caller = caller });
}

/*
 * Code is called differently from before it can be executed, and an allocator may call differently
 * what it begins to use. The second time this finds nothing to do.
 */
static inline void before_mprotect(void *addr, size_t len, int prot, uintptr_t caller)
{
	if (unlikely(prot & PROT_EXEC))
		before_code(addr, len, prot, caller);
	else if (prot & PROT_WRITE)
		event_writable((uintptr_t)addr, len);
}

/* Each of these may need one more VMA, and names must not be why there is none. */
long hook_mprotect(void *addr, size_t len, int prot, uintptr_t caller)
{
	long r;

	before_mprotect(addr, len, prot, caller);
	r = sys_mprotect(addr, len, prot);
	if (unlikely(r == -ENOMEM) && sink_give_back())
		r = sys_mprotect(addr, len, prot);
	return r;
}

long hook_pkey_mprotect(void *addr, size_t len, int prot, int key, uintptr_t caller)
{
	long r;

	before_mprotect(addr, len, prot, caller);
	r = sys_call6(SYS_pkey_mprotect, SYS_ARG(addr), SYS_ARG(len), prot, key, 0, 0);
	if (unlikely(r == -ENOMEM) && sink_give_back())
		r = sys_call6(SYS_pkey_mprotect, SYS_ARG(addr), SYS_ARG(len), prot, key, 0, 0);
	return r;
}

/* --- by way of others ------------------------------------------------------------------ */

/* A call of theirs failed. Is it worth another try? Its errno is then the one before. */
static bool gave_back(int before)
{
	if (likely(errno != ENOMEM && errno != EAGAIN) || !sink_give_back())
		return false;
	errno = before;
	return true;
}

typedef void *mmap_function(void *, size_t, int, int, int, off_t);
typedef int munmap_function(void *, size_t);
typedef void *mremap_function(void *, size_t, size_t, int, ...);

static void *by_mmap(mmap_function *next, void *addr, size_t len, int prot, int flags, int fd, off_t off,
		     uintptr_t caller, uintptr_t frame)
{
	struct way outer = way_begin(CALL_MMAP, addr, len, caller, frame);
	int before = errno;
	void *p = next(addr, len, prot, flags, fd, off);

	if (unlikely(p == MAP_FAILED) && gave_back(before))
		p = next(addr, len, prot, flags, fd, off);
	if (!way_end(&outer, frame, (long)p) && p != MAP_FAILED)
		mapped((long)p, len, prot, flags, caller, frame);
	return p;
}

static int by_munmap(munmap_function *next, void *addr, size_t len, uintptr_t caller, uintptr_t frame)
{
	struct sink_unmap unmap = event_unmap_begin();
	struct way outer = way_begin(CALL_MUNMAP, addr, len, caller, frame);
	int before = errno, r = next(addr, len);

	if (unlikely(r != 0) && gave_back(before))
		r = next(addr, len);
	event_unmapped(unmap, (uintptr_t)addr, len, !way_end(&outer, frame, r) && r == 0);
	return r;
}

static void *by_mremap(mremap_function *next, void *old, size_t old_len, size_t len, int flags, void *to,
		       uintptr_t caller, uintptr_t frame)
{
	struct sink_unmap unmap = event_unmap_begin();
	struct way outer = way_begin(CALL_MREMAP, old, old_len, caller, frame);
	int before = errno;
	void *p = next(old, old_len, len, flags, to);

	if (unlikely(p == MAP_FAILED) && gave_back(before))
		p = next(old, old_len, len, flags, to);
	moved(unmap, old, old_len, way_end(&outer, frame, (long)p) ? -EALREADY : (long)p, len, flags);
	return p;
}

/* --- where the detour leads --------------------------------------------------------------- */

static uintptr_t own_function(enum hook_call call)
{
	static void *const own[] = {
		[CALL_MMAP] = (void *)hook_own_mmap, [CALL_MUNMAP] = (void *)hook_own_munmap,
		[CALL_MREMAP] = (void *)hook_own_mremap, [CALL_MPROTECT] = (void *)hook_own_mprotect,
	};

	return (uintptr_t)own[call];
}

/* As they were when we began, as they nearly always are. libc's matters where the caller does. */
static inline bool own_untouched(enum hook_call call, void *own)
{
	return likely(bytes_at((uintptr_t)own) == hook_direct[call].own_bytes);
}

static inline bool libc_untouched(enum hook_call call)
{
	return likely(bytes_at(hook_direct[call].detoured) == hook_direct[call].libc_bytes);
}

static bool own_is_patched(enum hook_call call)
{
	return is_patched(bytes_at(own_function(call)), hook_direct[call].own_bytes);
}

#define CALL_BYTES 5U           /* no more are read before a return address, */
#define STUB_BYTES 16U          /* and from the beginning of a stub */

/* The function that was called there, through a stub if it was; 0: not known. */
static uintptr_t called_function(uintptr_t return_address)
{
	uintptr_t function = objects_can_be_read(return_address - CALL_BYTES, CALL_BYTES) ? detour_called(return_address) : 0;
	uintptr_t slot = objects_can_be_read(function, STUB_BYTES) ? detour_stub_slot(function) : 0;

	return objects_can_be_read(slot, sizeof(slot)) ? *(const uintptr_t *)slot : function;
}

/*
 * What comes from no code of libc's may come from libc all the same, by a jump:
 * free() of glibc 2.31 ends with one to munmap, and the return address is that of
 * free's caller. Or it comes from a hook on our own symbol, which passes it on by
 * that symbol's beginning, moved elsewhere: then this is what was called. And from
 * the first time on it goes by by_munmap, so that what comes so is on its way.
 */
static bool libc_jumped(enum hook_call call, uintptr_t caller)
{
	bool all_on_their_ways = !load_relaxed(&hook_direct[call].libc);
	uintptr_t called = all_on_their_ways ? 0 : called_function(caller);

	store_relaxed(&hook_direct[call].libc, (uintptr_t)0);
	return call != CALL_MPROTECT && way.call != call && (all_on_their_ways || (called && called != own_function(call)));
}

/*
 * A call arrived whose own or libc's function was touched. true: libc asked
 * inside, and our exported symbol leads to somebody who wants to hear of it.
 *
 * A uretprobe hides the return address behind one of the kernel's, which lies
 * in no object. A program's call comes by by_mmap then, so this one is libc's.
 */
static bool must_go_round(enum hook_call call, const void *addr, size_t len, uintptr_t *caller)
{
	if (on_its_way(call, addr, len, *caller))
		return false;
	if (!libc_untouched(call) && !objects_find(*caller))
		*caller = hook_direct[call].detoured;
	if (!own_is_patched(call))
		return false;
	return is_libc(*caller) || libc_jumped(call, *caller);
}

/*
 * A trial of detour_install's. It comes by the touched_... below, because our own
 * function is made to look touched as long as it lasts, and goes no further:
 * a system call less for each.
 */
static bool is_trial(const void *addr)
{
	if (likely(hook_trial != TRIAL_UNDER_WAY) || addr != TRIAL_ADDRESS)
		return false;
	hook_trial = TRIAL_ARRIVED;
	return true;
}

static SELDOM void *touched_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off, uintptr_t caller, uintptr_t frame)
{
	if (is_trial(addr))
		return MAP_FAILED;
	if (must_go_round(CALL_MMAP, addr, len, &caller))
		return by_mmap(hook_own_mmap, addr, len, prot, flags, fd, off, caller, frame);
	return (void *)with_errno(hook_mmap(addr, len, prot, flags, fd, off, caller, frame));
}

void *detoured_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	if (!own_untouched(CALL_MMAP, (void *)hook_own_mmap) || !libc_untouched(CALL_MMAP))
		return touched_mmap(addr, len, prot, flags, fd, off, CALLER, FRAME);
	return (void *)with_errno(make_mmap(addr, len, prot, flags, fd, off, CALLER, FRAME));
}

static SELDOM int touched_munmap(void *addr, size_t len, uintptr_t caller, uintptr_t frame)
{
	if (is_trial(addr))
		return -1;
	if (must_go_round(CALL_MUNMAP, addr, len, &caller))
		return by_munmap(hook_own_munmap, addr, len, caller, frame);
	return (int)with_errno(hook_munmap(addr, len, caller));
}

int detoured_munmap(void *addr, size_t len)
{
	if (!own_untouched(CALL_MUNMAP, (void *)hook_own_munmap))
		return touched_munmap(addr, len, CALLER, FRAME);
	return (int)with_errno(make_munmap(addr, len, CALLER));
}

/* mremap(2): only MREMAP_FIXED and MREMAP_DONTUNMAP have a fifth argument. Without one its register holds anything. */
static void *fifth(int flags, void *to)
{
	return flags & ~MREMAP_MAYMOVE ? to : NULL;
}

static SELDOM void *touched_mremap(void *old, size_t old_len, size_t len, int flags, void *to, uintptr_t caller, uintptr_t frame)
{
	if (is_trial(old))
		return MAP_FAILED;
	if (must_go_round(CALL_MREMAP, old, old_len, &caller))
		return by_mremap(hook_own_mremap, old, old_len, len, flags, to, caller, frame);
	return (void *)with_errno(hook_mremap(old, old_len, len, flags, to, caller));
}

void *detoured_mremap(void *old, size_t old_len, size_t len, int flags, void *to)
{
	to = fifth(flags, to);
	if (!own_untouched(CALL_MREMAP, (void *)hook_own_mremap))
		return touched_mremap(old, old_len, len, flags, to, CALLER, FRAME);
	return (void *)with_errno(hook_mremap(old, old_len, len, flags, to, CALLER));
}

static SELDOM int touched_mprotect(void *addr, size_t len, int prot, uintptr_t caller)
{
	if (is_trial(addr))
		return -1;
	if (must_go_round(CALL_MPROTECT, addr, len, &caller)) {
		before_mprotect(addr, len, prot, caller);
		return hook_own_mprotect(addr, len, prot);
	}
	return (int)with_errno(hook_mprotect(addr, len, prot, caller));
}

int detoured_mprotect(void *addr, size_t len, int prot)
{
	if (!own_untouched(CALL_MPROTECT, (void *)hook_own_mprotect))
		return touched_mprotect(addr, len, prot, CALLER);
	return (int)with_errno(hook_mprotect(addr, len, prot, CALLER));
}

/* --- where the exported symbols go when they cannot jump on to libc's function -------------- */

void *hook_by_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);
void *hook_by_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	hook_start();
	return by_mmap(hook_next_of(mmap), addr, len, prot, flags, fd, off, CALLER, FRAME);
}

int hook_by_munmap(void *addr, size_t len);
int hook_by_munmap(void *addr, size_t len)
{
	hook_start();
	return by_munmap(hook_next_of(munmap), addr, len, CALLER, FRAME);
}

void *hook_by_mremap(void *old, size_t old_len, size_t len, int flags, void *to);
void *hook_by_mremap(void *old, size_t old_len, size_t len, int flags, void *to)
{
	hook_start();
	to = fifth(flags, to);
	return by_mremap(hook_next_of(mremap), old, old_len, len, flags, to, CALLER, FRAME);
}

int hook_by_mprotect(void *addr, size_t len, int prot);
int hook_by_mprotect(void *addr, size_t len, int prot)
{
	int before = errno, r;

	hook_start();
	before_mprotect(addr, len, prot, CALLER);
	r = hook_next_of(mprotect)(addr, len, prot);
	if (unlikely(r != 0) && gave_back(before))
		r = hook_next_of(mprotect)(addr, len, prot);
	return r;
}

/* --- exported, without a detour --------------------------------------------------------------- */

EXPORT int pkey_mprotect(void *addr, size_t len, int prot, int key)
{
	int before = errno, r;

	hook_start();
	if (!hook_next_of(pkey_mprotect))
		return (int)with_errno(hook_pkey_mprotect(addr, len, prot, key, CALLER));       /* not glibc */
	before_mprotect(addr, len, prot, CALLER);
	r = hook_next.pkey_mprotect(addr, len, prot, key);
	if (unlikely(r != 0) && gave_back(before))
		r = hook_next.pkey_mprotect(addr, len, prot, key);
	return r;
}

/* mm/madvise.c says EAGAIN where a VMA cannot be split, before 5.17 ENOMEM. */
EXPORT int madvise(void *addr, size_t len, int advice)
{
	int before = errno, r;

	hook_start();
	r = hook_next_of(madvise)(addr, len, advice);
	if (unlikely(r != 0) && gave_back(before))
		r = hook_next_of(madvise)(addr, len, advice);
	return r;
}

/*
 * The heap needs no name, the kernel calls it [heap]. But a part that shrinks
 * away takes names along that the program gave it.
 */
EXPORT int brk(void *to)
{
	bool ready = hook_start();
	uintptr_t before = ready && label_active() ? (uintptr_t)hook_next_of(sbrk)(0) : 0;
	int r = hook_next_of(brk)(to);

	if (r == 0 && (uintptr_t)to < before)
		sink_forget(page_up((uintptr_t)to), before - page_up((uintptr_t)to));
	return r;
}

EXPORT void *sbrk(intptr_t increment)
{
	bool ready = hook_start();
	void *r = hook_next_of(sbrk)(increment);

	if (ready && increment < 0 && r != (void *)-1) {
		uintptr_t after = (uintptr_t)r + (uintptr_t)increment;

		if (page_up(after) < (uintptr_t)r)
			sink_forget(page_up(after), (uintptr_t)r - page_up(after));
	}
	return r;
}
