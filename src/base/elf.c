/* SPDX-License-Identifier: MIT */
/* Symbol lookup. See elf.h. */
#include "base/elf.h"

#include <sys/auxv.h>

#include "base/text.h"

/* A version's number in DT_VERSYM: this bit says that it is not the default one. */
#define VERSION_HIDDEN 0x8000

bool elf_symbols(uintptr_t base, const ElfW(Dyn) *d, struct elf_symbols *out)
{
	*out = (struct elf_symbols){ .base = base };
	for (; d->d_tag != DT_NULL; d++) {
		uintptr_t at = elf_address(base, d->d_un.d_ptr);

		switch (d->d_tag) {
		case DT_SYMTAB: out->symbol = (const void *)at; break;
		case DT_STRTAB: out->strings = (const char *)at; break;
		case DT_GNU_HASH: out->hash = (const uint32_t *)at; break;
		case DT_HASH: out->old_hash = (const uint32_t *)at; break;
		case DT_VERSYM: out->version = (const uint16_t *)at; break;
		default: break;
		}
	}
	return out->symbol && out->strings && (out->hash || out->old_hash);
}

static uint32_t gnu_hash(const char *name)
{
	uint32_t h = 5381;

	for (; *name; name++)
		h = h * 33 + (uint8_t)*name;
	return h;
}

static uint32_t old_hash(const char *name)
{
	uint32_t h = 0;

	for (; *name; name++) {
		h = (h << 4) + (uint8_t)*name;
		h = (h ^ (h >> 24 & 0xf0)) & 0x0fffffff;
	}
	return h;
}

/* Who asks without a version gets the default one, as from dlsym. */
static bool defines(const struct elf_symbols *s, uint32_t i, const char *name)
{
	return s->symbol[i].st_shndx != SHN_UNDEF && !(s->version && s->version[i] & VERSION_HIDDEN) &&
	       text_equal(s->strings + s->symbol[i].st_name, name);
}

/* Header: buckets, symbols; then buckets, chains. */
static const ElfW(Sym) *find_by_old_hash(const struct elf_symbols *s, const char *name)
{
	uint32_t buckets = s->old_hash[0];
	const uint32_t *bucket = s->old_hash + 2, *chain = bucket + buckets;

	for (uint32_t i = buckets ? bucket[old_hash(name) % buckets] : 0; i; i = chain[i])
		if (defines(s, i, name))
			return &s->symbol[i];
	return NULL;
}

/* Header: buckets, first hashed symbol, words of the bloom filter, shift; then filter, buckets, chains. */
static const ElfW(Sym) *find_by_hash(const struct elf_symbols *s, const char *name)
{
	uint32_t buckets = s->hash[0], first = s->hash[1], bloom = s->hash[2];
	const uint32_t *bucket = s->hash + 4 + bloom * (sizeof(ElfW(Addr)) / 4);
	const uint32_t *chain = bucket + buckets;
	uint32_t wanted = gnu_hash(name);
	uint32_t i = buckets ? bucket[wanted % buckets] : 0;

	if (i < first)
		return NULL;
	for (;; i++) {
		uint32_t h = chain[i - first];

		if ((h | 1) == (wanted | 1) && defines(s, i, name))
			return &s->symbol[i];
		if (h & 1)
			return NULL;
	}
}

const ElfW(Sym) *elf_find(const struct elf_symbols *s, const char *name)
{
	return s->hash ? find_by_hash(s, name) : find_by_old_hash(s, name);
}

/* The newer table does not say how many symbols it has: the last chain that a bucket starts ends with the last. */
static uint32_t count_symbols(const struct elf_symbols *s)
{
	uint32_t buckets, first, last = 0;
	const uint32_t *bucket, *chain;

	if (!s->hash)
		return s->old_hash[1];
	buckets = s->hash[0];
	first = s->hash[1];
	bucket = s->hash + 4 + s->hash[2] * (sizeof(ElfW(Addr)) / 4);
	chain = bucket + buckets;
	for (uint32_t b = 0; b < buckets; b++)
		last = MAX(last, bucket[b]);
	if (last < first)
		return 0;
	while (!(chain[last - first] & 1))
		last++;
	return last + 1;
}

const ElfW(Sym) *elf_symbol_at(const struct elf_symbols *s, uintptr_t addr)
{
	uint32_t count = count_symbols(s);

	for (uint32_t i = s->hash ? s->hash[1] : 0; i < count; i++) {
		const ElfW(Sym) *symbol = &s->symbol[i];

		if (symbol->st_shndx != SHN_UNDEF && ELF64_ST_TYPE(symbol->st_info) == STT_FUNC &&
		    addr - (s->base + symbol->st_value) < symbol->st_size)
			return symbol;
	}
	return NULL;
}

/* The kernel says where the program's headers are, and its dynamic section where the dynamic linker's list is. */
const struct link_map *elf_objects(void)
{
	const ElfW(Phdr) *headers = (const ElfW(Phdr) *)getauxval(AT_PHDR);
	size_t count = headers ? getauxval(AT_PHNUM) : 0;
	const ElfW(Dyn) *d = NULL;
	uintptr_t base = 0;

	for (size_t i = 0; i < count; i++)
		if (headers[i].p_type == PT_PHDR)
			base = (uintptr_t)headers - headers[i].p_vaddr;
	for (size_t i = 0; i < count; i++)
		if (headers[i].p_type == PT_DYNAMIC)
			d = (const ElfW(Dyn) *)(base + headers[i].p_vaddr);
	for (; d && d->d_tag != DT_NULL; d++)
		if (d->d_tag == DT_DEBUG && d->d_un.d_ptr)
			return ((const struct r_debug *)d->d_un.d_ptr)->r_map;
	return NULL;
}
