/* SPDX-License-Identifier: MIT */
/* Looks a symbol up in a mapped object by its GNU hash table, without the dynamic linker. */
#ifndef ANONNAME_BASE_ELF_H
#define ANONNAME_BASE_ELF_H

#include <link.h>

#include "base/compiler.h"

struct elf_symbols {
	uintptr_t base;
	const ElfW(Sym) *symbol;
	const char *strings;
	const uint32_t *hash;
};

/* Reads the dynamic section. false: it has no GNU hash table. */
bool elf_symbols(uintptr_t base, const ElfW(Dyn) *dynamic, struct elf_symbols *out);

/* A definition of that name, whatever its version; NULL: none. */
const ElfW(Sym) *elf_find(const struct elf_symbols *s, const char *name);

/* The function that holds the address; NULL: none that is exported. */
const ElfW(Sym) *elf_symbol_at(const struct elf_symbols *s, uintptr_t addr);

/* glibc relocates the addresses in a dynamic section in place, most other loaders do not. */
static inline uintptr_t elf_address(uintptr_t base, uintptr_t value)
{
	return value < base ? value + base : value;
}

#endif
