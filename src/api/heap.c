/* SPDX-License-Identifier: MIT */
/*
 * Heaps with names: a jemalloc arena each, and for each thread that uses it a
 * thread cache of its own, because jemalloc's explicit caches belong to one
 * thread at a time. A cache is found by the heap's number in an array of the
 * thread; making and ending one takes the lock, an allocation does not.
 *
 * What the program holds is no pointer but a handle: the heap's number and a
 * generation. So two comparisons tell what this thread's cache serves from
 * everything else: a first use, a heap on malloc, a heap that is destroyed,
 * NULL for either argument, a size that no allocator has. jemalloc's own two
 * calls are some 257 instructions, so each one here is 0.4 % (bench/calls-heap).
 */
#include <anonname.h>

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/old.h"
#include "base/own.h"
#include "base/sys.h"
#include "base/text.h"
#include "event/event.h"
#include "owner/jemalloc/jemalloc.h"

OLD_WEAK(pthread_key_create);
OLD_WEAK(pthread_setspecific);

/* jemalloc(3), MALLOCX_*: how flags are made. */
#define WITH_ARENA(i) ((int)(((i) + 1U) << 20))
#define WITH_CACHE(i) ((int)(((i) + 2U) << 8))
#define WITHOUT_CACHE WITH_CACHE(-1U)
#define WITH_ALIGN(a) ((int)__builtin_ctzl(a))
#define WITH_ZERO 0x40

#define MAX_HEAPS (1U << 12)            /* jemalloc has no more arenas */
#define CHUNK 64U

struct block {                  /* before each allocation of a heap on malloc */
	struct block *next, *prev;
	void *base;             /* what malloc gave */
	size_t size;
};

struct heap {
	uintptr_t handle;               /* 0: free */
	unsigned arena;
	uint32_t number;
	uint16_t generation;            /* one more each time the place is taken */
	bool plain;                     /* on malloc */
	pthread_mutex_t lock;           /* plain: of blocks */
	struct block blocks;
	struct heap *next_free;
	char name[ANONNAME_NAME_MAX + 1];
};

/* A thread's cache of a heap. All 0: none. */
struct cache {
	uint32_t key;                   /* the heap's handle */
	int flags;                      /* for jemalloc: arena and cache */
	uintptr_t serves;               /* SERVES */
};

/*
 * One comparison each decides whether an allocation or a free can go the short way:
 *
 *                              serves == SERVES          serves == 0, no cache
 *     size - 1 < serves        every size but 0          never
 *     (low half of) p & serves every pointer but NULL    never
 *
 * So it is larger than any size that can be had, and has only ones. What is left
 * over, the size 0 and NULL, goes the long way, which knows what they mean. Of p only
 * the low half is tested, as that is one instruction less: a pointer that has nothing
 * but zeros there goes the long way, too, and is freed all the same.
 */
#define SERVES (((uintptr_t)1 << 56) - 1)

/*
 * A handle's low 16 bits say how far into an array of caches the heap's lies,
 * its generation stands above: so finding it takes one instruction.
 */
#define HANDLE(generation, number) ((uintptr_t)(generation) << 16 | (number) * sizeof(struct cache))
#define OFFSET(handle) ((uint16_t)(uintptr_t)(handle))
#define NUMBER(handle) (OFFSET(handle) / sizeof(struct cache))
_Static_assert(MAX_HEAPS * sizeof(struct cache) == 1 << 16, "an offset has 16 bits");

/* By the heap's number; 0 is NULL's, and always empty. */
struct caches {
	struct cache entry[MAX_HEAPS];
	struct caches *next, *prev;
	uint32_t upto;                  /* every entry in use is below */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;        /* of all that follows, but for the owner's own entries */
static struct caches *all;
static struct heap *chunks[MAX_HEAPS / CHUNK] COLD_BSS, *free_heaps;
static uint32_t heaps_made = 1;
static struct jemalloc je;
static pthread_key_t key;
static bool ready;

/* A thread that has used no heap has no caches; a lookup in these finds none, so nobody asks for NULL first. */
static struct caches no_caches COLD_BSS;
static THREAD_LOCAL struct caches *mine = &no_caches;

/* --- thread caches ---------------------------------------------------------------- */

static void cache_end(struct cache *c)
{
	unsigned index = (((unsigned)c->flags >> 8) & 0xfff) - 2;

	if (!c->serves)
		return;                 /* and the page is not touched */
	if (index != -1U)
		jemalloc_calls()->mallctl("tcache.destroy", NULL, NULL, &index, sizeof(index));
	*c = (struct cache){ 0 };
}

static void thread_ended(void *caches)
{
	struct caches *c = caches;

	pthread_mutex_lock(&lock);
	for (uint32_t i = 1; i < c->upto; i++)
		cache_end(&c->entry[i]);
	if (c->next)
		c->next->prev = c->prev;
	*(c->prev ? &c->prev->next : &all) = c->next;
	mine = &no_caches;
	pthread_mutex_unlock(&lock);

	struct sink_unmap unmap = event_unmap_begin();

	event_unmapped(unmap, (uintptr_t)c, sizeof(*c), sys_munmap(c, page_up(sizeof(*c))) == 0);
}

/* jemalloc has about 4,000 caches; where there is none left, an allocation goes without. */
static __attribute__((noinline)) int cache_make(const struct heap *heap)
{
	int flags = WITH_ARENA(heap->arena);
	struct extent_scope scope;
	unsigned index;
	size_t len = sizeof(index);

	if (mine == &no_caches) {
		struct caches *new = own_map(sizeof(*new), "heaps");

		if (!new || pthread_setspecific(key, new) != 0)
			return flags | WITHOUT_CACHE;
		pthread_mutex_lock(&lock);
		new->next = all;
		if (all)
			all->prev = new;
		all = new;
		mine = new;
		pthread_mutex_unlock(&lock);
	}
	/* A cache is arena 0's memory, whichever arena it is for. */
	jemalloc_scope_begin(&scope, 0);
	if (jemalloc_calls()->mallctl("tcache.create", &index, &len, NULL, 0) == 0)
		flags |= WITH_CACHE(index);
	else
		flags |= WITHOUT_CACHE;
	jemalloc_scope_end(&scope, 0);
	pthread_mutex_lock(&lock);
	mine->upto = MAX(mine->upto, heap->number + 1);
	mine->entry[heap->number] = (struct cache){ (uint32_t)heap->handle, flags, SERVES };
	pthread_mutex_unlock(&lock);
	return flags;
}

/* The entry for a heap. A heap on malloc's stays empty. */
static inline const struct cache *cache_at(const anonname_heap *heap)
{
	return (const struct cache *)((const char *)mine->entry + OFFSET(heap));
}

/* Whether it is of this heap, or the heap is NULL and it is empty. */
static inline bool is_of(const struct cache *c, const anonname_heap *heap) { return c->key == (uint32_t)(uintptr_t)heap; }

/* NULL, and errno set: it was destroyed. */
static struct heap *heap_of(const anonname_heap *handle)
{
	size_t number = NUMBER(handle);
	struct heap *chunk = chunks[number / CHUNK];

	if (chunk && chunk[number % CHUNK].handle == (uintptr_t)handle)
		return &chunk[number % CHUNK];
	errno = EINVAL;
	return NULL;
}

static int flags_of(const struct heap *heap)
{
	const anonname_heap *handle = (const anonname_heap *)heap->handle;
	const struct cache *c = cache_at(handle);

	return is_of(c, handle) ? c->flags : cache_make(heap);
}

/* --- making and destroying ------------------------------------------------------------- */

static void before_fork(void) { pthread_mutex_lock(&lock); }
static void after_fork(void) { pthread_mutex_unlock(&lock); }

/* The other threads do not exist here; what their caches hold goes when their heaps do. */
static struct heap *take_place(void)
{
	struct heap *heap = free_heaps;

	if (!ready) {
		if (!pthread_key_create || pthread_key_create(&key, thread_ended) != 0)
			return NULL;
		event_at_fork(before_fork, after_fork, after_fork);
		ready = true;
	}
	if (heap) {
		free_heaps = heap->next_free;
		return heap;
	}
	if (heaps_made == MAX_HEAPS)
		return NULL;
	if (!chunks[heaps_made / CHUNK])
		chunks[heaps_made / CHUNK] = own_map(CHUNK * sizeof(*heap), "heaps");
	if (!chunks[heaps_made / CHUNK])
		return NULL;
	heap = &chunks[heaps_made / CHUNK][heaps_made % CHUNK];
	heap->number = heaps_made++;
	return heap;
}

static void give_place(struct heap *heap)
{
	heap->handle = 0;
	heap->next_free = free_heaps;
	free_heaps = heap;
}

static anonname_heap *create(const char *name, bool any)
{
	bool can = jemalloc_calls() && label_active();
	struct heap *heap;
	int error = EAGAIN;

	if (!name || !*name || (!can && !any)) {
		errno = !name || !*name ? EINVAL : ENOTSUP;
		return NULL;
	}
	pthread_mutex_lock(&lock);
	heap = take_place();
	if (heap) {
		text_clean_name(heap->name, name);
		heap->plain = !can;
		heap->blocks.next = heap->blocks.prev = &heap->blocks;
		pthread_mutex_init(&heap->lock, NULL);
		error = can ? -jemalloc_arena_create(KIND_NAMED_HEAP, heap->name, &heap->arena) : 0;
		heap->handle = HANDLE(++heap->generation, heap->number);
		if (error)
			give_place(heap);
	}
	if (can)
		je = jemalloc_functions;
	pthread_mutex_unlock(&lock);
	if (!error)
		return (anonname_heap *)heap->handle;
	errno = error;
	return NULL;
}

anonname_heap *anonname_heap_create(const char *name) { return create(name, false); }
anonname_heap *anonname_heap_create_any(const char *name) { return create(name, true); }

void anonname_heap_destroy(anonname_heap *handle)
{
	struct heap *heap;
	int saved = errno;

	pthread_mutex_lock(&lock);
	heap = handle ? heap_of(handle) : NULL;
	if (heap && heap->plain) {
		for (struct block *b = heap->blocks.next, *next; b != &heap->blocks; b = next) {
			next = b->next;
			free(b->base);
		}
	} else if (heap) {
		for (struct caches *c = all; c; c = c->next)
			cache_end(&c->entry[heap->number]);
		jemalloc_arena_destroy(heap->arena);
	}
	if (heap) {
		pthread_mutex_destroy(&heap->lock);
		give_place(heap);
	}
	pthread_mutex_unlock(&lock);
	errno = saved;
}

/* --- on malloc --------------------------------------------------------------------------- */

static void link_block(struct heap *heap, struct block *b)
{
	pthread_mutex_lock(&heap->lock);
	b->next = heap->blocks.next;
	b->prev = &heap->blocks;
	b->next->prev = b;
	heap->blocks.next = b;
	pthread_mutex_unlock(&heap->lock);
}

static void unlink_block(struct heap *heap, struct block *b)
{
	pthread_mutex_lock(&heap->lock);
	b->next->prev = b->prev;
	b->prev->next = b->next;
	pthread_mutex_unlock(&heap->lock);
}

static struct block *block_of(const void *p) { return (struct block *)(uintptr_t)p - 1; }

static void *plain_alloc(struct heap *heap, size_t align, size_t size, bool zero)
{
	size_t whole;
	char *base;
	struct block *b;

	align = MAX(align, _Alignof(max_align_t));
	if (__builtin_add_overflow(size, sizeof(*b) + align, &whole)) {
		errno = ENOMEM;
		return NULL;
	}
	base = zero ? calloc(1, whole) : malloc(whole);
	if (!base)
		return NULL;
	b = block_of((void *)(((uintptr_t)base + sizeof(*b) + align - 1) & ~(align - 1)));
	b->base = base;
	b->size = size;
	link_block(heap, b);
	return b + 1;
}

static void plain_free(struct heap *heap, void *p)
{
	struct block *b = block_of(p);

	unlink_block(heap, b);
	free(b->base);
}

static void *plain_realloc(struct heap *heap, void *p, size_t size)
{
	void *new = plain_alloc(heap, 1, size, false);

	if (!new)
		return NULL;
	memcpy(new, p, MIN(size, block_of(p)->size));
	plain_free(heap, p);
	return new;
}

/* --- allocating ---------------------------------------------------------------------------- */

/*
 * jemalloc does not set errno. For a size that no class has, this does; where
 * memory is what is missing, the hook that was asked for it does (on_alloc).
 */
static void *told(void *p)
{
	if (!p)
		errno = ENOMEM;
	return p;
}

static __attribute__((noinline)) void *malloc_slowly(const anonname_heap *handle, size_t size)
{
	struct heap *heap;

	if (!handle)
		return malloc(size);
	heap = heap_of(handle);
	if (!heap)
		return NULL;
	if (heap->plain)
		return plain_alloc(heap, 1, size, false);
	return told(je.mallocx(size + !size, flags_of(heap)));
}

void *anonname_heap_malloc(anonname_heap *heap, size_t size)
{
	const struct cache *c = cache_at(heap);

	if (unlikely(!is_of(c, heap) || size - 1 >= c->serves))
		return malloc_slowly(heap, size);
	return je.mallocx(hidden(size), c->flags);
}

static __attribute__((noinline)) void free_slowly(const anonname_heap *handle, void *p)
{
	int saved = errno;
	struct heap *heap = handle ? heap_of(handle) : NULL;

	if (!p)
		return;
	if (!handle)
		free(p);
	else if (heap && heap->plain)
		plain_free(heap, p);
	else if (heap)
		je.dallocx(p, flags_of(heap));
	errno = saved;
}

void anonname_heap_free(anonname_heap *heap, void *p)
{
	const struct cache *c = cache_at(heap);

	if (unlikely(!is_of(c, heap) || !((uint32_t)(uintptr_t)p & (uint32_t)c->serves)))
		free_slowly(heap, p);
	else
		je.dallocx(hidden(p), c->flags);
}

void *anonname_heap_calloc(anonname_heap *handle, size_t count, size_t size)
{
	struct heap *heap;
	size_t bytes;

	if (!handle)
		return calloc(count, size);
	heap = heap_of(handle);
	if (!heap)
		return NULL;
	if (__builtin_mul_overflow(count, size, &bytes))
		return told(NULL);
	if (heap->plain)
		return plain_alloc(heap, 1, bytes, true);
	return told(je.mallocx(bytes + !bytes, flags_of(heap) | WITH_ZERO));
}

void *anonname_heap_aligned_alloc(anonname_heap *handle, size_t align, size_t size)
{
	struct heap *heap;

	if (!align || align & (align - 1)) {
		errno = EINVAL;
		return NULL;
	}
	if (!handle)
		return aligned_alloc(align, size);
	heap = heap_of(handle);
	if (!heap)
		return NULL;
	if (heap->plain)
		return plain_alloc(heap, align, size, false);
	return told(je.mallocx(size + !size, flags_of(heap) | WITH_ALIGN(align)));
}

void *anonname_heap_realloc(anonname_heap *handle, void *p, size_t size)
{
	struct heap *heap;

	if (!p)
		return anonname_heap_malloc(handle, size);
	if (!handle)
		return realloc(p, size + !size);
	heap = heap_of(handle);
	if (!heap)
		return NULL;
	if (heap->plain)
		return plain_realloc(heap, p, size);
	return told(je.rallocx(p, size + !size, flags_of(heap)));
}

size_t anonname_heap_usable_size(anonname_heap *handle, const void *p)
{
	struct heap *heap;

	if (!p)
		return 0;
	if (!handle)
		return malloc_usable_size((void *)(uintptr_t)p);
	heap = heap_of(handle);
	if (!heap)
		return 0;
	return heap->plain ? block_of(p)->size : je.sallocx(p, 0);
}

/* --- figures --------------------------------------------------------------------------------- */

static void plain_figures(struct heap *heap, struct anonname_heap_stats *now)
{
	*now = (struct anonname_heap_stats){
		.free = ANONNAME_UNKNOWN, .trimmable = ANONNAME_UNKNOWN, .pinned = ANONNAME_UNKNOWN,
		.metadata = ANONNAME_UNKNOWN, .resident = ANONNAME_UNKNOWN,
	};
	pthread_mutex_lock(&heap->lock);
	for (const struct block *b = heap->blocks.next; b != &heap->blocks; b = b->next) {
		now->live += b->size;
		now->blocks++;
	}
	pthread_mutex_unlock(&heap->lock);
}

/* What this thread has freed, and keeps for its next allocation, is free. */
static void empty_cache(const struct heap *heap)
{
	const struct cache *c = cache_at((const anonname_heap *)heap->handle);
	unsigned index = (((unsigned)c->flags >> 8) & 0xfff) - 2;

	if (is_of(c, (const anonname_heap *)heap->handle) && c->serves && index != -1U)
		je.mallctl("tcache.flush", NULL, NULL, &index, sizeof(index));
}

static int arena_figures(const struct heap *heap, struct anonname_heap_stats *now)
{
	struct jemalloc_figures figures;
	struct extent_scope scope;
	int error;

	empty_cache(heap);
	/* What it keeps the figures in is arena 0's memory. */
	jemalloc_scope_begin(&scope, 0);
	error = jemalloc_arena_figures(heap->arena, &figures);
	jemalloc_scope_end(&scope, 0);
	*now = (struct anonname_heap_stats){
		.live = figures.live, .free = figures.trimmable + figures.pinned, .trimmable = figures.trimmable, .pinned = figures.pinned,
		.metadata = figures.metadata, .resident = figures.resident, .blocks = figures.blocks,
	};
	return error;
}

int anonname_heap_stats(anonname_heap *handle, struct anonname_heap_stats *stats, size_t size)
{
	struct heap *heap = handle ? heap_of(handle) : NULL;
	struct anonname_heap_stats now;
	int saved = errno, error = 0;

	if (!stats || !heap) {
		errno = handle || !stats ? EINVAL : ENOTSUP;
		return -1;
	}
	if (heap->plain)
		plain_figures(heap, &now);
	else
		error = arena_figures(heap, &now);
	errno = error ? -error : saved;
	if (error)
		return -1;
	memcpy(stats, &now, MIN(size, sizeof(now)));
	/* A newer program's members, which we do not know. */
	if (size > sizeof(now))
		memset((char *)stats + sizeof(now), 0xff, size - sizeof(now));
	return 0;
}
