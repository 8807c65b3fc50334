/* SPDX-License-Identifier: MIT */
/*
 * Executable memory has no name in /proc/PID/maps, by which perf knows a JIT's
 * code, and has one all the same. With "kernel" as argument it is named like
 * other memory (ANONNAME_JIT_SINK=kernel). Where the kernel has no names, only
 * those in the registry are looked at.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/prctl.h>

#define ANONNAME_WEAK
#include <anonname.h>

#include "format/registry_format.h"
#include "live.h"

#define P 4096UL
#define RW (PROT_READ | PROT_WRITE)
#define RX (PROT_READ | PROT_EXEC)
#define RWX (RW | PROT_EXEC)

static char *pages(size_t count, int prot)
{
	/* With one between this and any neighbour, so that VMAs can be counted. */
	char *p = mmap(NULL, (count + 2) * P, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	munmap(p, P);
	munmap(p + (count + 1) * P, P);
	return p + P;
}

/* Code: the tools show it as `name`, maps shows nothing. */
static void is_code(int line, const char *p, const char *name)
{
	live_check_name("code.c", line, p, name);
	if (live_kernel_names() && !live_bare(p))
		live_wrong("code.c", line, "maps shows a name of code at %p", p);
}
#define IS_CODE(p, name) is_code(__LINE__, p, name)

static void is_data(int line, const char *p, const char *name)
{
	live_check_name("code.c", line, p, name);
	if (live_kernel_names() && live_bare(p))
		live_wrong("code.c", line, "maps shows no name of data at %p", p);
}
#define IS_DATA(p, name) is_data(__LINE__, p, name)

static void by_mmap(void)
{
	char *p = pages(4, RWX), *rx = pages(1, RX);

	IS_CODE(p, "code:jit");
	IS_CODE(rx, "code:jit");
	/* Other memory in its place, and code again. */
	mmap(p + P, P, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	IS_CODE(p, "code:jit");
	IS_DATA(p + P, "code:mmap");
	IS_CODE(p + 2 * P, "code:jit");
	mmap(p + P, P, RWX, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	IS_CODE(p + P, "code:jit");
	check(live_vmas_in(p, 4 * P) == 1, "%ld VMAs", live_vmas_in(p, 4 * P));
	munmap(p, 4 * P);
	munmap(rx, P);
	p = mmap(p, 4 * P, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	IS_DATA(p, "code:mmap");
	munmap(p, 4 * P);
}

static int by_pkey(void *p, size_t len, int prot) { return pkey_mprotect(p, len, prot, -1); }
static int by_syscall(void *p, size_t len, int prot) { return (int)syscall(SYS_mprotect, p, len, prot); }
static int by_pkey_syscall(void *p, size_t len, int prot) { return (int)syscall(SYS_pkey_mprotect, p, len, prot, -1); }

static void by_mprotect(void)
{
	static int (*const protect[])(void *, size_t, int) = { mprotect, by_pkey, by_syscall, by_pkey_syscall };

	for (size_t i = 0; i < sizeof(protect) / sizeof(*protect); i++) {
		char *p = pages(2, RW);

		IS_DATA(p, "code:mmap");
		memset(p, 0xc3, 2 * P);
		if (protect[i](p, 2 * P, RX) != 0) {
			check(errno == ENOSYS && protect[i] == by_pkey_syscall, "call %zu: %s", i, strerror(errno));
			continue;       /* a kernel without keys */
		}
		IS_CODE(p, "code:jit");
		((void (*)(void))p)();
		/* Writable for a moment: it will be code again. */
		check(protect[i](p, 2 * P, RW) == 0);
		IS_CODE(p, "code:jit");
		check(protect[i](p, 2 * P, RX) == 0);
		IS_CODE(p + P, "code:jit");
		munmap(p, 2 * P);
	}
}

/* As V8 does it: a large reservation, and pieces of it become code. */
static void in_a_reservation(void)
{
	char *p = pages(64, PROT_NONE);

	check(mprotect(p + 8 * P, 16 * P, RW) == 0);
	check(mprotect(p + 8 * P, 4 * P, RX) == 0);
	IS_DATA(p, "code:reserve");
	IS_CODE(p + 8 * P, "code:jit");
	IS_DATA(p + 12 * P, "code:reserve");
	IS_DATA(p + 24 * P, "code:reserve");
	check(live_vmas_in(p, 64 * P) == 4, "one piece: %ld VMAs, and 4 without names", live_vmas_in(p, 64 * P));
	check(mprotect(p + 12 * P, 4 * P, RX) == 0);
	IS_CODE(p + 15 * P, "code:jit");
	IS_DATA(p + 16 * P, "code:reserve");
	check(live_vmas_in(p, 64 * P) == 4, "two pieces: %ld VMAs, and 4 without names", live_vmas_in(p, 64 * P));
	/* One call from the middle of code to the middle of data. */
	check(mprotect(p + 14 * P, 4 * P, RX) == 0);
	IS_CODE(p + 17 * P, "code:jit");
	IS_DATA(p + 18 * P, "code:reserve");
	check(live_vmas_in(p, 64 * P) == 4, "all at once: %ld VMAs, and 4 without names", live_vmas_in(p, 64 * P));
	munmap(p, 64 * P);
}

static void moved(void)
{
	char *p = pages(2, RWX), *q = pages(8, PROT_NONE);

	p = mremap(p, 2 * P, 4 * P, MREMAP_MAYMOVE | MREMAP_FIXED, q);
	IS_CODE(p, "code:jit");
	IS_CODE(p + 3 * P, "code:jit");
	IS_DATA(p + 4 * P, "code:reserve");
	munmap(q, 8 * P);
}

static void named_by_the_program(void)
{
	char *p = pages(4, RW);

	/* By the system call: its own choice. */
	if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, 2 * P, "mine") == 0) {
		check(mprotect(p, 4 * P, RX) == 0);
		IS_DATA(p, "mine");
		IS_CODE(p + 2 * P, "code:jit");
	}
	munmap(p, 4 * P);

	p = pages(4, RW);
	check(anonname_set(p, 2 * P, "asked") == 0);
	check(mprotect(p, 3 * P, RX) == 0);
	IS_CODE(p, "asked");
	IS_CODE(p + 2 * P, "code:jit");
	IS_DATA(p + 3 * P, "code:mmap");
	check(anonname_set(p + P, 3 * P, "again") == 0);
	IS_CODE(p, "asked");
	IS_CODE(p + P, "again");
	IS_CODE(p + 2 * P, "again");
	IS_DATA(p + 3 * P, "again");
	munmap(p, 4 * P);

	anonname_push("regex");
	p = pages(1, RWX);
	anonname_pop();
	IS_CODE(p, "code:jit:regex");
	munmap(p, P);
}

/* A file's pages have a name, and no other is kept for them. */
static void of_a_file(void)
{
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	char *p = mmap(NULL, 2 * P, RW, MAP_PRIVATE, fd, 0);
	char name[ANONNAME_MAX + 1];

	close(fd);
	check(mprotect(p, 2 * P, RWX) == 0);
	anonname_get(p, name, sizeof(name));
	check(strstr(name, "/code"), "a file's page is called %s", name);
	munmap(p, 2 * P);
	p = mmap(p, 2 * P, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	IS_DATA(p, "code:mmap");
	munmap(p, 2 * P);
}

static int find(const struct anonname_range *range, void *addr)
{
	return range->start <= addr && (const char *)addr < (const char *)range->start + range->len && !strcmp(range->name, "code:jit");
}

static void through_the_api(void)
{
	char *p = pages(1, RWX), name[ANONNAME_MAX + 1] = "";

	check(anonname_get(p, name, sizeof(name)) == 8 && !strcmp(name, "code:jit"), "anonname_get says %s", name);
	check(anonname_foreach(find, p) == 1, "anonname_foreach leaves code out");
	anonname_sweep();
	IS_CODE(p, "code:jit");
	munmap(p, P);
}

static void *start(void *p)
{
	IS_CODE(p, "code:jit");
	return NULL;
}

static void in_children(void)
{
	char *p = pages(1, RWX);
	pthread_t thread;
	pid_t child = live_fork();

	if (child == 0) {
		IS_CODE(p, "code:jit");
		p = pages(1, RWX);
		IS_CODE(p, "code:jit");
		_exit(live_status());
	}
	live_join(child, "a child");
	pthread_create(&thread, NULL, start, p);
	pthread_join(thread, NULL);
	munmap(p, P);
}

/* Many threads make the first code at once: no name is lost while the registry starts. */
static void *first_code(void *barrier)
{
	char *p;

	pthread_barrier_wait(barrier);
	p = pages(1, RWX);
	return p;
}

static void started_late(void)
{
	enum { THREADS = 8 };
	pthread_t thread[THREADS];
	pthread_barrier_t barrier;
	void *p;

	if (live_kernel_names() && !(live_root()->sink & ROOT_SINK_REGISTRY))
		check(!live_root()->registry.top, "the registry was started without any code");
	pthread_barrier_init(&barrier, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, first_code, &barrier);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(thread[i], &p);
		IS_CODE(p, "code:jit");
	}
}

/* ANONNAME_JIT_SINK=kernel */
static void in_the_kernel(void)
{
	char *p = pages(4, RWX), *q = pages(4, RW);

	IS_DATA(p, "code:jit");
	check(mprotect(q, 4 * P, RX) == 0);
	IS_DATA(q, live_kernel_names() ? "code:mmap" : "code:jit");
	if (live_kernel_names() && !(live_root()->sink & ROOT_SINK_REGISTRY))
		check(!live_root()->registry.top, "the registry was started all the same");
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "kernel")) {
		in_the_kernel();
		return live_status();
	}
	started_late();
	by_mmap();
	by_mprotect();
	in_a_reservation();
	moved();
	named_by_the_program();
	of_a_file();
	through_the_api();
	in_children();
	return live_status();
}
