/* SPDX-License-Identifier: MIT */
/*
 * Every function that the library stands in front of, called when the library
 * is not ready. It prints what each call answers, which must be the same
 * without the library; the first call of all is the one that is named as
 * argument, so that none depends on another having come before it.
 *
 * preinit CALL: from .preinit_array, before any constructor and before libc has
 * an environment. inside CALL: from the program's own dl_iterate_phdr, which
 * the library calls in the middle of its start. Sanitizers do both.
 */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <threads.h>
#include <unistd.h>

#define SIZE (256UL << 10)

struct answer {
	long r;
	int error;
};

static char *pages;
static char stack[64 << 10];
static int ran;

static void *runs(void *arg) { ran++; return arg; }
static int runs_too(void *arg) { ran += arg != NULL; return 7; }

static void *more(void)
{
	return (void *)syscall(SYS_mmap, NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L);
}

static long call_mmap(void)
{
	char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p != MAP_FAILED && p[SIZE - 1] == 0;
}

static long call_mmap_bad(void) { return mmap(NULL, 0, 0, MAP_PRIVATE, -1, 0) == MAP_FAILED; }
static long call_munmap(void) { return munmap(more(), SIZE); }
static long call_munmap_bad(void) { return munmap((void *)1, 1); }
static long call_mremap(void) { return mremap(more(), SIZE, 2 * SIZE, MREMAP_MAYMOVE) != MAP_FAILED; }
static long call_mprotect(void) { return mprotect(more(), SIZE, PROT_READ); }
static long call_mprotect_bad(void) { return mprotect((void *)1, 1, PROT_READ); }
static long call_madvise(void) { return madvise(more(), SIZE, MADV_DONTNEED); }
static long call_madvise_bad(void) { return madvise(NULL, 4096, -5); }
static long call_sbrk(void) { return sbrk(4096) != (void *)-1 && sbrk(-4096) != (void *)-1; }
static long call_brk(void) { return brk((char *)sbrk(0) + 8192); }
static long call_prctl(void) { return prctl(PR_SET_NAME, "preinit", 0, 0, 0); }
static long call_prctl_bad(void) { return prctl(-1, 0, 0, 0, 0); }
static long call_syscall(void) { return syscall(SYS_getppid) == getppid(); }
static long call_syscall_bad(void) { return syscall(SYS_close, -1); }
static long call_syscall_six(void) { pages = more(); return pages != MAP_FAILED; }
static long call_sigaltstack(void)
{
	return sigaltstack(&(stack_t){ .ss_sp = stack, .ss_size = sizeof(stack) }, NULL);
}
static long call_sigaltstack_bad(void) { return sigaltstack(&(stack_t){ .ss_sp = stack, .ss_size = 1 }, NULL); }
static long call_pthread_setname_np(void) { return pthread_setname_np(pthread_self(), "longer than fifteen"); }

/* As the two race for the end, libc leaves an EAGAIN there or not, with the library and without. */
static long joined(long r)
{
	errno = 0;
	return r;
}

static long call_pthread_create(void)
{
	pthread_t t;
	int r = pthread_create(&t, NULL, runs, NULL);

	return r ? r : joined(pthread_join(t, NULL) + ran * 100);
}

static long call_thrd_create(void)
{
	thrd_t t;
	int r = thrd_create(&t, runs_too, stack), result = 0;

	if (r != thrd_success)
		return r;
	r = thrd_join(t, &result);
	return joined(r + result + ran * 100);
}

static long call_dlopen(void) { return dlopen(NULL, RTLD_NOW) != NULL; }
static long call_dlopen_bad(void) { return dlopen("/no/such/library", RTLD_NOW) != NULL; }
static long call_dlclose(void) { return dlclose(dlopen(NULL, RTLD_NOW)); }
static long call_dlmopen(void) { return dlmopen(LM_ID_BASE, "libc.so.6", RTLD_NOW | RTLD_NOLOAD) != NULL; }

#define CALL(name) { #name, call_##name }
static const struct {
	const char *name;
	long (*call)(void);
} calls[] = {
	CALL(mmap), CALL(mmap_bad), CALL(munmap), CALL(munmap_bad), CALL(mremap), CALL(mprotect), CALL(mprotect_bad),
	CALL(madvise), CALL(madvise_bad), CALL(sbrk), CALL(brk), CALL(prctl), CALL(prctl_bad), CALL(syscall),
	CALL(syscall_bad), CALL(syscall_six), CALL(sigaltstack), CALL(sigaltstack_bad), CALL(pthread_setname_np),
	CALL(pthread_create), CALL(thrd_create), CALL(dlopen), CALL(dlopen_bad), CALL(dlclose), CALL(dlmopen),
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

static struct answer first, answers[CALLS];

static struct answer answer(size_t i)
{
	struct answer a;

	errno = 0;
	a.r = calls[i].call();
	a.error = errno;
	return a;
}

static void call_all(const char *name)
{
	for (size_t i = 0; i < CALLS; i++)
		if (!strcmp(calls[i].name, name))
			first = answer(i);
	for (size_t i = 0; i < CALLS; i++)
		answers[i] = answer(i);
}

static const char *inside;      /* call all, this one first, at the next dl_iterate_phdr */

int dl_iterate_phdr(int (*each)(struct dl_phdr_info *, size_t, void *), void *context)
{
	int (*real)(int (*)(struct dl_phdr_info *, size_t, void *), void *);
	const char *name = inside;

	inside = NULL;
	if (name)
		call_all(name);
	*(void **)&real = dlsym(RTLD_NEXT, "dl_iterate_phdr");
	return real(each, context);
}

static void before_all(int argc, char **argv, char **env)
{
	(void)env;
	if (argc < 3)
		return;
	if (!strcmp(argv[1], "preinit"))
		call_all(argv[2]);
	else
		inside = argv[2];
}

__attribute__((section(".preinit_array"), used)) static void (*const before)(int, char **, char **) = before_all;

static int no_object(struct dl_phdr_info *info, size_t size, void *context)
{
	(void)info;
	(void)size;
	(void)context;
	return 1;
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		for (size_t i = 0; i < CALLS; i++)
			printf("%s\n", calls[i].name);
		return 0;
	}
	dl_iterate_phdr(no_object, NULL);       /* without the library nobody has called it yet */
	printf("%s, first %s: %ld, errno %d\n", argv[1], argv[2], first.r, first.error);
	for (size_t i = 0; i < CALLS; i++)
		printf("%s: %ld, errno %d\n", calls[i].name, answers[i].r, answers[i].error);
	printf("threads that ran: %d\n", ran);
	return 0;
}
