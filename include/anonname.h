/* SPDX-License-Identifier: MIT */
/*
 * anonname.h - names for anonymous memory, from inside the program.
 *
 * Link with -lanonname, or preload the library: both do the same. A library
 * that wants to use it where it is, and do without it where it is not, defines
 * ANONNAME_WEAK before it includes this file and does not link; then each call
 * is a no-op in a process without libanonname (see the end of this file).
 *
 * Functions that return int return -1 on failure with errno set, unless they
 * say otherwise. On success errno is unchanged. All are safe to call from many
 * threads at once. "Signal-safe" means that a signal handler may call it.
 * Memory sizes are bytes.
 */
#ifndef ANONNAME_H
#define ANONNAME_H

#include <stddef.h>
#include <stdint.h>
#ifdef ANONNAME_WEAK
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* With it gcc calls a function through its address, which saves a jump (-fno-plt does that for all). */
#define ANONNAME_NOPLT
#ifdef __has_attribute
#if __has_attribute(noplt)
#undef ANONNAME_NOPLT
#define ANONNAME_NOPLT __attribute__((noplt))
#endif
#endif

#ifdef ANONNAME_WEAK
#define ANONNAME_API __attribute__((weak)) ANONNAME_NOPLT
#else
#define ANONNAME_API __attribute__((visibility("default"))) ANONNAME_NOPLT
#endif

/* The longest name, without its NUL. The kernel's limit. */
#define ANONNAME_MAX 79

/* --- names of ranges --------------------------------------------------------- */

/*
 * Names the pages of [start, start + len), whatever their name was. start is
 * the start of a page; len is rounded up to pages; 0 names nothing. The name
 * is copied. A byte that a name cannot hold (unprintable or one of [ ] \ $ ` /)
 * becomes _, and a name that is too long loses its middle.
 *
 * Returns 0. Errors: EINVAL start is not the start of a page, the range wraps,
 * or name is NULL; ENOMEM a part of it is not mapped, the other parts are
 * named; EBADF a part of it is backed by a file (or is shared memory, before
 * Linux 6.2); EAGAIN out of VMAs (vm.max_map_count); ENOTSUP this process
 * names nothing (ANONNAME_SINK=off).
 * Signal-safe. Since 0.1.
 */
ANONNAME_API int anonname_set(const void *start, size_t len, const char *name);

/*
 * The same, with a name made by printf's rules.
 * Errors: those of anonname_set; EINVAL where format is bad.
 * Not signal-safe. Since 0.1.
 */
ANONNAME_API int anonname_setf(const void *start, size_t len, const char *format, ...) __attribute__((format(printf, 3, 4)));

/*
 * Takes the names of the range away.
 * Returns and errors as anonname_set. Signal-safe. Since 0.1.
 */
ANONNAME_API int anonname_clear(const void *start, size_t len);

/*
 * What is the memory at addr called? Writes the name, cut to size - 1 bytes,
 * and a NUL to name. Memory that a file backs has its path, the heap is
 * [heap] and the first thread's stack is [stack]; memory without a name has
 * "". name may be NULL where size is 0.
 *
 * Returns the length of the whole name. Errors: ENOENT nothing is mapped
 * there; ENOTSUP /proc/self/maps cannot be read.
 * Signal-safe. Since 0.1.
 */
ANONNAME_API int anonname_get(const void *addr, char *name, size_t size);

/* --- labels: what this thread maps meanwhile ---------------------------------- */

/*
 * From now on what the calling thread maps carries the label (%c in the
 * templates, libanonname(7)), until anonname_pop. Labels nest, the innermost
 * counts; the ninth and further ones are counted but not shown. The label is
 * not copied: it must stay as it is until it is popped. A string literal does.
 * Memory that the program's malloc has already does not change its name.
 *
 * Returns the depth before, for anonname_pop_to. It cannot fail; NULL counts
 * as a level without a label. Signal-safe, if the handler pops what it pushed.
 * Since 0.1.
 */
ANONNAME_API int anonname_push(const char *label);

/* Takes the innermost label away; without one it does nothing. Signal-safe. Since 0.1. */
ANONNAME_API void anonname_pop(void);

/*
 * Takes all labels away that were pushed since anonname_push returned `depth`:
 * after longjmp, or where a callee may have left some. Signal-safe. Since 0.1.
 */
ANONNAME_API void anonname_pop_to(int depth);

/* --- heaps with names ------------------------------------------------------------ */

/*
 * A heap is a jemalloc arena of its own, with caches for each thread that uses
 * it. Each of its extents is called NAME:heap, so that its share of RSS, PSS
 * and USS is exact, and anonname_heap_destroy gives all of it back. What comes
 * from a heap goes back to the same heap, not to free().
 *
 * A NULL heap is the process's malloc: a program can go on with it where
 * anonname_heap_create failed.
 *
 * None of these is signal-safe.
 */
typedef struct anonname_heap anonname_heap;

/*
 * Makes a heap. name is copied, and cleaned as in anonname_set.
 *
 * Returns the heap, or NULL with errno set: ENOTSUP there is no jemalloc in
 * the process, or ANONNAME_JEMALLOC is mmap or off, or nothing is named
 * (preload libjemalloc.so.2, or `anonname run -a jemalloc`); EINVAL name is NULL
 * or empty; EAGAIN jemalloc has no arena left (about 4,000); ENOMEM.
 * Since 0.1.
 */
ANONNAME_API anonname_heap *anonname_heap_create(const char *name);

/*
 * The same, but where anonname_heap_create would say ENOTSUP the heap takes
 * its memory from malloc: it works, costs 32 bytes and a lock an allocation,
 * and its memory carries no name of its own.
 * Since 0.1.
 */
ANONNAME_API anonname_heap *anonname_heap_create_any(const char *name);

/*
 * As malloc, calloc, aligned_alloc: NULL with errno ENOMEM, or EINVAL where
 * align is not a power of 2 or the heap was destroyed. Since 0.1.
 */
ANONNAME_API void *anonname_heap_malloc(anonname_heap *heap, size_t size);
ANONNAME_API void *anonname_heap_calloc(anonname_heap *heap, size_t count, size_t size);
ANONNAME_API void *anonname_heap_aligned_alloc(anonname_heap *heap, size_t align, size_t size);

/*
 * As realloc: p came from the same heap, or is NULL. size 0 counts as 1. On
 * failure p is unchanged. The alignment of anonname_heap_aligned_alloc is not
 * kept. Since 0.1.
 */
ANONNAME_API void *anonname_heap_realloc(anonname_heap *heap, void *p, size_t size);

/* p came from the same heap, or is NULL. errno is kept. Since 0.1. */
ANONNAME_API void anonname_heap_free(anonname_heap *heap, void *p);

/* The bytes that may be used at p, at least as many as were asked for; 0 for NULL. Since 0.1. */
ANONNAME_API size_t anonname_heap_usable_size(anonname_heap *heap, const void *p);

/* What is not known: a heap on malloc knows no more than live and blocks. */
#define ANONNAME_UNKNOWN UINT64_MAX

struct anonname_heap_stats {
	uint64_t live;                  /* bytes in blocks that were taken and not freed, each as large as it may be used */
	uint64_t free;                  /* bytes in the heap's memory that are not: trimmable and pinned */
	uint64_t trimmable;             /* of those, whole free pages, which jemalloc gives back after a while or at a purge */
	uint64_t pinned;                /* of those, on pages that live blocks are on, too */
	uint64_t metadata;              /* bytes of jemalloc's own for this heap */
	uint64_t resident;              /* bytes in memory, at most: a page that was never touched may be counted */
	uint64_t blocks;                /* live ones, a number */
};

/*
 * What is live and free inside a heap. This thread's cache of the heap is
 * emptied first; what the caches of other threads hold counts as live. size is
 * sizeof(struct anonname_heap_stats) as the caller was compiled; later versions
 * may append members. It takes jemalloc's locks, and some microseconds.
 *
 * Returns 0. Errors: EINVAL stats is NULL, or the heap was destroyed; ENOTSUP
 * the heap is NULL (malloc_info(3) tells of that), or jemalloc was built
 * without statistics. Not signal-safe. Since 0.2.
 */
ANONNAME_API int anonname_heap_stats(anonname_heap *heap, struct anonname_heap_stats *stats, size_t size);

/*
 * Frees all that was taken from the heap, and the heap. No other thread may be
 * using it. NULL does nothing. In a process made by fork, each process has its
 * own copy. Since 0.1.
 */
ANONNAME_API void anonname_heap_destroy(anonname_heap *heap);

/* --- the whole process ------------------------------------------------------------- */

struct anonname_range {
	const void *start;
	size_t len;
	const char *name;               /* good until the callback returns */
};

/*
 * Calls each(range, context) for each named range, in order of address, until
 * it returns something other than 0. The callback may call any function here.
 * Memory that changes meanwhile may be told or not.
 *
 * Returns what the last callback returned, 0 where there was none. Errors (-1,
 * errno): ENOTSUP nothing is named, or /proc/self/maps cannot be read.
 * Signal-safe, if the callback is. Since 0.1.
 */
ANONNAME_API int anonname_foreach(int (*each)(const struct anonname_range *range, void *context), void *context);

/*
 * Names what was mapped past the library since it started: by system calls
 * that do not go through libc, by the dynamic linker. Also puts names on
 * jemalloc arenas that were made out of its sight.
 *
 * Returns the number of ranges that got a name. Errors: ENOTSUP as above.
 * Not signal-safe. Since 0.1.
 */
ANONNAME_API int anonname_sweep(void);

struct anonname_stats {
	uint64_t named;                 /* ranges named since the start */
	uint64_t refused;               /* names that the kernel refused */
	uint64_t dropped;               /* names lost because the registry was busy or full */
	uint64_t coarse;                /* names made coarser, near vm.max_map_count */
	uint64_t skipped;               /* names left out, nearer still */
	uint64_t ranges;                /* ranges in the registry now */
	uint64_t names;                 /* different names in the registry now */
	uint64_t bytes;                 /* of memory that the registry uses */
	uint32_t kernel;                /* 1: names go to the kernel */
	uint32_t registry;              /* 1: names go to the registry */
};

/*
 * What the library did so far. size is sizeof(struct anonname_stats) as the
 * caller was compiled; later versions may append members.
 *
 * Returns 0. Errors: EINVAL stats is NULL. Signal-safe. Since 0.1.
 */
ANONNAME_API int anonname_stats(struct anonname_stats *stats, size_t size);

/* --- without libanonname in the process ------------------------------------------------ */

#ifdef ANONNAME_WEAK
/* A macro's own name is not expanded again, so each line asks whether the function is there and calls it. */
#define anonname_set(start, len, name) (anonname_set ? anonname_set(start, len, name) : 0)
#define anonname_setf(start, len, ...) (anonname_setf ? anonname_setf(start, len, __VA_ARGS__) : 0)
#define anonname_clear(start, len) (anonname_clear ? anonname_clear(start, len) : 0)
#define anonname_get(addr, name, size) (anonname_get ? anonname_get(addr, name, size) : (errno = ENOTSUP, -1))
#define anonname_push(label) (anonname_push ? anonname_push(label) : 0)
#define anonname_pop() (anonname_pop ? anonname_pop() : (void)0)
#define anonname_pop_to(depth) (anonname_pop_to ? anonname_pop_to(depth) : (void)0)
#define anonname_foreach(each, context) (anonname_foreach ? anonname_foreach(each, context) : 0)
#define anonname_sweep() (anonname_sweep ? anonname_sweep() : 0)
#define anonname_stats(stats, size) (anonname_stats ? anonname_stats(stats, size) : (errno = ENOTSUP, -1))
/* There is no heap but NULL then, and that is malloc. */
#define anonname_heap_create(name) (anonname_heap_create ? anonname_heap_create(name) : (errno = ENOTSUP, (anonname_heap *)NULL))
#define anonname_heap_create_any(name) \
	(anonname_heap_create_any ? anonname_heap_create_any(name) : (errno = ENOTSUP, (anonname_heap *)NULL))
#define anonname_heap_malloc(heap, size) (anonname_heap_malloc ? anonname_heap_malloc(heap, size) : malloc(size))
#define anonname_heap_calloc(heap, count, size) \
	(anonname_heap_calloc ? anonname_heap_calloc(heap, count, size) : calloc(count, size))
#define anonname_heap_aligned_alloc(heap, align, size) \
	(anonname_heap_aligned_alloc ? anonname_heap_aligned_alloc(heap, align, size) : aligned_alloc(align, size))
#define anonname_heap_realloc(heap, p, size) (anonname_heap_realloc ? anonname_heap_realloc(heap, p, size) : realloc(p, size))
#define anonname_heap_free(heap, p) (anonname_heap_free ? anonname_heap_free(heap, p) : free(p))
#define anonname_heap_usable_size(heap, p) \
	(anonname_heap_usable_size ? anonname_heap_usable_size(heap, p) : malloc_usable_size((void *)(uintptr_t)(p)))
#define anonname_heap_stats(heap, stats, size) (anonname_heap_stats ? anonname_heap_stats(heap, stats, size) : (errno = ENOTSUP, -1))
#define anonname_heap_destroy(heap) (anonname_heap_destroy ? anonname_heap_destroy(heap) : (void)0)
#endif

/* --- labels that end with their block ---------------------------------------------------- */

static inline void anonname_scope_end(const int *depth) { anonname_pop_to(*depth); }

#define ANONNAME_JOIN_(a, b) a##b
#define ANONNAME_JOIN(a, b) ANONNAME_JOIN_(a, b)

/* C: pushes the label until the end of the block that this line stands in, however it is left (not by longjmp). */
#define ANONNAME_SCOPE(label) \
	const int ANONNAME_JOIN(anonname_scope_, __LINE__) __attribute__((cleanup(anonname_scope_end), unused)) = anonname_push(label)

#ifdef __cplusplus
}

namespace anonname {
/* C++: the same, as an object. */
class scope {
public:
	explicit scope(const char *label) : depth_(anonname_push(label)) { }
	~scope() { anonname_pop_to(depth_); }
	scope(const scope &) = delete;
	scope &operator=(const scope &) = delete;

private:
	int depth_;
};
}
#endif

#endif
