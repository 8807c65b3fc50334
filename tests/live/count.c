/* SPDX-License-Identifier: MIT */
/*
 * What a program can count: how many keys, descriptors, mappings... are left
 * for it. Each line says what, how many, and how many fewer there may be with
 * the library, which has a few mappings of its own. live.sh compares.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <sys/resource.h>

#include "live.h"

#define OWN_VMAS 8              /* its segments, the registry, what it reads stacks with */
#define OWN_MIB 1

static void say(const char *what, long n, long fewer) { printf("%s %ld %ld\n", what, n, fewer); }

static void limit(int resource, rlim_t to)
{
	struct rlimit l = { to, to };

	check(setrlimit(resource, &l) == 0, "setrlimit(%d): %s", resource, strerror(errno));
}

static void count_keys(void)
{
	pthread_key_t key, first = 1000;
	long n = 0;

	while (pthread_key_create(&key, NULL) == 0)
		if (!n++)
			first = key;
	say("keys", n, 0);
	say("keys-from-the-first", 1000 - (long)first, 0);
}

static void count_descriptors(void)
{
	long n = 0;

	limit(RLIMIT_NOFILE, 256);
	while (open("/dev/null", O_RDONLY) >= 0)
		n++;
	say("descriptors", n, 0);
}

static long entries(const char *path)
{
	DIR *d = opendir(path);
	long n = 0;

	while (d && readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void *runs(void *arg) { return arg; }

static void count_threads(void)
{
	pthread_t t;

	say("no-more-threads", -entries("/proc/self/task"), 0);
	pthread_create(&t, NULL, runs, NULL);
	pthread_join(t, NULL);
	/* The kernel takes it from its list a moment after pthread_join knows. */
	for (int i = 0; i < 1000 && entries("/proc/self/task") > 1; i++)
		usleep(1000);
	say("no-more-threads-later", -entries("/proc/self/task"), 0);
}

static void count_signals(void)
{
	struct sigaction a;
	sigset_t blocked;
	long n = 0;

	sigprocmask(SIG_SETMASK, NULL, &blocked);
	for (int s = 1; s < 65; s++)
		n += sigaction(s, NULL, &a) == 0 && a.sa_handler == SIG_DFL && !sigismember(&blocked, s);
	say("signals", n, 0);
	say("real-time-signals", SIGRTMAX - SIGRTMIN, 0);
}

/* None was made, none is there, none has ended. */
static void count_children(void)
{
	long n = 0;
	int error;

	while (waitpid(-1, NULL, WNOHANG | __WALL) > 0)
		n++;
	error = errno;
	say("no-more-children", -n, 0);
	check(n == 0 && error == ECHILD, "%ld children that nobody made: %s", n, strerror(error));
}

/* Libraries whose TLS must find room beside that of the program: what dlopen has left of it. */
static void count_static_tls(void)
{
	char library[4096], copy[] = "/tmp/live-count.XXXXXX", path[64], command[8300];
	ssize_t len = readlink("/proc/self/exe", library, sizeof(library) - 32);
	long n = 0;

	library[len > 0 ? len : 0] = '\0';
	strcpy(strrchr(library, '/'), "/libtls.so");
	check(mkdtemp(copy) != NULL);
	for (; n < 200; n++) {
		snprintf(path, sizeof(path), "%s/%ld.so", copy, n);
		snprintf(command, sizeof(command), "cp %s %s", library, path);
		check(system(command) == 0, "%s", command);
		if (!dlopen(path, RTLD_NOW))
			break;
	}
	say("static-tls-blocks", n, 0);
	snprintf(command, sizeof(command), "rm -r %s", copy);
	system(command);
}

static long ran;
static void at_exit_last(void) { say("exit-handlers", ran, 0); fflush(stdout); }
static void at_exit(void) { ran++; }

static void count_exit_handlers(void)
{
	atexit(at_exit_last);
	for (int i = 0; i < 5000; i++)
		atexit(at_exit);
}

static void count_vmas(void)
{
	size_t pages = 140000;
	char *p = mmap(NULL, pages * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	long n = 0;

	while (mprotect(p + 4096UL * (2 * (size_t)n + 1), 4096, PROT_READ) == 0)
		n++;
	/* Two VMAs each. */
	say("vmas", 2 * n, OWN_VMAS);
}

/* Pieces of 64 KiB that do not merge, until there is no room. */
static long pieces(void)
{
	long n = 0;

	while (mmap(NULL, 64 * KIB, n % 2 ? PROT_READ : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		n++;
	return n;
}

static void count_addresses(void)
{
	limit(RLIMIT_AS, 256 * MIB);
	say("addresses-in-64K", pieces(), OWN_MIB * 16);
}

static void count_data(void)
{
	limit(RLIMIT_DATA, 64 * MIB);
	say("data-in-64K", pieces(), OWN_MIB * 16);
}

static void count_locked(void)
{
	struct passwd *nobody = getpwnam("nobody");

	if (geteuid() == 0 && (!nobody || setuid(nobody->pw_uid) != 0))
		live_skip("root's locked memory has no limit");
	limit(RLIMIT_MEMLOCK, 4 * MIB);
	if (mlockall(MCL_FUTURE) != 0)
		live_skip("mlockall: %s", strerror(errno));
	say("locked-in-64K", pieces(), OWN_MIB * 16);
}

static void *stack_left(void *arg)
{
	pthread_attr_t attr;
	size_t size;
	void *start;

	pthread_getattr_np(pthread_self(), &attr);
	pthread_attr_getstack(&attr, &start, &size);
	*(long *)arg = (char *)__builtin_frame_address(0) - (char *)start;
	return NULL;
}

/* Of the smallest stack that a thread may have: its TLS and the frames above its function. */
static void count_stack(void)
{
	pthread_attr_t attr;
	pthread_t t;
	long left = 0;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, (size_t)sysconf(_SC_THREAD_STACK_MIN));
	check(pthread_create(&t, &attr, stack_left, &left) == 0);
	pthread_join(t, NULL);
	say("stack", left, 1024);
}

static void count_robust(void)
{
	size_t len = 0;
	void *head = NULL;

	check(syscall(SYS_get_robust_list, 0, &head, &len) == 0);
	say("robust-list", head != NULL && len > 0, 0);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *what;
		void (*count)(void);
	} all[] = {
		{ "keys", count_keys }, { "descriptors", count_descriptors }, { "threads", count_threads },
		{ "signals", count_signals }, { "children", count_children }, { "tls", count_static_tls },
		{ "exit", count_exit_handlers }, { "vmas", count_vmas }, { "addresses", count_addresses },
		{ "data", count_data }, { "locked", count_locked }, { "stack", count_stack }, { "robust", count_robust },
	};

	/* Each alone, as a process may be of no use after it. */
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (argc > 1 && !strcmp(argv[1], all[i].what))
			all[i].count();
		else if (argc < 2)
			printf("%s\n", all[i].what);
	return live_status();
}
