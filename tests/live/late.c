/* SPDX-License-Identifier: MIT */
/*
 * The library comes late, by dlopen: what can be known has its name, and what
 * cannot has none and does not count as named. Run without the library, which
 * stands in LIVE_PRELOAD.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <sys/prctl.h>

#include "live.h"

static char bss[64 * KIB];
static pthread_barrier_t barrier;
static void *arena_memory;
static long worker_tid;

static void *work(void *unused)
{
	char here;

	prctl(PR_SET_NAME, "late-worker");
	worker_tid = gettid();
	/* From an arena of its own. */
	arena_memory = malloc(1000);
	memset(arena_memory, 1, 1000);
	pthread_barrier_wait(&barrier);         /* it may be loaded, */
	pthread_barrier_wait(&barrier);         /* it has been */
	char wanted[64];

	snprintf(wanted, sizeof(wanted), "stack:%ld:late-worker", worker_tid);
	check_name(&here, wanted);
	return unused;
}

int main(void)
{
	const char *library = getenv("LIVE_PRELOAD");
	char *anybodys = map(3 * MIB), *large = malloc(2 * MIB), *code;
	pthread_t thread;

	memset(anybodys, 1, 3 * MIB);
	memset(large, 1, 2 * MIB);
	memset(bss, 1, sizeof(bss));
	code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&thread, NULL, work, NULL);
	pthread_barrier_wait(&barrier);
	if (!library || !dlopen(library, RTLD_NOW | RTLD_GLOBAL))
		live_skip("dlopen: %s", library ? dlerror() : "LIVE_PRELOAD is not set");
	check(live_active());
	check_name(bss + sizeof(bss) / 2, "late:bss");
	check_name(arena_memory, "glibc:arena1");
	check_name(anybodys, "");
	check_name(anybodys + 2 * MIB, "");
	check_name(large, "");
	check_name(code, "");
	/* What comes now is seen by the exported symbols, which the program is bound to no more. */
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	return live_status();
}
