/* SPDX-License-Identifier: MIT */
/*
 * What differs from one architecture to the next, looked at from inside a
 * process that runs under the library: the detour, the walk, the stubs.
 */
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

#include "asker.h"
#include "format/registry_format.h"
#include "live.h"

#define PR_SET_VMA 0x53564d41

static pid_t first_process;

/* --- the parts ------------------------------------------------------------------------ */

static void parts(void)
{
	const struct root *root = live_root();
	static const char *const name[] = { "mmap", "munmap", "mremap" };

	for (int i = PART_DETOUR_MMAP; i <= PART_DETOUR_MREMAP; i++)
		check(root->part_state[i] == PART_ACTIVE, "detour of %s, reason %d", name[i], root->part_reason[i]);
	check(root->part_state[PART_SWEEP] == PART_ACTIVE, "reason %d", root->part_reason[PART_SWEEP]);
}

static void maps(void)
{
	char *p = map(64 * KIB), *q;

	check_name(p, "arch:mmap");
	check(munmap(p + 16 * KIB, 16 * KIB) == 0, "errno %d", errno);
	check_name(p + 16 * KIB, "");
	check_name(p + 32 * KIB, "arch:mmap");
	q = mremap(p + 32 * KIB, 32 * KIB, 2 * MIB, MREMAP_MAYMOVE);
	check(q != MAP_FAILED, "errno %d", errno);
	check_name(q + MIB, "arch:mmap");
	q = map(2 * MIB);
	check_name(q, "arch:mmap:%t");
	/* libc's own, as its inside calls it. */
	void *(*inside)(void *, size_t, int, int, int, off_t) =
		(void *(*)(void *, size_t, int, int, int, off_t))dlsym(dlopen("libc.so.6", RTLD_NOW), "mmap");

	q = inside(NULL, 64 * KIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check_name(q, "arch:reserve");
	/* The program's own name, which qemu-user and many kernels do not take. */
	q = map(64 * KIB);
	check(prctl(PR_SET_VMA, 0, q, 64 * KIB, "mine") == 0, "errno %d", errno);
	check_name(q, "mine");
}

static void walks(void)
{
	uint64_t before = live_counter(COUNT_WALKS), hits = live_counter(COUNT_WALK_HITS);
	void *p[20];

	/* The library asks malloc, malloc asks the kernel. */
	for (size_t i = 0; i < sizeof(p) / sizeof(p[0]); i++) {
		p[i] = asker_asks(MIB);
		check_name(p[i], "glibc:large:libasker.so");
	}
	check(live_root()->part_state[PART_WALK] == PART_ACTIVE, "reason %d", live_root()->part_reason[PART_WALK]);
	check(live_counter(COUNT_WALKS) > before, "none walked");
	check(live_counter(COUNT_WALK_HITS) >= hits + 16, "the path is not known again: %lu walked, %lu hits",
	      live_counter(COUNT_WALKS) - before, live_counter(COUNT_WALK_HITS) - hits);
	p[0] = realloc(p[0], 64 * MIB);
	check_name(p[0], "glibc:large:libasker.so");
	for (size_t i = 0; i < sizeof(p) / sizeof(p[0]); i++)
		free(p[i]);
	check_name(malloc(2 * MIB), "glibc:large:arch");
}

static void *thread(void *arg)
{
	char here;
	void *small = malloc(100);

	*(void **)arg = &here;
	check_name(&here, "stack:%t:arch");
	pthread_setname_np(pthread_self(), "io-worker");
	check_name(&here, "stack:%t:io-worker");
	/* The growth is mprotect's: the name is on the reservation. A child of fork finds an arena to use again. */
	if (getpid() == first_process) {
		check_name(small, "glibc:arena1:%t");
		check_name((char *)small + MIB, "glibc:arena1:%t");
	}
	check_name(asker_asks(MIB), "glibc:large:libasker.so");
	return NULL;
}

static void threads(void)
{
	pthread_t t;
	void *stack = NULL;

	check(pthread_create(&t, NULL, thread, &stack) == 0, "no thread");
	pthread_join(t, NULL);
	check_name(stack, "stack:unused");
}

/* --- what the caller sees --------------------------------------------------------------- */

#define keeps_errno(call) \
	do { \
		errno = 4711; \
		check(call, "errno %d", errno); \
		check(errno == 4711, "it became %d", errno); \
	} while (0)
#define fails(call, error) \
	do { \
		errno = 0; \
		check((call) == -1, "it should fail"); \
		check(errno == (error), "errno %d", errno); \
	} while (0)

static void errors(void)
{
	char *p;

	keeps_errno((p = map(MIB)) != MAP_FAILED);
	keeps_errno((p = mremap(p, MIB, 2 * MIB, MREMAP_MAYMOVE)) != MAP_FAILED);
	keeps_errno(munmap(p, 2 * MIB) == 0);
	keeps_errno((p = malloc(4 * MIB)) != NULL);
	keeps_errno((p = realloc(p, 16 * MIB)) != NULL);
	keeps_errno((free(p), 1));
	fails((long)mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), EINVAL);
	fails(munmap((void *)1, 4096), EINVAL);
	fails((long)mremap((void *)1, 4096, 4096, 0), EINVAL);
}

static void system_calls(void)
{
	char *p = NULL;
	int status = 0;
	long child;

	keeps_errno((p = (char *)syscall(SYS_mmap, NULL, MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0L)) != (void *)-1);
	check_name(p, "arch:mmap:%t");
	keeps_errno((p = (char *)syscall(SYS_mremap, p, MIB, 4 * MIB, MREMAP_MAYMOVE)) != (void *)-1);
	check_name(p + 3 * MIB, "arch:mmap:%t");
	keeps_errno(syscall(SYS_munmap, p, 4 * MIB) == 0);
	check_name(p, "");
	fails(syscall(SYS_munmap, 1, 4096), EINVAL);
	/* Those that the stub leaves to libc: all six arguments, result and errno. */
	check(syscall(SYS_getpid) == getpid(), "another process");
	p = map(MIB);
	fails(syscall(SYS_pread64, -1, p, 1, 0), EBADF);
	check(syscall(SYS_getrandom, p, 64, 0) == 64, "errno %d", errno);
	child = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (child == 0)
		_exit(42);
	check(child > 0 && waitpid((pid_t)child, &status, 0) == child && WEXITSTATUS(status) == 42, "errno %d", errno);
}

/*
 * asker.so has a DT_RUNPATH of its own, which alone leads to runpath/libfound.so.
 * The program has none, so the same call from here must fail.
 */
static void loader(void)
{
	void *p;
	Lmid_t space = -1;

	check(!dlopen("libfound.so", RTLD_NOW), "the program found what only the library may");
	p = asker_opens("libfound.so");
	check(p, "%s", dlerror());
	check(p && dlclose(p) == 0, "%s", dlerror());
	p = dlopen("libm.so.6", RTLD_NOW);
	check(p && dlsym(p, "cos"), "%s", dlerror());
	check(p && dlclose(p) == 0, "%s", dlerror());
	p = dlmopen(LM_ID_NEWLM, "libm.so.6", RTLD_NOW);
	check(p && dlinfo(p, RTLD_DI_LMID, &space) == 0 && space != LM_ID_BASE, "%s", dlerror());
}

static void forks(void)
{
	void *before = map(64 * KIB);
	pid_t child = live_fork();

	if (child == 0) {
		check_name(before, "arch:mmap");
		check_name(map(64 * KIB), "arch:mmap");
		check_name(asker_asks(MIB), "glibc:large:libasker.so");
		threads();
		_exit(live_status());
	}
	live_join(child, "after fork");
	check_name(before, "arch:mmap");
}

int main(void)
{
	if (!live_active()) {
		check(0, "the library is not in this process");
		return live_status();
	}
	first_process = getpid();
	/* It would grow with what is freed, and large chunks become small ones. */
	mallopt(M_MMAP_THRESHOLD, 128 * KIB);
	/* Until then it is the emulator's, where there is one. */
	prctl(PR_SET_NAME, "arch");
	parts();
	maps();
	walks();
	threads();
	errors();
	system_calls();
	loader();
	forks();
	return live_status();
}
