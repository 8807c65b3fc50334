/* SPDX-License-Identifier: MIT */
/*
 * Prints what calls return, errno and the page's alignment, and nothing that
 * depends on where things are. live.sh runs it with and without the library:
 * the two outputs must be the same.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <threads.h>

#include "live.h"

static void say(const char *what, bool good, int error)
{
	printf("%s: %s", what, good ? "good" : "fails");
	if (!good)
		printf(", %s", strerror(error));
	printf("\n");
}

#define CALL(call, bad) \
	do { \
		errno = 0; \
		long returned = (long)(call); \
		say(#call, returned != (long)(bad), errno); \
	} while (0)

#define CODE(call) printf("%s: %d\n", #call, (int)(call))
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW (PROT_READ | PROT_WRITE)

static void *nothing(void *arg) { return arg; }
static int thrd_seven(void *arg) { (void)arg; return 7; }

int main(void)
{
	char *area = mmap(NULL, 64 * MIB, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
	char *top = sbrk(0), *p;
	int fd = open("/proc/self/exe", O_RDONLY), tmp;
	char name[] = "/tmp/live-same.XXXXXX";
	pthread_attr_t attr;
	pthread_t t;
	thrd_t c;
	int seven;
	void *r;

	CALL(mmap(NULL, 0, RW, ANON, -1, 0), -1);
	CALL(mmap(area + 1, 4096, RW, ANON | MAP_FIXED, -1, 0), -1);
	CALL(mmap(NULL, 4096, RW, MAP_ANONYMOUS, -1, 0), -1);
	CALL(mmap(NULL, 4096, RW, MAP_PRIVATE, -1, 0), -1);
	CALL(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 1), -1);
	CALL(mmap(NULL, 4096, RW, MAP_SHARED, fd, 0), -1);
	CALL(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0), -1);
	CALL(mmap(NULL, -1UL, RW, ANON, -1, 0), -1);
	CALL(mmap(NULL, 1UL << 60, PROT_NONE, ANON | MAP_NORESERVE, -1, 0), -1);
	CALL(mmap(area, 4096, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0), -1);
	CALL(mmap((void *)4096, 4096, RW, ANON | 0x1e, -1, 0), -1);
	CALL(mmap(NULL, 1UL << 40, RW, ANON | MAP_NORESERVE, -1, 0), -1);
	p = mmap(area + MIB, MIB, RW, ANON | MAP_FIXED, -1, 0);
	printf("MAP_FIXED is where it was asked for: %d\n", p == area + MIB);
	p = mmap(area + 4 * MIB, 3 * MIB + 5, RW, ANON | MAP_FIXED | MAP_POPULATE, -1, 0);
	memset(p, 1, 3 * MIB + 5);
	printf("MAP_FIXED, an odd length: %d\n", p == area + 4 * MIB);
	p = mmap(NULL, 5000, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	printf("aligned: %ld\n", (long)((uintptr_t)p % (unsigned long)sysconf(_SC_PAGESIZE)));
	CALL(mmap(NULL, 65536, RW, ANON | MAP_GROWSDOWN | MAP_STACK, -1, 0), -1);
	CALL(mmap(NULL, 65536, RW | PROT_EXEC, ANON | MAP_LOCKED, -1, 0), -1);
	tmp = mkstemp(name);
	unlink(name);
	CALL(ftruncate(tmp, 8192), -1);
	CALL(mmap(area + 2 * MIB, 8192, RW, MAP_SHARED | MAP_FIXED, tmp, 0), -1);
	CALL(mmap(NULL, 8192, RW, MAP_SHARED_VALIDATE | MAP_SYNC, tmp, 0), -1);
	CALL(syscall(SYS_mmap, NULL, 0, RW, ANON, -1, 0), -1);
	CALL(syscall(SYS_mmap, NULL, 4096, RW, ANON, -1, 0), -1);

	CALL(munmap(area + 1, 4096), -1);
	CALL(munmap(area, 0), -1);
	CALL(munmap(area, -1UL), -1);
	CALL(munmap(area + 4096, 4096), -1);
	CALL(munmap(area + 4096, 4096), -1);
	CALL(syscall(SYS_munmap, area + 1, 1), -1);

	CALL(mremap(area + 1, 4096, 8192, MREMAP_MAYMOVE), -1);
	CALL(mremap(area + 4096, 4096, 8192, MREMAP_MAYMOVE), -1);
	CALL(mremap(area + 8192, 4096, 0, MREMAP_MAYMOVE), -1);
	CALL(mremap(area + 8192, 4096, 65536, 0), -1);
	CALL(mremap(area + 8192, 4096, 4096, MREMAP_FIXED, area), -1);
	CALL(mremap(area + 8192, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, area + 8192), -1);
	CALL(mremap(area + 8192, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, area + 32 * MIB), -1);
	CALL(mremap(area + 4 * MIB, MIB, 4096, 0), -1);
	CALL(mremap(area + 16384, 4096, 4096, 77), -1);

	CALL(brk((void *)-1), -1);
	CALL(brk(NULL), -1);
	CALL(sbrk(1L << 46), -1);
	CALL(sbrk(0), -1);
	printf("the break moved: %ld\n", (long)((char *)sbrk(0) - top));

	CALL(prctl(-1, 0, 0, 0, 0), -1);
	CALL(prctl(PR_SET_NAME, 1, 0, 0, 0), -1);
	CALL(prctl(PR_SET_SECCOMP, 99, 0, 0, 0), -1);
	CALL(prctl(PR_SET_SECCOMP, 2, 0, 0, 0), -1);
	CALL(prctl(PR_SET_SECCOMP, 2, 1, 0, 0), -1);
	CALL(syscall(SYS_seccomp, 1, 0, NULL), -1);
	CALL(syscall(SYS_seccomp, 77, 0, NULL), -1);
	CALL(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), -1);
	CALL(syscall(-1), -1);
	CALL(syscall(SYS_close, -1), -1);
	CALL(syscall(SYS_getpid), -1);
	CALL(sigaltstack(&(stack_t){ .ss_sp = area, .ss_size = 10 }, NULL), -1);
	CALL(sigaltstack(&(stack_t){ .ss_sp = area, .ss_size = 65536, .ss_flags = 77 }, NULL), -1);
	CALL(sigaltstack((stack_t *)1, NULL), -1);
	CALL(sigaltstack(&(stack_t){ .ss_flags = SS_DISABLE }, NULL), -1);

	CODE(pthread_setname_np(pthread_self(), "sixteen letters!"));
	CODE(pthread_setname_np(pthread_self(), "short"));
	pthread_attr_init(&attr);
	CODE(pthread_attr_setstacksize(&attr, 1UL << 50));
	CODE(pthread_create(&t, &attr, nothing, NULL));
	pthread_attr_setstacksize(&attr, 256 * KIB);
	CODE(pthread_create(&t, &attr, nothing, (void *)4711));
	CODE(pthread_join(t, &r));
	printf("returned: %ld\n", (long)r);
	CODE(thrd_create(&c, thrd_seven, NULL));
	CODE(thrd_join(c, &seven));
	printf("returned: %d\n", seven);

	printf("no such library: %d\n", dlopen("libno-such-thing.so", RTLD_NOW) == NULL);
	printf("says: %s\n", dlerror());
	printf("the program itself: %d\n", dlopen(NULL, RTLD_NOW) != NULL);
	printf("closing nonsense is for libc to judge: %d\n", dlclose(dlopen("libm.so.6", RTLD_LAZY)));
	return 0;
}
