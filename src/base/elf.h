/* SPDX-License-Identifier: MIT */
/* Looks symbols up in mapped objects by their hash tables, without the dynamic linker: its lock, its malloc. */
#ifndef ANONNAME_BASE_ELF_H
#define ANONNAME_BASE_ELF_H

#include <link.h>

#include "base/compiler.h"

/*
 * What is mapped of an object. Its tables are believed only as far as they lie
 * in its segments: an object can be damaged, or made to do harm, and its
 * dynamic linker never looks at most of what it says.
 *
 *   headers ---> PT_LOAD, PT_LOAD ...   may be read, nothing else
 *   dynamic ---> DT_SYMTAB, DT_STRTAB, DT_GNU_HASH, DT_HASH, DT_VERSYM ---> tables
 */
struct elf_object {
	uintptr_t base;
	const ElfW(Dyn) *dynamic;
	const ElfW(Phdr) *headers;      /* NULL: not known, all of it is believed */
	size_t header_count;
};

/* How many bytes can be read from there to the end of the segment; 0: it lies in none. */
size_t elf_room(const struct elf_object *o, uintptr_t at);

/* Where the dynamic section ends at the latest; as a rule it ends before, with DT_NULL. */
const ElfW(Dyn) *elf_dynamic_end(const struct elf_object *o);

struct elf_symbols {
	uintptr_t base;
	struct elf_object object;
	const ElfW(Sym) *symbol;
	const char *strings;
	const uint32_t *hash;           /* DT_GNU_HASH, or NULL */
	const uint32_t *old_hash;       /* DT_HASH, or NULL */
	const uint16_t *version;        /* DT_VERSYM, or NULL */
	/* How many of each there can be. Of the hash tables: words. */
	size_t symbols, string_bytes, hash_words, old_hash_words, versions;
};

/* Reads the dynamic section. false: it has no hash table, or what that leads to is not there. */
bool elf_symbols(const struct elf_object *o, struct elf_symbols *out);

/* The symbol with that number, or NULL. */
const ElfW(Sym) *elf_symbol(const struct elf_symbols *s, size_t index);

/* How many there are by its hash table; 0: it does not say. */
size_t elf_symbol_count(const struct elf_symbols *s);

/* The symbol with that number, where it is a function of the object's own, or NULL. */
const ElfW(Sym) *elf_function(const struct elf_symbols *s, size_t index);

/* What stands there in the table of strings, "" where that is none. */
const char *elf_string(const struct elf_symbols *s, size_t at);
bool elf_is_named(const struct elf_symbols *s, const ElfW(Sym) *symbol, const char *name);

/* The definition of that name, of several the default version, within the object; NULL: none. */
const ElfW(Sym) *elf_find(const struct elf_symbols *s, const char *name);

/* How large its hash table is: what elf_symbol_at() costs. */
uint32_t elf_buckets(const struct elf_symbols *s);

/* The function that holds the address; NULL: none that is exported. */
const ElfW(Sym) *elf_symbol_at(const struct elf_symbols *s, uintptr_t addr);

/*
 * The program's objects in the order in which the dynamic linker looks for
 * symbols; NULL: not known. Only where nobody loads or unloads meanwhile.
 */
const struct link_map *elf_objects(void);

/*
 * One of those, without its headers: to find out whether they can be read takes
 * a system call, and this is asked before we know what a filter in force
 * allows. The dynamic linker has just used the same tables, so they are believed.
 */
struct elf_object elf_object_of(const struct link_map *map);

/* glibc relocates the addresses in a dynamic section in place, most other loaders do not. */
static inline uintptr_t elf_address(uintptr_t base, uintptr_t value)
{
	return value < base ? value + base : value;
}

#endif
