/* SPDX-License-Identifier: MIT */
/* The libraries that have arenas. See malloc.h. */
#include "malloc/malloc.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>

#include "base/root.h"
#include "base/sys.h"
#include "base/text.h"
#include "label/label.h"

/*
 * A library's name stays when it is unloaded: its memory may be in use, and when
 * it is loaded again it goes on there.
 */
struct library {
	char name[OBJECT_NAME_MAX];
	mi_arena_id_t arena;
	uintptr_t start;                /* of its arena */
	size_t size;                    /* 0: it has none */
	uint32_t heaps;                 /* made in it so far */
};

static struct library libraries[LIBRARY_NONE] COLD_BSS;
static uint32_t count;                  /* of those in use but LIBRARY_OTHER, which is there when it has an arena */
static uint32_t making;                 /* one thread at a time makes one */

/* mimalloc's segments, from which each heap of each thread has its pages. */
#define SEGMENT (32UL << 20)
#define SMALLEST_ARENA (2 * SEGMENT)

/*
 * Only addresses: what is not used costs nothing. Four times the memory that
 * there is, as segments are seldom full. Where addresses are rationed
 * (RLIMIT_AS) all arenas together take half of them.
 */
static size_t arena_size(void)
{
	struct sysinfo info;
	struct rlimit limit;
	size_t size = 64UL << 30;

	if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		return limit.rlim_cur / 128 & ~(SEGMENT - 1);
	if (sysinfo(&info) == 0)
		while (size < 4 * info.totalram * info.mem_unit && size < 1UL << 40)
			size *= 2;
	return size;
}

/*
 * The memory is ours, and mimalloc gets it as memory that is not committed: so
 * it counts against no limit before it is used, and what is given back goes.
 * A gap before it keeps the kernel from making one VMA of two libraries' arenas.
 */
static bool make_arena(struct library *library)
{
	for (size_t size = arena_size(); size >= SMALLEST_ARENA; size /= 2) {
		long at = sys_mmap(NULL, size + 2 * SEGMENT, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		uintptr_t start, end;

		if (sys_failed(at))
			continue;
		start = ((uintptr_t)at + SEGMENT) & ~(SEGMENT - 1);
		end = start + size;
		sys_munmap((void *)at, start - (uintptr_t)at);
		sys_munmap((void *)end, (uintptr_t)at + size + 2 * SEGMENT - end);
		if (!mi_manage_os_memory_ex((void *)start, size, false, false, true, -1, true, &library->arena)) {
			sys_munmap((void *)start, size);
			return false;
		}
		label_range(KIND_BY_LIBRARY, start, size, &(struct fields){ .allocator = "mimalloc", .library = library->name });
		library->start = start;
		store_release(&library->size, size);
		return true;
	}
	return false;
}

static bool make(struct library *library, const char *name)
{
	text_copy(library->name, sizeof(library->name), name);
	return make_arena(library);
}

static unsigned find(const char *name)
{
	uint32_t n = load_acquire(&count);

	for (unsigned i = 0; i < n; i++)
		if (text_equal(libraries[i].name, name))
			return i;
	return LIBRARY_NONE;
}

/* A library without an arena has its place all the same, so that nobody tries again. */
static unsigned add(const char *name)
{
	unsigned i = find(name);

	if (i != LIBRARY_NONE)
		return i;
	if (count == LIBRARY_OTHER) {
		if (!libraries[LIBRARY_OTHER].name[0])
			make(&libraries[LIBRARY_OTHER], "other");
		return LIBRARY_OTHER;
	}
	make(&libraries[count], name);
	store_release(&count, count + 1);
	return count - 1;
}

/* Who finds another thread at it waits a while; a name is worth no hang. */
unsigned library_number(const char *name)
{
	unsigned i = find(name);

	for (unsigned spins = 0; i == LIBRARY_NONE && spins < 100000; spins++) {
		uint32_t no = 0;

		if (__atomic_compare_exchange_n(&making, &no, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
			i = add(name);
			store_release(&making, 0U);
			return i;
		}
		arch_relax();
	}
	return i;
}

mi_heap_t *library_heap(unsigned library, bool *scarce)
{
	struct library *l = &libraries[library];

	if (library == LIBRARY_NONE || !l->size)
		return NULL;
	*scarce = __atomic_add_fetch(&l->heaps, 1, __ATOMIC_RELAXED) > l->size / SEGMENT / 4;
	return mi_heap_new_in_arena(l->arena);
}

/*
 * mimalloc's segments are a thread's each, and come into use from their beginning:
 *
 *     arena   |--segment--|--segment--|--segment--|--segment--| ...
 *     thread   4711        4712        4711        nobody yet
 *
 * A segment that was given back is made writable again by the next thread that has
 * it. One that a thread leaves behind as it ends keeps the name, as glibc's arenas do.
 */
void libraries_writable(uintptr_t start, size_t len)
{
	if (config_choice[CHOICE_MALLOC] != MALLOC_THREAD_LIBRARY || start % SEGMENT)
		return;
	for (unsigned i = 0; i < LIBRARY_NONE; i++) {
		const struct library *l = &libraries[i];

		if (load_acquire(&l->size) && start - l->start < l->size)
			label_range(KIND_THREAD_LIBRARY, start, (len + SEGMENT - 1) & ~(SEGMENT - 1),
				    &(struct fields){ .allocator = "mimalloc", .library = l->name });
	}
}

void libraries_fork_child(void)
{
	store_relaxed(&making, 0U);
}
