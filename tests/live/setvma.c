/* SPDX-License-Identifier: MIT */
/*
 * The program's own prctl(PR_SET_VMA, ...): where the kernel has no such call
 * the library answers by the kernel's rules. The same program runs on a kernel
 * that has it, whose own answers these are (mm/madvise.c, kernel/sys.c, 6.1).
 */
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/shm.h>

#include "filters.h"
#include "live.h"

static char *area;              /* reserved afresh for each row */
#define P 4096UL

static int set(const void *addr, size_t len, const char *name)
{
	int r;

	errno = 0;
	r = prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, addr, len, name);
	return r == 0 ? 0 : errno;
}

static int is(int got, int wanted, const char *what)
{
	check(got == wanted, "%s: %s, not %s", what, strerror(got), strerror(wanted));
	return got;
}

static char *fresh(size_t pages)
{
	area = mmap(NULL, (pages + 2) * P, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(area, P);
	munmap(area + (pages + 1) * P, P);
	area += P;
	mprotect(area, pages * P, PROT_READ | PROT_WRITE);
	return area;
}

static void arguments(void)
{
	char *a = fresh(8);

	is(prctl(PR_SET_VMA, 1, a, P, "x") ? errno : 0, EINVAL, "arg2 is 1");
	is(prctl(PR_SET_VMA, 1UL << 32, a, P, "x") ? errno : 0, EINVAL, "arg2 is 1<<32");
	is(prctl(PR_SET_VMA, 1, a, P, (char *)1) ? errno : 0, EINVAL, "arg2 is 1, a bad name pointer");
	is(set(a + 1, P, "x"), EINVAL, "an unaligned address");
	is(set(a + 1, 0, "x"), EINVAL, "an unaligned address, length 0");
	is(set(a, 0, "x"), 0, "length 0");
	is(set((void *)(4 * P), 0, "x"), 0, "length 0, unmapped");
	is(set(a, 0, "a$b"), EINVAL, "length 0, a bad name");
	is(set(a, 0, (char *)1), EFAULT, "length 0, a bad pointer");
	is(set(a, 1, "one"), 0, "length 1");
	check_name(a, "one");
	check(strcmp(live_name(a + P), "one"), "length 1 named two pages");
	is(set(a, -1UL, "x"), EINVAL, "length -1");
	is(set(a, -4095UL, "x"), EINVAL, "length -4095");
	is(set(a, -4096UL, "x"), EINVAL, "length -4096");
	is(set((void *)-4096UL, 4096, "x"), EINVAL, "address -4096");
	is(set((void *)0xffffffffff600000UL, P, "x"), ENOMEM, "the vsyscall page");
	is(set((void *)0xffff800000000000UL, P, "x"), ENOMEM, "the kernel's half");
	is(set((void *)0x7ffffffff000UL, P, "x"), ENOMEM, "past the end of user space");
	is(set((void *)((uintptr_t)a | 1UL << 60), P, "x"), ENOMEM, "a tagged address");
}

static void names(void)
{
	char *a = fresh(8), *edge = fresh(2), name[100], one[2] = "?";
	int valid = 0;

	memset(name, 'n', sizeof(name));
	name[79] = '\0';
	is(set(a, P, name), 0, "79 bytes");
	check_name(a, name);
	name[79] = 'n';
	name[80] = '\0';
	is(set(a, P, name), EINVAL, "80 bytes");
	munmap(edge + P, P);
	memset(edge, 'n', P);
	is(set(a, P, edge + P - 80), EINVAL, "80 bytes without an end, then nothing mapped");
	is(set(a, P, edge + P - 79), EFAULT, "79 bytes without an end, then nothing mapped");
	edge[P - 1] = '\0';
	is(set(a, P, edge + P - 80), 0, "79 bytes that end at the end of a page");
	is(set(a, P, (char *)1), EFAULT, "name 1");
	is(set(a, P, (char *)0xffff800000000000UL), EFAULT, "name in the kernel's half");
	mprotect(edge, P, PROT_NONE);
	is(set(a, P, edge), EFAULT, "name in a PROT_NONE page");
	is(set(a, P, " "), 0, "a blank");
	check_name(a, " ");
	is(set(a, P, ""), 0, "an empty name");
	check_name(a, "");
	for (int c = 1; c < 256; c++) {
		one[0] = (char)c;
		valid += set(a, P, one) == 0;
	}
	check(valid == 90, "%d one-byte names are valid, not 90", valid);
	for (const char *c = "$[\\]`\x7f\n\t\x1f"; *c; c++) {
		one[0] = *c;
		is(set(a, P, one), EINVAL, "a byte that names cannot hold");
	}
	is(set(a, P, "a/b"), 0, "a slash");
	check_name(a, "a/b");
	is(set(a, P, NULL), 0, "NULL");
	check_name(a, "");
}

static void kinds(void)
{
	int exe = open("/proc/self/exe", O_RDONLY), mem = memfd_create("m", 0), zero = open("/dev/zero", O_RDWR), shm;
	char *p;

	if (mem >= 0 && ftruncate(mem, (off_t)P) == 0)
		is(set(mmap(NULL, P, PROT_READ, MAP_SHARED, mem, 0), P, "x"), EBADF, "a memfd");
	p = mmap(NULL, P, PROT_READ, MAP_PRIVATE, exe, 0);
	is(set(p, P, "x"), EBADF, "a private file mapping");
	is(set(p, P, NULL), EBADF, "NULL for a file mapping");
	is(set(mmap(NULL, P, PROT_READ, MAP_SHARED, exe, 0), P, "x"), EBADF, "a shared file mapping");
	is(set(mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0), P, "x"), EBADF, "private /dev/zero");
	shm = shmget(IPC_PRIVATE, P, 0600);
	if (shm >= 0) {
		p = shmat(shm, NULL, 0);
		shmctl(shm, IPC_RMID, NULL);
		is(set(p, P, "x"), EBADF, "System V shared memory");
	}
	p = mmap(NULL, 2 * MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	if (p != MAP_FAILED)
		is(set(p, 2 * MIB, "x"), EBADF, "huge pages");
	p = mmap(NULL, P, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	is(set(p, P, "x"), EBADF, "shared anonymous memory (before 6.2)");
	p = mmap(NULL, P, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	is(set(p, P, "none"), 0, "PROT_NONE");
	check_name(p, "none");
	p = mmap(NULL, 4 * P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, -1, 0);
	is(set(p, 4 * P, "down"), 0, "MAP_GROWSDOWN");
	check_name(p, "down");
	p = fresh(4);
	is((int)syscall(SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, P, "by syscall"), 0, "syscall(SYS_prctl)");
	check_name(p, "by syscall");
}

static void holes(void)
{
	int exe = open("/proc/self/exe", O_RDONLY);
	char *a = fresh(6);

	munmap(a + 2 * P, P);
	is(set(a, 6 * P, "holey"), ENOMEM, "a hole in the middle");
	check_name(a, "holey");
	check_name(a + 5 * P, "holey");
	a = fresh(6);
	is(set(a - P, 3 * P, "start"), ENOMEM, "a hole at the start");
	check_name(a + P, "start");
	is(set(a + 4 * P, 3 * P, "end"), ENOMEM, "a hole at the end");
	check_name(a + 5 * P, "end");
	a = fresh(6);
	mmap(a + 2 * P, P, PROT_READ, MAP_PRIVATE | MAP_FIXED, exe, 0);
	is(set(a + 3 * P, P, "later"), 0, "behind the file");
	is(set(a, 6 * P, "file"), EBADF, "a file in the middle");
	check_name(a + P, "file");
	check_name(a + 3 * P, "later");
	a = fresh(6);
	munmap(a + P, P);
	mmap(a + 3 * P, P, PROT_READ, MAP_PRIVATE | MAP_FIXED, exe, 0);
	is(set(a, 6 * P, "both"), EBADF, "a hole, then a file");
	check_name(a, "both");
	is(set((void *)P, P, "x"), ENOMEM, "nothing but a hole");
}

static void wins(void)
{
	char *a = map(64 * KIB), *heap = sbrk(0);

	is(set(a, 64 * KIB, "the program's own"), 0, "a name");
	mprotect(a, P, PROT_READ);
	madvise(a, 64 * KIB, MADV_DONTNEED);
	check_name(a, "the program's own");
	check_name(a + 32 * KIB, "the program's own");
	(void)heap;
}

int main(void)
{
	arguments();
	names();
	kinds();
	holes();
	wins();
	return live_status();
}
