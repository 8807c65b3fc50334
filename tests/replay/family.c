/* SPDX-License-Identifier: MIT */
/*
 * Processes with memory in known states, for tests that compare figures. Each
 * prints its pid on a line of its own and lives until standard input ends.
 *
 *   golden   64 MiB touched, two forked children, the second rewrites half:
 *            pids of the parent, the idle child and the writer
 *   zero     32 MiB that is only read
 *   huge     8 MiB in huge pages, named test:huge
 *   locked   2 MiB that are locked, named test:locked, between two that are not,
 *            then a fork that leaves all of it shared
 *   alike    16 MiB of pages that are all the same, for KSM, named test:alike
 *   swapped  16 MiB, of which the first half is driven out, named test:swapped
 *   mixed    one mapping with parts named test:full, test:half, test:none,
 *            test:zero, 4 MiB each, then a fork that leaves all of it shared
 *            but 1 MiB of test:full, which the parent rewrites
 *   nearly   one mapping with parts named test:one and test:two, 4 MiB each, of which
 *            the parent rewrites all but 8 KiB; two children share those
 *   leader   the main thread ends, and another has 40 MiB named test:worker:
 *            pids of the process and that thread
 *   shared   memfd, System V, POSIX and shared anonymous memory of 4 MiB each, a
 *            private mapping of a memfd of which 1 MiB is rewritten, 4 MiB anonymous
 *   churn    exec, fork and mmap without an end
 *   children N   that many children that only wait
 *   threads N    that many threads that only wait; none runs before all are made,
 *            where the process may have that (SCHED_FIFO on one processor)
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif

#define MIB (1UL << 20)

static char *map(size_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	/* Figures are in small pages. */
	madvise(p, size, MADV_NOHUGEPAGE);
	return p;
}

static void name(char *p, size_t size, const char *text)
{
	/* May fail where neither the kernel nor the library names: the tests know. */
	(void)prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, size, text);
}

static void read_pages(const char *p, size_t size)
{
	for (size_t i = 0; i < size; i += 4096)
		(void)*(const volatile char *)(p + i);
}

static pid_t child(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0) {
		perror("fork");
		exit(1);
	}
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* It may have ended before that. */
		if (getppid() != parent)
			_exit(0);
	}
	return pid;
}

static void golden(void)
{
	char *p = map(64 * MIB);
	int ready[2];
	char byte;
	pid_t idle, writer;

	if (pipe(ready))
		exit(1);
	name(p, 64 * MIB, "test:golden");
	memset(p, 1, 64 * MIB);
	idle = child();
	if (!idle)
		for (;;)
			pause();
	writer = child();
	if (!writer) {
		memset(p, 2, 32 * MIB);
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	if (read(ready[0], &byte, 1) != 1)
		exit(1);
	printf("%d\n%d\n%d\n", (int)getpid(), (int)idle, (int)writer);
}

static void mixed(void)
{
	static const char *const names[] = { "test:full", "test:half", "test:none", "test:zero" };
	const size_t part = 4 * MIB;
	char *p = map(4 * part);

	for (size_t i = 0; i < 4; i++)
		name(p + i * part, part, names[i]);
	memset(p, 1, part);
	for (size_t i = 0; i < part; i += 8192)
		p[part + i] = 1;
	read_pages(p + 3 * part, part);
	if (!child())
		for (;;)
			pause();
	memset(p, 2, MIB);
	printf("%d\n", (int)getpid());
}

static void huge(void)
{
	char *p = mmap(NULL, 10 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		exit(1);
	p = (char *)(((uintptr_t)p + 2 * MIB - 1) & -(2 * MIB));
	madvise(p, 8 * MIB, MADV_HUGEPAGE);
	name(p, 8 * MIB, "test:huge");
	memset(p, 1, 8 * MIB);
	printf("%d\n", (int)getpid());
}

/* Pages of hugetlbfs, shared with a child; 1: there are none. */
static int hugetlb(void)
{
	char *p = mmap(NULL, 4 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	if (p == MAP_FAILED)
		return 1;
	memset(p, 1, 4 * MIB);
	if (!child())
		for (;;)
			pause();
	printf("%d\n", (int)getpid());
	return 0;
}

/* What sanitizers and other runtimes do: 8 TiB of addresses with a few pages, and many small VMAs. */
static void sparse(void)
{
	const size_t size = (size_t)8 << 40;
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *small = map(600 * 4096);

	if (p == MAP_FAILED)
		exit(1);
	name(p, size, "test:sparse");
	for (size_t i = 0; i < 8; i++)
		p[size / 8 * i] = 1;
	memset(small, 1, 600 * 4096);
	for (size_t i = 0; i < 600; i += 2)
		mprotect(small + i * 4096, 4096, PROT_READ);
	printf("%d\n", (int)getpid());
}

static void alike(void)
{
	char *p = map(16 * MIB);

	madvise(p, 16 * MIB, MADV_MERGEABLE);
	name(p, 16 * MIB, "test:alike");
	memset(p, 7, 16 * MIB);
	printf("%d\n", (int)getpid());
}

static void swapped(void)
{
	char *p = map(16 * MIB);
	unsigned seed = 1;

	name(p, 16 * MIB, "test:swapped");
	/* No two alike: zram takes pages of one byte for free. */
	for (size_t i = 0; i < 16 * MIB; i += sizeof(seed)) {
		seed = seed * 1103515245 + 12345;
		memcpy(p + i, &seed, sizeof(seed));
	}
	madvise(p, 8 * MIB, MADV_PAGEOUT);
	printf("%d\n", (int)getpid());
}

static void locked(void)
{
	char *p = map(6 * MIB);

	name(p, 6 * MIB, "test:unlocked");
	name(p + 2 * MIB, 2 * MIB, "test:locked");
	memset(p, 1, 6 * MIB);
	if (mlock(p + 2 * MIB, 2 * MIB)) {
		perror("mlock");
		exit(1);
	}
	if (!child())
		for (;;)
			pause();
	printf("%d\n", (int)getpid());
}

static void nearly(void)
{
	const size_t part = 4 * MIB, shared = 8192;
	char *p = map(2 * part);

	name(p, part, "test:one");
	name(p + part, part, "test:two");
	memset(p, 1, 2 * part);
	for (int i = 0; i < 2; i++)
		if (!child())
			for (;;)
				pause();
	memset(p + shared, 2, part - shared);
	memset(p + part + shared, 2, part - shared);
	printf("%d\n", (int)getpid());
}

static void wait_for_end(void)
{
	fflush(stdout);
	while (getchar() != EOF)
		;
}

static void *worker(void *unused)
{
	char *p = map(40 * MIB);

	/* Until the main thread is gone. */
	usleep(200000);
	name(p, 40 * MIB, "test:worker");
	memset(p, 1, 40 * MIB);
	printf("%d\n%d\n", (int)getpid(), (int)gettid());
	wait_for_end();
	exit(0);
	return unused;
}

static void leader(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, worker, NULL))
		exit(1);
	pthread_exit(NULL);
}

static void *fill(void *p, size_t size)
{
	if (p == MAP_FAILED || !p) {
		perror("shared");
		exit(1);
	}
	return memset(p, 1, size);
}

static void shared(void)
{
	const size_t size = 4 * MIB;
	int memfd = memfd_create("test", 0), other = memfd_create("private", 0);
	int segment = shmget(IPC_PRIVATE, size, IPC_CREAT | 0600);
	char path[] = "/dev/shm/anonname.XXXXXX";
	int file = mkstemp(path);
	char *copied;

	if (ftruncate(memfd, (off_t)size) || ftruncate(other, (off_t)size) || ftruncate(file, (off_t)size))
		exit(1);
	fill(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0), size);
	fill(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), size);
	unlink(path);
	fill(shmat(segment, NULL, 0), size);
	shmctl(segment, IPC_RMID, NULL);
	fill(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), size);
	fill(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, other, 0), size);
	copied = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, other, 0);
	read_pages(copied, size);
	fill(copied, MIB);
	fill(map(size), size);
	printf("%d\n", (int)getpid());
}

static void children(int count)
{
	for (int i = 0; i < count; i++)
		if (!child())
			for (;;)
				pause();
	printf("%d\n", (int)getpid());
}

static int begun;

static void *begin_and_wait(void *unused)
{
	__atomic_add_fetch(&begun, 1, __ATOMIC_RELEASE);
	for (;;)
		pause();
	return unused;
}

static void threads(int count)
{
	struct sched_param first = { .sched_priority = sched_get_priority_min(SCHED_FIFO) };
	pthread_attr_t small;
	pthread_t thread;
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	if (sched_setaffinity(0, sizeof(one), &one) || sched_setscheduler(0, SCHED_FIFO, &first))
		perror("threads: they may run at once");
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 65536);
	for (int i = 0; i < count; i++)
		if (pthread_create(&thread, &small, begin_and_wait, NULL))
			exit(1);
	while (__atomic_load_n(&begun, __ATOMIC_ACQUIRE) < count)
		usleep(10000);
	printf("%d\n", (int)getpid());
}

static void churn(char **argv)
{
	alarm(60);
	for (unsigned i = 0; i < 50; i++) {
		char *p = map(MIB);

		memset(p, 1, MIB);
		if (!child())
			_exit(0);
		waitpid(-1, NULL, 0);
		munmap(p, MIB);
	}
	execv("/proc/self/exe", argv);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "golden")) {
		golden();
	} else if (!strcmp(what, "zero")) {
		char *p = map(32 * MIB);

		name(p, 32 * MIB, "test:zero");
		read_pages(p, 32 * MIB);
		printf("%d\n", (int)getpid());
	} else if (!strcmp(what, "huge")) {
		huge();
	} else if (!strcmp(what, "hugetlb")) {
		if (hugetlb())
			return 1;
	} else if (!strcmp(what, "sparse")) {
		sparse();
	} else if (!strcmp(what, "alike")) {
		alike();
	} else if (!strcmp(what, "swapped")) {
		swapped();
	} else if (!strcmp(what, "locked")) {
		locked();
	} else if (!strcmp(what, "nearly")) {
		nearly();
	} else if (!strcmp(what, "mixed")) {
		mixed();
	} else if (!strcmp(what, "leader")) {
		leader();
	} else if (!strcmp(what, "shared")) {
		shared();
	} else if (!strcmp(what, "children")) {
		children(argc > 2 ? atoi(argv[2]) : 1);
	} else if (!strcmp(what, "threads")) {
		threads(argc > 2 ? atoi(argv[2]) : 1);
	} else if (!strcmp(what, "churn")) {
		churn(argv);
		return 1;
	} else {
		fprintf(stderr, "usage: family golden | zero | sparse | huge | hugetlb | alike | swapped | locked | mixed | nearly | leader | shared | children | threads | churn\n");
		return 2;
	}
	wait_for_end();
	return 0;
}
