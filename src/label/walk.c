/* SPDX-License-Identifier: MIT */
/* Finds the library that asked, with libunwind. See walk.h. */
#include "label/walk.h"

#include "base/root.h"

#ifndef HAVE_LIBUNWIND

void walk_start(bool wanted) { part_set(PART_WALK, PART_DECLINED, wanted ? REASON_NOT_INSTALLED : REASON_OFF); }
const struct object *walk_to_owner(uintptr_t caller, uintptr_t frame) { (void)caller; (void)frame; return NULL; }
bool walk_frames(uintptr_t caller, uintptr_t frame, walk_visit *visit, void *context)
{
	(void)caller; (void)frame; (void)visit; (void)context;
	return false;
}
bool walk_pause(uintptr_t frame) { (void)frame; return false; }
void walk_resume(bool paused) { (void)paused; }
void walk_fork_prepare(void) { }
void walk_fork_parent(void) { }
void walk_fork_child(void) { }
void walk_thread_end(void) { }

#else

#include <libunwind.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "arch.h"
#include "base/own.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "label/borrow.h"
#include "label/thread.h"
#include "registers.h"

/* The longest walk, and the longest that is kept. */
#define MAX_FRAMES 32
#define PATH_FRAMES 8
#define PATHS 64U
#define WAYS 8U                 /* places that one caller's paths may take */

/* libunwind wants about 8 KiB of stack itself. With less than this left the walk is not taken. */
#define STACK_NEEDED (64UL << 10)

/*
 * A call path, as the words on the stack that told it: `depth` return
 * addresses and how far above the hook's frame each of them lay. Frames of
 * libc and of allocators have a fixed size, so the same path has the same
 * words at the same distances.
 */
struct path {
	uint32_t version;       /* odd while it is written */
	uint8_t depth;
	uint16_t offset[PATH_FRAMES];
	uintptr_t caller;
	uintptr_t word[PATH_FRAMES];
	const struct object *owner;
	uintptr_t owner_start;  /* the object may have been unloaded since */
};

static struct path paths[PATHS] COLD_BSS;
static uintptr_t walking;                       /* one walk at a time: the frame that takes it; 0: none */
static bool in_libunwind;                       /* the walker is inside: left there, its state cannot be trusted */
static bool enabled;

/* What one walk may read: the stack from the hook's frame to its end. */
static uintptr_t stack_low, stack_high;
/* Where the unwind table lies that was asked for last, in this walk. */
static uintptr_t table_low, table_high;
static uintptr_t start_regs[40] COLD_BSS;

/* --- libunwind, borrowed -------------------------------------------------------- */

#define STRING(x) #x
#define NAME_OF(x) STRING(x)
#define UNWIND_SYMBOL(fn) NAME_OF(UNW_OBJ(fn))

static struct {
	unw_addr_space_t (*create_addr_space)(unw_accessors_t *, int);
	int (*init_remote)(unw_cursor_t *, unw_addr_space_t, void *);
	int (*step)(unw_cursor_t *);
	int (*get_reg)(unw_cursor_t *, int, unw_word_t *);
	int (*set_caching_policy)(unw_addr_space_t, unw_caching_policy_t);
	int (*search_table)(unw_addr_space_t, unw_word_t, unw_dyn_info_t *, unw_proc_info_t *, int, void *);
} unwind;
static unw_addr_space_t space;
static uint64_t tables_kept;                    /* since which generation of objects, and 1; 0: not */

/*
 * Its memory, kept for when it begins anew (see borrow_libunwind): it asks for
 * the same again then.
 */
static struct {
	void *start;
	size_t size;
} pieces[16] COLD_BSS;
static unsigned pieces_used;

static void *piece(size_t size)
{
	unsigned i = pieces_used;

	if (i == ARRAY_SIZE(pieces))
		return own_map(size, "walk");
	pieces_used++;
	if (pieces[i].size >= size)
		return memset(pieces[i].start, 0, size);
	pieces[i].start = own_map(size, "walk");
	pieces[i].size = pieces[i].start ? size : 0;
	return pieces[i].start;
}

/* What libunwind gets in place of libc's: nothing here locks, and memory is never the program's. */
static void *unwind_malloc(size_t size) { return piece(size); }
static void *unwind_calloc(size_t n, size_t size) { return piece(n * size); }
static void unwind_free(void *p) { (void)p; }

/* Its pools of records. It maps nothing else, and unmaps nothing. */
static void *unwind_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	void *p = flags & MAP_ANONYMOUS ? piece(len) : NULL;

	(void)addr; (void)prot; (void)fd; (void)off;
	return p ? p : MAP_FAILED;
}

static int unwind_getpagesize(void) { return (int)page_size; }

/* One walk at a time, so one copy of its thread-local data does. */
static void *unwind_tls_get_addr(void *index)
{
	static char block[64] __attribute__((aligned(16)));

	(void)index;
	return block;
}

static int *unwind_errno_location(void)
{
	static int value;

	return &value;
}

/* By a call, and not by address, as an address in a table is one more symbol to look up at each start. */
static void *unwind_memcpy(void *to, const void *from, size_t n) { return memcpy(to, from, n); }
static void *unwind_memmove(void *to, const void *from, size_t n) { return memmove(to, from, n); }
static void *unwind_memset(void *to, int c, size_t n) { return memset(to, c, n); }
/* In brackets it is the function, and not C23's macro, which gives back a pointer to const. */
static void *unwind_memchr(const void *in, int c, size_t n) { return (memchr)(in, c, n); }
static size_t unwind_strlen(const char *s) { return strlen(s); }
static int unwind_strcmp(const char *a, const char *b) { return strcmp(a, b); }

/* For what stays off our path: debug frames in files, compressed symbol tables, messages. */
static long missing(void) { return 0; }

static const struct import imports[] = {
	{ "malloc", (void *)unwind_malloc }, { "calloc", (void *)unwind_calloc }, { "free", (void *)unwind_free },
	{ "mmap", (void *)unwind_mmap }, { "getpagesize", (void *)unwind_getpagesize },
	{ "memcpy", (void *)unwind_memcpy }, { "memmove", (void *)unwind_memmove }, { "memset", (void *)unwind_memset },
	{ "memchr", (void *)unwind_memchr }, { "strlen", (void *)unwind_strlen }, { "strcmp", (void *)unwind_strcmp },
	{ "__tls_get_addr", (void *)unwind_tls_get_addr }, { "__errno_location", (void *)unwind_errno_location },
};

/* false: the address lies in no table of that object. */
static bool enter_table(const struct object *o, uintptr_t addr)
{
	if (!o || addr < o->unwind_start || addr > o->unwind_end - sizeof(addr))
		return false;
	table_low = o->unwind_start;
	table_high = o->unwind_end;
	return true;
}

static int access_mem(unw_addr_space_t as, unw_word_t addr, unw_word_t *value, int write, void *arg)
{
	(void)as;
	(void)arg;
	if (write)
		return -UNW_EINVAL;
	if (addr < table_low || addr > table_high - sizeof(*value)) {
		if ((addr < stack_low || addr > stack_high - sizeof(*value)) && !enter_table(objects_find(addr), addr))
			return -UNW_EINVAL;
	}
	memcpy(value, (const void *)addr, sizeof(*value));
	/* libunwind 1.6 knows nothing of signatures, 1.8 asks a callback that 1.6 has no room for. */
	if (arch_unsign(*value) != *value && objects_find(arch_unsign(*value)))
		*value = arch_unsign(*value);
	return 0;
}

static int access_reg(unw_addr_space_t as, unw_regnum_t reg, unw_word_t *value, int write, void *arg)
{
	(void)as;
	(void)arg;
	if (write || reg < 0 || (size_t)reg >= ARRAY_SIZE(start_regs))
		return -UNW_EBADREG;
	*value = start_regs[reg];
	return 0;
}

static int access_fpreg(unw_addr_space_t as, unw_regnum_t reg, unw_fpreg_t *value, int write, void *arg)
{
	(void)as; (void)reg; (void)value; (void)write; (void)arg;
	return -UNW_EBADREG;
}

/*
 * The header of the unwind table: version 1, and the encodings that every
 * linker writes (LSB, "Exception Frames"). Anything else: no walk through it.
 */
static bool eh_frame_hdr_is_known(uintptr_t hdr)
{
	static const unsigned char known[4] = { 1, 0x1b, 0x03, 0x3b };

	return hdr && memcmp((const void *)hdr, known, sizeof(known)) == 0;
}

/*
 * unw_dyn_info_t with a remote table. Between 1.3 and 1.6 libunwind put a word into the
 * middle, and its soname stayed; so not as the headers have it that we were built with.
 */
struct table_1_3 {
	void *next, *previous;
	unw_word_t start, end, gp;
	int32_t format, pad;
	unw_word_t name, base, length, data;
	unw_word_t unused[4];
};

struct table_1_6 {
	void *next, *previous;
	unw_word_t start, end, gp;
	int32_t format, pad;
	unw_word_t load_offset;
	unw_word_t name, base, length, data;
	unw_word_t unused[3];
};
_Static_assert(sizeof(struct table_1_3) >= sizeof(unw_dyn_info_t) && sizeof(struct table_1_6) >= sizeof(unw_dyn_info_t), "room for both");

#define TABLE(version, o, entries) &(struct table_##version){ \
	.start = (o)->start, .end = (o)->end, .format = UNW_INFO_FORMAT_REMOTE_TABLE, \
	.base = (o)->eh_frame_hdr, .data = (o)->eh_frame_hdr + 12, .length = (entries) * 8UL / sizeof(unw_word_t) }

/* Which it is shows when one is understood: in the other an address stands for a length, and nothing can be read there. */
static enum { ANY_TABLE, TABLE_1_3, TABLE_1_6 } understood;

/* Our own table in place of dl_iterate_phdr and its lock. */
static int find_proc_info(unw_addr_space_t as, unw_word_t ip, unw_proc_info_t *info, int need_unwind_info, void *arg)
{
	const struct object *o = objects_find(ip);
	uint32_t entries;
	int r = -UNW_ENOINFO;

	if (!o || !eh_frame_hdr_is_known(o->eh_frame_hdr))
		return -UNW_ENOINFO;
	/* Header: 4 bytes of encodings, .eh_frame's address, the number of entries, then pairs of 4 bytes. */
	memcpy(&entries, (const char *)o->eh_frame_hdr + 8, sizeof(entries));
	if (understood != TABLE_1_3) {
		r = unwind.search_table(as, ip, (void *)TABLE(1_6, o, entries), info, need_unwind_info, arg);
		understood = r >= 0 ? TABLE_1_6 : understood;
	}
	if (understood != TABLE_1_6) {
		r = unwind.search_table(as, ip, (void *)TABLE(1_3, o, entries), info, need_unwind_info, arg);
		understood = r >= 0 ? TABLE_1_3 : understood;
	}
	return r;
}

static void put_unwind_info(unw_addr_space_t as, unw_proc_info_t *info, void *arg)
{
	(void)as; (void)info; (void)arg;
}

static int get_dyn_info_list_addr(unw_addr_space_t as, unw_word_t *list, void *arg)
{
	(void)as; (void)list; (void)arg;
	return -UNW_ENOINFO;
}

static int resume(unw_addr_space_t as, unw_cursor_t *cursor, void *arg)
{
	(void)as; (void)cursor; (void)arg;
	return -UNW_EINVAL;
}

#define SONAME "libunwind-" NAME_OF(UNW_TARGET) ".so.8"

static bool borrow_libunwind(void)
{
	static const char *const where[] = {
		UNWIND_LIBDIR "/" SONAME,
		ARCH_LIBDIR "/" SONAME,
		"/usr/lib64/" SONAME,
		"/usr/lib/" SONAME,
	};
	/* The library copies as many callbacks as it knows: 1.8 has three more than 1.6. */
	static struct {
		unw_accessors_t known;
		void *newer[8];
	} accessors = {
		.known = {
			.find_proc_info = find_proc_info, .put_unwind_info = put_unwind_info,
			.get_dyn_info_list_addr = get_dyn_info_list_addr, .access_mem = access_mem,
			.access_reg = access_reg, .access_fpreg = access_fpreg, .resume = resume,
		},
	};
	/* Its place, where it was borrowed before: a jump out of a walk, or a fork in one, made it begin anew. */
	static struct elf_symbols lib;
	int error = -1;

	if (!sandbox_allows(MAY_LOAD)) {
		part_set(PART_WALK, PART_DECLINED, REASON_SANDBOX);
		return false;
	}
	pieces_used = 0;
	for (size_t i = 0; i < ARRAY_SIZE(where) && error; i++)
		error = borrow_library(where[i], imports, ARRAY_SIZE(imports), (void *)missing, &lib);
	if (error) {
		part_set(PART_WALK, PART_DECLINED, REASON_NOT_INSTALLED);
		return false;
	}
	const struct {
		void *to;
		const char *name;
	} needed[] = {
		{ &unwind.create_addr_space, UNWIND_SYMBOL(create_addr_space) },
		{ &unwind.init_remote, UNWIND_SYMBOL(init_remote) },
		{ &unwind.step, UNWIND_SYMBOL(step) },
		{ &unwind.get_reg, UNWIND_SYMBOL(get_reg) },
		{ &unwind.set_caching_policy, UNWIND_SYMBOL(set_caching_policy) },
		{ &unwind.search_table, UNWIND_SYMBOL(dwarf_search_unwind_table) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
		const ElfW(Sym) *symbol = elf_find(&lib, needed[i].name);
		uintptr_t function = symbol ? lib.base + symbol->st_value : 0;

		if (!function) {
			part_set(PART_WALK, PART_DECLINED, REASON_NO_SYMBOL);
			return false;
		}
		memcpy(needed[i].to, &function, sizeof(function));
	}
	space = unwind.create_addr_space(&accessors.known, 0);
	if (!space)
		return false;
	/* For who walks seldom our own cache of paths serves better. */
	unwind.set_caching_policy(space, UNW_CACHE_NONE);
	tables_kept = 0;
	part_set(PART_WALK, PART_ACTIVE, REASON_NONE);
	return true;
}

/*
 * How to step from an address, once read from the unwind tables, libunwind can keep: a step takes 500 instructions
 * then and not 6000, for some 50 KiB. Its lock is none (see missing), as there is one walk at a time.
 * Forgotten when objects came or went.
 */
static void keep_tables(void)
{
	uint32_t now = objects_generation();

	if (tables_kept == now + 1UL)
		return;
	unwind.set_caching_policy(space, UNW_CACHE_NONE);
	unwind.set_caching_policy(space, UNW_CACHE_GLOBAL);
	tables_kept = now + 1UL;
}

/* --- one walk ---------------------------------------------------------------------- */

/* The highest word in [low, high) that holds the value, as a distance from frame. */
static bool find_word(uintptr_t low, uintptr_t high, uintptr_t value, uintptr_t frame, uint16_t *offset)
{
	for (uintptr_t at = high - sizeof(at); at >= low && at >= frame; at -= sizeof(at)) {
		unw_word_t word;

		if (access_mem(space, at, &word, 0, NULL) == 0 && word == value && at - frame <= UINT16_MAX) {
			*offset = (uint16_t)(at - frame);
			return true;
		}
	}
	return false;
}

/* Each frame from the caller's on. False: the walk ended before visit had enough. */
static __attribute__((noinline)) bool each_frame(uintptr_t caller, uintptr_t frame, walk_visit *visit, void *context)
{
	unw_cursor_t cursor;
	unw_word_t ip = 0, sp = 0, last_sp = 0;
	bool seen_caller = false;

	memset(start_regs, 0, sizeof(start_regs));
	registers_take(start_regs);
	stack_low = start_regs[UNW_REG_SP];
	/* None yet: what it was may be unloaded. */
	table_low = UINTPTR_MAX;
	table_high = sizeof(stack_low);
	stack_high = thread_self()->stack_end;
	if (unwind.init_remote(&cursor, space, NULL) < 0)
		return false;
	for (int frames = 0; frames < MAX_FRAMES; frames++) {
		uint16_t offset;
		uintptr_t at = 0;

		if (unwind.get_reg(&cursor, UNW_REG_IP, &ip) < 0 || unwind.get_reg(&cursor, UNW_REG_SP, &sp) < 0 || !ip)
			return false;
		if (seen_caller && find_word(last_sp, sp, ip, frame, &offset))
			at = frame + offset;
		seen_caller = seen_caller || ip == caller;
		last_sp = sp;
		if (seen_caller && !visit(ip, at, context))
			return true;
		if (unwind.step(&cursor) <= 0)
			return false;
	}
	return false;
}

struct to_owner {
	struct path *path;
	uintptr_t frame;
	const struct object *owner;
	bool seen, keep;
};

static bool visit_to_owner(uintptr_t ip, uintptr_t at, void *context)
{
	struct to_owner *t = context;
	struct path *path = t->path;
	/* A return address may lie behind the end of its function: look just before it. */
	const struct object *o = objects_find(ip - 1);

	if (t->seen) {
		t->keep = t->keep && path->depth < PATH_FRAMES && at;
		if (t->keep) {
			path->offset[path->depth] = (uint16_t)(at - t->frame);
			path->word[path->depth++] = ip;
		}
	}
	t->seen = true;
	if (o && o->class != OBJECT_APP && o->class != OBJECT_LOADER)
		return true;
	t->owner = o;
	return false;
}

static const struct object *walk(uintptr_t caller, uintptr_t frame, struct path *path)
{
	struct to_owner t = { .path = path, .frame = frame, .keep = true };

	path->depth = 0;
	if (!each_frame(caller, frame, visit_to_owner, &t))
		return NULL;
	path->owner = t.owner;
	path->owner_start = t.owner ? t.owner->start : 0;
	path->caller = t.keep ? caller : 0;
	return t.owner;
}

/* --- the cache ------------------------------------------------------------------------ */

static struct path *path_place(uintptr_t caller, unsigned way)
{
	return &paths[((caller >> 2 ^ caller >> 9) * WAYS + way) % PATHS];
}

static bool path_matches(const struct path *p, uintptr_t caller, uintptr_t frame)
{
	size_t room = thread_self()->stack_end - frame;

	if (p->caller != caller || p->depth > PATH_FRAMES)
		return false;
	for (unsigned i = 0; i < p->depth; i++) {
		uintptr_t word;

		if (p->offset[i] + sizeof(word) > room)
			return false;
		memcpy(&word, (const char *)frame + p->offset[i], sizeof(word));
		if (word != p->word[i] && arch_unsign(word) != p->word[i])
			return false;
	}
	return true;
}

static const struct object *path_lookup(uintptr_t caller, uintptr_t frame)
{
	/* Eight places: many libraries ask through the same function of libc. */
	for (unsigned way = 0; way < WAYS; way++) {
		const struct path *p = path_place(caller, way);
		uint32_t version = load_acquire(&p->version);

		if (version & 1 || !path_matches(p, caller, frame))
			continue;
		const struct object *owner = p->owner;
		uintptr_t start = p->owner_start;

		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		if (p->version == version && owner && owner->start == start && owner->end)
			return owner;
	}
	return NULL;
}

static void path_keep(const struct path *new, uintptr_t caller)
{
	static unsigned next;
	struct path *p = path_place(caller, next++ % WAYS);
	/* Odd, also where a jump left it so. */
	uint32_t version = (p->version + 1) | 1;

	store_release(&p->version, version);
	__atomic_thread_fence(__ATOMIC_RELEASE);
	memcpy(p->offset, new->offset, sizeof(p->offset));
	memcpy(p->word, new->word, sizeof(p->word));
	p->depth = new->depth;
	p->caller = new->caller;
	p->owner = new->owner;
	p->owner_start = new->owner_start;
	store_release(&p->version, version + 1);
}

/* --- the interface ---------------------------------------------------------------------- */

void walk_start(bool wanted)
{
	bool secure = getauxval(AT_SECURE);

	enabled = wanted && !secure;
	part_set(PART_WALK, enabled ? PART_UNTRIED : PART_DECLINED, enabled ? REASON_NONE : secure ? REASON_SECURE : REASON_OFF);
}

static THREAD_LOCAL bool held_for_fork;
#define FORK_FRAME UINTPTR_MAX

/*
 * frame: that of the walk, or of what keeps others from walking. here: a frame of
 * the caller further up. A walk of this thread whose frame is gone by then was
 * left by a jump, and is over; one that is not is below us.
 */
static bool begin(unsigned spins, uintptr_t frame, uintptr_t here)
{
	for (unsigned i = 0; i <= spins && !held_for_fork; i++) {
		uintptr_t other = load_relaxed(&walking);

		if (other && !thread_frame_is_mine(other))
			continue;
		if (other && !thread_frame_is_gone(other, here))
			return false;
		if (__atomic_compare_exchange_n(&walking, &other, frame, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return true;
	}
	return false;
}

static void end(void)
{
	store_release(&walking, 0UL);
}

/* libunwind borrowed, and sound. */
static bool ready(void)
{
	if (in_libunwind)
		space = NULL;
	in_libunwind = false;
	if (!space && !borrow_libunwind())
		return false;
	if (tables_kept)
		keep_tables();
	return true;
}

static const struct object *walk_and_keep(uintptr_t caller, uintptr_t frame)
{
	const struct object *owner;
	struct path path;

	count_add(COUNT_WALKS, 1);
	in_libunwind = true;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	owner = walk(caller, frame, &path);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	in_libunwind = false;
	if (!owner)
		count_add(COUNT_WALK_FAILED, 1);
	else if (path.caller)
		path_keep(&path, caller);
	return owner;
}

const struct object *walk_to_owner(uintptr_t caller, uintptr_t frame)
{
	const struct thread *me = thread_self();
	const struct object *owner;

	/* Not on a stack whose end is not known: a coroutine's, or one for signals. */
	if (!enabled || frame < me->stack_start || frame >= me->stack_end)
		return NULL;
	owner = path_lookup(caller, frame);
	if (owner) {
		count_add(COUNT_WALK_HITS, 1);
		return owner;
	}
	if (frame - me->stack_start < STACK_NEEDED || !begin(20000, (uintptr_t)__builtin_frame_address(0), frame))
		return NULL;
	if (ready())
		owner = walk_and_keep(caller, frame);
	else
		enabled = false;
	end();
	return owner;
}

bool walk_frames(uintptr_t caller, uintptr_t frame, walk_visit *visit, void *context)
{
	const struct thread *me = thread_self();
	bool whole = false;

	if (!enabled || frame < me->stack_start || frame >= me->stack_end || frame - me->stack_start < STACK_NEEDED ||
	    !begin(20000, (uintptr_t)__builtin_frame_address(0), frame))
		return false;
	if (ready()) {
		count_add(COUNT_WALKS, 1);
		in_libunwind = true;
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		keep_tables();
		whole = each_frame(caller, frame, visit, context);
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		in_libunwind = false;
	} else {
		enabled = false;
	}
	end();
	return whole;
}

bool walk_pause(uintptr_t frame)
{
	return begin(1000000, frame, frame);
}

void walk_resume(bool paused)
{
	if (paused)
		end();
}

/* No frame of the thread goes on. */
void walk_thread_end(void)
{
	uintptr_t frame = load_relaxed(&walking);

	if (frame && thread_frame_is_mine(frame))
		__atomic_compare_exchange_n(&walking, &frame, 0, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

void walk_fork_prepare(void)
{
	held_for_fork = begin(100000, FORK_FRAME, (uintptr_t)__builtin_frame_address(0));
}

void walk_fork_parent(void)
{
	bool held = held_for_fork;

	held_for_fork = false;
	if (held)
		end();
}

/* Another thread's walk was cut off in the middle: libunwind begins anew, see ready. */
void walk_fork_child(void)
{
	if (!held_for_fork && !thread_frame_is_mine(load_relaxed(&walking)))
		end();
	walk_fork_parent();
}

#endif
