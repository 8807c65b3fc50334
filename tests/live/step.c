/* SPDX-License-Identifier: MIT */
/*
 * Each hook is executed step by step, and at a chosen instruction of the library
 * a signal handler does something of its own: it maps, leaves by a jump, ends the
 * thread, forks. Afterwards every range has its own name, no name was dropped,
 * and neighbours of one name become one range. And where the hook makes its system
 * call, frame pointers lead to the program, as profilers follow them.
 *   step [POINTS [HOOK]]       so many instructions of each hook and each handler; 0: all
 */
#define ANONNAME_WEAK
#include <anonname.h>

#include <dlfcn.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <ucontext.h>

#include "format/registry_format.h"
#include "live.h"

#define P 4096UL
#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)
#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

#if defined(__x86_64__)

/* --- one instruction after the other -------------------------------------------------- */

static uintptr_t text_start, text_end;          /* the library's instructions */
static uintptr_t libc_pthread_create;
static __thread bool armed;                     /* this thread steps, and points count */
static volatile long steps, first_at, second_at, last_at;
static void (*volatile first)(void), (*volatile second)(void);

static int find_text(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void)size;
	(void)unused;
	for (int i = 0; strstr(info->dlpi_name, "libanonname") && i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type != PT_LOAD || !(ph->p_flags & PF_X))
			continue;
		text_start = info->dlpi_addr + ph->p_vaddr;
		text_end = text_start + ph->p_memsz;
	}
	return 0;
}

enum { FRAMES_SEEN = 16, CALLER_UNKNOWN = 1, CALLER_FOUND, CALLER_LOST };
static volatile int caller;                     /* of the first system call that a hook makes for the program */
static uintptr_t last_sp, last_bp;              /* at the library's last instruction */
extern char __executable_start, etext;

static bool is_system_call(uintptr_t pc)
{
	return !memcmp((const void *)pc, "\x0f\x05", 2);
}

/*
 * Frame pointers alone, as they are when the library goes on to libc, or makes the
 * call itself. libc has none; some of its functions use the register for something
 * else (mmap of glibc 2.31, and from 2.41 on), with the library or without it.
 */
static bool leads_to_program(uintptr_t low, uintptr_t at)
{

	for (int i = 0; i < FRAMES_SEEN && at >= low && at < low + 64 * KIB && at % 8 == 0; i++) {
		const uintptr_t *frame = (const uintptr_t *)at;

		if (frame[1] >= (uintptr_t)&__executable_start && frame[1] < (uintptr_t)&etext)
			return true;
		low = at + 1;
		at = frame[0];
	}
	return false;
}

static void on_step(int sig, siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	uintptr_t pc = (uintptr_t)u->uc_mcontext.gregs[REG_RIP];
	int saved = errno;
	long at;

	(void)sig;
	(void)info;
	if (pc >= text_start && pc < text_end) {
		last_sp = (uintptr_t)u->uc_mcontext.gregs[REG_RSP];
		last_bp = (uintptr_t)u->uc_mcontext.gregs[REG_RBP];
	}
	if (armed && caller == CALLER_UNKNOWN && is_system_call(pc))
		caller = leads_to_program(last_sp, last_bp) ? CALLER_FOUND : CALLER_LOST;
	/* A new thread begins with the flag of its creator, and with all signals blocked. */
	if (pc == libc_pthread_create)
		armed = false;
	if (!armed)
		u->uc_mcontext.gregs[REG_EFL] &= ~0x100;
	if (!armed || pc < text_start || pc >= text_end)
		return;
	at = steps++;
	if (at == first_at && first)
		first();
	if (at == second_at && second)
		second();
	/* The rest runs at full speed: walking the stack is a hundred thousand steps. */
	if (at == last_at) {
		armed = false;
		u->uc_mcontext.gregs[REG_EFL] &= ~0x100;
	}
	errno = saved;
}

static void step_on(void)
{
	armed = true;
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc");
}

static void step_off(void)
{
	__asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" ::: "memory", "cc");
	armed = false;
}

/* --- what is executed ------------------------------------------------------------------- */

/* Far below all else: into its holes the kernel puts nobody. */
#define AREA ((char *)0x100000000000)
#define ELSEWHERE (AREA + 256 * P)
enum { PAGES = 64 };
static char *made;                              /* by the hook, if it returned */

static char *map_at(char *at, size_t pages, int prot)
{
	return mmap(at, pages * P, prot, ANON | MAP_FIXED, -1, 0);
}

static void do_mmap(void) { made = map(5 * P); }
static void do_exec(void) { made = mmap(NULL, 5 * P, RW | PROT_EXEC, ANON, -1, 0); }
static void do_fixed(void) { map_at(AREA + 8 * P, 5, RW | PROT_EXEC); }
static void do_munmap(void) { munmap(AREA, PAGES * P); }
static void do_hole(void) { munmap(AREA + 8 * P, P); }
static void do_move(void) { mremap(AREA + 8 * P, 5 * P, 9 * P, MREMAP_MAYMOVE | MREMAP_FIXED, ELSEWHERE); }
static void do_grow(void) { made = mremap(AREA, PAGES * P, 2 * PAGES * P, MREMAP_MAYMOVE); }
static void do_mprotect(void) { mprotect(AREA + 8 * P, P, PROT_READ); }
static void do_madvise(void) { madvise(AREA + 8 * P, P, MADV_DONTDUMP); }
static void do_sbrk(void) { sbrk(4 * (intptr_t)P); sbrk(-4 * (intptr_t)P); }
static void do_brk(void) { brk((char *)sbrk(0) + 4 * P); brk((char *)sbrk(0) - 4 * P); }
static void do_prctl(void) { prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, AREA + 8 * P, P, "by prctl"); }
static void do_set(void) { anonname_set(AREA + 8 * P, P, "by set"); }
static void do_clear(void) { anonname_clear(AREA + 8 * P, P); }
static void do_label(void)
{
	int depth = anonname_push("label");

	made = map(5 * P);
	anonname_pop_to(depth);
	anonname_push("label");
	anonname_pop();
}

static void do_sigstack(void)
{
	stack_t ss = { .ss_sp = AREA + 8 * P, .ss_size = 16 * P }, off = { .ss_flags = SS_DISABLE };

	sigaltstack(&ss, NULL);
	sigaltstack(&off, NULL);
}

static void do_rename(void) { pthread_setname_np(pthread_self(), "step"); }
static void do_large(void) { made = malloc(300000); }
static void do_free(void) { void *p = malloc(300000); free(p); }
static void do_heap(void)
{
	anonname_heap *h = anonname_heap_create_any("stepped");
	char *p = anonname_heap_malloc(h, 100000);

	anonname_heap_free(h, p);
	anonname_heap_destroy(h);
}

static void *nothing(void *arg) { return arg; }
static void do_thread(void)
{
	pthread_t t;

	if (pthread_create(&t, NULL, nothing, NULL) == 0)
		pthread_join(t, NULL);
}

static void do_dlopen(void)
{
	void *h = dlopen("libm.so.6", RTLD_NOW);

	if (h)
		dlclose(h);
}

/* NULL: what is there is not looked at. */
static const struct hook {
	const char *name;
	void (*run)(void);
	const char *made;       /* the name of what it makes */
	const char *inside;     /* the names at AREA + 8 pages, and around it */
	const char *around;
	bool locks;             /* it takes locks of libc's: no handler may leave it, or fork */
	bool frames;            /* its first system call is the program's */
} hooks[] = {
	{ "mmap", do_mmap, "step:mmap", NULL, "step:mmap", false, true },
	{ "mmap of code", do_exec, "step:jit", NULL, "step:mmap", false, true },
	{ "mmap over a part", do_fixed, NULL, "step:jit", "step:mmap", false, true },
	{ "munmap", do_munmap, NULL, "", NULL, false, true },
	{ "munmap of a part", do_hole, NULL, "", "step:mmap", false, true },
	{ "mremap of a part", do_move, NULL, "", "step:mmap", false, true },
	{ "mremap", do_grow, "step:mmap", "", NULL, false, true },
	{ "mprotect", do_mprotect, NULL, "step:mmap", "step:mmap", false, true },
	{ "madvise", do_madvise, NULL, "step:mmap", "step:mmap", false, true },
	{ "sbrk", do_sbrk, NULL, NULL, "step:mmap", false, false },
	{ "brk", do_brk, NULL, NULL, "step:mmap", false, false },
	{ "prctl", do_prctl, NULL, "by prctl", "step:mmap", false, false },
	{ "anonname_set", do_set, NULL, "by set", "step:mmap", false, false },
	{ "anonname_clear", do_clear, NULL, "", "step:mmap", false, false },
	{ "labels", do_label, "step:mmap:label", NULL, "step:mmap", false, false },
	{ "sigaltstack", do_sigstack, NULL, "sigstack:%t", "step:mmap", false, true },
	{ "pthread_setname_np", do_rename, NULL, NULL, "step:mmap", true, false },
	{ "malloc", do_large, "glibc:large:step", NULL, "step:mmap", true, false },
	{ "free", do_free, NULL, NULL, "step:mmap", true, false },
	{ "a heap", do_heap, NULL, NULL, "step:mmap", true, false },
	{ "pthread_create", do_thread, NULL, NULL, "step:mmap", true, false },
	{ "dlopen", do_dlopen, NULL, NULL, "step:mmap", true, false },
};

/* --- what a handler does ------------------------------------------------------------------ */

static char *volatile handlers_own;             /* what the handler mapped */
static volatile int childs_status;
static sigjmp_buf out;

static bool is_named(const void *addr, const char *wanted)
{
	char name[ANONNAME_MAX + 1] = "";

	/* A label of the interrupted frame may stand behind it. */
	return anonname_get(addr, name, sizeof(name)) >= 0 && !strncmp(name, wanted, strlen(wanted));
}

static void do_nothing(void) { }
static void handler_maps(void) { handlers_own = mmap(NULL, 3 * P, RW | PROT_EXEC, ANON, -1, 0); }

/* More calls than there are notes at first. */
static void handler_maps_much(void)
{
	for (int i = 0; i < 100; i++)
		munmap(mmap(NULL, P, PROT_READ, ANON, -1, 0), P);
	handler_maps();
}

static void handler_unmaps(void)
{
	munmap(mmap(NULL, 3 * P, PROT_READ, ANON, -1, 0), 3 * P);
	munmap(ELSEWHERE + 64 * P, P);
}

static void handler_jumps(void)
{
	armed = false;
	siglongjmp(out, 1);
}

static void handler_maps_and_jumps(void)
{
	handler_maps();
	handler_jumps();
}

static void handler_exits(void)
{
	armed = false;
	pthread_exit(NULL);
}

/* The child of a handler may map and name, and then end; or go on where it was interrupted. */
static volatile bool is_child;
static void handler_forks(void)
{
	pid_t child = fork();
	int status = -1;

	if (child == 0) {
		char *p = mmap(NULL, 2 * P, RW | PROT_EXEC, ANON, -1, 0), *q;

		if (!is_named(p, "step:jit"))
			_exit(3);
		munmap(p, 2 * P);
		q = map(2 * P);
		if (!is_named(q, "step:mmap"))
			_exit(4);
		_exit(0);
	}
	waitpid(child, &status, 0);
	childs_status = status;
}

static void handler_forks_on(void)
{
	pid_t child = fork();
	int status = -1;

	if (child == 0) {
		handler_maps();
		is_child = true;
		return;
	}
	waitpid(child, &status, 0);
	childs_status = status;
}

static const struct handler {
	const char *name;
	void (*run)(void);
	void (*again)(void);    /* a second one, three instructions later */
	bool leaves, exits;
} handlers[] = {
	{ "a handler that maps", handler_maps, NULL, false, false },
	{ "one that maps much", handler_maps_much, NULL, false, false },
	{ "one that unmaps, then one that maps", handler_unmaps, handler_maps, false, false },
	{ "one that jumps", handler_jumps, NULL, true, false },
	{ "one that maps, then one that jumps", handler_maps, handler_jumps, true, false },
	{ "one that maps and jumps", handler_maps_and_jumps, NULL, true, false },
	{ "one that ends the thread", handler_exits, NULL, true, true },
	{ "one that forks", handler_forks, NULL, false, false },
	{ "one whose child goes on", handler_forks_on, NULL, false, false },
};
#define MAPPING_HANDLERS 3U      /* the first ones: they return, and the process goes on alone */

/* --- one point ----------------------------------------------------------------------------- */

static const struct hook *hook;
static const struct handler *handler;
static bool left;

static void *stepped(void *arg)
{
	steps = 0;
	caller = hook->frames ? CALLER_UNKNOWN : 0;
	step_on();
	hook->run();
	step_off();
	return arg;
}

static void run(long at)
{
	pthread_t t;

	first_at = at;
	second_at = at + 3;
	first = handler->run;
	second = handler->again;
	last_at = at < 0 ? -1 : second ? second_at : first_at;
	left = false;
	if (handler->exits) {
		pthread_create(&t, NULL, stepped, NULL);
		pthread_join(t, NULL);
		left = true;
	} else if (sigsetjmp(out, 1) == 0) {
		stepped(NULL);
	} else {
		left = true;
	}
}

static void check_at(const char *addr, const char *wanted, const char *what, long at)
{
	char name[ANONNAME_MAX + 1] = "", sigstack[32];

	if (!strcmp(wanted, "sigstack:%t")) {
		snprintf(sigstack, sizeof(sigstack), "sigstack:%d", (int)gettid());
		wanted = sigstack;
	}
	anonname_get(addr, name, sizeof(name));
	/* While a label is pushed it stands behind what the handler makes, too. */
	check(hook->run == do_label ? !strncmp(name, wanted, strlen(wanted)) : !strcmp(name, wanted), "%s, step %ld, %s: %s is '%s', not '%s'", hook->name, at, handler->name, what, name, wanted);
}

static void look(long at)
{
	char *p;

	if (made && !left && hook->made)
		check_at(made, hook->made, "what it made", at);
	/* A child's stack for signals may have been named by its parent, before it was there. */
	if (hook->inside && !left && hook->inside[0] && !(is_child && hook->run == do_sigstack))
		check_at(AREA + 8 * P, hook->inside, "the part", at);
	if (hook->around) {
		check_at(AREA, hook->around, "the first page", at);
		check_at(AREA + 7 * P, hook->around, "the page before the part", at);
		check_at(AREA + (PAGES - 1) * P, hook->around, "the last page", at);
	}
	if (handlers_own)
		check_at(handlers_own, "step:jit", "what the handler made", at);
	check(caller != CALLER_LOST, "%s, step %ld, %s: frame pointers do not lead to the program", hook->name, at, handler->name);
	check(childs_status == 0, "%s, step %ld, %s: the child's status is %#x", hook->name, at, handler->name, (unsigned)childs_status);
	p = map(P);
	check_at(p, "step:mmap", "what is mapped afterwards", at);
	munmap(p, P);
	p = mmap(NULL, P, PROT_NONE, ANON, -1, 0);
	check_at(p, "step:reserve", "what is reserved afterwards", at);
	munmap(p, P);
}

static void at_point(long at)
{
	made = NULL;
	handlers_own = NULL;
	childs_status = 0;
	/* What a jump left pushed is the program's to pop. */
	anonname_pop_to(0);
	map_at(AREA, PAGES, RW);
	map_at(ELSEWHERE + 64 * P, 1, RW);
	if (hook->run == do_clear)
		anonname_set(AREA + 8 * P, P, "to clear");
	run(at);
	look(at);
	if (is_child)
		_exit(live_status());
	if (handlers_own)
		munmap(handlers_own, 3 * P);
	if (made && hook->run == do_large)
		free(made);
	else if (made && hook->made)
		munmap(made, hook->run == do_grow ? 2 * PAGES * P : 5 * P);
	munmap(AREA, 512 * P);
}

/* Neighbours of one name, made one by one, are one range. The library counts them. */
static void check_merging(void)
{
	uint64_t before;

	if (!(live_root()->sink & ROOT_SINK_REGISTRY))
		return;
	munmap(AREA, 512 * P);
	map_at(AREA, 1, PROT_READ);
	before = live_counter(COUNT_RANGES);
	for (size_t i = 1; i < 50; i++)
		map_at(AREA + i * P, 1, PROT_READ);
	check(live_counter(COUNT_RANGES) <= before + 2, "%s, %s: 50 neighbours of one name are %ld ranges", hook->name,
	      handler->name, (long)(live_counter(COUNT_RANGES) - before) + 1);
	munmap(AREA, 512 * P);
}

/* The first thread exits out of a hook; another one sees that nothing stays held. */
static void *see_first_exit(void *main_thread)
{
	char *p;

	pthread_join(*(pthread_t *)main_thread, NULL);
	p = map(4 * P);
	/* Not by anonname_get: /proc/self is the first thread's, and shows no memory once that has ended. */
	if (!live_kernel_names())
		check_name(p, "step:mmap");
	check(live_counter(COUNT_DROPPED) == 0);
	_exit(live_status());
}

static void first_thread_exits(long points, long count)
{
	static pthread_t self;
	pthread_t t;

	for (long i = 0; i < points; i++) {
		pid_t child = live_fork();

		if (child == 0) {
			self = pthread_self();
			map_at(AREA, PAGES, RW);
			pthread_create(&t, NULL, see_first_exit, &self);
			first_at = i * count / points;
			first = handler_exits;
			second = NULL;
			last_at = first_at;
			stepped(NULL);
			_exit(9);
		}
		live_join(child, "the first thread exits");
	}
}

static long count_steps(void)
{
	static const struct handler none = { "nothing", do_nothing, NULL, false, false };

	handler = &none;
	/* What is done once only is not counted. */
	at_point(0);
	at_point(-10);
	return steps;
}

static void all_points(long points)
{
	long count = count_steps();

	check(count > 0, "%s never comes to the library", hook->name);
	if (!count)
		return;

	long stride = points ? (count + points - 1) / points : 1;
	unsigned n = hook->locks ? MAPPING_HANDLERS : sizeof(handlers) / sizeof(*handlers);

	for (unsigned h = 0; h < n; h++) {
		handler = &handlers[h];
		/* Each handler at other instructions, spread over the whole hook. */
		for (long at = (2 * h + 1) * stride / (2 * n); at < count; at += stride)
			at_point(at);
		check(live_counter(COUNT_DROPPED) == 0, "%s, %s: %lu names dropped", hook->name, handler->name,
		      (unsigned long)live_counter(COUNT_DROPPED));
		check_merging();
	}
	if (hook->run == do_munmap || hook->run == do_mmap)
		first_thread_exits(points ? points : count, count);
}

/* Takes as many changes, above one that is under way, as no store of notes has room for. */
static void handler_floods(void)
{
	for (int i = 0; i < 2200; i++) {
		char *p = AREA + (128 + (i & 63)) * P;

		map_at(p, 1, PROT_READ);
		munmap(p, P);
	}
	handler_maps();
}

static void flood(void)
{
	static const struct handler floods = { "one that maps without end", handler_floods, NULL, false, false };
	uint64_t dropped;
	long count;

	hook = &hooks[0];
	count = count_steps();
	handler = &floods;
	dropped = live_counter(COUNT_DROPPED);
	for (int i = 1; i < 6; i++) {
		long at = i * count / 6;
		char *p;

		handlers_own = NULL;
		run(at);
		p = map(P);
		check(handlers_own && is_named(made, "step:mmap"), "step %ld: what was mapped is '%s'", at, live_name(made));
		/* Looked for again, it cannot be known who asked; but it has a name, as memory of its kind. */
		check(is_named(handlers_own, "step:jit"), "step %ld: after %lu dropped changes a name is '%s'", at,
		      (unsigned long)live_counter(COUNT_DROPPED), live_name(handlers_own));
		check(is_named(p, "step:mmap"));
		for (int k = 0; k < 64; k++)
			check(!*live_name(AREA + (128 + k) * P), "step %ld: what is not mapped is '%s'", at, live_name(AREA + (128 + k) * P));
		munmap(p, P);
		munmap(handlers_own, 3 * P);
		munmap(made, 5 * P);
	}
	/* At some of the points the registry is held, so names were dropped, or this proves nothing. */
	check(!(live_root()->sink & ROOT_SINK_REGISTRY) || live_counter(COUNT_DROPPED) > dropped, "no flood filled the notes");
	check_merging();
}

int main(int argc, char **argv)
{
	long points = argc > 1 ? atol(argv[1]) : 4;
	struct sigaction sa = { .sa_sigaction = on_step, .sa_flags = SA_SIGINFO };

	dl_iterate_phdr(find_text, NULL);
	if (!text_start || !live_active())
		live_skip("the library is not in this process, or names nothing");
	libc_pthread_create = (uintptr_t)dlsym(dlopen("libc.so.6", RTLD_NOW), "pthread_create");
	mallopt(M_MMAP_THRESHOLD, 128 * 1024);
	sigaction(SIGTRAP, &sa, NULL);
	for (unsigned i = 0; i < sizeof(hooks) / sizeof(*hooks); i++) {
		if (argc > 2 && !strstr(hooks[i].name, argv[2]))
			continue;

		pid_t child = live_fork();

		hook = &hooks[i];
		if (child == 0) {
			all_points(points);
			_exit(live_status());
		}
		live_join(child, hook->name);
	}
	if (argc > 2 && strcmp(argv[2], "flood"))
		return live_status();
	pid_t child = live_fork();

	if (child == 0) {
		flood();
		_exit(live_status());
	}
	live_join(child, "a flood");
	return live_status();
}

#else

int main(void)
{
	live_skip("only x86-64 has a flag by which a program steps through itself");
}

#endif
