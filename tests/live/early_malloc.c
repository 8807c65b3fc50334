/* SPDX-License-Identifier: MIT */
/*
 * Serves malloc while ThreadSanitizer's runtime starts, or starts or ends a
 * thread: it allocates then, and an instrumented malloc, as that of malloc by
 * library is in such a build, would die. Each other call is passed on by a
 * jump, so that the next one sees who called. See races.py.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

static char early[4 << 20] __attribute__((aligned(16)));
static size_t used;

static __thread bool ready __attribute__((tls_model("initial-exec")));

static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static void (*next_free)(void *);
static int (*next_create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

void *malloc(size_t size);
void *calloc(size_t n, size_t size);
void *realloc(void *old, size_t size);
void free(void *p);

/* Linked with ThreadSanitizer's runtime, so that this runs after that has started. */
__attribute__((constructor)) static void start(void)
{
	*(void **)&next_malloc = dlsym(RTLD_NEXT, "malloc");
	*(void **)&next_calloc = dlsym(RTLD_NEXT, "calloc");
	*(void **)&next_realloc = dlsym(RTLD_NEXT, "realloc");
	*(void **)&next_free = dlsym(RTLD_NEXT, "free");
	*(void **)&next_create = dlsym(RTLD_NEXT, "pthread_create");
	ready = true;
}

static bool is_early(const void *p)
{
	return (uintptr_t)p - (uintptr_t)early < sizeof(early);
}

/* Nothing is given back, so it is zeroed. */
static void *serve(size_t size)
{
	size_t at = __atomic_fetch_add(&used, (size + 15) & ~(size_t)15, __ATOMIC_RELAXED);

	if (size > sizeof(early) || at > sizeof(early) - size)
		__builtin_trap();
	return early + at;
}

void *malloc(size_t size)
{
	return ready ? next_malloc(size) : serve(size);
}

void *calloc(size_t n, size_t size)
{
	return ready ? next_calloc(n, size) : serve(n * size);
}

/* What is no longer wanted while a thread ends stays. */
void free(void *p)
{
	if (ready && !is_early(p))
		next_free(p);
}

void *realloc(void *old, size_t size)
{
	char *p;

	if (ready && !is_early(old))
		return next_realloc(old, size);
	p = malloc(size);
	for (size_t i = 0; old && p && i < size && (!is_early(old) || (char *)old + i < early + sizeof(early)); i++)
		p[i] = ((char *)old)[i];
	return p;
}

struct begun {
	void *(*routine)(void *);
	void *arg;
};

static void *begin(void *arg)
{
	struct begun *b = arg;
	void *result;

	ready = true;
	result = b->routine(b->arg);
	ready = false;
	return result;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*routine)(void *), void *arg)
{
	struct begun *b = serve(sizeof(*b));

	*b = (struct begun){ routine, arg };
	return next_create(thread, attr, begin, b);
}
