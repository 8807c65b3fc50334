/* SPDX-License-Identifier: MIT */
/*
 * Heaps with names: a jemalloc arena each, and for each thread that uses it a
 * thread cache of its own, because jemalloc's explicit caches belong to one
 * thread at a time. A cache is found by the heap's number in an array of the
 * thread; making and ending one takes the lock, an allocation does not.
 */
#include <anonname.h>

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/sys.h"
#include "base/text.h"
#include "label/jemalloc.h"
#include "label/label.h"

/* jemalloc(3), MALLOCX_*: how flags are made. */
#define WITH_ARENA(i) ((int)(((i) + 1U) << 20))
#define WITH_CACHE(i) ((int)(((i) + 2U) << 8))
#define WITHOUT_CACHE WITH_CACHE(-1U)
#define WITH_ALIGN(a) ((int)__builtin_ctzl(a))
#define WITH_ZERO 0x40

#define MAX_HEAPS 4096U         /* jemalloc has no more arenas */
#define CHUNK 64U

struct block {                  /* before each allocation of a heap on malloc */
	struct block *next, *prev;
	void *base;             /* what malloc gave */
	size_t size;
};

struct anonname_heap {
	unsigned arena;
	uint32_t number;
	uint32_t generation;            /* tells the heap from earlier ones of its number; 0: free */
	bool plain;                     /* on malloc */
	pthread_mutex_t lock;           /* plain: of blocks */
	struct block blocks;
	struct anonname_heap *next_free;
	char name[ANONNAME_NAME_MAX + 1];
};

/* A thread's caches, by the heap's number. */
struct cache {
	uint32_t generation;            /* of the heap that it serves */
	int flags;
};

struct caches {
	struct caches *next, *prev;
	uint32_t upto;                  /* all entries in use are below */
	struct cache entry[MAX_HEAPS];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;        /* of all that follows, but for the owner's own entries */
static struct caches all = { .next = &all, .prev = &all };
static struct anonname_heap *chunks[MAX_HEAPS / CHUNK], *free_heaps;
static uint32_t heaps_made, generations;
static pthread_key_t key;
static bool ready;

static THREAD_LOCAL struct caches *mine;

static void *map(size_t size)
{
	long r = sys_mmap(NULL, page_up(size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (sys_failed(r))
		return NULL;
	label_range(KIND_OWN, (uintptr_t)r, page_up(size), &(struct fields){ .thing = "heaps" });
	return (void *)(uintptr_t)r;
}

/* --- thread caches ---------------------------------------------------------------- */

static void cache_end(struct cache *c)
{
	unsigned index = (((unsigned)c->flags >> 8) & 0xfff) - 2;

	if (c->generation && index != -1U)
		jemalloc_calls()->mallctl("tcache.destroy", NULL, NULL, &index, sizeof(index));
	c->generation = 0;
}

static void thread_ended(void *caches)
{
	struct caches *c = caches;

	pthread_mutex_lock(&lock);
	for (uint32_t i = 0; i < c->upto; i++)
		cache_end(&c->entry[i]);
	c->next->prev = c->prev;
	c->prev->next = c->next;
	mine = NULL;
	pthread_mutex_unlock(&lock);

	struct sink_unmap unmap = sink_unmap_begin();

	label_unmapped(unmap, (uintptr_t)c, sizeof(*c), sys_munmap(c, page_up(sizeof(*c))) == 0);
}

/* jemalloc has about 4,000 caches; where there is none left, an allocation goes without. */
static __attribute__((noinline)) int cache_make(const anonname_heap *heap)
{
	int flags = WITH_ARENA(heap->arena);
	unsigned index;
	size_t len = sizeof(index);

	if (!mine) {
		struct caches *new = map(sizeof(*new));

		if (!new || pthread_setspecific(key, new) != 0)
			return flags | WITHOUT_CACHE;
		pthread_mutex_lock(&lock);
		new->next = all.next;
		new->prev = &all;
		all.next->prev = new;
		all.next = new;
		mine = new;
		pthread_mutex_unlock(&lock);
	}
	if (jemalloc_calls()->mallctl("tcache.create", &index, &len, NULL, 0) == 0)
		flags |= WITH_CACHE(index);
	else
		flags |= WITHOUT_CACHE;
	pthread_mutex_lock(&lock);
	mine->upto = MAX(mine->upto, heap->number + 1);
	mine->entry[heap->number] = (struct cache){ .generation = heap->generation, .flags = flags };
	pthread_mutex_unlock(&lock);
	return flags;
}

static inline int flags_of(const anonname_heap *heap)
{
	struct caches *c = mine;

	if (likely(c && c->entry[heap->number].generation == heap->generation))
		return c->entry[heap->number].flags;
	return cache_make(heap);
}

/* --- making and destroying ------------------------------------------------------------- */

static void before_fork(void) { pthread_mutex_lock(&lock); }
static void after_fork(void) { pthread_mutex_unlock(&lock); }

/* The other threads do not exist here; what their caches hold goes when their heaps do. */
static anonname_heap *take_place(void)
{
	anonname_heap *heap = free_heaps;

	if (!ready) {
		if (pthread_key_create(&key, thread_ended) != 0)
			return NULL;
		pthread_atfork(before_fork, after_fork, after_fork);
		ready = true;
	}
	if (heap) {
		free_heaps = heap->next_free;
		return heap;
	}
	if (heaps_made == MAX_HEAPS)
		return NULL;
	if (!chunks[heaps_made / CHUNK])
		chunks[heaps_made / CHUNK] = map(CHUNK * sizeof(*heap));
	if (!chunks[heaps_made / CHUNK])
		return NULL;
	heap = &chunks[heaps_made / CHUNK][heaps_made % CHUNK];
	heap->number = heaps_made++;
	return heap;
}

static void give_place(anonname_heap *heap)
{
	heap->generation = 0;
	heap->next_free = free_heaps;
	free_heaps = heap;
}

static anonname_heap *create(const char *name, bool any)
{
	bool can = jemalloc_calls() && label_active();
	anonname_heap *heap;
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
		if (++generations == 0)
			generations = 1;
		heap->generation = generations;
		if (error)
			give_place(heap);
	}
	pthread_mutex_unlock(&lock);
	if (!error)
		return heap;
	errno = error;
	return NULL;
}

anonname_heap *anonname_heap_create(const char *name) { return create(name, false); }
anonname_heap *anonname_heap_create_any(const char *name) { return create(name, true); }

void anonname_heap_destroy(anonname_heap *heap)
{
	int saved = errno;

	if (!heap)
		return;
	if (heap->plain) {
		for (struct block *b = heap->blocks.next, *next; b != &heap->blocks; b = next) {
			next = b->next;
			free(b->base);
		}
	}
	pthread_mutex_lock(&lock);
	if (!heap->plain) {
		for (struct caches *c = all.next; c != &all; c = c->next)
			if (c->entry[heap->number].generation == heap->generation)
				cache_end(&c->entry[heap->number]);
		jemalloc_arena_destroy(heap->arena);
	}
	pthread_mutex_destroy(&heap->lock);
	give_place(heap);
	pthread_mutex_unlock(&lock);
	errno = saved;
}

/* --- on malloc --------------------------------------------------------------------------- */

static void link_block(anonname_heap *heap, struct block *b)
{
	pthread_mutex_lock(&heap->lock);
	b->next = heap->blocks.next;
	b->prev = &heap->blocks;
	b->next->prev = b;
	heap->blocks.next = b;
	pthread_mutex_unlock(&heap->lock);
}

static void unlink_block(anonname_heap *heap, struct block *b)
{
	pthread_mutex_lock(&heap->lock);
	b->next->prev = b->prev;
	b->prev->next = b->next;
	pthread_mutex_unlock(&heap->lock);
}

static struct block *block_of(const void *p) { return (struct block *)(uintptr_t)p - 1; }

static void *plain_alloc(anonname_heap *heap, size_t align, size_t size, bool zero)
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

static void plain_free(anonname_heap *heap, void *p)
{
	struct block *b = block_of(p);

	unlink_block(heap, b);
	free(b->base);
}

static void *plain_realloc(anonname_heap *heap, void *p, size_t size)
{
	void *new = plain_alloc(heap, 1, size, false);

	if (!new)
		return NULL;
	memcpy(new, p, MIN(size, block_of(p)->size));
	plain_free(heap, p);
	return new;
}

/* --- allocating ---------------------------------------------------------------------------- */

/* jemalloc does not say why. */
static void *told(void *p)
{
	if (unlikely(!p))
		errno = ENOMEM;
	return p;
}

void *anonname_heap_malloc(anonname_heap *heap, size_t size)
{
	if (unlikely(!heap))
		return malloc(size);
	if (unlikely(heap->plain))
		return plain_alloc(heap, 1, size, false);
	return told(jemalloc_functions.mallocx(size + !size, flags_of(heap)));
}

void *anonname_heap_calloc(anonname_heap *heap, size_t count, size_t size)
{
	size_t bytes;

	if (unlikely(!heap))
		return calloc(count, size);
	if (__builtin_mul_overflow(count, size, &bytes))
		return told(NULL);
	if (unlikely(heap->plain))
		return plain_alloc(heap, 1, bytes, true);
	return told(jemalloc_functions.mallocx(bytes + !bytes, flags_of(heap) | WITH_ZERO));
}

void *anonname_heap_aligned_alloc(anonname_heap *heap, size_t align, size_t size)
{
	if (!align || align & (align - 1)) {
		errno = EINVAL;
		return NULL;
	}
	if (unlikely(!heap))
		return aligned_alloc(align, size);
	if (unlikely(heap->plain))
		return plain_alloc(heap, align, size, false);
	return told(jemalloc_functions.mallocx(size + !size, flags_of(heap) | WITH_ALIGN(align)));
}

void *anonname_heap_realloc(anonname_heap *heap, void *p, size_t size)
{
	if (!p)
		return anonname_heap_malloc(heap, size);
	if (unlikely(!heap))
		return realloc(p, size + !size);
	if (unlikely(heap->plain))
		return plain_realloc(heap, p, size);
	return told(jemalloc_functions.rallocx(p, size + !size, flags_of(heap)));
}

void anonname_heap_free(anonname_heap *heap, void *p)
{
	if (!p)
		return;
	if (unlikely(!heap || heap->plain)) {
		int saved = errno;

		if (heap)
			plain_free(heap, p);
		else
			free(p);
		errno = saved;
		return;
	}
	jemalloc_functions.dallocx(p, flags_of(heap));
}

size_t anonname_heap_usable_size(anonname_heap *heap, const void *p)
{
	if (!p)
		return 0;
	if (!heap)
		return malloc_usable_size((void *)(uintptr_t)p);
	return heap->plain ? block_of(p)->size : jemalloc_functions.sallocx(p, 0);
}
