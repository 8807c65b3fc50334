/* SPDX-License-Identifier: MIT */
/*
 * What is exported: malloc and its relatives, and C++'s operators. Each says as
 * libc does what it was asked; where a library's arena has no room mimalloc's
 * default heap has, which is called mimalloc:heap.
 */
#include <errno.h>

#include "hook/hook.h"
#include "malloc/malloc.h"

/*
 * glibc's prototypes have attributes (malloc, nonnull, ...) that differ by
 * version, and what is defined here under several names may not have fewer.
 */
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#ifndef __clang__ /* which has no such warning */
#pragma GCC diagnostic ignored "-Wmissing-attributes"
#endif

static void *told(void *p)
{
	if (unlikely(!p))
		errno = ENOMEM;
	return p;
}

/* What the default heap had in place of that one. */
static void *instead(void *p, const mi_heap_t *of)
{
	if (p && of)
		heap_is_full(of);
	return told(p);
}

/* --- allocating ----------------------------------------------------------------- */

/* The slow ways are not inlined, so that the fast ones need no frame. */
#define SLOW __attribute__((noinline))

static SLOW void *malloc_slowly(size_t size, uintptr_t caller)
{
	mi_heap_t *heap;
	void *p = NULL;

	if (unlikely(others() != NULL))
		return others()->malloc(size);
	heap = heap_of(caller, FRAME);
	if (likely(heap != NULL))
		p = mi_heap_malloc(heap, size);
	return likely(p != NULL) ? p : instead(mi_malloc(size), heap);
}

EXPORT void *malloc(size_t size)
{
	uintptr_t caller = CALLER;
	mi_heap_t *heap = heap_known(caller);

	if (likely(heap && size <= MI_SMALL_SIZE_MAX))
		return mi_heap_malloc_small(heap, size);
	return malloc_slowly(size, caller);
}

static SLOW void *calloc_slowly(size_t n, size_t size, uintptr_t caller)
{
	mi_heap_t *heap;
	void *p = NULL;

	if (unlikely(others() != NULL))
		return others()->calloc(n, size);
	heap = heap_of(caller, FRAME);
	if (likely(heap != NULL))
		p = mi_heap_calloc(heap, n, size);
	return likely(p != NULL) ? p : instead(mi_calloc(n, size), heap);
}

EXPORT void *calloc(size_t n, size_t size)
{
	return calloc_slowly(n, size, CALLER);
}

static SLOW void *aligned_slowly(size_t align, size_t size, uintptr_t caller)
{
	mi_heap_t *heap = heap_of(caller, FRAME);
	void *p = heap ? mi_heap_malloc_aligned(heap, size, align) : NULL;

	return likely(p != NULL) ? p : instead(mi_malloc_aligned(size, align), heap);
}

static bool is_power_of_2(size_t n) { return n && !(n & (n - 1)); }

/* glibc takes the next power of 2 for what is none. */
EXPORT void *memalign(size_t align, size_t size)
{
	size_t to = sizeof(void *);

	if (unlikely(others() && others()->memalign))
		return others()->memalign(align, size);
	if (align > SIZE_MAX / 2 + 1) {
		errno = EINVAL;
		return NULL;
	}
	while (to < align)
		to *= 2;
	return aligned_slowly(to, size, CALLER);
}

EXPORT void *aligned_alloc(size_t align, size_t size)
{
	if (unlikely(others() && others()->aligned_alloc))
		return others()->aligned_alloc(align, size);
	if (!is_power_of_2(align)) {
		errno = EINVAL;
		return NULL;
	}
	return aligned_slowly(align, size, CALLER);
}

EXPORT int posix_memalign(void **to, size_t align, size_t size)
{
	int saved = errno;
	void *p;

	if (unlikely(others() && others()->posix_memalign))
		return others()->posix_memalign(to, align, size);
	if (!is_power_of_2(align) || align % sizeof(void *))
		return EINVAL;
	p = aligned_slowly(align, size, CALLER);
	errno = saved;
	if (!p)
		return ENOMEM;
	*to = p;
	return 0;
}

EXPORT void *valloc(size_t size)
{
	if (unlikely(others() && others()->memalign))
		return others()->memalign(page_size, size);
	return aligned_slowly(MAX(page_size, 4096UL), size, CALLER);
}

EXPORT void *pvalloc(size_t size)
{
	size_t page = MAX(page_size, 4096UL);

	if (size > SIZE_MAX - page)
		return told(NULL);
	size = (size + page - 1) & ~(page - 1);
	if (unlikely(others() && others()->memalign))
		return others()->memalign(page, size);
	return aligned_slowly(page, size, CALLER);
}

/* --- freeing: a block's address says whose it is ----------------------------------- */

/* Through a pointer: two instructions, whoever it is. Threads that free for the first time at once write the same. */
static void free_first(void *p);
static void (*free_now)(void *) = free_first;

static void free_first(void *p)
{
	store_relaxed(&free_now, others() ? others()->free : mi_free);
	load_relaxed(&free_now)(p);
}

EXPORT void free(void *p)
{
	load_relaxed(&free_now)(p);
}

EXPORT void free_sized(void *p, size_t size)
{
	(void)size;
	free(p);
}

EXPORT void free_aligned_sized(void *p, size_t align, size_t size)
{
	(void)align;
	(void)size;
	free(p);
}

EXPORT size_t malloc_usable_size(void *p)
{
	if (unlikely(others() != NULL))
		return others()->malloc_usable_size ? others()->malloc_usable_size(p) : 0;
	return mi_usable_size(p);
}

/* --- another size --------------------------------------------------------------------- */

/*
 * A block that stays where it is stays its library's; one that moves becomes the
 * caller's. Size 0 frees, as in glibc.
 */
static SLOW void *realloc_slowly(void *old, size_t size, uintptr_t caller)
{
	mi_heap_t *heap;
	void *p = NULL;

	if (unlikely(others() != NULL))
		return others()->realloc(old, size);
	if (old && !size) {
		mi_free(old);
		return NULL;
	}
	heap = heap_of(caller, FRAME);
	if (likely(heap != NULL))
		p = mi_heap_realloc(heap, old, size);
	return likely(p != NULL) ? p : instead(mi_realloc(old, size), heap);
}

EXPORT void *realloc(void *old, size_t size)
{
	return realloc_slowly(old, size, CALLER);
}

EXPORT void *reallocarray(void *old, size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		return told(NULL);
	return realloc_slowly(old, bytes, CALLER);
}

/* --- glibc's own names for them, which some programs call ------------------------------- */

#define ALIAS(of) __attribute__((alias(#of), visibility("default")))
void *__libc_malloc(size_t size) ALIAS(malloc);
void *__libc_calloc(size_t n, size_t size) ALIAS(calloc);
void *__libc_realloc(void *old, size_t size) ALIAS(realloc);
void __libc_free(void *p) ALIAS(free);
void *__libc_memalign(size_t align, size_t size) ALIAS(memalign);
void *__libc_valloc(size_t size) ALIAS(valloc);
void *__libc_pvalloc(size_t size) ALIAS(pvalloc);
int __posix_memalign(void **to, size_t align, size_t size) ALIAS(posix_memalign);

/* --- C++: the operators, by the names that the ABI gives them --------------------------- */

/*
 * Without memory the C++ runtime's own operator is called: it asks the program's
 * handler, and throws. It allocates by malloc, which is here.
 */
static SLOW void *new_failed(const char *operator_name, size_t size)
{
	void *(*next)(size_t) = (void *(*)(size_t))others_function(operator_name);

	if (!next)
		__builtin_trap();       /* a C++ program without its runtime */
	return next(size);
}

static SLOW void *new_slowly(size_t size, uintptr_t caller)
{
	void *p = malloc_slowly(size + !size, caller);

	return likely(p != NULL) ? p : new_failed("_Znwm", size);
}

static SLOW void *new_aligned(size_t size, size_t align, uintptr_t caller)
{
	void *p;

	if (unlikely(others() && others()->memalign))
		p = others()->memalign(align, size + !size);
	else
		p = aligned_slowly(align, size + !size, caller);
	/* It throws the same for a size that nobody has. */
	return likely(p != NULL) ? p : new_failed("_Znwm", SIZE_MAX / 2);
}

#define NEW(name)                                                                       \
	EXPORT void *name(size_t size)                                                  \
	{                                                                               \
		uintptr_t caller = CALLER;                                              \
		mi_heap_t *heap = heap_known(caller);                                   \
                                                                                        \
		if (likely(heap && size <= MI_SMALL_SIZE_MAX))                          \
			return mi_heap_malloc_small(heap, size);                        \
		return new_slowly(size, caller);                                        \
	}
#define NEW_NOTHROW(name)                                                               \
	EXPORT void *name(size_t size, const void *nothrow)                             \
	{                                                                               \
		(void)nothrow;                                                          \
		return malloc_slowly(size + !size, CALLER);                             \
	}
#define NEW_ALIGNED(name) \
	EXPORT void *name(size_t size, size_t align) { return new_aligned(size, align, CALLER); }
#define NEW_ALIGNED_NOTHROW(name)                                                       \
	EXPORT void *name(size_t size, size_t align, const void *nothrow)               \
	{                                                                               \
		(void)nothrow;                                                          \
		if (unlikely(others() && others()->memalign))                           \
			return others()->memalign(align, size + !size);                 \
		return aligned_slowly(align, size + !size, CALLER);                     \
	}
NEW(_Znwm)
NEW(_Znam)
NEW_NOTHROW(_ZnwmRKSt9nothrow_t)
NEW_NOTHROW(_ZnamRKSt9nothrow_t)
NEW_ALIGNED(_ZnwmSt11align_val_t)
NEW_ALIGNED(_ZnamSt11align_val_t)
NEW_ALIGNED_NOTHROW(_ZnwmSt11align_val_tRKSt9nothrow_t)
NEW_ALIGNED_NOTHROW(_ZnamSt11align_val_tRKSt9nothrow_t)

#define DELETE(name, ...) EXPORT void name(void *p, ##__VA_ARGS__) { free(p); }
DELETE(_ZdlPv)
DELETE(_ZdaPv)
DELETE(_ZdlPvm, size_t size __attribute__((unused)))
DELETE(_ZdaPvm, size_t size __attribute__((unused)))
DELETE(_ZdlPvRKSt9nothrow_t, const void *nothrow __attribute__((unused)))
DELETE(_ZdaPvRKSt9nothrow_t, const void *nothrow __attribute__((unused)))
DELETE(_ZdlPvSt11align_val_t, size_t align __attribute__((unused)))
DELETE(_ZdaPvSt11align_val_t, size_t align __attribute__((unused)))
DELETE(_ZdlPvmSt11align_val_t, size_t size __attribute__((unused)), size_t align __attribute__((unused)))
DELETE(_ZdaPvmSt11align_val_t, size_t size __attribute__((unused)), size_t align __attribute__((unused)))
DELETE(_ZdlPvSt11align_val_tRKSt9nothrow_t, size_t align __attribute__((unused)), const void *nothrow __attribute__((unused)))
DELETE(_ZdaPvSt11align_val_tRKSt9nothrow_t, size_t align __attribute__((unused)), const void *nothrow __attribute__((unused)))
