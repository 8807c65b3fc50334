/* SPDX-License-Identifier: MIT */
/* Symbol lookup. See elf.h. */
#include "base/elf.h"

#include "base/text.h"

bool elf_symbols(uintptr_t base, const ElfW(Dyn) *d, struct elf_symbols *out)
{
	*out = (struct elf_symbols){ .base = base };
	for (; d->d_tag != DT_NULL; d++) {
		uintptr_t at = elf_address(base, d->d_un.d_ptr);

		switch (d->d_tag) {
		case DT_SYMTAB: out->symbol = (const void *)at; break;
		case DT_STRTAB: out->strings = (const char *)at; break;
		case DT_GNU_HASH: out->hash = (const uint32_t *)at; break;
		default: break;
		}
	}
	return out->symbol && out->strings && out->hash;
}

static uint32_t gnu_hash(const char *name)
{
	uint32_t h = 5381;

	for (; *name; name++)
		h = h * 33 + (uint8_t)*name;
	return h;
}

/* Header: buckets, first hashed symbol, words of the bloom filter, shift; then filter, buckets, chains. */
const ElfW(Sym) *elf_find(const struct elf_symbols *s, const char *name)
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

		if ((h | 1) == (wanted | 1) && s->symbol[i].st_shndx != SHN_UNDEF &&
		    text_equal(s->strings + s->symbol[i].st_name, name))
			return &s->symbol[i];
		if (h & 1)
			return NULL;
	}
}

/* The table does not say how many symbols it has: the last chain that a bucket starts ends with the last. */
const ElfW(Sym) *elf_symbol_at(const struct elf_symbols *s, uintptr_t addr)
{
	uint32_t buckets = s->hash[0], first = s->hash[1], bloom = s->hash[2];
	const uint32_t *bucket = s->hash + 4 + bloom * (sizeof(ElfW(Addr)) / 4);
	const uint32_t *chain = bucket + buckets;
	uint32_t last = 0;

	for (uint32_t b = 0; b < buckets; b++)
		last = MAX(last, bucket[b]);
	if (last < first)
		return NULL;
	while (!(chain[last - first] & 1))
		last++;
	for (uint32_t i = first; i <= last; i++) {
		const ElfW(Sym) *symbol = &s->symbol[i];

		if (symbol->st_shndx != SHN_UNDEF && ELF64_ST_TYPE(symbol->st_info) == STT_FUNC &&
		    addr - (s->base + symbol->st_value) < symbol->st_size)
			return symbol;
	}
	return NULL;
}
