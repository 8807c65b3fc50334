/* SPDX-License-Identifier: MIT */
/*
 * No hook calls malloc, and no hook waits for the dynamic linker's lock. The
 * program brings its own malloc, which looks whether it is called from inside
 * a call that must not; and one thread sits in dl_iterate_phdr while others
 * use everything that must go on.
 */
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/prctl.h>

#include "live.h"

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);
extern void *__libc_memalign(size_t align, size_t size);

static __thread int inside;
static int caught;

static void look(void)
{
	if (inside)
		__atomic_add_fetch(&caught, 1, __ATOMIC_RELAXED);
}

void *malloc(size_t size) { look(); return __libc_malloc(size); }
void *calloc(size_t n, size_t size) { look(); return __libc_calloc(n, size); }
void *realloc(void *p, size_t size) { look(); return __libc_realloc(p, size); }
void *memalign(size_t align, size_t size) { look(); return __libc_memalign(align, size); }
void *aligned_alloc(size_t align, size_t size) { look(); return __libc_memalign(align, size); }

#define INSIDE(call) \
	do { \
		inside++; \
		call; \
		inside--; \
		check(!caught, "malloc was called in %s", #call); \
		caught = 0; \
	} while (0)

static void *body(void *arg)
{
	void *volatile p;

	/* A thread's first malloc makes its arena; the large ones are walked. Inside them no other malloc. */
	inside++;
	p = __libc_malloc(100);
	p = __libc_malloc(2 * MIB);
	inside--;
	check(!caught, "malloc in malloc");
	caught = 0;
	free(p);
	INSIDE(pthread_setname_np(pthread_self(), "inner"));
	return arg;
}

static void no_malloc(void)
{
	static char handler_stack[65536] __attribute__((aligned(65536)));
	stack_t ss = { .ss_sp = handler_stack, .ss_size = sizeof(handler_stack) };
	pthread_t t;
	char *p, *q;

	INSIDE(p = map(MIB));
	INSIDE(p = mremap(p, MIB, 2 * MIB, MREMAP_MAYMOVE));
	INSIDE(munmap(p, 2 * MIB));
	INSIDE(p = (char *)syscall(SYS_mmap, NULL, MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L));
	INSIDE(syscall(SYS_munmap, p, MIB));
	INSIDE(sbrk(0));
	INSIDE(prctl(PR_SET_NAME, "renamed", 0, 0, 0));
	INSIDE(prctl(0x53564d41, 0, p, 0, NULL));
	INSIDE(sigaltstack(&ss, NULL));
	for (int i = 0; i < 200; i++) {
		INSIDE(q = map(4096));
		(void)q;
	}
	for (int i = 0; i < 20; i++) {
		pthread_create(&t, NULL, body, NULL);
		pthread_join(t, NULL);
	}
}

/* --- the dynamic linker's lock ---------------------------------------------------- */

static sem_t held, finished;

static void *uses_everything(void *arg)
{
	pthread_t t;
	void *volatile p;

	(void)arg;
	p = __libc_malloc(3 * MIB);
	free(p);
	munmap(map(MIB), MIB);
	pthread_setname_np(pthread_self(), "busy");
	p = mremap(map(4096), 4096, 8192, MREMAP_MAYMOVE);
	munmap(p, 8192);
	pthread_create(&t, NULL, body, NULL);
	pthread_join(t, NULL);
	sem_post(&finished);
	return NULL;
}

static int sit(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct timespec until;

	(void)info;
	(void)size;
	sem_post(&held);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 20;
	*(bool *)arg = sem_timedwait(&finished, &until) == 0;
	return 1;
}

static void *sitter(void *arg)
{
	dl_iterate_phdr(sit, arg);
	return NULL;
}

int main(void)
{
	pthread_t t, u;
	bool went_on = false;

	no_malloc();
	sem_init(&held, 0, 0);
	sem_init(&finished, 0, 0);
	pthread_create(&t, NULL, sitter, &went_on);
	sem_wait(&held);
	pthread_create(&u, NULL, uses_everything, NULL);
	pthread_join(t, NULL);
	check(went_on, "others waited for the dynamic linker's lock");
	pthread_join(u, NULL);
	return live_status();
}
