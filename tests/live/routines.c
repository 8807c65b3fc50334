/* SPDX-License-Identifier: MIT */
/* A thread without a name of its own is told apart by what it runs: an exported function, or else the library. */
#include <dlfcn.h>
#include <pthread.h>
#include <threads.h>

#include "live.h"

static void is(const char *end)
{
	char here = 0, wanted[100];

	snprintf(wanted, sizeof(wanted), "stack:%%t:routines%s", end);
	check_name(&here, wanted);
}

/* The program is linked with -rdynamic. */
void *exported_routine(void *end);
void *exported_routine(void *end)
{
	char here = 0;

	is(end);
	pthread_setname_np(pthread_self(), "named");
	check_name(&here, "stack:%t:named");
	return NULL;
}

int exported_thrd(void *end);
int exported_thrd(void *end)
{
	is(end);
	return 0;
}

/* Without a symbol in the program there is nothing to say. */
static void *own_routine(void *end)
{
	is(end);
	return NULL;
}

static void run(void *(*routine)(void *), char *end)
{
	pthread_t thread;

	/* The second time from what is known, and on the stack of the first. */
	for (int i = 0; i < 2; i++) {
		check(pthread_create(&thread, NULL, routine, end) == 0);
		pthread_join(thread, NULL);
	}
}

int main(void)
{
	void *(*start)(void (*)(const char *), const char *);
	char path[4096] = "";
	pthread_t thread;
	void *library;
	thrd_t c11;
	char exported[] = ":exported_routine", thrd[] = ":exported_thrd", nothing[] = "";

	run(exported_routine, exported);
	run(own_routine, nothing);
	check(thrd_create(&c11, exported_thrd, thrd) == thrd_success);
	thrd_join(c11, NULL);
	(void)!readlink("/proc/self/exe", path, sizeof(path) - 32);
	for (int proxy = 0; proxy < 2; proxy++) {
		strcpy(strrchr(path, '/') + 1, proxy ? "libgomp.so" : "libroutine.so");
		library = dlopen(path, RTLD_NOW);
		check(library, "%s", dlerror());
		*(void **)&start = library ? dlsym(library, "start_thread") : NULL;
		if (!start)
			continue;
		/* Of a library that starts threads for others it is their function that counts. */
		thread = (pthread_t)start((void (*)(const char *))(proxy ? (void *)exported_thrd : (void *)is),
					  proxy ? ":exported_thrd" : ":libroutine.so");
		pthread_join(thread, NULL);
	}
	return live_status();
}
