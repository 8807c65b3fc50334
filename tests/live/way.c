/* SPDX-License-Identifier: MIT */
/*
 * The way of a call: who has put a hook on it hears of each call, as without
 * the library, and each is named once with the name of who asked, whatever
 * stands between.
 *
 *   way plain             nothing
 *   way behind            libbehind.so is preloaded behind us
 *   way libc HOW          libc's functions are patched after us
 *   way own HOW           what dlsym finds is patched after us: our own
 *   way before patch, way before breakpoint
 *                         so was libc's munmap before us, by libbefore.so's constructor
 *
 * HOW, what the patch's hook does: i(nstruction), s(yscall), or the original by
 * its m(oved) beginning. In it a signal comes, whose handler maps, too.
 */
#include <dlfcn.h>
#include <malloc.h>
#include <setjmp.h>
#include <signal.h>

#include "format/registry_format.h"
#include "live.h"
#include "patch.h"

typedef void *map_function(void *, size_t, int, int, int, off_t);
typedef int unmap_function(void *, size_t);

static char how;
static int heard_map, heard_unmap;

/* --- patching as others do ----------------------------------------------------------- */

#if defined(__x86_64__)

static map_function *moved_map;
static unmap_function *moved_unmap;

/* mov distance(%rip),%r11: our own functions begin with it. There is room for a short jump only. */
static bool begins_by_distance(const uint8_t *at) { return !memcmp(at, "\x4c\x8b\x1d", 3); }

/* jmp *0(%rip), and where to: it needs no register. */
static void go_on(uint8_t *at, void *to)
{
	memcpy(at, "\xff\x25\0\0\0\0", 6);
	memcpy(at + 6, &to, sizeof(to));
}

/* The beginning, moved: an instruction, and a jump to where the one behind it is or leads. */
static void *move(uint8_t *at, size_t opening)
{
	uint8_t *to = (uint8_t *)raw(SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int32_t distance;

	memcpy(to, at, opening);
	if (begins_by_distance(at)) {
		memcpy(&distance, at + 3, sizeof(distance));
		distance += (int32_t)(at - to);
		memcpy(to + 3, &distance, sizeof(distance));
	}
	if (at[opening] == 0xe9) {
		memcpy(&distance, at + opening + 1, sizeof(distance));
		go_on(to + opening, at + opening + 5 + distance);
	} else {
		go_on(to + opening, at + opening);
	}
	return to;
}

static void signal_comes(void);

static void *hook_map(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	long r;

	heard_map++;
	signal_comes();
	if (how == 's')
		return (void *)syscall(SYS_mmap, addr, len, prot, flags, fd, off);
	if (how == 'm')
		return moved_map(addr, len, prot, flags, fd, off);
	r = raw(SYS_mmap, (long)addr, (long)len, prot, flags, fd, off);
	if ((unsigned long)r <= -4096UL)
		return (void *)r;
	errno = (int)-r;
	return MAP_FAILED;
}

static int hook_unmap(void *addr, size_t len)
{
	heard_unmap++;
	if (how == 's')
		return (int)syscall(SYS_munmap, addr, len);
	if (how == 'm')
		return moved_unmap(addr, len);
	return (int)raw(SYS_munmap, (long)addr, (long)len, 0, 0, 0, 0);
}

/* mov %ecx,%r10d or test $imm32,%r9d; mov $imm32,%eax */
static size_t opening_of(const uint8_t *at)
{
	return at[0] == 0xb8 ? 5 : at[0] == 0x41 && at[1] == 0x89 ? 3 : (at[0] == 0x41 && at[1] == 0xf7) || begins_by_distance(at) ? 7 : 0;
}

/* In the page that has the moved beginning there is room for the way from a short jump to a long one. */
static void divert(uint8_t *at, void *to, uint8_t *moved)
{
	uint8_t jump[5] = { 0xe9 };
	int32_t distance = moved ? (int32_t)(moved + 64 - (at + sizeof(jump))) : 0;

	if (!moved || !begins_by_distance(at)) {
		put_jump(at, to);
		return;
	}
	put_jump(moved + 64, to);
	memcpy(jump + 1, &distance, sizeof(distance));
	set_bytes(at, jump, sizeof(jump));
}

static void patch(void *from)
{
	uint8_t *map_at = dlsym(from, "mmap"), *unmap_at = dlsym(from, "munmap");

	if (how == 'm') {
		if (!opening_of(map_at) || !opening_of(unmap_at))
			live_skip("a beginning that this program cannot move");
		moved_map = (map_function *)move(map_at, opening_of(map_at));
		moved_unmap = (unmap_function *)move(unmap_at, opening_of(unmap_at));
	}
	divert(map_at, (void *)hook_map, (uint8_t *)moved_map);
	divert(unmap_at, (void *)hook_unmap, (uint8_t *)moved_unmap);
}

#else

static void patch(void *from) { (void)from; live_skip("this program patches x86-64 only"); }

#endif

/* --- a signal in the middle ----------------------------------------------------------- */

static bool signals;
static sigjmp_buf out;
static bool jumps;
static void *handler_large, *handler_mapping;

static void handler(int sig)
{
	(void)sig;
	signals = false;
	if (jumps)
		siglongjmp(out, 1);
	handler_large = malloc(2 * MIB);
	handler_mapping = (void *)syscall(SYS_mmap, NULL, 3 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

__attribute__((unused)) static void signal_comes(void)
{
	if (signals)
		raise(SIGUSR1);
}

/* --- the calls -------------------------------------------------------------------------- */

/* libask1.so */
void *ask(int, void *(*)(size_t), size_t);
void *ask_map(size_t);

/* What comes by a patch on our own function comes from there, if it comes at all. */
static void check_ours(const char *p, uint64_t named)
{
	check_name(p, "libask1.so:mmap");
	check(live_counter(COUNT_NAMED) == named + 1, "named %lu times", live_counter(COUNT_NAMED) - named);
}

static void calls(bool hooked, bool by_us)
{
	void **behind_own = dlsym(RTLD_DEFAULT, "behind_own");
	uint64_t named = live_counter(COUNT_NAMED);
	char *p = ask_map(64 * KIB), *q;

	if (behind_own && *behind_own) {
		check_name(*behind_own, "libbehind.so:mmap");
		named++;
	}
	if (by_us)
		check_ours(p, named);
	check(!hooked || heard_map == 1, "heard %d", heard_map);
	munmap(p, 64 * KIB);
	check_name(p, "");
	check(!hooked || heard_unmap == 1, "heard %d", heard_unmap);
	errno = 0;
	check(mmap((void *)1, 1, 0, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED && errno == EINVAL, "errno %d", errno);
	heard_map = heard_unmap = 0;
	/* Inside libc. */
	q = ask(0, NULL, 2 * MIB);
	check(!hooked || heard_map == 1, "heard %d inside malloc", heard_map);
	/* Of a hook that makes the system call itself nothing is known. */
	if (by_us && how != 'i' && live_root()->part_state[PART_DETOUR_MMAP] == PART_ACTIVE)
		check_name(q, "glibc:large:libask1.so");
	free(q);
	check(!hooked || heard_unmap == 1, "heard %d inside free", heard_unmap);
	check_name(q, "");
}

static void calls_and_signals(void)
{
	char *p;

	signal(SIGUSR1, handler);
	signals = true;
	p = ask_map(MIB);
	check_name(p, "libask1.so:mmap:%t");
	check(strncmp(live_name(handler_large), "libask1", 7) != 0, "it is \"%s\"", live_name(handler_large));
	check_name(handler_mapping, "way:mmap:%t");
	/* Out of the middle; what comes then is not taken for it. */
	signals = jumps = true;
	if (!sigsetjmp(out, 1)) {
		ask_map(5 * MIB);
		check(0, "nothing jumped");
	}
	p = (void *)syscall(SYS_mmap, NULL, 6 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check_name(p, "way:mmap:%t");
	p = ask_map(MIB);
	check_name(p, "libask1.so:mmap:%t");
	p = map(MIB);
	check_name(p, "way:mmap:%t");
}

static void before(const char *what, const int *behind)
{
	const struct root *root = live_root();
	void (*restore)(void) = (void (*)(void))dlsym(RTLD_DEFAULT, "behind_restore");
	bool breakpoint = !strcmp(what, "breakpoint");
	char *p;

	if (!restore)
		live_skip("libbefore.so patches x86-64 only");
	check(root->part_state[PART_DETOUR_MMAP] == PART_ACTIVE, "reason %d", root->part_reason[PART_DETOUR_MMAP]);
	check(root->part_state[PART_DETOUR_MUNMAP] == (breakpoint ? PART_ACTIVE : PART_DECLINED), "state %d, reason %d",
	      root->part_state[PART_DETOUR_MUNMAP], root->part_reason[PART_DETOUR_MUNMAP]);
	if (breakpoint)
		restore();
	else
		check(root->part_reason[PART_DETOUR_MUNMAP] == REASON_ALREADY_PATCHED, "reason %d", root->part_reason[PART_DETOUR_MUNMAP]);
	p = map(64 * KIB);
	check_name(p, "way:mmap");
	munmap(p, 64 * KIB);
	check_name(p, "");
	check(breakpoint || *behind == 1, "heard %d", *behind);
	free(malloc(2 * MIB));
	check(breakpoint || *behind == 2, "heard %d", *behind);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "plain", *how_before = argc > 2 ? argv[2] : "";
	int *behind = dlsym(RTLD_DEFAULT, "behind_heard");

	how = argc > 2 ? argv[2][0] : how;
	mallopt(M_MMAP_THRESHOLD, 128 * KIB);
	if (!strcmp(mode, "before")) {
		before(how_before, behind);
		return live_status();
	}
	/* The walk's first use maps. */
	free(ask(0, NULL, MIB));
	if (!strcmp(mode, "libc"))
		patch(dlopen("libc.so.6", RTLD_NOW));
	else if (!strcmp(mode, "own"))
		patch(RTLD_DEFAULT);
	if (!strcmp(mode, "behind")) {
		check(behind, "libbehind.so is not there");
		*behind = 0;
	}
	calls(!strcmp(mode, "libc") || !strcmp(mode, "own"), strcmp(mode, "own") != 0);
	check(!behind || *behind >= 2, "who stands behind heard of %d calls", *behind);
	if (!strcmp(mode, "libc"))
		calls_and_signals();
	return live_status();
}
