/* SPDX-License-Identifier: MIT */
/* Looks symbols up in mapped objects by their hash tables, without the dynamic linker: its lock, its malloc. */
#ifndef ANONNAME_BASE_ELF_H
#define ANONNAME_BASE_ELF_H

#include <link.h>

#include "base/compiler.h"

struct elf_symbols {
	uintptr_t base;
	const ElfW(Sym) *symbol;
	const char *strings;
	const uint32_t *hash;           /* DT_GNU_HASH, or NULL */
	const uint32_t *old_hash;       /* DT_HASH, or NULL */
	const uint16_t *version;        /* DT_VERSYM, or NULL */
};

/* Reads the dynamic section. false: it has no hash table. */
bool elf_symbols(uintptr_t base, const ElfW(Dyn) *dynamic, struct elf_symbols *out);

/* The definition of that name, of several the default version; NULL: none. */
const ElfW(Sym) *elf_find(const struct elf_symbols *s, const char *name);

/* The function that holds the address; NULL: none that is exported. */
const ElfW(Sym) *elf_symbol_at(const struct elf_symbols *s, uintptr_t addr);

/*
 * The program's objects in the order in which the dynamic linker looks for
 * symbols; NULL: not known. Only where nobody loads or unloads meanwhile.
 */
const struct link_map *elf_objects(void);

/* glibc relocates the addresses in a dynamic section in place, most other loaders do not. */
static inline uintptr_t elf_address(uintptr_t base, uintptr_t value)
{
	return value < base ? value + base : value;
}

#endif
