/* SPDX-License-Identifier: MIT */
/* Names stay exact through munmap, MAP_FIXED, mremap, mprotect and brk, and every row of the table of names. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

#include "format/registry_format.h"
#include "filters.h"
#include "live.h"

#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#define RW (PROT_READ | PROT_WRITE)
#define P 4096UL

static void name(void *addr, size_t len, const char *what)
{
	check(prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, addr, len, what) == 0, "naming %s: errno %d", what, errno);
}

/* Nothing is mapped there, or a mapping that has no name. */
#define check_gone(addr) check(*live_name(addr) == '\0', "'%s' is still named at %p", live_name(addr), (void *)(addr))

static void moves(void)
{
	char *space = mmap(NULL, 64 * MIB, PROT_NONE, ANON | MAP_NORESERVE, -1, 0), *a, *b;
	int exe = open("/proc/self/exe", O_RDONLY);

	a = mmap(space + MIB, 16 * P, RW, ANON | MAP_FIXED, -1, 0);
	name(a, 16 * P, "whole");
	munmap(a + 4 * P, 2 * P);
	check_name(a + 3 * P, "whole");
	check_gone(a + 4 * P);
	check_gone(a + 5 * P);
	check_name(a + 6 * P, "whole");

	/* A file over a part. */
	mmap(a + 8 * P, P, PROT_READ, MAP_PRIVATE | MAP_FIXED, exe, 0);
	check_name(a + 7 * P, "whole");
	check_gone(a + 8 * P);
	check_name(a + 9 * P, "whole");
	/* Other memory over a part. */
	b = mmap(a + 10 * P, P, RW, ANON | MAP_FIXED, -1, 0);
	check_name(b, "moves:mmap");
	check_name(b + P, "whole");

	/* Grown where it may move, shrunk, moved to a place, moved over something. */
	a = mmap(space + 2 * MIB, 8 * P, RW, ANON | MAP_FIXED, -1, 0);
	name(a, 4 * P, "left");
	name(a + 4 * P, 4 * P, "right");
	b = mremap(a + 4 * P, 4 * P, 2 * P, 0);
	check(b == a + 4 * P, "shrinking moved it");
	check_name(b + P, "right");
	check_gone(b + 2 * P);
	b = mremap(a + 4 * P, 2 * P, 64 * P, MREMAP_MAYMOVE);
	check_name(b, "right");
	check_name(b + 63 * P, "right");
	if (b != a + 4 * P)
		check_gone(a + 4 * P);
	b = mremap(a, 4 * P, 4 * P, MREMAP_MAYMOVE | MREMAP_FIXED, space + 3 * MIB);
	check(b == space + 3 * MIB, "MREMAP_FIXED");
	check_name(b + 3 * P, "left");
	check_gone(a);
	a = mmap(space + 4 * MIB, 4 * P, RW, ANON | MAP_FIXED, -1, 0);
	name(a, 4 * P, "victim");
	mremap(b, 2 * P, 2 * P, MREMAP_MAYMOVE | MREMAP_FIXED, a + P);
	check_name(a, "victim");
	check_name(a + P, "left");
	check_name(a + 2 * P, "left");
	check_name(a + 3 * P, "victim");
	check_gone(b);
	check_name(b + 2 * P, "left");
#ifdef MREMAP_DONTUNMAP
	a = map(4 * P);
	name(a, 4 * P, "twice");
	b = mremap(a, 4 * P, 4 * P, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	if (b != MAP_FAILED) {
		check_name(a, "twice");
		check_name(b, "twice");
	}
#endif
	/* One VMA a call: names that differ make several, but a range of one. */
	a = map(32 * P);
	mprotect(a + 8 * P, 8 * P, PROT_READ);
	check_name(a + 8 * P, "moves:mmap");
	check_name(a + 31 * P, "moves:mmap");
	munmap(space, 64 * MIB);
	check_gone(space + MIB);
	check_gone(space + 63 * MIB);
}

static void heap(void)
{
	char *top = sbrk(1024 * P), *aligned = (char *)(((uintptr_t)top + P - 1) & ~(P - 1));

	name(aligned, 512 * P, "on the heap");
	check(sbrk(-(1024L * 4096)) != (void *)-1, "sbrk");
	if (!live_kernel_names())
		check_gone(aligned + 256 * P);
	top = sbrk(0);
	check(brk(top + 256 * P) == 0 && sbrk(0) == top + 256 * P, "brk up");
	aligned = (char *)(((uintptr_t)top + P - 1) & ~(P - 1));
	name(aligned, 128 * P, "on the heap");
	check(brk(top) == 0 && sbrk(0) == top, "brk down");
	if (!live_kernel_names())
		check_gone(aligned + 64 * P);
}

/* --- huge pages ------------------------------------------------------------------------ */

#define HUGE_PAGE (2 * MIB)

static void *on_its_stack(void *arg) { return arg; }

/*
 * Part of a mapping that may be huge pages becomes a signal's or a thread's
 * stack: a name for that part would make a VMA of it, and split a huge page.
 */
static void huge_pages(void)
{
	char *space = mmap(NULL, 6 * HUGE_PAGE, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
	char *a = (char *)(((uintptr_t)space + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
	stack_t ss = { .ss_sp = a + HUGE_PAGE + 64 * KIB, .ss_size = 64 * KIB }, old;
	pthread_attr_t attr;
	pthread_t t;
	long before;

	/* Pages that may not be used around it, so that it has edges of its own. */
	a = mmap(a, 4 * HUGE_PAGE, RW, ANON | MAP_FIXED, -1, 0);
	madvise(a, 4 * HUGE_PAGE, MADV_HUGEPAGE);
	memset(a, 1, 4 * HUGE_PAGE);
	check_name(a, "moves:mmap:%t");
	before = live_vmas_in(a, 4 * HUGE_PAGE);
	check(before == 1, "huge pages start as %ld VMAs", before);
	sigaltstack(&ss, &old);
	pthread_attr_init(&attr);
	check(pthread_attr_setstack(&attr, a + 2 * HUGE_PAGE + MIB, 256 * KIB) == 0, "pthread_attr_setstack");
	check(pthread_create(&t, &attr, on_its_stack, NULL) == 0, "a thread on a huge page");
	pthread_join(t, NULL);
	if (live_kernel_names()) {
		check(live_vmas_in(a, 4 * HUGE_PAGE) == before, "a label split huge pages into %ld VMAs",
		      live_vmas_in(a, 4 * HUGE_PAGE));
		check_name(ss.ss_sp, "moves:mmap:%t");
	} else {
		/* The registry splits nothing. */
		check_name(ss.ss_sp, "sigstack:%t");
	}
	sigaltstack(&old, NULL);
	munmap(space, 6 * HUGE_PAGE);
}

/* --- the other ways in ---------------------------------------------------------------- */

static void by_number(void)
{
	char *p = (char *)syscall(SYS_mmap, NULL, 64 * KIB, RW, ANON, -1, 0L);

	check_name(p, "moves:mmap");
	check(syscall(SYS_prctl, PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, 64 * KIB, "by number") == 0, "errno %d", errno);
	check_name(p, "by number");
	p = (char *)syscall(SYS_mremap, p, 64 * KIB, 128 * KIB, MREMAP_MAYMOVE, NULL);
	check_name(p + 127 * KIB, "by number");
	check(syscall(SYS_munmap, p, 128 * KIB) == 0, "errno %d", errno);
	check_gone(p);
	check_name(mmap64(NULL, 64 * KIB, RW, ANON, -1, 0), "moves:mmap");
}

/* Without it what libc maps inside is not seen. */
static bool detoured(void) { return live_root() && live_root()->part_state[PART_DETOUR_MMAP] == PART_ACTIVE; }

/* --- each row of the table ------------------------------------------------------------ */

static void *a_thread(void *arg)
{
	char here = 0, *p;
	char wanted[80];

	check_name(&here, "stack:%t:moves");
	if (!detoured())
		return arg;
	p = malloc(100);
	check(strstr(live_name(p), "glibc:arena") != NULL, "a thread's first chunk lies in '%s'", live_name(p));
	snprintf(wanted, sizeof(wanted), ":%ld", (long)gettid());
	check(strstr(live_name(p), wanted) != NULL, "without its thread's id: '%s'", live_name(p));
	/* Grown parts too. */
	for (int i = 0; i < 200; i++)
		p = malloc(60000);
	check(strstr(live_name(p), "glibc:arena") != NULL, "a later chunk lies in '%s'", live_name(p));
	p = mmap(NULL, MIB, RW, ANON, -1, 0);
	check_name(p, "moves:mmap:%t");
	return arg;
}

/* sigaltstack(&s, &s): the new stack has the name, and what lies where the old one was keeps its own. */
static void same_struct_for_both(stack_t old)
{
	char *p = mmap(old.ss_sp, old.ss_size, RW | PROT_EXEC, ANON | MAP_FIXED, -1, 0);
	stack_t both = { .ss_sp = map(64 * KIB), .ss_size = 64 * KIB };
	stack_t *volatile old_too = &both;      /* behind the compiler's back, which would warn */
	char *new = both.ss_sp;

	check(sigaltstack(&both, old_too) == 0, "errno %d", errno);
	check(both.ss_sp == p, "the old stack is %p and not %p", both.ss_sp, (void *)p);
	check_name(new, "sigstack:%t");
	check_name(p, "moves:jit");
}

static char big_bss[8 * 1024 * 1024];

static void rows(void)
{
	stack_t ss = { .ss_size = 64 * KIB };
	pthread_t t;
	char *p;

	pthread_create(&t, NULL, a_thread, NULL);
	pthread_join(t, NULL);
	if (detoured()) {
		p = malloc(4 * MIB);
		check_name(p, "glibc:large:moves");
		free(p);
	}
	check_name(big_bss + sizeof(big_bss) / 2, "moves:bss");
	ss.ss_sp = map(64 * KIB);
	sigaltstack(&ss, NULL);
	check_name(ss.ss_sp, "sigstack:%t");
	same_struct_for_both(ss);
	check_name(mmap(NULL, 64 * KIB, RW | PROT_EXEC, ANON, -1, 0), "moves:jit");
	check_name(mmap(NULL, 64 * KIB, PROT_NONE, ANON, -1, 0), "moves:reserve");
	check_name(mmap(NULL, 64 * KIB, RW, ANON, -1, 0), "moves:mmap");
	check_name(mmap(NULL, MIB - P, RW, ANON, -1, 0), "moves:mmap");
	check_name(mmap(NULL, MIB, RW, ANON, -1, 0), "moves:mmap:%t");
	p = mmap(NULL, 64 * KIB, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (!live_kernel_names())
		check_name(p, "moves:shm");
}

/* What libc unmaps and moves inside. The last, as to free a large chunk makes malloc map fewer. */
static void inside(void)
{
	char *p, *q;

	if (!detoured())
		return;
	p = malloc(16 * MIB);
	check_name(p, "glibc:large:moves");
	q = realloc(p, 24 * MIB);
	check_name(q + 24 * MIB - P, "glibc:large:moves");
	free(q);
	check_gone(q + 8 * MIB);
}

int main(void)
{
	moves();
	heap();
	huge_pages();
	by_number();
	rows();
	inside();
	return live_status();
}
