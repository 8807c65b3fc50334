/* SPDX-License-Identifier: MIT */
/*
 * Malloc by library: each block is where its library's memory is, whichever
 * function asked for it and wherever it goes.
 *   by_library [NAME1 NAME2]    what the memory of libask1.so and libask2.so is called
 *   by_library rationed         with RLIMIT_AS
 *   by_library hold             holds known sizes until standard input ends; see by_library.py
 */
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/resource.h>

#include "live.h"

typedef void *ask_function(int how, void *(*other)(size_t), size_t size);

enum { BLOCKS = 2000 };
static const size_t sizes[] = { 1, 24, 64, 200, 1000, 1025, 5000, 100000, 1000000 };
static char names[3][80];               /* of libask1.so's memory, libask2.so's, the program's */
static void *before_main;

__attribute__((constructor)) static void constructor(void) { before_main = malloc(100); }

/* For lib=* sym=xmalloc of malloc.rules. */
void *xmalloc(size_t size);
__attribute__((noinline)) void *xmalloc(size_t size)
{
	void *volatile p = malloc(size);

	return p;
}

static ask_function *load(const char *file, void **handle)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 64);

	path[n > 0 ? n : 0] = '\0';
	strcpy(strrchr(path, '/') + 1, file);
	*handle = dlopen(path, RTLD_NOW);
	check(*handle != NULL, "%s", dlerror());
	return (ask_function *)dlsym(*handle, "ask");
}

static void check_block(void *p, size_t size, const char *name)
{
	check(p && malloc_usable_size(p) >= size);
	memset(p, 1, size);
	check_name(p, name);
	check_name((char *)p + size - 1, name);
}

/* malloc, calloc, realloc, posix_memalign, a wrapper. */
static void all_ways(ask_function *ask, const char *name)
{
	for (int how = 0; how <= 4; how++)
		for (size_t i = how == 3; i < sizeof(sizes) / sizeof(*sizes); i++) {
			char *p = ask(how, NULL, sizes[i]);

			if (how == 1)
				check(!p[0] && !p[sizes[i] - 1]);
			if (how == 4)
				check(((uintptr_t)p & 65535) == 0);
			check_block(p, sizes[i], name);
			free(p);
		}
	check_block(ask(5, xmalloc, 100), 100, name);
}

static void our_own(void)
{
	volatile size_t huge = SIZE_MAX / 2, odd = 48;
	int length;
	void *p;
	char *s = strdup("allocated by libc, for us");

	check_name(s, names[2]);
	free(s);
	length = asprintf(&s, "%d", 4711);
	check(length == 4);
	check_name(s, names[2]);
	free(s);
	check_name(before_main, names[2]);
	free(before_main);
	check_block(malloc(100), 100, names[2]);
	check_block(aligned_alloc(4096, 100), 100, names[2]);
	check_block(valloc(100), 100, names[2]);
	check_block(pvalloc(100), 4096, names[2]);
	check_block(reallocarray(NULL, 10, 10), 100, names[2]);
	p = memalign(odd, 100);
	check(((uintptr_t)p & 63) == 0);
	check_block(p, 100, names[2]);
	errno = 0;
	check(malloc(huge) == NULL && errno == ENOMEM);
	errno = 0;
	check(calloc(huge, 4) == NULL && errno == ENOMEM);
	errno = 0;
	check(reallocarray(NULL, huge, 4) == NULL && errno == ENOMEM);
	errno = 0;
	check(realloc(malloc(10), huge) == NULL && errno == ENOMEM);
	errno = 0;
	check(aligned_alloc(odd, 10) == NULL && errno == EINVAL);
	errno = 4711;
	check(posix_memalign(&p, odd, 10) == EINVAL && errno == 4711);
	check(posix_memalign(&p, 64, huge) == ENOMEM && errno == 4711);
	free(NULL);
	free(malloc(0));
	check(realloc(malloc(10), 0) == NULL);
	check(malloc_usable_size(NULL) == 0);
	check(errno == 4711);
}

/* Sized for another library: it stays where it is, or becomes the one's who asks. */
static void across(ask_function *ask)
{
	char *p = ask(0, NULL, 100);

	p = realloc(p, 90);
	check_name(p, names[0]);
	memset(p, 7, 90);
	p = realloc(p, 300000);
	check(p[0] == 7 && p[89] == 7);
	check_name(p, names[2]);
	free(p);
}

struct work {
	ask_function *ask[2];
	void *block[BLOCKS];
};

static void *allocate(void *arg)
{
	struct work *w = arg;

	for (int i = 0; i < BLOCKS; i++) {
		w->block[i] = w->ask[i % 2](i % 5, NULL, 2 + (size_t)(i * 37) % 3000);
		memset(w->block[i], i, 2);
	}
	return NULL;
}

/* What one thread allocated is looked at and freed by another, after the first has ended. */
static void threads(ask_function *ask1, ask_function *ask2)
{
	static struct work work[8];
	pthread_t t[8];

	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < 8; i++) {
			work[i].ask[0] = ask1;
			work[i].ask[1] = ask2;
			check(pthread_create(&t[i], NULL, allocate, &work[i]) == 0);
		}
		for (int i = 0; i < 8; i++) {
			pthread_join(t[i], NULL);
			for (int k = 0; k < BLOCKS; k++) {
				if (k % 100 == round)
					check_name(work[i].block[k], names[k & 1]);
				check(*(unsigned char *)work[i].block[k] == (unsigned char)k);
				free(work[i].block[k]);
			}
		}
	}
}

static void *fork_and_ask(void *arg)
{
	ask_function *ask = (ask_function *)arg;
	void *before = ask(0, NULL, 64);
	pid_t child = live_fork();

	if (child == 0) {
		check_name(before, names[0]);
		free(before);
		all_ways(ask, names[0]);
		exit(live_status());
	}
	live_join(child, "a child of a thread");
	free(before);
	return NULL;
}

static void forks(ask_function *ask)
{
	pthread_t t;

	fork_and_ask((void *)ask);
	check(pthread_create(&t, NULL, fork_and_ask, (void *)ask) == 0);
	pthread_join(t, NULL);
}

static void gone_and_back(void *handle, ask_function *ask)
{
	char *p = ask(0, NULL, 1000);

	dlclose(handle);
	check(dlopen("libask2.so", RTLD_NOW | RTLD_NOLOAD) == NULL);
	check_name(p, names[1]);
	memset(p, 1, 1000);
	free(p);
	ask = load("libask2.so", &handle);
	all_ways(ask, names[1]);
}

static void fill(ask_function *ask, size_t bytes, size_t size)
{
	for (size_t i = 0; i < bytes / size; i++)
		memset(ask(0, NULL, size), 1, size);
}

static void hold(ask_function *ask1, ask_function *ask2)
{
	fill(ask1, 20 * MIB, 64);
	fill(ask1, 20 * MIB, 1024);
	fill(ask2, 10 * MIB, 512);
	fill(ask2, 10 * MIB, 100 * KIB);
	puts("ready");
	fflush(stdout);
	getchar();
}

int main(int argc, char **argv)
{
	const char *told[] = { argc > 2 ? argv[1] : "libask1.so", argc > 2 ? argv[2] : "libask2.so", live_program };
	struct rlimit limit = { 32 * GIB, 32 * GIB };
	void *handle[2];
	ask_function *ask[2];

	/* Once more, as the arenas that are there count, too. */
	if (argc == 2 && !strcmp(argv[1], "rationed") && setrlimit(RLIMIT_AS, &limit) == 0)
		execl("/proc/self/exe", "by_library", "few", NULL);
	for (int i = 0; i < 3; i++)
		snprintf(names[i], sizeof(names[i]), "mimalloc:lib:%s", told[i]);
	ask[0] = load("libask1.so", &handle[0]);
	ask[1] = load("libask2.so", &handle[1]);
	if (argc == 2 && !strcmp(argv[1], "hold")) {
		hold(ask[0], ask[1]);
		return 0;
	}
	all_ways(ask[0], names[0]);
	all_ways(ask[1], names[1]);
	our_own();
	across(ask[0]);
	/* Each thread's heap takes 32 MiB of addresses: there are not enough then. */
	if (argc != 2)
		threads(ask[0], ask[1]);
	forks(ask[0]);
	gone_and_back(handle[1], ask[1]);
	return live_status();
}
