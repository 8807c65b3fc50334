/* SPDX-License-Identifier: MIT */
/*
 * libc's malloc where libc cannot be changed: in a service that a seccomp
 * filter shuts in, the detour would take calls that may be killed for. There
 * the program's own calls of malloc are turned to us, and what malloc has
 * mapped is known from the chunk that it gives (malloc/malloc.c):
 *
 *      start                          the program's pointer
 *        |<- alignment ->| prev_size | size, flags | memory ...  |
 *        \___ prev_size __/            M: the chunk is a mapping of its own
 *                                      A: it lies in a heap of a thread's arena
 *
 * What libc allocates for itself is not seen, and each call takes some
 * instructions more. So it is done only where the detour was declined for the
 * filter, and not by exporting malloc: other tools look who does.
 */
#include "hook/hook.h"

#include "base/root.h"
#include "event/event.h"
#include "label/slots.h"

#define IS_MAPPED 2UL
#define IN_ARENA 4UL
#define FLAGS 7UL
#define HEAD (2 * sizeof(size_t))

/* libc's own. */
static struct {
	void *(*malloc)(size_t);
	void *(*calloc)(size_t, size_t);
	void *(*realloc)(void *, size_t);
	void *(*reallocarray)(void *, size_t, size_t);
	void *(*memalign)(size_t, size_t);
	void *(*aligned_alloc)(size_t, size_t);
	int (*posix_memalign)(void **, size_t, size_t);
	void (*free)(void *);
} libc;

struct chunk {
	uintptr_t start;
	size_t len;             /* 0: no mapping of its own */
};

static struct chunk mapped_chunk(const void *p)
{
	const size_t *head = (const size_t *)p - 2;
	struct chunk c = { 0, 0 };
	size_t before;

	if (!p || likely(!(head[1] & IS_MAPPED)))
		return c;
	before = head[0] & ~FLAGS;
	c.start = (uintptr_t)head - before;
	c.len = before + (head[1] & ~FLAGS);
	/* From 2.43 on the head is not counted, and the first word has a flag, too. */
	if (c.len % page_size == page_size - HEAD)
		c.len += HEAD;
	if ((c.start | c.len) & (page_size - 1))
		c.len = 0;      /* not what we know */
	return c;
}

static void *made(void *p, uintptr_t caller, uintptr_t frame)
{
	struct chunk c = mapped_chunk(p);

	if (unlikely(c.len != 0))
		event_chunk(c.start, c.len, caller, frame);
	else if (p && (((const size_t *)p)[-1] & IN_ARENA))
		event_chunk_in_heap((uintptr_t)p);
	return p;
}

static void *our_malloc(size_t size) { return made(libc.malloc(size), CALLER, FRAME); }
static void *our_calloc(size_t n, size_t size) { return made(libc.calloc(n, size), CALLER, FRAME); }
static void *our_memalign(size_t to, size_t size) { return made(libc.memalign(to, size), CALLER, FRAME); }
static void *our_aligned_alloc(size_t to, size_t size) { return made(libc.aligned_alloc(to, size), CALLER, FRAME); }

static int our_posix_memalign(void **p, size_t to, size_t size)
{
	int error = libc.posix_memalign(p, to, size);

	if (!error)
		made(*p, CALLER, FRAME);
	return error;
}

static void our_free(void *p)
{
	struct chunk c = mapped_chunk(p);
	struct sink_unmap unmap;

	if (likely(!c.len)) {
		libc.free(p);
		return;
	}
	unmap = event_unmap_begin();
	libc.free(p);
	event_unmapped(unmap, c.start, c.len, true);
}

/* n of size bytes; the plain realloc is told apart for its answer to 0. */
static void *resize(void *p, size_t n, size_t size, bool array, uintptr_t caller, uintptr_t frame)
{
	struct chunk c = mapped_chunk(p);
	struct sink_unmap unmap;
	void *to;

	if (likely(!c.len))
		return made(array ? libc.reallocarray(p, n, size) : libc.realloc(p, size), caller, frame);
	unmap = event_unmap_begin();
	to = array ? libc.reallocarray(p, n, size) : libc.realloc(p, size);
	/* Without an answer the old memory stays, unless the new size is 0. */
	event_unmapped(unmap, c.start, c.len, to || !size || !n);
	return made(to, caller, frame);
}

static void *our_realloc(void *p, size_t size) { return resize(p, 1, size, false, CALLER, FRAME); }
static void *our_reallocarray(void *p, size_t n, size_t size) { return resize(p, n, size, true, CALLER, FRAME); }

static const struct slot_call calls[] = {
	{ "malloc", (uintptr_t)our_malloc },
	{ "calloc", (uintptr_t)our_calloc },
	{ "realloc", (uintptr_t)our_realloc },
	{ "reallocarray", (uintptr_t)our_reallocarray },
	{ "memalign", (uintptr_t)our_memalign },
	{ "aligned_alloc", (uintptr_t)our_aligned_alloc },
	{ "posix_memalign", (uintptr_t)our_posix_memalign },
	{ "free", (uintptr_t)our_free },
};

/* How many of them were found, and whether in another object than libc. */
static size_t definitions;
static bool others_malloc;

static void find_in(const struct object *o)
{
	void **const found[] = {
		(void **)&libc.malloc, (void **)&libc.calloc, (void **)&libc.realloc, (void **)&libc.reallocarray,
		(void **)&libc.memalign, (void **)&libc.aligned_alloc, (void **)&libc.posix_memalign, (void **)&libc.free,
	};
	struct elf_symbols symbols;

	_Static_assert(ARRAY_SIZE(found) == ARRAY_SIZE(calls), "the same functions");
	if (definitions == ARRAY_SIZE(calls) || !object_symbols(o, &symbols))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		const ElfW(Sym) *symbol = *found[i] ? NULL : elf_find(&symbols, calls[i].name);

		if (!symbol)
			continue;
		others_malloc |= o->class != OBJECT_LIBC;
		*found[i] = (void *)(symbols.base + symbol->st_value);
		definitions++;
	}
}

/*
 * What the program's own calls reach is libc's, and not another allocator's. Asked
 * once, when the objects stand in the order in which symbols are looked for; not by
 * dlsym, which a program has only with libdl before glibc 2.34.
 */
static bool find(void)
{
	static bool asked;

	if (!asked)
		objects_each(find_in);
	asked = true;
	return definitions == ARRAY_SIZE(calls) && !others_malloc;
}

static void turn_object(const struct object *o)
{
	if (o->class != OBJECT_ALLOCATOR)
		slots_turn(o, calls, ARRAY_SIZE(calls));
}

void malloc_look(void)
{
	static uint32_t seen;
	uint32_t now = objects_generation();

	if (root.part_reason[PART_DETOUR_MMAP] != REASON_SANDBOX || !label_active() || seen == now ||
	    !sandbox_allows(SLOTS_RIGHTS))
		return;
	seen = now;
	if (find())
		objects_each(turn_object);
}
