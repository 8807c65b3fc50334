/* SPDX-License-Identifier: MIT */
/* Every hook leaves errno alone when it succeeds, and the first call of all does too. */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <threads.h>

#include "live.h"

#define kept(call) \
	do { \
		errno = 4711; \
		bool good = (call); \
		int left = errno; \
		check(good, "it should succeed, errno %d", left); \
		check(!good || left == 4711, "errno became %d", left); \
	} while (0)

static void *body(void *arg)
{
	int *after = arg;

	*after = errno;
	return NULL;
}

static int thrd_body(void *arg)
{
	int *after = arg;

	*after = errno;
	return 0;
}

int main(void)
{
	static char handler_stack[64 * 1024] __attribute__((aligned(65536)));
	stack_t ss = { .ss_sp = handler_stack, .ss_size = sizeof(handler_stack) };
	char *p = NULL, *q = NULL;
	pthread_t t;
	thrd_t c;
	int after = 0;
	void *h = NULL;

	for (int round = 0; round < 2; round++) {
		kept((p = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED);
		kept((q = mmap64(NULL, MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) != MAP_FAILED);
		kept((p = mremap(p, MIB, 2 * MIB, MREMAP_MAYMOVE)) != MAP_FAILED);
		kept(munmap(p, 2 * MIB) == 0);
		kept(munmap(q, MIB) == 0);
		/* Shared: the kernel before 6.2 refuses the name with EBADF, which is none of the program's business. */
		kept((p = mmap(NULL, MIB, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) != MAP_FAILED);
		kept(munmap(p, MIB) == 0);
		kept((long)(p = (char *)syscall(SYS_mmap, NULL, MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L)) > 0);
		kept((long)(p = (char *)syscall(SYS_mremap, p, MIB, 4 * MIB, MREMAP_MAYMOVE)) > 0);
		kept(syscall(SYS_munmap, p, 4 * MIB) == 0);
		kept(sbrk(0) != (void *)-1);
		kept(sbrk(65536) != (void *)-1);
		kept(brk((char *)sbrk(0) + 65536) == 0);
		kept(sbrk(-131072) != (void *)-1);
		kept(prctl(PR_SET_NAME, "renamed", 0, 0, 0) == 0);
		kept(syscall(SYS_prctl, PR_SET_NAME, "again", 0, 0, 0) == 0);
		kept(pthread_setname_np(pthread_self(), "third") == 0);
		kept(sigaltstack(&ss, NULL) == 0);
		errno = 4711;
		/* glibc itself leaves an EAGAIN there on some kernels. */
		check(pthread_create(&t, NULL, body, &after) == 0, "pthread_create");
		pthread_join(t, NULL);
		check(after == 0, "a new thread starts with errno %d", after);
		kept(thrd_create(&c, thrd_body, &after) == thrd_success);
		thrd_join(c, NULL);
		check(after == 0, "a new C11 thread starts with errno %d", after);
		kept((p = malloc(4 * MIB)) != NULL);
		kept((p = realloc(p, 16 * MIB)) != NULL);
		kept((free(p), 1));
		kept((h = dlopen("libm.so.6", RTLD_NOW)) != NULL);
		kept(dlclose(h) == 0);
	}
	return live_status();
}
