/* SPDX-License-Identifier: MIT */
/*
 * dlopen and dlclose: the caller's RUNPATH and $ORIGIN still count, the object's
 * .bss gets a name, and loops of both while other threads map are safe.
 */
#include <dlfcn.h>
#include <pthread.h>

#include "live.h"

static bool stop;

static void *churn(void *arg)
{
	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		free(malloc(3 * MIB));
		munmap(map(64 * KIB), 64 * KIB);
	}
	return arg;
}

static void *no_op(void *arg) { return arg; }

static void try_one(const char *how, void *h, bool named_at_once)
{
	char *bss;
	pthread_t t;

	check(h != NULL, "%s: %s", how, dlerror());
	if (!h)
		return;
	bss = dlsym(h, "bss_of_library");
	check(((int (*)(void))dlsym(h, "bss_touch"))() == 4711, "%s", how);
	/* Where dlopen had to be jumped to, the name comes with the next call that may look. */
	if (!named_at_once) {
		pthread_create(&t, NULL, no_op, NULL);
		pthread_join(t, NULL);
	}
	check_name(bss + (2 << 20), "libbss.so:bss");
	dlclose(h);
	check(strcmp(live_name(bss + (2 << 20)), "libbss.so:bss"), "%s: closed, and its .bss is still named", how);
}

int main(void)
{
	pthread_t t[2];
	char path[4096];
	void *h;

	snprintf(path, sizeof(path), "%s", "/proc/self/exe");
	path[readlink("/proc/self/exe", path, sizeof(path) - 20)] = '\0';
	strcpy(strrchr(path, '/'), "/libbss.so");
	try_one("a path", dlopen(path, RTLD_NOW), true);
	try_one("RUNPATH", dlopen("libbss.so", RTLD_NOW), false);
	try_one("$ORIGIN", dlopen("$ORIGIN/libbss.so", RTLD_NOW), false);
	try_one("dlmopen, this namespace", dlmopen(LM_ID_BASE, path, RTLD_NOW), true);
	h = dlmopen(LM_ID_NEWLM, path, RTLD_NOW);
	check(h != NULL, "dlmopen: %s", dlerror());
	if (h) {
		check(((int (*)(void))dlsym(h, "bss_touch"))() == 4711, "in a namespace of its own");
		dlclose(h);
	}
	check(dlopen("/no/such/library.so", RTLD_NOW) == NULL && strstr(dlerror(), "/no/such/library.so"), "dlerror");
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, churn, NULL);
	for (int i = 0; i < 300; i++) {
		h = dlopen(i % 2 ? path : "libbss.so", RTLD_NOW);
		check(h != NULL, "round %d: %s", i, dlerror());
		if (h)
			((int (*)(void))dlsym(h, "bss_touch"))();
		dlclose(h);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	return live_status();
}
