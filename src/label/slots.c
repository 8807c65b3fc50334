/* SPDX-License-Identifier: MIT */
/* Turns the slots of an object. See slots.h. */
#include "label/slots.h"

#include <sys/mman.h>

#include "arch.h"
#include "base/elf.h"
#include "base/maps.h"
#include "base/sys.h"
#include "base/text.h"

/* Most stand in memory that the dynamic linker has made read-only (RELRO), and many in one mapping. */
static void write_slot(uintptr_t *slot, uintptr_t value, struct maps_line *line)
{
	uintptr_t page = page_down((uintptr_t)slot);
	bool locked;

	if (((uintptr_t)slot < line->start || (uintptr_t)slot >= line->end) && !maps_find((uintptr_t)slot, line))
		return;
	locked = line->perms[1] != 'w';
	if (locked && sys_mprotect((void *)page, page_size, PROT_READ | PROT_WRITE) != 0)
		return;
	store_release(slot, value);
	if (locked)
		sys_mprotect((void *)page, page_size, PROT_READ);
}

static void turn_table(const struct elf_symbols *s, uintptr_t at, size_t size, const struct slot_call *calls, size_t count)
{
	const ElfW(Rela) *rela = (const ElfW(Rela) *)at;
	struct maps_line line = { .start = 0, .end = 0 };

	size = at % _Alignof(ElfW(Rela)) ? 0 : MIN(size, elf_room(&s->object, at));
	for (size_t i = 0; i < size / sizeof(*rela); i++) {
		uint32_t type = (uint32_t)ELF64_R_TYPE(rela[i].r_info);
		const ElfW(Sym) *symbol = elf_symbol(s, ELF64_R_SYM(rela[i].r_info));
		uintptr_t *slot = (uintptr_t *)(s->base + rela[i].r_offset);

		if (type != ARCH_R_JUMP_SLOT && type != ARCH_R_GLOB_DAT && !(type == ARCH_R_WORD && !rela[i].r_addend))
			continue;
		if (!symbol || symbol->st_shndx != SHN_UNDEF)
			continue;
		for (size_t c = 0; c < count; c++)
			if (elf_is_named(s, symbol, calls[c].name) && elf_room(&s->object, (uintptr_t)slot) >= sizeof(*slot) &&
			    load_relaxed(slot) != calls[c].ours)
				write_slot(slot, calls[c].ours, &line);
	}
}

void slots_turn(const struct object *o, const struct slot_call *calls, size_t count)
{
	uintptr_t rela[2] = { 0, 0 };
	size_t size[2] = { 0, 0 };
	const struct elf_object elf = object_elf(o);
	const ElfW(Dyn) *end = elf_dynamic_end(&elf);
	struct elf_symbols s;

	if (!o->dynamic || o->class == OBJECT_SELF || o->class == OBJECT_LOADER || o->class == OBJECT_LIBC)
		return;
	/* Whether it has a hash table, too, is all the same here. */
	elf_symbols(&elf, &s);
	for (const ElfW(Dyn) *d = elf.dynamic; d < end && d->d_tag != DT_NULL; d++) {
		switch (d->d_tag) {
		case DT_RELA: rela[0] = elf_address(o->base, d->d_un.d_ptr); break;
		case DT_RELASZ: size[0] = d->d_un.d_val; break;
		case DT_JMPREL: rela[1] = elf_address(o->base, d->d_un.d_ptr); break;
		case DT_PLTRELSZ: size[1] = d->d_un.d_val; break;
		default: break;
		}
	}
	for (int t = 0; t < 2; t++)
		if (rela[t])
			turn_table(&s, rela[t], size[t], calls, count);
}
