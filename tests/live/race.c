/* SPDX-License-Identifier: MIT */
/*
 * Threads race mmap, munmap, mremap, fork and names against a reader in
 * another process, the one that the tools use. Among what changes stand
 * anchors that never do: each read must show every one of them, with its name,
 * and nothing that overlaps. LIVE_SECONDS says for how long.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <time.h>

#include "format/registry_format.h"
#include "filters.h"
#include "live.h"
#include "read/registry.h"

enum { ANCHORS = 400, THREADS = 3, SLOT = 16 };
#define P 4096UL

static struct {
	_Atomic bool ready, stop;
	_Atomic long changes;
} *shared;
static char *area;

static char *slot(int i) { return area + (size_t)i * SLOT * P; }

static void name(void *addr, size_t len, const char *what)
{
	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, addr, len, what);
}

/* Each thread has every third gap between two anchors to itself. */
static void *churn(void *arg)
{
	unsigned seed = (unsigned)(long)arg * 7919 + 1;
	char text[80];

	while (!shared->stop) {
		int i = (int)(rand_r(&seed) % (ANCHORS / THREADS)) * THREADS + (int)(long)arg;
		char *gap = slot(i) + P, *p;
		size_t pages = 1 + rand_r(&seed) % (SLOT - 2);

		snprintf(text, sizeof(text), "churn:%u:%.*s", rand_r(&seed) % 5000, (int)(rand_r(&seed) % 60),
			 "a-long-name-that-takes-more-than-one-granule-of-the-registrys-names");
		switch (rand_r(&seed) % 6) {
		case 0: munmap(gap, pages * P); break;
		case 1: p = mmap(gap, pages * P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
			name(p, pages * P, text);
			break;
		case 2: p = mmap(gap, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
			mremap(p, P, P, MREMAP_MAYMOVE | MREMAP_FIXED, gap + (SLOT - 2) * P);
			break;
		case 3: p = map(pages * P);
			p = mremap(p, pages * P, 3 * pages * P, MREMAP_MAYMOVE);
			munmap(p, 3 * pages * P);
			break;
		case 4: name(gap + P, P, text); break;
		default:
			if (rand_r(&seed) % 200 == 0) {
				pid_t child = fork();

				if (child == 0) {
					snprintf(text, sizeof(text), "anchor-%d", i);
					_exit(strcmp(live_name(slot(i)), text) != 0 || munmap(slot(i), P));
				}
				int status = 1;

				waitpid(child, &status, 0);
				check(status == 0, "a fork's child has another name for its anchor, status %#x", (unsigned)status);
			}
		}
		shared->changes++;
	}
	return NULL;
}

static void target(void)
{
	pthread_t t[THREADS];
	char text[32];

	/* Far below all else: where it has holes the kernel must not put somebody else's memory. */
	area = mmap((void *)0x100000000000, (size_t)ANCHORS * SLOT * P, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
	for (int i = 0; i < ANCHORS; i++) {
		snprintf(text, sizeof(text), "anchor-%d", i);
		name(mmap(slot(i), P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), P, text);
	}
	*(char *volatile *)(shared + 1) = area;
	shared->ready = true;
	for (long i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, churn, (void *)i);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	_exit(live_status());
}

static int read_memory(void *context, uint64_t address, void *buffer, size_t size)
{
	ssize_t n = pread(*(int *)context, buffer, size, (off_t)address);

	return n == (ssize_t)size ? 0 : n < 0 ? -errno : -EIO;
}

int main(void)
{
	int seconds = getenv("LIVE_SECONDS") ? atoi(getenv("LIVE_SECONDS")) : 10, fd;
	long reads = 0, torn = 0, bytes = 0;
	time_t end = time(NULL) + seconds;
	char path[64];
	pid_t child;

	alarm((unsigned)seconds + 900);
	if (!live_root() || !(live_root()->sink & ROOT_SINK_REGISTRY))
		live_skip("there is no registry to read");
	shared = mmap(NULL, P, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	child = live_fork();
	if (child == 0)
		target();
	while (!shared->ready)
		usleep(1000);
	area = *(char *volatile *)(shared + 1);
	snprintf(path, sizeof(path), "/proc/%d/mem", (int)child);
	fd = open(path, O_RDONLY);

	const struct memory memory = { read_memory, &fd };

	while (time(NULL) < end) {
		struct registry r = { 0 };
		int error = registry_read(&memory, (uintptr_t)live_root(), &r);

		check(error == 0, "read %ld: %s", reads, strerror(-error));
		if (error)
			break;
		check(r.refused == 0, "read %ld: %zu leaves or ranges break the format", reads, r.refused);
		for (size_t i = 0; i + 1 < r.count; i++)
			check(r.entry[i].end <= r.entry[i + 1].start && r.entry[i].start < r.entry[i].end, "read %ld: overlap", reads);
		for (int i = 0; i < ANCHORS && !r.torn; i++) {
			size_t at = registry_seek(&r, (uintptr_t)slot(i));
			char wanted[32];

			snprintf(wanted, sizeof(wanted), "anchor-%d", i);
			check(at < r.count && r.entry[at].start == (uintptr_t)slot(i) && r.entry[at].end == (uintptr_t)slot(i) + P &&
			      !strcmp(registry_name(&r, at), wanted), "read %ld: anchor %d is '%s'", reads, i,
			      at < r.count ? registry_name(&r, at) : "nothing");
		}
		torn += r.torn > 0;
		bytes += (long)r.bytes;
		reads++;
		registry_free(&r);
		if (live_status())
			break;
	}
	shared->stop = true;
	live_join(child, "the one that is read");
	printf("%ld changes, %ld reads, %ld of them incomplete, %ld KiB each\n", shared->changes, reads, torn,
	       reads ? bytes / reads / 1024 : 0);
	check(reads > torn, "no read was complete");
	return live_status();
}
