// SPDX-License-Identifier: MIT
/*
 * Random operations on named memory from many threads and processes, for a
 * kernel that checks itself: run-stress.sh looks at what that kernel said and at
 * what is left of the names.  The program itself checks that every name it sees
 * in maps is whole, and that no call returns an error that it must not return.
 *
 *	stress SECONDS SEED		run, print how much was done
 *	stress --hold N			hold N names until standard input ends
 *	stress --fail			let the allocation of a name fail, once
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
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

#define PROCESSES 3
#define THREADS 2
#define PAGES 192	/* of an arena: more than max_map_count leaves room for */
#define PAGE 4096UL
#define NAME_MAX_LEN 79
#define RW (PROT_READ | PROT_WRITE)

struct counters {
	uint64_t operations, named, refused, forks, checked, injected;
	bool broken;
};

static struct counters *counters;	/* shared by all processes */
static struct timespec end;
static char *arena;			/* one a process, shared by its threads */
static int zero, file, uffd = -1;
static bool can_inject;

struct state { uint64_t random; int fail_nth; bool child; };

static uint64_t next(struct state *s)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return s->random * 0x2545f4914f6cdd1dULL;
}

static unsigned below(struct state *s, unsigned n)
{
	return (unsigned)((next(s) >> 32) % n);
}

static void count(uint64_t *counter)
{
	__atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);
}

__attribute__((format(printf, 1, 2), noreturn))
static void broken(const char *format, ...)
{
	char text[512];
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	n = n > (int)sizeof text - 2 ? (int)sizeof text - 2 : n;
	text[n++] = '\n';
	counters->broken = true;
	if (write(2, "stress: ", 8) < 0 || write(2, text, (size_t)n) < 0)
		_exit(3);
	_exit(2);
}

/* When the time is up, and however slow the machine, some of all was done. */
static bool over(void)
{
	struct timespec now;

	if (!counters->broken &&
	    (!counters->checked || !counters->forks || (can_inject && !counters->injected)))
		return false;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > end.tv_sec || (now.tv_sec == end.tv_sec && now.tv_nsec >= end.tv_nsec);
}

/* Mostly a few pages, now and then all that is left. */
static char *range(struct state *s, size_t *len)
{
	unsigned first = below(s, PAGES), pages = 1 + below(s, below(s, 8) ? 6 : PAGES);

	if (pages > PAGES - first)
		pages = PAGES - first;
	*len = pages * PAGE;
	return arena + first * PAGE;
}

/* ---- names: what is set can be told from what is not --------------------- */

/* "s:PAD:" and PAD times p: a name that is cut or overwritten shows. */
static void make_name(struct state *s, char text[NAME_MAX_LEN + 1])
{
	unsigned pad = below(s, 4) ? below(s, 4) : below(s, NAME_MAX_LEN - 4);
	int head = snprintf(text, NAME_MAX_LEN + 1, "s:%u:", pad);

	if (head + pad > NAME_MAX_LEN) {
		pad = NAME_MAX_LEN - 5;
		head = snprintf(text, NAME_MAX_LEN + 1, "s:%u:", pad);
	}
	memset(text + head, 'p', pad);
	text[head + pad] = '\0';
}

/*
 * A name that lies in the arena is not the caller's alone: before the kernel reads it,
 * another thread may write zeros there (and the empty name is a name) or such a name of
 * its own.  One character gives no third possibility.
 */
#define FROM_ARENA "a"

static void check_name(char *shown)
{
	unsigned pad;
	int head = 0;
	size_t len = strlen(shown);

	if (!strcmp(shown, "[anon:" FROM_ARENA "]") || !strcmp(shown, "[anon:]"))
		return;
	if (len < 8 || sscanf(shown, "[anon:s:%u:%n", &pad, &head) != 1 || !head ||
	    shown[len - 1] != ']' || strspn(shown + head, "p") != pad || len != head + pad + 1)
		broken("a name that nobody set: %s", shown);
	count(&counters->checked);
}

static void read_maps(struct state *s)
{
	static const char *const files[] = { "/proc/self/maps", "/proc/self/smaps", "/proc/self/smaps_rollup" };
	char buffer[4096 + 1], *line, *stop, *shown;
	size_t kept = 0;
	ssize_t n;
	int fd = open(files[below(s, 3)], O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	while ((n = read(fd, buffer + kept, sizeof buffer - 1 - kept)) > 0) {
		buffer[kept + (size_t)n] = '\0';
		for (line = buffer; (stop = strchr(line, '\n')); line = stop + 1) {
			*stop = '\0';
			shown = strstr(line, "[anon:");
			if (shown)
				check_name(shown);
		}
		kept = strlen(line);
		memmove(buffer, line, kept + 1);
	}
	close(fd);
}

static void expect(int rc, const int *allowed, const char *what)
{
	if (!rc)
		return;
	count(&counters->refused);
	for (; *allowed; allowed++)
		if (errno == *allowed)
			return;
	broken("%s: errno %d", what, errno);
}

static int set_name(const void *start, size_t len, const void *text)
{
	return prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, start, len, text);
}

/* ---- the operations ------------------------------------------------------- */

static void op_name(struct state *s)
{
	static const int allowed[] = { ENOMEM, EAGAIN, EBADF, 0 };
	char text[NAME_MAX_LEN + 1];
	size_t len;
	char *start = range(s, &len);

	make_name(s, text);
	expect(set_name(start, len, text), allowed, "naming");
	count(&counters->named);
}

static void op_clear(struct state *s)
{
	static const int allowed[] = { ENOMEM, EAGAIN, EBADF, 0 };
	size_t len;
	char *start = range(s, &len);

	expect(set_name(start, len, NULL), allowed, "clearing");
}

static void op_name_wrong(struct state *s)
{
	char long_text[NAME_MAX_LEN + 2];
	size_t len;
	char *start = range(s, &len);
	struct { const char *what; const void *start; size_t len; const void *text; int error; } table[] = {
		{ "a name of 80 bytes", start, len, long_text, EINVAL },
		{ "a bad character", start, len, "s:$", EINVAL },
		{ "a bad pointer", start, len, (void *)1, EFAULT },
		{ "an unaligned address", start + 1, len, "s:0:", EINVAL },
		{ "a length that wraps", start, -(size_t)start + PAGE, "s:0:", EINVAL },
		{ "the kernel's half", (void *)0xffff888000000000, len, "s:0:", ENOMEM },
	}, *t = &table[below(s, sizeof table / sizeof *table)];

	memset(long_text, 'x', sizeof long_text);
	long_text[NAME_MAX_LEN + 1] = '\0';
	/* With a failure on its way ENOMEM may come first. */
	if (!set_name(t->start, t->len, t->text) || (errno != t->error && errno != ENOMEM))
		broken("%s: errno %d", t->what, errno);
	count(&counters->refused);
}

/* A pointer into the arena: other threads unmap and write it meanwhile. */
static void op_name_from_arena(struct state *s)
{
	static const int allowed[] = { ENOMEM, EAGAIN, EBADF, EINVAL, EFAULT, 0 };
	static const char text[] = FROM_ARENA;
	size_t len, at;
	char *start = range(s, &len), *from = range(s, &at);
	int fds[2];

	if (pipe2(fds, O_CLOEXEC))
		return;
	/* Through a pipe: a copy that may fail, where a store would be a signal. */
	from += PAGE - sizeof text;
	if (write(fds[1], text, sizeof text) > 0 && read(fds[0], from, sizeof text) > 0)
		expect(set_name(start, len, from), allowed, "a name from shared memory");
	close(fds[0]);
	close(fds[1]);
}

static void op_map(struct state *s)
{
	static const int kinds[] = {
		MAP_PRIVATE | MAP_ANONYMOUS, MAP_PRIVATE | MAP_ANONYMOUS, MAP_PRIVATE | MAP_ANONYMOUS,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN, MAP_SHARED | MAP_ANONYMOUS, MAP_PRIVATE,
	};
	size_t len;
	char *start = range(s, &len);
	int kind = kinds[below(s, 6)];

	mmap(start, len, below(s, 4) ? RW : PROT_NONE, kind | MAP_FIXED, kind & MAP_ANONYMOUS ? -1 : file, 0);
}

static void op_unmap(struct state *s)
{
	size_t len;
	char *start = range(s, &len);

	munmap(start, len);
}

static void op_remap(struct state *s)
{
	size_t old_len, new_len;
	char *from = range(s, &old_len), *to = range(s, &new_len);

	switch (below(s, 4)) {
	case 0: mremap(from, old_len, new_len, 0); break;
	case 1: mremap(from, old_len, old_len / 2 & -PAGE, 0); break;
	case 2: mremap(from, old_len, new_len, MREMAP_MAYMOVE | MREMAP_FIXED, to); break;
	case 3: mremap(from, old_len, old_len, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
		       to + old_len <= arena + PAGES * PAGE ? to : arena); break;
	}
}

static void op_protect(struct state *s)
{
	static const int protections[] = { RW, RW, PROT_READ, PROT_NONE, PROT_READ | PROT_EXEC };
	size_t len;
	char *start = range(s, &len);

	mprotect(start, len, protections[below(s, 5)]);
}

static void op_advise(struct state *s)
{
	static const int advice[] = {
		MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED, MADV_DONTNEED, MADV_FREE,
		MADV_COLD, MADV_PAGEOUT, MADV_DONTFORK, MADV_DOFORK, MADV_WIPEONFORK, MADV_KEEPONFORK,
		MADV_DONTDUMP, MADV_DODUMP, MADV_MERGEABLE, MADV_UNMERGEABLE, MADV_HUGEPAGE, MADV_NOHUGEPAGE,
	};
	size_t len;
	char *start = range(s, &len);

	madvise(start, len, advice[below(s, sizeof advice / sizeof *advice)]);
}

static void op_lock(struct state *s)
{
	size_t len;
	char *start = range(s, &len);

	if (below(s, 2))
		syscall(SYS_mlock2, start, len, below(s, 2));
	else
		munlock(start, len);
}

static void op_uffd(struct state *s)
{
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	size_t len;

	reg.range.start = (unsigned long)range(s, &len);
	reg.range.len = len;
	if (below(s, 3))
		ioctl(uffd, UFFDIO_REGISTER, &reg);
	else
		ioctl(uffd, UFFDIO_UNREGISTER, &reg.range);
}

/* May fail for want of memory, as all here may: then there is none for a while. */
static void open_uffd(void)
{
	/* Faults in registered memory become errors: there is nobody to serve them. */
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_SIGBUS };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		fd = -1;
	}
	uffd = fd;
}

/* All that is registered is given back at once, and merges. */
static void op_uffd_close(struct state *s)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

	if (s->child || pthread_mutex_trylock(&lock))
		return;
	if (uffd >= 0)
		close(uffd);
	open_uffd();
	pthread_mutex_unlock(&lock);
}

static void op_policy(struct state *s)
{
	unsigned long node0 = 1;
	int policy = (int)below(s, 3);	/* default, preferred, bind */
	size_t len;
	char *start = range(s, &len);

	syscall(SYS_mbind, start, len, policy, policy ? &node0 : NULL, policy ? 64 : 0, 0);
}

static void op_touch(struct state *s)
{
	size_t len;
	char *start = range(s, &len);

	if (read(zero, start, len) < 0 && errno != EFAULT)
		broken("reading into memory: errno %d", errno);
}

/* The heap is nobody's: no malloc is called once the threads run. */
static void op_brk(struct state *s)
{
	static const int allowed[] = { ENOMEM, EAGAIN, EBADF, 0 };
	char *now = (char *)syscall(SYS_brk, 0), *page = (char *)((uintptr_t)now & -PAGE) - PAGE;
	char text[NAME_MAX_LEN + 1];

	make_name(s, text);
	if (below(s, 2))
		expect(set_name(page, PAGE, below(s, 2) ? text : NULL), allowed, "naming the heap");
	syscall(SYS_brk, now + ((long)below(s, 9) - 4) * (long)PAGE / 2);
}

static void run_some(struct state *s, unsigned operations);

static void op_fork(struct state *s)
{
	pid_t pid;
	int status;

	if (s->child)
		return;
	pid = fork();
	if (pid < 0)
		return;
	if (!pid) {
		s->child = true;
		s->random ^= 0x9e3779b97f4a7c15ULL;
		run_some(s, 5 + below(s, 60));
		if (!below(s, 4))
			execl("/proc/self/exe", "stress", "--nothing", (char *)NULL);
		_exit(0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status))
		broken("a child: exit status %d", WEXITSTATUS(status));
	count(&counters->forks);
}

/* The next operation meets an allocation that fails: the first, or a later one. */
static void inject(struct state *s)
{
	char text[8];
	int fd;

	if (!can_inject)
		return;
	fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, text, (size_t)snprintf(text, sizeof text, "%u", 1 + below(s, 6))) > 0)
		s->fail_nth = fd;
	else
		close(fd);
}

static void no_more_injection(struct state *s)
{
	char text[16] = "";

	if (s->fail_nth < 0)
		return;
	/* What is left of the count: 0 when the failure happened. */
	if (pread(s->fail_nth, text, sizeof text - 1, 0) > 0 && atoi(text) == 0)
		count(&counters->injected);
	if (pwrite(s->fail_nth, "0", 1, 0) < 0)
		broken("fail-nth: errno %d", errno);
	close(s->fail_nth);
	s->fail_nth = -1;
}

static const struct { void (*run)(struct state *); unsigned weight; } operations[] = {
	{ op_name, 30 }, { op_clear, 6 }, { op_name_wrong, 3 }, { op_name_from_arena, 3 },
	{ op_map, 12 }, { op_unmap, 4 }, { op_remap, 8 }, { op_protect, 8 }, { op_advise, 12 },
	{ op_lock, 4 }, { op_uffd, 4 }, { op_uffd_close, 1 }, { op_policy, 4 }, { op_touch, 8 },
	{ op_brk, 2 }, { op_fork, 2 }, { read_maps, 2 },
};

static void run_one(struct state *s)
{
	unsigned total = 0, pick;
	size_t i;

	for (i = 0; i < sizeof operations / sizeof *operations; i++)
		total += operations[i].weight;
	pick = below(s, total);
	for (i = 0; pick >= operations[i].weight; i++)
		pick -= operations[i].weight;

	/* Not around fork: a wait for a child must not be where it fails. */
	if (operations[i].run != op_fork && !below(s, 8))
		inject(s);
	operations[i].run(s);
	no_more_injection(s);
	count(&counters->operations);
}

static void run_some(struct state *s, unsigned operations)
{
	while (operations--)
		run_one(s);
}

static void *thread(void *arg)
{
	struct state s = { .random = (uint64_t)(uintptr_t)arg, .fail_nth = -1 };

	while (!over())
		run_some(&s, 50);
	return NULL;
}

/* For want of memory, that is, and how soon; and with our parent. */
static void may_be_killed(const char *score)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (fd < 0 || write(fd, score, strlen(score)) < 0)
		broken("oom_score_adj: errno %d", errno);
	close(fd);
}

static void worker(uint64_t seed)
{
	pthread_t threads[THREADS];

	may_be_killed("0");
	arena = mmap(NULL, PAGES * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (arena == MAP_FAILED)
		broken("no arena: errno %d", errno);
	open_uffd();
	syscall(SYS_brk, (char *)syscall(SYS_brk, 0) + 16 * PAGE);
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, thread, (void *)(uintptr_t)(seed * 2654435761u + i * 40503u + 1)))
			_exit(0);	/* no memory; another worker takes over */
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	_exit(0);
}

static long available_kb(void)
{
	char line[256];
	long kb = 0;
	FILE *info = fopen("/proc/meminfo", "re");

	while (info && fgets(line, sizeof line, info))
		if (sscanf(line, "MemAvailable: %ld", &kb) == 1)
			break;
	if (info)
		fclose(info);
	return kb;
}

/* Takes memory until little is left, gives it back, and so on; dies first. */
static void hog(void)
{
	enum { CHUNK = 4 << 20, CHUNKS = 1024, LOW_KB = 24 << 10 };
	static char *chunks[CHUNKS];
	int n;

	may_be_killed("1000");
	while (!over()) {
		for (n = 0; n < CHUNKS && available_kb() > LOW_KB && !over(); n++) {
			chunks[n] = mmap(NULL, CHUNK, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
			if (chunks[n] == MAP_FAILED)
				break;
			for (size_t i = 0; i < CHUNK; i += PAGE)
				memcpy(chunks[n] + i, &i, sizeof i);
		}
		for (int i = 0; i < 20 && !over(); i++)
			usleep(100000);
		while (n--)
			munmap(chunks[n], CHUNK);
	}
	_exit(0);
}

static pid_t start(void (*what)(uint64_t), uint64_t seed)
{
	pid_t pid;

	while ((pid = fork()) < 0)
		usleep(100000);
	if (!pid) {
		what ? what(seed) : hog();
		_exit(0);
	}
	return pid;
}

static int run(long seconds, uint64_t seed)
{
	pid_t workers[PROCESSES], hog_pid, pid;
	uint64_t generation = 0;
	int status;

	counters = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	/* Of zeros: what a thread maps where another has a name may become that name. */
	file = memfd_create("stress", MFD_CLOEXEC);
	if (file >= 0 && ftruncate(file, PAGES * PAGE))
		close(file), file = -1;
	open_uffd();
	if (uffd < 0) {
		perror("stress: userfaultfd");
		return 2;
	}
	close(uffd);
	can_inject = !access("/proc/thread-self/fail-nth", W_OK);
	if (counters == MAP_FAILED || zero < 0 || file < 0) {
		perror("stress");
		return 2;
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += seconds;

	hog_pid = start(NULL, 0);
	for (int i = 0; i < PROCESSES; i++)
		workers[i] = start(worker, seed + (uint64_t)i);
	/* What the kernel kills for want of memory is replaced until the end. */
	while ((pid = waitpid(-1, &status, 0)) > 0) {
		bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;

		if (!killed && status)
			broken("a worker ended with status %#x", status);
		if (counters->broken || over())
			continue;
		generation++;
		if (pid == hog_pid)
			hog_pid = start(NULL, 0);
		for (int i = 0; i < PROCESSES; i++)
			if (pid == workers[i])
				workers[i] = start(worker, seed + generation * 1000 + (uint64_t)i);
	}
	printf("%" PRIu64 " operations, %" PRIu64 " namings, %" PRIu64 " refused, %" PRIu64 " forks, %"
	       PRIu64 " names read and whole, %" PRIu64 " failures injected, %" PRIu64 " processes replaced\n",
	       counters->operations, counters->named, counters->refused, counters->forks,
	       counters->checked, counters->injected, generation);
	if (can_inject && !counters->injected) {
		fprintf(stderr, "stress: no allocation failed\n");
		return 2;
	}
	return counters->broken || !counters->checked ? 2 : 0;
}

/* As many name objects as N, for whoever counts them. */
static int hold(int n)
{
	char text[32];
	char *mem = mmap(NULL, (size_t)n * 2 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (int i = 0; i < n; i++) {
		snprintf(text, sizeof text, "held:%d", i);
		if (mem == MAP_FAILED || set_name(mem + (size_t)i * 2 * PAGE, PAGE, text)) {
			perror("stress: naming");
			return 2;
		}
	}
	puts("held");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}

/* The first allocation in the call is the name's: ENOMEM, and nothing is named. */
static int fail_one(void)
{
	char *mem = mmap(NULL, 4 * PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC), error;

	if (mem == MAP_FAILED || fd < 0 || write(fd, "1", 1) != 1) {
		perror("stress: fail-nth");
		return 2;
	}
	/* The range is wrong as well: the name is allocated before that is seen. */
	error = set_name(mem + 1, PAGE, "s:0:") ? errno : 0;
	pwrite(fd, "0", 1, 0);
	printf("a name that cannot be allocated: %s\n", error == ENOMEM ? "ENOMEM" : strerror(error));
	return error == ENOMEM ? 0 : 2;
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--nothing"))
		return 0;
	if (argc == 2 && !strcmp(argv[1], "--fail"))
		return fail_one();
	if (argc == 3 && !strcmp(argv[1], "--hold"))
		return hold(atoi(argv[2]));
	if (argc == 3)
		return run(atol(argv[1]), strtoull(argv[2], NULL, 0));
	fprintf(stderr, "usage: stress SECONDS SEED\n");
	return 2;
}
