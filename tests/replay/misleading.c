/* SPDX-License-Identifier: MIT */
/*
 * A process in which what names are told from is made to keep its reader busy:
 *
 *   misleading ring            libc's list of threads never comes back to its head
 *   misleading arenas          libc's arenas are a ring of 4000 that lead nowhere
 *   misleading sparse          1 TiB, with a page here and there
 *   misleading endless         64 TiB, of which each 64 MiB could be an arena's
 *   misleading object FILE     the file is mapped as a library is
 *
 * It writes a line when it is ready.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HEAP      (64UL << 20)          /* of an arena, and aligned to that */
#define ENTRIES   10000000UL
#define ARENAS    4000UL
#define NEXT      270                   /* struct malloc_state of glibc 2.27 to 2.42, in words */

static char *reserve(uint64_t size)
{
	char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED)
		exit(77);
	return at;
}

static void *wait_for_ever(void *unused)
{
	for (;;)
		pause();
	return unused;
}

/* Each entry leads to the next and back to the one before, and the last to the first but never to the head. */
static void make_ring(void)
{
	char *global = dlsym(RTLD_DEFAULT, "_rtld_global");
	uint32_t *used = dlsym(RTLD_DEFAULT, "_thread_db_rtld_global__dl_stack_used");
	uint64_t (*entry)[2] = (void *)reserve(ENTRIES * sizeof(*entry)), *head;
	pthread_t thread;

	if (!global || !used || pthread_create(&thread, NULL, wait_for_ever, NULL))
		exit(77);
	head = (uint64_t *)(global + used[2]);
	for (uint64_t i = 0; i < ENTRIES; i++) {
		entry[i][0] = (uint64_t)(uintptr_t)entry[(i + 1) % ENTRIES];
		entry[i][1] = (uint64_t)(uintptr_t)(i ? entry[i - 1] : head);
	}
	head[0] = (uint64_t)(uintptr_t)entry[0];
}

/* The first word of a freed chunk leads into main_arena, to the bins. */
static void make_arenas(void)
{
	uint64_t *volatile chunk = malloc(3000), *main_arena;
	char *volatile behind = malloc(8);
	char *first = (char *)(((uintptr_t)reserve((ARENAS + 1) * HEAP) + HEAP - 1) & ~(HEAP - 1));

	free(chunk);
	main_arena = (uint64_t *)(uintptr_t)(chunk[0] - 12 * sizeof(*chunk));
	for (uint64_t i = 0; i < ARENAS; i++) {
		char *heap = first + i * HEAP, *arena = heap + 0x30;
		uint64_t head[4] = { (uint64_t)(uintptr_t)arena, 0, HEAP, HEAP };
		uint64_t next = i + 1 < ARENAS ? (uint64_t)(uintptr_t)(arena + HEAP) : (uint64_t)(uintptr_t)(first + 0x30);

		memcpy(heap, head, sizeof(head));
		memcpy(arena + NEXT * sizeof(next), &next, sizeof(next));
	}
	main_arena[NEXT] = (uint64_t)(uintptr_t)(first + 0x30);
	*behind = 0;
}

static void make_sparse(void)
{
	char *at = reserve(1UL << 40);

	for (uint64_t i = 0; i < 1UL << 40; i += 64UL << 20)
		at[i] = 1;
}

/* libc's variables look as always once there was a free chunk. */
static void make_endless(void)
{
	char *volatile chunk = malloc(3000);

	free(chunk);
	reserve(1UL << 46);
}

static void map_object(const char *path)
{
	int fd = open(path, O_RDONLY);

	if (fd < 0 || mmap(NULL, 1 << 20, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0) == MAP_FAILED)
		exit(77);
}

int main(int argc, char **argv)
{
	static const char ready[] = "ready\n";
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "ring"))
		make_ring();
	else if (!strcmp(what, "arenas"))
		make_arenas();
	else if (!strcmp(what, "sparse"))
		make_sparse();
	else if (!strcmp(what, "endless"))
		make_endless();
	else if (!strcmp(what, "object") && argc > 2)
		map_object(argv[2]);
	else
		return 2;
	if (write(STDOUT_FILENO, ready, sizeof(ready) - 1) < 0)
		return 1;
	wait_for_ever(NULL);
}
