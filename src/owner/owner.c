/* SPDX-License-Identifier: MIT */
/* The table of owners. See owner.h. */
#include "owner/owner.h"

#include "owner/glibc.h"
#include "owner/jemalloc/jemalloc.h"
#include "owner/stack.h"

static void above_start(void)
{
	if (owner_is_above())
		owner_above.start();
}

static void above_thread_ends(void)
{
	if (owner_is_above())
		owner_above.thread_ends();
}

static void above_look(void)
{
	if (owner_is_above())
		owner_above.look();
}

static void above_fork_child(void)
{
	if (owner_is_above())
		owner_above.fork_child();
}

/*
 * An allocator that is known by its name alone is a row of three words. One that
 * says more about its memory (arenas) hears what the others leave empty. Who asks
 * for others and has no memory itself stands here too, without a name.
 */
static const struct owner {
	const char *objects;            /* how the names of its objects may begin */
	const char *name;               /* what %a says */
	enum object_class class;
	bool (*mapped)(const struct mapping *m, const struct object *asker, enum kind *kind);
	void (*unmapped)(uintptr_t start, size_t len);
	bool (*found)(uintptr_t vma, uintptr_t start);
	bool (*heap_holds)(uintptr_t addr);
	void (*chunk_mapped)(const struct mapping *m);
	void (*chunk_in_heap)(uintptr_t chunk);
	void (*start)(void);
	void (*thread_begins)(const struct new_thread *new);
	void (*thread_ends)(void);
	void (*thread_renamed)(uintptr_t self, const char *name);
	void (*look)(void);
	void (*program_named)(void);
	void (*fork_child)(void);
} owners[] = {
	[OWNER_NONE] = { .objects = "", .name = "", .class = OBJECT_APP },
	[OWNER_STACKS] = {
		.objects = "", .name = "",
		.unmapped = stack_unmapped, .found = stack_found, .start = stack_start, .thread_begins = stack_thread_begins,
		.thread_ends = stack_thread_ends, .thread_renamed = stack_thread_renamed, .fork_child = stack_fork_child,
	},
	[OWNER_GLIBC] = {
		.objects = "libc.so.6 libpthread.so.0 libc_malloc_debug.so", .name = "glibc", .class = OBJECT_LIBC,
		.mapped = glibc_mapped, .unmapped = glibc_unmapped, .found = glibc_found, .heap_holds = glibc_heap_holds,
		.chunk_mapped = glibc_chunk_mapped, .chunk_in_heap = glibc_chunk_in_heap,
	},
	[OWNER_JEMALLOC] = {
		.objects = "libjemalloc.so", .name = "jemalloc", .class = OBJECT_ALLOCATOR,
		.mapped = jemalloc_mapped, .unmapped = jemalloc_unmapped, .start = jemalloc_start,
		.thread_begins = jemalloc_thread_begins, .thread_ends = jemalloc_thread_ends,
		.thread_renamed = jemalloc_thread_renamed, .look = jemalloc_look,
		.program_named = jemalloc_program_named, .fork_child = jemalloc_fork_child,
	},
	{ .objects = "", .name = "", .start = above_start, .thread_ends = above_thread_ends, .look = above_look, .fork_child = above_fork_child },
	{ .objects = "libtcmalloc", .name = "tcmalloc", .class = OBJECT_ALLOCATOR },
	{ .objects = "libmimalloc", .name = "mimalloc", .class = OBJECT_ALLOCATOR },
	{ .objects = "libsnmalloc", .name = "snmalloc", .class = OBJECT_ALLOCATOR },
	{ .objects = "libhoard", .name = "hoard", .class = OBJECT_ALLOCATOR },
	{ .objects = "librpmalloc", .name = "rpmalloc", .class = OBJECT_ALLOCATOR },
	{ .objects = "libhardened_malloc", .name = "hardened", .class = OBJECT_ALLOCATOR },
	{ .objects = "libtbbmalloc", .name = "tbbmalloc", .class = OBJECT_ALLOCATOR },
	{ .objects = "ld-linux", .name = "", .class = OBJECT_LOADER },
	{ .objects = "libanonname.so", .name = "", .class = OBJECT_SELF },
	{ .objects = "libstdc++.so libc++.so libc++abi.so libgcc_s.so", .name = "", .class = OBJECT_CXX },
};

/*
 * Unrolled, a loop over the rows is the calls of the functions that hear, and
 * nothing else. The table itself is then not in the library, where its pointers
 * would be relocated at each start.
 */
#define EACH_ROW(i) _Pragma("GCC unroll 32") for (size_t i = 0; i < ARRAY_SIZE(owners); i++)

/* Tells each row that hears of it, in this order. */
#define TELL(hears, ...)                        \
	EACH_ROW(i)                             \
		if (owners[i].hears)            \
			owners[i].hears(__VA_ARGS__)

static __attribute__((noinline)) bool is_one_of(const char *name, const char *objects)
{
	while (*objects) {
		size_t same = 0;

		while (*objects && *objects != ' ' && name[same] == *objects) {
			same++;
			objects++;
		}
		if (!*objects || *objects == ' ')
			return true;
		while (*objects && *objects++ != ' ')
			;
	}
	return false;
}

void owner_classify(struct object *o)
{
	EACH_ROW(i)
		if (i == OWNER_NONE || (owners[i].objects[0] && is_one_of(o->name, owners[i].objects))) {
			o->owner = (uint8_t)i;
			o->class = (uint8_t)owners[i].class;
			o->allocator = owners[i].name;
		}
}

bool owner_mapped(const struct mapping *m, const struct object *asker, enum kind *kind)
{
	EACH_ROW(i)
		if (owners[i].mapped && asker->owner == i)
			return owners[i].mapped(m, asker, kind);
	return false;
}

void owners_unmapped(uintptr_t start, size_t len)
{
	TELL(unmapped, start, len);
}

bool owners_found(uintptr_t vma, uintptr_t start)
{
	EACH_ROW(i)
		if (owners[i].found && owners[i].found(vma, start))
			return true;
	return false;
}

bool owners_heap_holds(uintptr_t addr)
{
	EACH_ROW(i)
		if (owners[i].heap_holds && owners[i].heap_holds(addr))
			return true;
	return false;
}

void owners_chunk_mapped(const struct mapping *m)
{
	TELL(chunk_mapped, m);
}

void owners_chunk_in_heap(uintptr_t chunk)
{
	TELL(chunk_in_heap, chunk);
}

void owners_start(void)
{
	TELL(start);
}

void owners_thread_begins(const struct new_thread *new)
{
	TELL(thread_begins, new);
}

/* Who heard last that it began is the first to hear that it ends. */
void owners_thread_ends(void)
{
	EACH_ROW(i)
		if (owners[ARRAY_SIZE(owners) - 1 - i].thread_ends)
			owners[ARRAY_SIZE(owners) - 1 - i].thread_ends();
}

void owners_thread_renamed(uintptr_t self, const char *name)
{
	TELL(thread_renamed, self, name);
}

void owners_look(void)
{
	TELL(look);
}

void owners_program_named(void)
{
	TELL(program_named);
}

void owners_fork_child(void)
{
	TELL(fork_child);
}
