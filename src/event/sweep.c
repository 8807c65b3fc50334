/* SPDX-License-Identifier: MIT */
/*
 * The dynamic linker has its own mmap, which nothing can hook: what it mapped
 * is found by looking, once, at the start.
 */
#include "event/sweep.h"

#include <sys/auxv.h>

#include "base/maps.h"
#include "base/peek.h"
#include "base/root.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "base/text.h"
#include "label/label.h"
#include "label/thread.h"
#include "owner/decoration.h"
#include "owner/owner.h"
#include "owner/stack.h"
#include "sink/registry/registry.h"

void sweep_name_bss(const struct object *o)
{
	size_t len = o->bss_end - o->bss_start;

	if (!len)
		return;
	if (o->class == OBJECT_SELF)
		label_range(KIND_OWN, o->bss_start, len, &(struct fields){ .thing = "bss" });
	else
		label_range(KIND_BSS, o->bss_start, len, &(struct fields){ .library = o->name });
}

/*
 * Has the program itself begun? A library that is preloaded or linked starts
 * while the dynamic linker runs constructors; one that is loaded by dlopen may
 * come any time later. The program begins with its entry point (crt1.o), which
 * calls libc and never returns: so right below where the first thread's stack
 * began stands an address just behind the entry point, and none before that.
 *
 *   arguments, environment   \
 *   argc                     <-- __libc_stack_end, or a word or two below
 *   entry point + 0x21       <-- return address of the call into libc
 *   frame of libc's __libc_start_main (aarch64 has the return address in here)
 *   frame of main ...
 */
#define ENTRY_CODE 64           /* the call is within so many bytes of the entry point, */
#define ENTRY_WORDS 128         /* its return address within so many words of the stack */

extern void *__libc_stack_end __attribute__((weak));    /* musl has none */

static bool program_has_begun(void)
{
	uintptr_t entry = getauxval(AT_ENTRY);
	const uintptr_t *top = &__libc_stack_end ? __libc_stack_end : NULL;
	uintptr_t word[ENTRY_WORDS];

	/* Copied by the kernel: some were never written, or lie below the stack, which valgrind would report. */
	if (!top || !entry || peek(word, top - ENTRY_WORDS, sizeof(word)) != 0)
		return false;
	for (unsigned i = 0; i < ENTRY_WORDS; i++)
		if (word[i] > entry && word[i] < entry + ENTRY_CODE)
			return true;
	return false;
}

/*
 * The dynamic linker maps its own memory where it maps objects, with nothing
 * but the kernel's alignment between. What lies elsewhere came from outside:
 * valgrind and its like keep 30 MB in the process that they watch.
 */
#define EARLY_REACH (4UL << 20)

struct sweep {
	uintptr_t program_headers;
	bool late;              /* the program runs: what is there may be anybody's */
};

static bool name_early(struct maps_line *line, void *context)
{
	const struct sweep *sweep = context;
	struct fields f = { .memory = line->perms[2] == 'x' ? MEMORY_CODE : MEMORY_OLD };
	uintptr_t tls = arch_thread_pointer(), start = line->start;
	enum kind kind = KIND_EARLY;
	const struct object *o;

	if (sweep->program_headers >= line->start && sweep->program_headers < line->end && line->inode && *line->path)
		objects_program_is(line->path);
	/* Of an object nothing else is without a file but its .bss. */
	o = objects_find(start);
	if (o && line->inode)
		line->next = MAX(line->next, o->bss_end > o->bss_start ? o->bss_start : o->end);
	/* A path: a file, [heap], [stack], or a name that somebody gave. libc's names say less than ours. */
	if (!line->anonymous || (line->path[0] && !text_begins(line->path, DECORATION_IN_MAPS)))
		return true;
	f.library = objects_named("ld-linux") ? "ld.so" : objects_program();
	/* An object's .bss has its name already; what merged with it has not. */
	if (o)
		start = MIN(o->end, line->end);
	if (tls >= start && tls < line->end && thread_is_first())
		kind = KIND_TLS;
	if (start >= line->end || (sweep->late && owners_found(line->start, start)))
		return true;
	if (sweep->late) {
		/* What the program mapped since may lie in the same VMA: of TLS only the page of the control block is certain. */
		if (kind == KIND_TLS)
			label_range(kind, page_down(tls), page_size, &f);
	} else if (kind == KIND_TLS || objects_near(start, line->end, EARLY_REACH)) {
		label_range(kind, start, line->end - start, &f);
	}
	return true;
}

void sweep_start(void)
{
	struct sweep sweep = { .program_headers = getauxval(AT_PHDR), .late = program_has_begun() };

	if (sweep.late)
		stack_find_threads();
	/* A program that runs may have any number. */
	if ((sweep.late ? maps_each : maps_some)(name_early, &sweep) < 0)
		part_set(PART_SWEEP, PART_DECLINED, REASON_NO_PROC);
	else
		part_set(PART_SWEEP, PART_ACTIVE, REASON_NONE);
	objects_each(sweep_name_bss);
}

static void name_found(const struct maps_line *line, uintptr_t start, uintptr_t end, long *named)
{
	enum kind kind = line->perms[2] == 'x' ? KIND_JIT : line->perms[0] == '-' ? KIND_RESERVE :
			 end - start < BIG_MAPPING ? KIND_MMAP : KIND_MMAP_BIG;

	if (start >= end)
		return;
	/* By which thread, nobody knows: the first's is the process's id. */
	label_range(kind, start, end - start, &(struct fields){ .tid = sandbox_pid(), .memory = kind == KIND_JIT ? MEMORY_CODE : MEMORY_OLD });
	++*named;
}

/* Where the registry has names a VMA may be named in parts: what lies between them is not. */
static bool name_rest(struct maps_line *line, void *named)
{
	char name[ANONNAME_NAME_MAX + 1];
	struct registry_range r;
	uintptr_t at = line->start;

	if (!line->anonymous || line->path[0])
		return true;
	if (registry_started())
		for (; at < line->end && registry_next(at, &r, name) && r.start < line->end; at = MAX(at, r.end))
			name_found(line, at, r.start, named);
	name_found(line, at, line->end, named);
	return true;
}

struct look {
	struct sink_unmap unmap;
	uintptr_t at;
};

/* What lies between two mappings, and a mapped file, has no name of ours. */
static bool forget_gap(struct maps_line *line, void *context)
{
	struct look *look = context;
	bool file = line->inode && !text_begins(line->path, "/dev/zero");
	uintptr_t end = file ? line->end : line->start;

	if (end > look->at)
		sink_unmapped(look->unmap, look->at, end - look->at);
	look->at = line->end;
	return true;
}

void sweep_look_again(void)
{
	/* What is set from now on is newer than what we are about to read, and stays. */
	struct look look = { .unmap = sink_unmap_begin((uintptr_t)__builtin_frame_address(0)), .at = 0 };

	maps_each(forget_gap, &look);
	sink_unmap_end(look.unmap, 0, 0, false);
	sweep_again();
}

long sweep_again(void)
{
	long named = 0, seen;

	registry_settle();
	seen = maps_each(name_rest, &named);
	return seen < 0 ? seen : named;
}
