/* SPDX-License-Identifier: MIT */
/* The table of loaded objects. See objects.h. */
#include "label/objects.h"

#include <errno.h>
#include <sys/auxv.h>
#include <sys/stat.h>

#include "base/elf.h"
#include "base/own.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "base/text.h"

void (*objects_classify)(struct object *o);

/*
 * Objects stand in chunks that never move, so a lookup needs no lock. A place
 * is used again after its object was unloaded.
 */
#define CHUNK0 32U
#define CHUNKS 10U

static struct object chunk0[CHUNK0] LAST_BSS;
static struct object *chunks[CHUNKS] = { chunk0 };
static uint32_t object_count;
static unsigned long long seen_adds, seen_subs;
static uint32_t refreshing;
uint32_t objects_changes;
static bool any_rpath;
static char program[OBJECT_NAME_MAX], program_file[OBJECT_NAME_MAX];

/* Code address to object, one word each: address << 12 | index + 1. */
static uint64_t *cache;                 /* NULL: not yet */

static struct object *object_at(uint32_t i)
{
	uint32_t k = 0, size = CHUNK0;

	for (; i >= size; k++, size *= 2)
		i -= size;
	return k < CHUNKS && chunks[k] ? &chunks[k][i] : NULL;
}

const struct object *objects_find(uintptr_t addr)
{
	uint64_t *where = load_relaxed(&cache), *slot = where ? &where[(addr ^ addr >> 8) % OBJECTS_CACHE] : NULL;
	uint64_t cached = slot ? load_relaxed(slot) : 0;

	if (likely(cached && cached >> 12 == (addr & (UINT64_MAX >> 12)))) {
		const struct object *o = object_at((uint32_t)(cached & 0xfff) - 1);

		if (o && addr - o->start < o->end - o->start)
			return o;
	}
	uint32_t count = load_acquire(&object_count);

	for (uint32_t i = 0; i < count; i++) {
		const struct object *o = object_at(i);

		if (addr < o->start || addr >= load_acquire(&o->end))
			continue;
		if (slot && i < 0xfff)
			store_relaxed(slot, addr << 12 | (i + 1));
		return o;
	}
	return NULL;
}

bool objects_near(uintptr_t start, uintptr_t end, size_t distance)
{
	for (uint32_t i = 0; i < load_acquire(&object_count); i++) {
		const struct object *o = object_at(i);
		uintptr_t gap = o->start >= end ? o->start - end : start >= o->end ? start - o->end : 0;

		if (o->end && gap <= distance)
			return true;
	}
	return false;
}

bool objects_can_be_read(uintptr_t start, size_t len)
{
	const struct object *o = objects_find(start);
	const ElfW(Phdr) *ph = o ? o->headers : NULL;

	for (unsigned i = 0; ph && i < o->header_count; i++, ph++)
		if (ph->p_type == PT_LOAD && (ph->p_flags & PF_R) && start >= o->base + ph->p_vaddr &&
		    start + len <= o->base + ph->p_vaddr + ph->p_memsz)
			return true;
	return false;
}

void object_give(const struct object *o, uint8_t owner)
{
	((struct object *)(uintptr_t)o)->owner = owner;
}

struct elf_object object_elf(const struct object *o)
{
	return (struct elf_object){
		.base = o->base, .dynamic = (const ElfW(Dyn) *)o->dynamic, .headers = o->headers, .header_count = o->header_count,
	};
}

bool object_symbols(const struct object *o, struct elf_symbols *out)
{
	struct elf_object elf;

	if (!o || !o->dynamic)
		return false;
	elf = object_elf(o);
	return elf_symbols(&elf, out);
}

const struct object *objects_named(const char *start)
{
	uint32_t count = load_acquire(&object_count);

	for (uint32_t i = 0; i < count; i++) {
		const struct object *o = object_at(i);

		if (o->end && text_begins(o->name, start))
			return o;
	}
	return NULL;
}

void objects_cache_in(uint64_t *zeroed)
{
	store_release(&cache, zeroed);
}

void objects_fork_child(void)
{
	store_relaxed(&refreshing, 0U);
}

const char *objects_program(void)
{
	return program;
}

const char *objects_program_file(void)
{
	return program_file;
}

bool objects_have_rpath(void)
{
	return any_rpath;
}

/* As it was started, until its file is known: for a script that is the script. */
static void find_program(void)
{
	const char *from = (const char *)getauxval(AT_EXECFN);

	text_copy(program, sizeof(program), from ? text_last_part(from) : "program");
}

/* --- reading one object --------------------------------------------------------- */

static void read_dynamic(struct object *o)
{
	struct elf_object elf = object_elf(o);
	const ElfW(Dyn) *end = elf_dynamic_end(&elf);
	struct elf_symbols symbols;
	const char *soname = "";

	elf_symbols(&elf, &symbols);

	for (const ElfW(Dyn) *dyn = elf.dynamic; dyn < end && dyn->d_tag != DT_NULL; dyn++) {
		switch (dyn->d_tag) {
		case DT_SONAME: soname = elf_string(&symbols, dyn->d_un.d_val); break;
		case DT_RPATH: any_rpath = true; break;
		case DT_RUNPATH: o->has_runpath = true; break;
		default: break;
		}
	}
	if (*soname)
		text_copy(o->name, sizeof(o->name), text_last_part(soname));
}

static bool same_file(const char *a, const char *b)
{
	struct stat of_a, of_b;

	return sandbox_allows(MAY_STAT) && !sys_failed(sys_stat(a, &of_a)) && !sys_failed(sys_stat(b, &of_b)) &&
	       of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

/*
 * Of the paths by which it may have been started, one that is its file: a
 * symbolic link (redis-server is redis-check-rdb in Debian, ls is busybox) has
 * the name that the user knows it by. Of a script the first is the script, and
 * the second the interpreter; and a program may have been started with any
 * second it likes ("-bash"). The links of /proc have no name of the program's.
 */
static const char *started_as(const char *path)
{
	const char *const starts[] = { (const char *)getauxval(AT_EXECFN), program_invocation_name };

	for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
		const char *start = starts[i];

		if (!start || text_begins(start, "/proc/") || text_begins(start, "/dev/fd/"))
			continue;
		if (text_equal(text_last_part(start), text_last_part(path)) || same_file(start, path))
			return text_last_part(start);
	}
	return text_last_part(path);
}

void objects_program_is(const char *path)
{
	uintptr_t headers = getauxval(AT_PHDR);
	const char *name = started_as(path);

	for (uint32_t i = 0; i < object_count; i++) {
		struct object *o = object_at(i);

		/* It may have a soname, which stays its name. */
		if (headers < o->start || headers >= o->end || !text_equal(o->name, program))
			continue;
		text_copy(o->name, sizeof(o->name), name);
		objects_classify(o);
	}
	text_copy(program, sizeof(program), name);
	text_copy(program_file, sizeof(program_file), text_last_part(path));
}

static void read_object(struct object *o, const struct dl_phdr_info *info)
{
	const ElfW(Phdr) *dynamic = NULL, *eh = NULL;
	uintptr_t start = UINTPTR_MAX, end = 0;

	*o = (struct object){ .base = info->dlpi_addr };
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type == PT_LOAD) {
			uintptr_t segment_end = page_up(o->base + ph->p_vaddr + ph->p_memsz);
			uintptr_t file_end = page_up(o->base + ph->p_vaddr + ph->p_filesz);

			start = MIN(start, page_down(o->base + ph->p_vaddr));
			end = MAX(end, segment_end);
			if ((ph->p_flags & PF_W) && file_end < segment_end) {
				o->bss_start = file_end;
				o->bss_end = segment_end;
			}
		} else if (ph->p_type == PT_DYNAMIC) {
			dynamic = ph;
		} else if (ph->p_type == PT_GNU_EH_FRAME) {
			eh = ph;
		}
	}
	if (start >= end)
		return;
	o->headers = info->dlpi_phdr;
	o->header_count = info->dlpi_phnum;
	for (int i = 0; eh && i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];

		if (ph->p_type != PT_LOAD || eh->p_vaddr < ph->p_vaddr ||
		    eh->p_vaddr + eh->p_memsz > ph->p_vaddr + ph->p_memsz || eh->p_memsz < 12)
			continue;
		o->eh_frame_hdr = o->base + eh->p_vaddr;
		o->unwind_start = o->base + ph->p_vaddr;
		o->unwind_end = o->unwind_start + ph->p_memsz;
	}
	text_copy(o->name, sizeof(o->name),
		  info->dlpi_name && info->dlpi_name[0] ? text_last_part(info->dlpi_name) : program);
	/* The vDSO's addresses are not relocated, and it asks for nothing. */
	if (dynamic && !text_begins(o->name, "linux-vdso")) {
		o->dynamic = o->base + dynamic->p_vaddr;
		read_dynamic(o);
	}
	objects_classify(o);
	o->seen = true;
	o->start = start;
	store_release(&o->end, end);
}

/* --- keeping up -------------------------------------------------------------------- */

struct refresh {
	void (*each_new)(const struct object *o);
	bool changed;
};

static struct object *known_object(const struct dl_phdr_info *info, uintptr_t phdr)
{
	for (uint32_t i = 0; i < object_count; i++) {
		struct object *o = object_at(i);

		if (o->end && o->base == info->dlpi_addr && phdr >= o->start && phdr < o->end)
			return o;
	}
	return NULL;
}

static struct object *free_object(void)
{
	for (uint32_t i = 0; i < object_count; i++)
		if (!object_at(i)->end)
			return object_at(i);
	if (object_at(object_count))
		return object_at(object_count);
	for (unsigned k = 1; k < CHUNKS; k++) {
		if (chunks[k])
			continue;
		store_release(&chunks[k], (struct object *)own_map(((size_t)CHUNK0 << k) * sizeof(struct object), "objects"));
		return object_at(object_count);
	}
	return NULL;
}

static int refresh_one(struct dl_phdr_info *info, size_t size, void *context)
{
	struct refresh *r = context;

	(void)size;
	if (!r->changed && object_count && info->dlpi_adds == seen_adds && info->dlpi_subs == seen_subs)
		return 1;
	if (!r->changed) {
		r->changed = true;
		seen_adds = info->dlpi_adds;
		seen_subs = info->dlpi_subs;
		for (uint32_t i = 0; i < object_count; i++)
			object_at(i)->seen = false;
	}

	/* The program headers lie in the first segment; for the program itself the kernel says where. */
	struct object *o = known_object(info, (uintptr_t)info->dlpi_phdr);

	if (o) {
		o->seen = true;
		return 0;
	}
	o = free_object();
	if (!o)
		return 0;
	read_object(o, info);
	if (!o->end)
		return 0;
	if (o == object_at(object_count))
		store_release(&object_count, object_count + 1);
	if (r->each_new)
		r->each_new(o);
	return 0;
}

void objects_each(void (*each)(const struct object *o))
{
	for (uint32_t i = 0; i < load_acquire(&object_count); i++)
		if (object_at(i)->end)
			each(object_at(i));
}

void objects_refresh(void (*each_new)(const struct object *o), void (*each_gone)(const struct object *o, void *context), void *context)
{
	struct refresh r = { .each_new = each_new };
	uint32_t idle = 0;

	/* Two threads may load at once; the one that is here sees both, or the next call does. */
	if (!__atomic_compare_exchange_n(&refreshing, &idle, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return;
	if (!program[0])
		find_program();
	dl_iterate_phdr(refresh_one, &r);
	for (uint32_t i = 0; r.changed && i < object_count; i++) {
		struct object *o = object_at(i);

		if (o->seen)
			continue;
		if (each_gone && o->end)
			each_gone(o, context);
		store_release(&o->end, (uintptr_t)0);
	}
	if (r.changed && cache)
		for (unsigned i = 0; i < OBJECTS_CACHE; i++)
			store_relaxed(&cache[i], (uint64_t)0);
	if (r.changed)
		__atomic_add_fetch(&objects_changes, 1, __ATOMIC_RELEASE);
	store_release(&refreshing, 0U);
}
