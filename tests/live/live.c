/* SPDX-License-Identifier: MIT */
/*
 * Checks and names for the live programs. The registry is read here by code of
 * the test's own, after format/registry_format.h, so that a writer's mistake is
 * not repeated by the reader. See live.h.
 */
#include "live.h"

#include <fcntl.h>
#include <link.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdarg.h>
#include <ucontext.h>

#include "arch.h"
#include "format/registry_format.h"

const char *live_program = "";
static int wrong;
static const struct root *root;

/*
 * A program that dies says where: the fault, the place in the code, the words on
 * the stack and the map of the process, by which both can be looked up.
 */
static void __attribute__((format(printf, 1, 2))) say(const char *format, ...)
{
	char line[128];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (n > 0)
		(void)!write(STDOUT_FILENO, line, (size_t)n);
}

__attribute__((unused)) static void say_where(int sig, siginfo_t *info, void *context)
{
	const ucontext_t *u = context;
	char text[4096];
	ssize_t n;
	int fd;
#if defined(__x86_64__)
	const uintptr_t pc = (uintptr_t)u->uc_mcontext.gregs[REG_RIP], sp = (uintptr_t)u->uc_mcontext.gregs[REG_RSP];
#else
	const uintptr_t pc = u->uc_mcontext.pc, sp = u->uc_mcontext.sp;
#endif
	const uintptr_t *words = (const uintptr_t *)(sp & -sizeof(uintptr_t));

	say("signal %d (code %d) in %d: address %p, pc %#lx, sp %#lx\n", sig, info->si_code, (int)getpid(),
	    info->si_addr, (unsigned long)pc, (unsigned long)sp);
	fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && (n = read(fd, text, sizeof(text))) > 0)
		(void)!write(STDOUT_FILENO, text, (size_t)n);
	for (int i = 0; i < 64; i++)
		say(i % 4 == 3 ? "%#lx\n" : "%#lx ", (unsigned long)words[i]);
	/* The handler is gone (SA_RESETHAND): the same again, to the end. */
}

__attribute__((constructor)) static void find_program(int argc, char **argv)
{
	(void)argc;
	live_program = strrchr(argv[0], '/') ? strrchr(argv[0], '/') + 1 : argv[0];
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	sigaction(SIGSEGV, &(struct sigaction){ .sa_sigaction = say_where, .sa_flags = SA_SIGINFO | SA_RESETHAND }, NULL);
#endif
	/* A test that hangs is a failure, not a wait. */
	alarm(getenv("LIVE_ALARM") ? (unsigned)atoi(getenv("LIVE_ALARM")) : 1200);
}

void live_wrong(const char *file, int line, const char *format, ...)
{
	va_list args;

	__atomic_add_fetch(&wrong, 1, __ATOMIC_RELAXED);
	printf("%s:%d: ", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
}

int live_status(void)
{
	fflush(stdout);
	return wrong ? 1 : 0;
}

void live_skip(const char *format, ...)
{
	va_list args;

	printf("SKIP: ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(stdout);
	_exit(77);
}

pid_t live_fork(void)
{
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child < 0)
		live_skip("fork: %s", strerror(errno));
	if (child == 0)
		wrong = 0;
	return child;
}

void live_join(pid_t child, const char *what)
{
	int status = -1;

	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		check(0, "%s: the child died of signal %d", what, WTERMSIG(status));
	else
		check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%s: the child's status is %#x", what, (unsigned)status);
}

/* --- the library's own account ------------------------------------------------- */

static int look_for_note(struct dl_phdr_info *info, size_t size, void *unused)
{
	(void)size;
	(void)unused;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		const char *at = (const char *)(info->dlpi_addr + ph->p_vaddr), *end = at + ph->p_memsz;

		if (ph->p_type != PT_NOTE)
			continue;
		while (at + sizeof(ElfW(Nhdr)) <= end) {
			const ElfW(Nhdr) *note = (const void *)at;
			const char *name = at + sizeof(*note), *what = name + ((note->n_namesz + 3) & ~3U);
			int64_t distance;

			if (note->n_namesz == sizeof(ANONNAME_NOTE_NAME) && !memcmp(name, ANONNAME_NOTE_NAME, note->n_namesz)) {
				memcpy(&distance, what, sizeof(distance));
				root = (const void *)(what + distance);
				return 1;
			}
			at = what + ((note->n_descsz + 3) & ~3U);
		}
	}
	return 0;
}

const struct root *live_root(void)
{
	if (!root)
		dl_iterate_phdr(look_for_note, NULL);
	return root && root->magic == ANONNAME_ROOT_MAGIC ? root : NULL;
}

bool live_active(void) { return live_root() && root->sink != ROOT_SINK_NONE; }
bool live_kernel_names(void) { return live_root() && root->sink & ROOT_SINK_KERNEL; }
uint64_t live_counter(int which) { return live_root() ? root->counter[which] : 0; }

/* --- names ------------------------------------------------------------------------ */

static const void *in_segments(const uint64_t *segments, uint64_t offset)
{
	unsigned k = 0;

	while (offset >= registry_segment_start(k) + registry_segment_size(k))
		k++;
	return (const char *)(uintptr_t)segments[k] + (offset - registry_segment_start(k));
}

/* Without a lock, while others write: what it finds is looked at again by live_check_name. */
__attribute__((no_sanitize("thread"))) static void registry_name_at(uint64_t addr, char *out)
{
	const struct registry_top *top = (const void *)(uintptr_t)root->registry.top;

	for (uint32_t i = 0; top && i < top->count; i++) {
		const struct registry_leaf *leaf =
			in_segments(root->registry.blocks, (top->slot[i].ref >> 32) * REGISTRY_BLOCK_SIZE);

		for (uint32_t r = 0; r < leaf->count; r++) {
			const struct registry_range *range = &leaf->range[r];

			if (addr < range->start || addr >= range->end)
				continue;
			const struct registry_name *n =
				in_segments(root->registry.names, (uint64_t)range->name * REGISTRY_NAME_GRANULE);

			memcpy(out, n->text, n->length);
			out[n->length] = '\0';
			return;
		}
	}
}

/* With calls that no hook sees and memory that no hook sees: looking must not change what is there. */
static long each_map(bool (*each)(uint64_t start, uint64_t end, char *rest, void *context), void *context)
{
	const size_t size = 64 * KIB;
	char *buf = (char *)live_raw(SYS_mmap, 0, (long)size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	long fd = live_raw(SYS_openat, AT_FDCWD, (long)"/proc/self/maps", O_RDONLY, 0, 0, 0), n, count = 0;
	size_t have = 0;
	bool more = true;

	while ((n = live_raw(SYS_read, fd, (long)(buf + have), (long)(size - have), 0, 0, 0)) > 0) {
		char *line = buf, *eol;

		have += (size_t)n;
		for (; (eol = memchr(line, '\n', have - (size_t)(line - buf))); line = eol + 1) {
			char *rest;
			uint64_t start = strtoull(line, &rest, 16), end = strtoull(rest + 1, &rest, 16);

			*eol = '\0';
			count++;
			if (more && each)
				more = each(start, end, rest + 1, context);
		}
		have -= (size_t)(line - buf);
		memmove(buf, line, have);
	}
	live_raw(SYS_close, fd, 0, 0, 0, 0, 0);
	live_raw(SYS_munmap, (long)buf, (long)size, 0, 0, 0, 0);
	return count;
}

struct wanted {
	uint64_t addr;
	char *name;
	bool bare;              /* anonymous, and without a name in maps */
};

static bool take_name(uint64_t start, uint64_t end, char *rest, void *context)
{
	struct wanted *w = context;
	char *name = strstr(rest, "[anon:");

	if (w->addr < start)
		return false;
	if (w->addr >= end)
		return true;
	if (!name)
		name = strstr(rest, "[anon_shmem:");
	if (name) {
		name = strchr(name, ':') + 1;
		name[strlen(name) - 1] = '\0';
		strcpy(w->name, name);
	}
	/* perms offset device inode, and blanks up to a path. */
	w->bare = rest[strcspn(rest, "/[")] == '\0';
	return false;
}

const char *live_name(const void *addr)
{
	static __thread char buffers[8][ANONNAME_NAME_MAX + 1];
	static __thread unsigned turn;
	struct wanted w = { (uintptr_t)addr, buffers[turn++ % 8], false };

	w.name[0] = '\0';
	if (live_kernel_names() || !live_active())
		each_map(take_name, &w);
	if (live_active() && (w.bare || !live_kernel_names()))
		registry_name_at(w.addr, w.name);
	return w.name;
}

bool live_bare(const void *addr)
{
	char name[256] = "";
	struct wanted w = { (uintptr_t)addr, name, false };

	each_map(take_name, &w);
	return w.bare;
}

void live_check_name(const char *file, int line, const void *addr, const char *wanted)
{
	const char *name = live_name(addr), *tid = strstr(wanted, "%t");
	char full[128];

	if (tid) {
		snprintf(full, sizeof(full), "%.*s%ld%s", (int)(tid - wanted), wanted, (long)gettid(), tid + 2);
		wanted = full;
	}
	/*
	 * Looked up once, while other threads change the registry, it may be
	 * missed; and a name waits as long as another thread is in the middle of
	 * a change. A name that is wrong stays wrong.
	 */
	for (int tries = 0; tries < 2000 && strcmp(name, wanted); tries++) {
		/* By what every filter of launcher.c allows. */
		live_raw(SYS_futex, (long)&(uint32_t){ 0 }, FUTEX_WAIT_PRIVATE, 0, (long)&(struct timespec){ .tv_nsec = 1000000 }, 0, 0);
		name = live_name(addr);
	}
	if (strcmp(name, wanted))
		live_wrong(file, line, "the name at %p is '%s', not '%s'", addr, name, wanted);
}

long live_vmas(void) { return each_map(NULL, NULL); }

struct span {
	uint64_t start, end;
	long count;
};

static bool count_in_span(uint64_t start, uint64_t end, char *rest, void *context)
{
	struct span *s = context;

	(void)rest;
	s->count += start < s->end && end > s->start;
	return start < s->end;
}

long live_vmas_in(const void *addr, size_t len)
{
	struct span s = { (uintptr_t)addr, (uintptr_t)addr + len, 0 };

	each_map(count_in_span, &s);
	return s.count;
}

long live_raw(long nr, long a, long b, long c, long d, long e, long f)
{
	return sys_call6(nr, a, b, c, d, e, f);
}
