// SPDX-License-Identifier: MIT
/*
 * What prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME) does on the running kernel, one
 * line a fact.  The program judges nothing: run-conformance.sh compares what it
 * prints on two kernels.  So no line may hold an address, a pid or a time.
 *
 * A layout is printed as a list of VMAs, each as FIRST-LAST in pages from the
 * start of the area, protection, and what maps shows behind it ("-" for nothing,
 * "file" for a path).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif
#ifndef MADV_COLD
#define MADV_COLD 20
#define MADV_PAGEOUT 21
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

static size_t page;
static const char *self_path;

/* ---- saying what happened ------------------------------------------------ */

static const char *error_name(int error)
{
	static const struct { int error; const char *name; } names[] = {
		{ 0, "0" }, { EINVAL, "EINVAL" }, { EFAULT, "EFAULT" },
		{ EBADF, "EBADF" }, { ENOMEM, "ENOMEM" }, { EAGAIN, "EAGAIN" },
		{ EINTR, "EINTR" }, { ENOSYS, "ENOSYS" }, { EPERM, "EPERM" },
	};
	static char other[32];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i].error == error)
			return names[i].name;
	snprintf(other, sizeof other, "errno %d", error);
	return other;
}

__attribute__((format(printf, 2, 3)))
static void fact(const char *what, const char *format, ...)
{
	va_list args;

	printf("%s: ", what);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

/* Something this program needs did not work: no fact, and no silence either. */
static void *must(void *result, const char *what)
{
	if (result == MAP_FAILED) {
		fprintf(stderr, "conformance: %s: %s\n", what, strerror(errno));
		exit(2);
	}
	return result;
}

static void need(bool ok, const char *what)
{
	must(ok ? NULL : MAP_FAILED, what);
}

/* ---- the call, and what one sees of it ----------------------------------- */

static const char *call(unsigned long what, const void *start, size_t len, const void *name)
{
	return error_name(prctl(PR_SET_VMA, what, start, len, name) ? errno : 0);
}

static const char *name(const void *start, size_t pages, const char *text)
{
	return call(PR_SET_VMA_ANON_NAME, start, pages * page, text);
}

static const char *result(long rc)
{
	return error_name(rc < 0 ? errno : 0);
}

/* What maps or another file of that form says of [start, start + pages). */
static const char *layout_of(const char *path, const char *start, size_t pages)
{
	static char text[4096];
	unsigned long base = (unsigned long)start, from, to;
	char line[512], prot[8];
	size_t used = 0;
	FILE *file = fopen(path, "re");

	need(file, path);
	*text = '\0';
	while (fgets(line, sizeof line, file)) {
		char *shown;
		int at = 0;

		if (sscanf(line, "%lx-%lx %7s %*s %*s %*s%n", &from, &to, prot, &at) != 3 || !at)
			continue;
		if (to <= base || from >= base + pages * page)
			continue;
		shown = line + at + strspn(line + at, " ");
		shown[strcspn(shown, "\n")] = '\0';
		if (*shown == '/')
			shown = "file";
		used += snprintf(text + used, sizeof text - used, "%s%ld-%ld %s %s",
				 used ? " | " : "", ((long)from - (long)base) / (long)page,
				 ((long)to - (long)base) / (long)page, prot, *shown ? shown : "-");
	}
	fclose(file);
	return used ? text : "nothing";
}

static const char *layout(const char *start, size_t pages)
{
	return layout_of("/proc/self/maps", start, pages);
}

/* What a call returned and what the area looks like after it. */
static void fact_layout(const char *what, const char *rc, const char *start, size_t pages)
{
	fact(what, "%s, %s", rc, layout(start, pages));
}

/*
 * Pages of fresh memory that merges with nothing around it: the pages before
 * and behind it are left unmapped, more than the guard gap of a stack.
 */
static char *area_of(size_t pages, int prot, int flags, int fd)
{
	const size_t gap = 320;
	char *around = must(mmap(NULL, (pages + 2 * gap) * page, PROT_NONE, ANON, -1, 0), "mmap");

	need(!munmap(around, (pages + 2 * gap) * page), "munmap");
	return must(mmap(around + gap * page, pages * page, prot, flags | MAP_FIXED, fd, 0), "mmap");
}

static char *area(size_t pages)
{
	return area_of(pages, RW, ANON, -1);
}

static void map_again(char *start, size_t pages, int prot, int flags, int fd)
{
	must(mmap(start, pages * page, prot, flags | MAP_FIXED, fd, 0), "mmap");
}

static int some_file(void)
{
	int fd = open(self_path, O_RDONLY | O_CLOEXEC);

	need(fd >= 0, self_path);
	return fd;
}

/* @text placed so that its last byte is the last of a page with nothing behind. */
static char *at_end_of_page(const void *text, size_t size)
{
	char *end = area(1) + page;

	return memcpy(end - size, text, size);
}

/* ---- the facts ------------------------------------------------------------ */

static void arguments(void)
{
	char *a = area(4);

	fact("arg2 1", "%s", call(1, a, page, "x"));
	fact("arg2 1<<32", "%s", call(1UL << 32, a, page, "x"));
	fact("arg2 1, bad pointer", "%s", call(1, a, page, (void *)1));
	fact("arg2 1, unaligned", "%s", call(1, a + 1, page, "x"));
	fact("unaligned", "%s", call(0, a + 1, page, "x"));
	fact("unaligned, length 0", "%s", call(0, a + 1, 0, "x"));
	fact("unaligned, no name", "%s", call(0, a + 1, page, NULL));
	fact("length 0", "%s", call(0, a, 0, "x"));
	fact("length 0, no name", "%s", call(0, a, 0, NULL));
	fact("length 0, unmapped", "%s", call(0, a + 4 * page, 0, "x"));
	fact("length 0, bad character", "%s", call(0, a, 0, "$"));
	fact("length 0, bad pointer", "%s", call(0, a, 0, (void *)1));
	fact("length -1", "%s", call(0, a, -1, "x"));
	fact("length -4095", "%s", call(0, a, -4095, "x"));
	fact("length -4096", "%s", call(0, a, -4096, "x"));
	fact("length wraps", "%s", call(0, a, -(size_t)a + page, "x"));
	fact("address -4096, length 4096", "%s", call(0, (void *)-4096, 4096, "x"));
	fact("after refusals", "%s", layout(a, 4));
	fact_layout("length 1", call(0, a, 1, "x"), a, 4);
	fact_layout("length page + 1", call(0, a, page + 1, "y"), a, 4);
}

static void order_of_checks(void)
{
	char *a = area(2);
	char *f = area_of(1, PROT_READ, MAP_PRIVATE, some_file());

	fact("bad pointer before address", "%s", call(0, a + 1, page, (void *)1));
	fact("bad pointer before length", "%s", call(0, a, -1, (void *)1));
	fact("bad pointer before hole", "%s", call(0, a + 2 * page, page, (void *)1));
	fact("bad character before hole", "%s", call(0, a + 2 * page, page, "$"));
	fact("bad character before file", "%s", call(0, f, page, "$"));
	fact("bad pointer before file", "%s", call(0, f, page, (void *)1));
	fact("address before length 0", "%s", call(0, a + 1, 0, "x"));
	fact("length before hole", "%s", call(0, a + 2 * page, -1, "x"));
}

static void wrong_addresses(void)
{
	char *a = area(1);

	fact("address 0", "%s", name(NULL, 1, "x"));
	fact("unmapped page", "%s", name(a + page, 1, "x"));
	fact("unmapped page, no name", "%s", name(a + page, 1, NULL));
#ifdef __x86_64__
	fact("vsyscall page", "%s", name((void *)0xffffffffff600000, 1, "x"));
#endif
	fact("kernel half", "%s", name((void *)0xffff888000000000, 1, "x"));
	fact("past TASK_SIZE", "%s", name((void *)0x0100000000000000, 1, "x"));
	fact("tagged address", "%s", name((void *)((uintptr_t)a | 1UL << 56), 1, "x"));
	fact("all addresses below", "%s", call(0, NULL, (size_t)1 << 46, NULL));
}

static void name_length(void)
{
	static char x[128];
	char *a = area(1);
	char text[128] = "";

	memset(x, 'x', sizeof x);
	for (int n = 78; n <= 81; n++) {
		snprintf(text, sizeof text, "%.*s", n, x);
		printf("name of %d bytes: %s\n", n, name(a, 1, text));
	}
	fact("80 bytes, then unmapped", "%s", name(a, 1, at_end_of_page(x, 80)));
	fact("79 bytes, then unmapped", "%s", name(a, 1, at_end_of_page(x, 79)));
	fact("1 byte, then unmapped", "%s", name(a, 1, at_end_of_page(x, 1)));
	text[79] = '\0';
	fact("79 and NUL, then unmapped", "%s", name(a, 1, at_end_of_page(text, 80)));
	fact("79 and NUL shown", "%s", layout(a, 1));
	fact("1 and NUL, then unmapped", "%s", name(a, 1, at_end_of_page("y", 2)));
	fact("NUL, then unmapped", "%s", name(a, 1, at_end_of_page("", 1)));
	fact("name pointer 1", "%s", name(a, 1, (char *)1));
	fact("name pointer in the kernel half", "%s", name(a, 1, (char *)0xffff888000000000));
	fact("name pointer in a PROT_NONE page", "%s", name(a, 1, area_of(1, PROT_NONE, ANON, -1)));
	fact("name pointer in an untouched page", "%s", name(a, 1, area(1)));
	fact_layout("name lies in the range", name(a, 1, strcpy(a, "within")), a, 1);
	fact("bad character at the end", "%s", name(a, 1, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx$"));
}

static void characters(void)
{
	char *a = area(1);
	char text[2] = "", refused[1024] = "";
	int valid = 0;
	size_t used = 0;

	for (int c = 1; c < 256; c++) {
		text[0] = (char)c;
		if (!strcmp(name(a, 1, text), "0"))
			valid++;
		else if (c >= 0x20 && c <= 0x7f)
			used += snprintf(refused + used, sizeof refused - used, " %02x", c);
	}
	fact("one-byte names", "%d valid; of 20-7f refused:%s", valid, refused);
	fact_layout("empty name", name(a, 1, ""), a, 1);
	fact_layout("blank", name(a, 1, " "), a, 1);
	fact_layout("shown as it is", name(a, 1, "%s %d a/b:c  d(deleted)"), a, 1);
	fact("utf-8", "%s", name(a, 1, "\xc3\xa4"));
	fact("newline", "%s", name(a, 1, "a\nb"));
}

static void clearing(void)
{
	char *a = area(4);
	char *f = area_of(1, PROT_READ, MAP_PRIVATE, some_file());

	fact_layout("middle named", name(a + page, 2, "x"), a, 4);
	fact_layout("middle cleared", name(a + page, 2, NULL), a, 4);
	fact_layout("clear what has none", name(a, 4, NULL), a, 4);
	fact("clear a file", "%s", name(f, 1, NULL));
}

static void kinds_of_memory(void)
{
	int fd = some_file(), zero = open("/dev/zero", O_RDWR | O_CLOEXEC), rw;
	int id = shmget(IPC_PRIVATE, page, 0600);
	void *huge;
	char *a;

	fact("file, private", "%s", name(area_of(1, PROT_READ, MAP_PRIVATE, fd), 1, "x"));
	fact("file, shared", "%s", name(area_of(1, PROT_READ, MAP_SHARED, fd), 1, "x"));
	a = area_of(1, RW, MAP_PRIVATE, fd);
	*(volatile char *)a = 1;
	fact("file, private, written", "%s", name(a, 1, "x"));
	rw = memfd_create("m", MFD_CLOEXEC);
	need(rw >= 0 && !ftruncate(rw, (off_t)page), "memfd_create");
	fact("memfd, shared", "%s", name(area_of(1, RW, MAP_SHARED, rw), 1, "x"));
	fact("memfd, private", "%s", name(area_of(1, RW, MAP_PRIVATE, rw), 1, "x"));
	need(id >= 0, "shmget");
	fact("SysV shm", "%s", name(must(shmat(id, NULL, 0), "shmat"), 1, "x"));
	shmctl(id, IPC_RMID, NULL);
	fact("/dev/zero, private", "%s", name(area_of(1, RW, MAP_PRIVATE, zero), 1, "x"));
	huge = mmap(NULL, 2 << 20, RW, ANON | MAP_HUGETLB | MAP_NORESERVE, -1, 0);
	fact("anonymous MAP_HUGETLB", "%s", huge == MAP_FAILED ? "cannot be mapped" : name(huge, 512, "x"));
	a = area_of(2, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
	fact("anonymous MAP_SHARED", "%s", name(a, 1, "x"));
	fact("anonymous MAP_SHARED, shown", "%s", layout(a, 2));
	fact("/dev/zero, shared", "%s", name(area_of(1, RW, MAP_SHARED, zero), 1, "x"));
	a = area_of(1, PROT_NONE, ANON, -1);
	fact_layout("PROT_NONE", name(a, 1, "x"), a, 1);
	a = area_of(1, PROT_READ | PROT_EXEC, ANON, -1);
	fact_layout("executable", name(a, 1, "x"), a, 1);
	a = area_of(1, RW, ANON | MAP_NORESERVE | MAP_STACK, -1);
	fact_layout("MAP_STACK", name(a, 1, "x"), a, 1);
	a = area_of(4, RW, ANON | MAP_GROWSDOWN, -1);
	fact("MAP_GROWSDOWN", "%s", name(a, 4, "x"));
	((volatile char *)a)[-1] = 1;
	fact("MAP_GROWSDOWN, grown", "%s", layout(a, 4));
}

static void holes_and_files(void)
{
	int fd = some_file();
	char *a;

	a = area(4);
	munmap(a, page);
	fact_layout("hole at the start", name(a, 4, "x"), a, 4);
	a = area(4);
	munmap(a + page, page);
	fact_layout("hole in the middle", name(a, 4, "x"), a, 4);
	a = area(4);
	munmap(a + 3 * page, page);
	fact_layout("hole at the end", name(a, 4, "x"), a, 4);
	a = area(6);
	munmap(a + page, page);
	munmap(a + 3 * page, page);
	fact_layout("two holes", name(a, 6, "x"), a, 6);
	fact_layout("two holes, cleared", name(a, 6, NULL), a, 6);

	a = area(3);
	map_again(a + page, 1, PROT_READ, MAP_PRIVATE, fd);
	fact_layout("anonymous, file, anonymous", name(a, 3, "x"), a, 3);
	a = area(4);
	munmap(a + page, page);
	map_again(a + 2 * page, 1, PROT_READ, MAP_PRIVATE, fd);
	fact_layout("hole, then file", name(a, 4, "x"), a, 4);
	a = area(4);
	map_again(a + page, 1, PROT_READ, MAP_PRIVATE, fd);
	munmap(a + 2 * page, page);
	fact_layout("file, then hole", name(a, 4, "x"), a, 4);
}

static void merging(void)
{
	char *a = area(6), one[] = "same", two[] = "same";

	name(a, 2, one);
	name(a + 2 * page, 2, two);
	fact("equal names merge", "%s", layout(a, 6));
	name(a + 4 * page, 2, "other");
	fact("different names do not", "%s", layout(a, 6));
	name(a + 4 * page, 2, "same");
	fact("until they are equal", "%s", layout(a, 6));
	name(a + page, 1, "samE");
	fact("case matters", "%s", layout(a, 6));
	name(a + page, 1, "same ");
	fact("length matters", "%s", layout(a, 6));
	name(a, 6, "all");
	fact("over several VMAs", "%s", layout(a, 6));
	name(a + 2 * page, 2, NULL);
	name(a + 2 * page, 2, "");
	fact("no name is not the empty name", "%s", layout(a, 6));
	name(a, 6, NULL);
	fact("nothing left", "%s", layout(a, 6));

	a = area(4);
	munmap(a + 2 * page, 2 * page);
	name(a, 2, "x");
	map_again(a + 2 * page, 2, RW, ANON, -1);
	fact("fresh memory behind", "%s", layout(a, 4));
	name(a + 2 * page, 2, "x");
	fact("fresh memory behind, named", "%s", layout(a, 4));
	a = area(4);
	munmap(a, 2 * page);
	name(a + 2 * page, 2, "x");
	map_again(a, 2, RW, ANON, -1);
	fact("fresh memory before", "%s", layout(a, 4));
	name(a, 2, "x");
	fact("fresh memory before, named", "%s", layout(a, 4));

	/* The cases in which a merge frees the VMA that is being named. */
	a = area(3);
	name(a, 1, "l");
	name(a + page, 1, "m");
	name(a + 2 * page, 1, "l");
	fact("three", "%s", layout(a, 3));
	fact_layout("the middle joins both", name(a + page, 1, "l"), a, 3);
	name(a, 1, "l");
	name(a + page, 2, "r");
	fact_layout("all of one joins the next", name(a, 1, "r"), a, 3);
	name(a, 1, "l");
	fact_layout("the end joins the next", name(a + page, 1, "l"), a, 3);
	fact_layout("the start leaves the one before", name(a + page, 2, "r"), a, 3);
	fact_layout("mapped part over the end of one", name(a, 2, "r"), a, 3);

	a = area(4);
	memset(a, 1, 4 * page);
	name(a + page, 2, "x");
	name(a + page, 2, NULL);
	fact("pieces of one touched VMA merge", "%s", layout(a, 4));
}

/* Each operation once on all of a named area, and once on its middle and back. */
static void kept_by_madvise(void)
{
	static const struct { const char *what; int advice, back; } table[] = {
		{ "MADV_NORMAL", MADV_NORMAL, -1 },
		{ "MADV_RANDOM", MADV_RANDOM, MADV_NORMAL },
		{ "MADV_SEQUENTIAL", MADV_SEQUENTIAL, MADV_NORMAL },
		{ "MADV_WILLNEED", MADV_WILLNEED, -1 },
		{ "MADV_DONTNEED", MADV_DONTNEED, -1 },
		{ "MADV_FREE", MADV_FREE, -1 },
		{ "MADV_COLD", MADV_COLD, -1 },
		{ "MADV_PAGEOUT", MADV_PAGEOUT, -1 },
		{ "MADV_DONTFORK", MADV_DONTFORK, MADV_DOFORK },
		{ "MADV_WIPEONFORK", MADV_WIPEONFORK, MADV_KEEPONFORK },
		{ "MADV_DONTDUMP", MADV_DONTDUMP, MADV_DODUMP },
		{ "MADV_MERGEABLE", MADV_MERGEABLE, MADV_UNMERGEABLE },
		{ "MADV_HUGEPAGE", MADV_HUGEPAGE, MADV_NOHUGEPAGE },
	};

	/* On touched pages, as an allocator would. */
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		char *a = area(4);
		const char *rc;

		memset(a, 1, 4 * page);
		name(a, 4, "x");
		rc = result(madvise(a, 4 * page, table[i].advice));
		printf("%s, all: %s, %s\n", table[i].what, rc, layout(a, 4));
		if (table[i].back >= 0)
			madvise(a, 4 * page, table[i].back);
		rc = result(madvise(a + page, 2 * page, table[i].advice));
		printf("%s, middle: %s, %s\n", table[i].what, rc, layout(a, 4));
		if (table[i].back >= 0) {
			rc = result(madvise(a + page, 2 * page, table[i].back));
			printf("%s, and back: %s, %s\n", table[i].what, rc, layout(a, 4));
		}
	}
}

static void kept(void)
{
	char *a = area(4), *b;
	const char *rc;

	name(a, 4, "x");
	rc = result(mprotect(a + page, 2 * page, PROT_READ));
	fact_layout("mprotect of the middle", rc, a, 4);
	rc = result(mprotect(a + page, 2 * page, RW));
	fact_layout("mprotect back", rc, a, 4);
	rc = result(mlock(a + page, page));
	fact_layout("mlock of one page", rc, a, 4);
	rc = result(munlock(a, 4 * page));
	fact_layout("munlock", rc, a, 4);
	rc = result(syscall(SYS_mlock2, a, 2 * page, 1 /* MLOCK_ONFAULT */));
	fact_layout("mlock2 on fault", rc, a, 4);
	rc = result(munlock(a, 4 * page));
	fact_layout("munlock again", rc, a, 4);
	rc = result(munmap(a + page, page));
	fact_layout("munmap of the second page", rc, a, 4);
	map_again(a + page, 1, RW, ANON, -1);
	fact("mapped anew", "%s", layout(a, 4));
	map_again(a + 2 * page, 1, RW, ANON, -1);
	fact("MAP_FIXED over one page", "%s", layout(a, 4));
	map_again(a, 4, RW, ANON, -1);
	fact("MAP_FIXED over all", "%s", layout(a, 4));

	a = area(2);
	name(a, 2, "x");
	b = mremap(a, 2 * page, 4 * page, 0);
	fact_layout("mremap, grown in place", b == a ? "0" : "failed", a, 4);
	b = mremap(a, 4 * page, 3 * page, 0);
	fact_layout("mremap, shrunk", b == a ? "0" : "failed", a, 4);
	b = area(6);
	need(!munmap(b, 6 * page), "munmap");
	b = mremap(a, 3 * page, 6 * page, MREMAP_MAYMOVE | MREMAP_FIXED, b);
	fact_layout("mremap, moved and grown", b == MAP_FAILED ? "failed" : "0", b, 6);
	fact("mremap, where it was", "%s", layout(a, 3));
	a = mremap(b + page, 2 * page, 2 * page, MREMAP_MAYMOVE | MREMAP_FIXED, a);
	fact_layout("mremap of a part", a == MAP_FAILED ? "failed" : "0", a, 2);
	fact("mremap of a part, the rest", "%s", layout(b, 6));
	a = area(4);
	name(a, 4, "x");
	*(volatile char *)a = 1;
	b = area(4);
	need(!munmap(b, 4 * page), "munmap");
	b = mremap(a, 4 * page, 4 * page, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, b);
	fact("MREMAP_DONTUNMAP", "%s", b == MAP_FAILED ? "failed" : layout(b, 4));
	fact("MREMAP_DONTUNMAP, where it was", "%s", layout(a, 4));

	a = area(8);
	name(a, 2, "x");
	name(a + 4 * page, 2, "x");
	name(a + 6 * page, 2, "y");
	need(!munmap(a + 2 * page, 2 * page), "munmap");
	b = mremap(a + 4 * page, 2 * page, 2 * page, MREMAP_MAYMOVE | MREMAP_FIXED, a + 2 * page);
	fact("moved beside an equal name", "%s", layout(a, 8));
	b = mremap(a + 6 * page, 2 * page, 2 * page, MREMAP_MAYMOVE | MREMAP_FIXED, a + 4 * page);
	fact("moved beside another name", "%s", layout(a, 8));
	a = area(6);
	name(a, 6, "x");
	need(!munmap(a + 2 * page, 2 * page), "munmap");
	b = mremap(a, 2 * page, 4 * page, 0);
	fact("grown up to an equal name", "%s", layout(a, 6));
}

static void userfaultfds(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	char *a = area(4);
	const char *rc;

	need(fd >= 0 && !ioctl(fd, UFFDIO_API, &api), "userfaultfd");
	name(a, 4, "x");
	reg.range.start = (unsigned long)(a + page);
	reg.range.len = 2 * page;
	rc = result(ioctl(fd, UFFDIO_REGISTER, &reg));
	fact_layout("userfaultfd, middle registered", rc, a, 4);
	rc = result(ioctl(fd, UFFDIO_UNREGISTER, &reg.range));
	fact_layout("userfaultfd, unregistered", rc, a, 4);
	rc = result(ioctl(fd, UFFDIO_REGISTER, &reg));
	fact_layout("userfaultfd, registered again", rc, a, 4);
	name(a + page, 2, "y");
	fact("userfaultfd, named", "%s", layout(a, 4));
	name(a + page, 2, "x");
	fact("userfaultfd, named back", "%s", layout(a, 4));
	close(fd);
	fact("userfaultfd, closed", "%s", layout(a, 4));
}

/* Where the kernel has NUMA. */
static void policies(void)
{
	unsigned long node0 = 1;
	char *a = area(4);
	const char *rc;

	name(a, 4, "x");
	rc = result(syscall(SYS_mbind, a + page, 2 * page, 2 /* MPOL_BIND */, &node0, 64, 0));
	fact_layout("mbind of the middle", rc, a, 4);
	rc = result(syscall(SYS_mbind, a + page, 2 * page, 0 /* MPOL_DEFAULT */, NULL, 0, 0));
	fact_layout("mbind back", rc, a, 4);
}

/* What a child prints must be out before the parent goes on. */
static void in_child(void (*what)(char *), char *a)
{
	pid_t pid = fork();
	int status;

	need(pid >= 0, "fork");
	if (!pid) {
		what(a);
		_exit(0);
	}
	need(waitpid(pid, &status, 0) == pid && status == 0, "the child");
}

static void child_of_fork(char *a)
{
	fact("fork, in the child", "%s", layout(a, 8));
	fact_layout("fork, renamed in the child", name(a, 4, "child"), a, 8);
}

static void child_that_waits(char *a)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/maps", getppid());
	fact("maps of another process", "%s", layout_of(path, a, 8));
}

static void child_that_execs(char *a)
{
	(void)a;
	execl(self_path, self_path, "--count-names", (char *)NULL);
}

static void *name_in_thread(void *a)
{
	name(a, 8, "thread");
	return NULL;
}

static void processes(void)
{
	char *a = area(8);
	pthread_t thread;

	name(a, 4, "x");
	name(a + 4 * page, 4, "wiped");
	madvise(a + 4 * page, 2 * page, MADV_WIPEONFORK);
	madvise(a + 6 * page, 2 * page, MADV_DONTFORK);
	*a = 1;
	in_child(child_of_fork, a);
	fact("fork, in the parent", "%s", layout(a, 8));
	in_child(child_that_waits, a);
	in_child(child_that_execs, a);
	need(!pthread_create(&thread, NULL, name_in_thread, a) && !pthread_join(thread, NULL), "pthread_create");
	fact("named by a thread", "%s", layout(a, 8));
}

/* How many lines of @path, those of @a's VMA in smaps, hold the name. */
static int lines_with(const char *path, const char *text)
{
	char line[512];
	FILE *file = fopen(path, "re");
	int n = 0;

	if (!file)
		return -1;
	while (fgets(line, sizeof line, file))
		n += strstr(line, text) != NULL;
	fclose(file);
	return n;
}

static void fact_lines(const char *what, const char *rc, const char *text)
{
	fact(what, "%s, %d lines %s", rc, lines_with("/proc/self/maps", text), text);
}

/* Where the first line of maps that ends in @text begins, and its pages. */
static char *find_mapping(const char *text, size_t *pages)
{
	unsigned long from, to;
	char line[512], *found = NULL;
	FILE *maps = fopen("/proc/self/maps", "re");

	need(maps, "/proc/self/maps");
	while (!found && fgets(line, sizeof line, maps))
		if (strstr(line, text) && sscanf(line, "%lx-%lx", &from, &to) == 2) {
			found = (char *)from;
			*pages = (to - from) / page;
		}
	fclose(maps);
	return found;
}

static void display(void)
{
	static const char unique[] = "shown:here";
	char *a = area(2), *heap, *stack, *vdso;
	size_t pages;

	name(a, 2, unique);
	fact("lines of maps with the name", "%d", lines_with("/proc/self/maps", unique));
	fact("lines of smaps with the name", "%d", lines_with("/proc/self/smaps", unique));
	fact("lines of smaps_rollup with the name", "%d", lines_with("/proc/self/smaps_rollup", unique));

	/* Whole pages at the end of the heap: what malloc has there stays. */
	heap = sbrk(0);
	heap += -(uintptr_t)heap & (page - 1);
	need(!brk(heap + 4 * page), "brk");
	fact_lines("part of the heap", name(heap + page, 2, "h"), "[heap]");
	fact("part of the heap, shown", "%s", layout(heap + page, 2));
	fact_lines("end of the heap", name(heap + page, 3, "h"), "[heap]");
	need(!brk(heap + 6 * page), "brk");
	fact("heap, grown", "%d lines", lines_with("/proc/self/maps", "[heap]"));
	fact_layout("heap, all of it", name(heap + page, 5, "h"), heap + page, 5);
	fact_lines("heap, cleared", name(heap, 6, NULL), "[heap]");
	need(!brk(heap), "brk");

	stack = find_mapping("[stack]", &pages);
	need(stack, "[stack]");
	fact_lines("stack", name(stack, pages, "s"), "[stack]");
	fact("stack, last page shown", "%d", !!strstr(layout(stack + (pages - 1) * page, 1), "[stack]"));
	fact_layout("lowest page of the stack", name(stack, 1, "t"), stack, 1);
	fact_lines("stack, cleared", name(stack, pages, NULL), "[stack]");

	vdso = find_mapping("[vdso]", &pages);
	if (vdso) {
		fact("vdso", "%s", name(vdso, pages, "v"));
		fact("vdso, shown", "%d lines", lines_with("/proc/self/maps", "[vdso]"));
	}
}

/* AnonHugePages of the VMA that begins at @start, in kB. */
static long huge_at(const char *start)
{
	char line[512], head[32];
	FILE *file = fopen("/proc/self/smaps", "re");
	long kb = -1;
	bool here = false;

	need(file, "smaps");
	snprintf(head, sizeof head, "%lx-", (unsigned long)start);
	while (fgets(line, sizeof line, file)) {
		if (strchr(line, '-') && line[0] >= '0' && (line[0] <= '9' || (line[0] >= 'a' && line[0] <= 'f')))
			here = !strncmp(line, head, strlen(head));
		else if (here && sscanf(line, "AnonHugePages: %ld", &kb) == 1)
			break;
	}
	fclose(file);
	return kb;
}

static void huge_pages(void)
{
	size_t pages = (4 << 20) / page;
	char *a = area(2 * pages);

	a += -(uintptr_t)a & ((2 << 20) - 1);
	munmap(a + (2 << 20), 2 << 20);
	if (madvise(a, 2 << 20, MADV_HUGEPAGE)) {
		fact("huge page", "no support");
		return;
	}
	memset(a, 1, 2 << 20);
	fact("huge page", "%ld kB", huge_at(a));
	name(a, pages / 2, "h");
	fact("huge page, named", "%ld kB", huge_at(a));
	name(a, pages / 4, "i");
	fact("huge page, half renamed", "%ld kB", huge_at(a));
	fact("huge page, shown", "%s", layout(a, pages / 2));
}

static void ksm(void)
{
	char *a = area(4);

	memset(a, 7, 4 * page);
	name(a, 4, "k");
	fact_layout("KSM, MADV_MERGEABLE", result(madvise(a, 4 * page, MADV_MERGEABLE)), a, 4);
	fact_layout("KSM, renamed in part", name(a, 2, "l"), a, 4);
	fact_layout("KSM, named back", name(a, 2, "k"), a, 4);
	fact_layout("KSM, MADV_UNMERGEABLE", result(madvise(a, 4 * page, MADV_UNMERGEABLE)), a, 4);
}

/* In a child of its own, which takes all the VMAs it can have. */
static void at_the_limit(char *a)
{
	size_t pages = 140000;
	char *many = mmap(NULL, pages * page, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
	size_t i;

	need(many != MAP_FAILED, "mmap");
	name(a + 3 * page, 1, "end");
	for (i = 1; i < pages; i += 2)
		if (mprotect(many + i * page, page, PROT_READ))
			break;
	fact("limit, mprotect", "%s", i < pages ? result(-1) : "not reached");
	fact_layout("limit, naming a part", name(a, 1, "x"), a, 4);
	fact_layout("limit, naming the middle", name(a + page, 1, "x"), a, 4);
	fact_layout("limit, naming all of one", name(a, 3, "x"), a, 4);
	fact_layout("limit, renaming all of one", name(a + 3 * page, 1, "y"), a, 4);
	fact("limit, madvise of a part", "%s", result(madvise(a, page, MADV_DONTFORK)));
	fact_layout("limit, a part that joins the next", name(a + 2 * page, 1, "y"), a, 4);
	fact_layout("limit, one fewer", name(a, 4, "y"), a, 4);
	fact_layout("limit, there is room for one", name(a, 1, "x"), a, 4);
	fact_layout("limit, and no more", name(a + 3 * page, 1, "x"), a, 4);
}

static void limit(void)
{
	char *a = area(4);

	in_child(at_the_limit, a);
}

static int count_names(void)
{
	fact("exec, names left", "%d", lines_with("/proc/self/maps", "[anon:"));
	return 0;
}

int main(int argc, char **argv)
{
	char *a;

	page = (size_t)sysconf(_SC_PAGESIZE);
	self_path = "/proc/self/exe";
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 2 && !strcmp(argv[1], "--count-names"))
		return count_names();

	a = area(1);
	fact("supported", "%s", name(a, 1, "x"));
	fact("supported, nothing to do", "%s", call(0, NULL, 0, NULL));
	arguments();
	order_of_checks();
	wrong_addresses();
	name_length();
	characters();
	clearing();
	kinds_of_memory();
	holes_and_files();
	merging();
	kept_by_madvise();
	kept();
	userfaultfds();
	policies();
	processes();
	display();
	huge_pages();
	ksm();
	limit();
	return 0;
}
