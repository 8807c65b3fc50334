/* SPDX-License-Identifier: MIT */
/*
 * A library that says it is libanonname and has a hostile registry, as FORGED
 * asks for: "many LEAVES", "restless", "file PATH", "fault" or "lock PATH".
 */
#include "format/registry_format.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TOPS 4

static struct root root = { .magic = ANONNAME_ROOT_MAGIC, .version = ANONNAME_ROOT_VERSION, .size = sizeof(root) };
static char *blocks, *names;
static uint32_t granule;
static struct registry_top *top[TOPS];

static void *map(size_t size, int fd)
{
	int anonymous = fd < 0 ? MAP_ANONYMOUS | MAP_NORESERVE : 0;
	void *at = mmap(NULL, size, anonymous ? PROT_READ | PROT_WRITE : PROT_READ, MAP_PRIVATE | anonymous, fd, 0);

	if (at == MAP_FAILED)
		abort();
	return at;
}

static void make_segments(size_t blocks_size, size_t names_size)
{
	blocks = map(blocks_size, -1);
	names = map(names_size, -1);
	for (unsigned k = 0; k < REGISTRY_SEGMENTS; k++) {
		uint64_t start = registry_segment_start(k), end = start + registry_segment_size(k);

		root.registry.blocks[k] = end <= blocks_size ? (uint64_t)(uintptr_t)blocks + start : 0;
		root.registry.names[k] = end <= names_size ? (uint64_t)(uintptr_t)names + start : 0;
	}
}

static uint32_t make_name(unsigned number)
{
	struct registry_name *name = (void *)(names + (size_t)granule * REGISTRY_NAME_GRANULE);
	uint32_t at = granule;

	name->refs = 1;
	name->length = (uint8_t)sprintf(name->text, "forged:%09u", number);
	granule += 2;
	return at;
}

/* Ranges of a page, a page apart, each with its own name. */
static void make_top(unsigned which, unsigned leaves, uint64_t address)
{
	struct registry_top *made = map(sizeof(*made) + (leaves + 1UL) * sizeof(struct registry_slot), -1);

	for (unsigned i = 0; i < leaves; i++) {
		uint32_t block = which * leaves + i;
		struct registry_leaf *leaf = (void *)(blocks + (size_t)block * REGISTRY_BLOCK_SIZE);

		*leaf = (struct registry_leaf){ .generation = block + 1, .count = REGISTRY_LEAF_RANGES };
		made->slot[i] = (struct registry_slot){ i ? address : 0, (uint64_t)block << 32 | leaf->generation };
		for (unsigned j = 0; j < REGISTRY_LEAF_RANGES; j++, address += 8192)
			leaf->range[j] = (struct registry_range){ address, address + 4096,
			                                          make_name(block * REGISTRY_LEAF_RANGES + j), 0 };
	}
	made->count = made->capacity = leaves;
	made->generation = which + 1;
	top[which] = made;
	root.registry.top = (uint64_t)(uintptr_t)made;
}

static size_t power_of_two(size_t least)
{
	size_t size = REGISTRY_SEGMENT0_SIZE;

	while (size < least)
		size *= 2;
	return size;
}

static void make_many(unsigned leaves, unsigned tops)
{
	size_t ranges = (size_t)leaves * REGISTRY_LEAF_RANGES;
	uint64_t area = (uint64_t)(uintptr_t)map(ranges * 8192, -1);

	make_segments(power_of_two((size_t)tops * leaves * REGISTRY_BLOCK_SIZE),
	              power_of_two(tops * ranges * 2 * REGISTRY_NAME_GRANULE));
	for (unsigned i = 0; i < tops; i++)
		make_top(i, leaves, area);
}

/* Another registry at each look. */
static void *change(void *unused)
{
	for (unsigned i = 0;; i++) {
		root.registry.top = (uint64_t)(uintptr_t)top[i % TOPS];
		usleep(1000);
	}
	return unused;
}

/* A page that stays away: its fault waits for a server that there is not. */
static void *map_without_server(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	void *at = map(4096, -1);

	range.range.start = (uintptr_t)at;
	range.range.len = 4096;
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) || ioctl(fd, UFFDIO_REGISTER, &range))
		_exit(77);
	return at;
}

static void *silent;

/* Holds the lock of our address space while it waits for the page. */
static void *read_silent(void *unused)
{
	static char byte;

	if (pread(open("/proc/self/mem", O_RDONLY), &byte, 1, (off_t)(uintptr_t)silent) < 0)
		perror("/proc/self/mem");
	return unused;
}

/* And whoever waits to change it keeps out all readers: all of this on SIGUSR1, when the program is through its start. */
static void *lock_when_asked(void *set)
{
	pthread_t thread;
	int signal;

	sigwait(set, &signal);
	pthread_create(&thread, NULL, read_silent, NULL);
	sleep(1);
	map(4096, -1);
	return NULL;
}

static void make_lock(const char *path)
{
	static sigset_t set;
	pthread_t thread;

	silent = map(4096, open(path, O_RDONLY));
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	pthread_create(&thread, NULL, lock_when_asked, &set);
}

__attribute__((constructor)) static void forge(void)
{
	const char *how = getenv("FORGED");
	pthread_t thread;

	if (!how)
		return;
	unsetenv("LD_PRELOAD");
	root.self = (uint64_t)(uintptr_t)&root;
	root.sink = ROOT_SINK_REGISTRY;
	if (!strncmp(how, "many ", 5)) {
		make_many((unsigned)atoi(how + 5), 1);
	} else if (!strcmp(how, "restless")) {
		make_many(4000, TOPS);
		pthread_create(&thread, NULL, change, NULL);
	} else if (!strncmp(how, "file ", 5)) {
		root.registry.top = (uint64_t)(uintptr_t)map(4096, open(how + 5, O_RDONLY));
	} else if (!strncmp(how, "lock ", 5)) {
		make_lock(how + 5);
	} else if (!strcmp(how, "fault")) {
		root.registry.top = (uint64_t)(uintptr_t)map_without_server();
	}
}
