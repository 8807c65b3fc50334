/* SPDX-License-Identifier: MIT */
/* Symbol lookup. See elf.h. */
#include "base/elf.h"

#include <sys/auxv.h>


/* A version's number in DT_VERSYM: this bit says that it is not the default one. */
#define VERSION_HIDDEN 0x8000

size_t elf_room(const struct elf_object *o, uintptr_t at)
{
	for (size_t i = 0; i < o->header_count; i++) {
		const ElfW(Phdr) *ph = &o->headers[i];
		uintptr_t offset = at - (o->base + ph->p_vaddr);

		if (ph->p_type == PT_LOAD && ph->p_flags & PF_R && offset < ph->p_memsz)
			return ph->p_memsz - offset;
	}
	/* All of it is believed; but a program's addresses end before this. */
	return o->headers || at > PTRDIFF_MAX ? 0 : PTRDIFF_MAX - at;
}

/* How many elements of a table there can be; 0: none, or it does not lie as such a table does. */
static size_t room_for(const struct elf_object *o, uintptr_t at, size_t element, size_t alignment)
{
	return at % alignment ? 0 : elf_room(o, at) / element;
}

const ElfW(Dyn) *elf_dynamic_end(const struct elf_object *o)
{
	size_t room = room_for(o, (uintptr_t)o->dynamic, sizeof(*o->dynamic), _Alignof(ElfW(Dyn)));

	return o->dynamic && room ? o->dynamic + room : o->dynamic;
}

static void take_table(const struct elf_object *o, const ElfW(Dyn) *d, struct elf_symbols *out)
{
	uintptr_t at = elf_address(o->base, d->d_un.d_ptr);

	switch (d->d_tag) {
	case DT_SYMTAB:
		out->symbol = (const void *)at;
		out->symbols = room_for(o, at, sizeof(*out->symbol), _Alignof(ElfW(Sym)));
		break;
	case DT_STRTAB:
		out->strings = (const char *)at;
		out->string_bytes = elf_room(o, at);
		break;
	case DT_GNU_HASH:
		out->hash = (const void *)at;
		out->hash_words = room_for(o, at, sizeof(*out->hash), sizeof(*out->hash));
		break;
	case DT_HASH:
		out->old_hash = (const void *)at;
		out->old_hash_words = room_for(o, at, sizeof(*out->old_hash), sizeof(*out->old_hash));
		break;
	case DT_VERSYM:
		out->version = (const void *)at;
		out->versions = room_for(o, at, sizeof(*out->version), sizeof(*out->version));
		break;
	default: break;
	}
}

/* In front of the chains stand the header, the bloom filter (DT_GNU_HASH only), and the buckets. */
#define HASH_HEAD     4
#define OLD_HASH_HEAD 2

static uint64_t words_before_chains(const uint32_t *hash)
{
	return HASH_HEAD + (uint64_t)hash[2] * (sizeof(ElfW(Addr)) / 4) + hash[0];
}

/* A table that does not end within its segment is none. */
static void check_hash_tables(struct elf_symbols *s)
{
	if (s->hash_words < HASH_HEAD || words_before_chains(s->hash) > s->hash_words)
		s->hash = NULL;
	if (s->old_hash_words < OLD_HASH_HEAD ||
	    OLD_HASH_HEAD + (uint64_t)s->old_hash[0] + s->old_hash[1] > s->old_hash_words)
		s->old_hash = NULL;
}

bool elf_symbols(const struct elf_object *o, struct elf_symbols *out)
{
	const ElfW(Dyn) *end = elf_dynamic_end(o);

	*out = (struct elf_symbols){ .base = o->base, .object = *o };
	for (const ElfW(Dyn) *d = o->dynamic; d != end && d->d_tag != DT_NULL; d++)
		take_table(o, d, out);
	check_hash_tables(out);
	return out->symbols && out->string_bytes && (out->hash || out->old_hash);
}

const ElfW(Sym) *elf_symbol(const struct elf_symbols *s, size_t index)
{
	return index < s->symbols ? &s->symbol[index] : NULL;
}

const char *elf_string(const struct elf_symbols *s, size_t at)
{
	for (size_t i = at; i < s->string_bytes; i++)
		if (!s->strings[i])
			return s->strings + at;
	return "";
}

bool elf_is_named(const struct elf_symbols *s, const ElfW(Sym) *symbol, const char *name)
{
	for (size_t i = symbol->st_name; i < s->string_bytes && s->strings[i] == *name; i++, name++)
		if (!*name)
			return true;
	return false;
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

static const ElfW(Sym) *defined(const struct elf_symbols *s, size_t i)
{
	const ElfW(Sym) *symbol = elf_symbol(s, i);

	return symbol && symbol->st_shndx != SHN_UNDEF ? symbol : NULL;
}

/* Also where segments are not to be read: code can be to be run only. */
static bool is_mapped(const struct elf_object *o, const ElfW(Sym) *symbol)
{
	for (size_t i = 0; i < o->header_count; i++) {
		const ElfW(Phdr) *ph = &o->headers[i];
		uintptr_t offset = symbol->st_value - ph->p_vaddr;

		if (ph->p_type == PT_LOAD && offset < ph->p_memsz && symbol->st_size <= ph->p_memsz - offset)
			return true;
	}
	return !o->headers;
}

/* Who asks without a version gets the default one, as from dlsym. */
static const ElfW(Sym) *defines(const struct elf_symbols *s, size_t i, const char *name)
{
	const ElfW(Sym) *symbol = defined(s, i);

	if (!symbol || (i < s->versions && s->version[i] & VERSION_HIDDEN) || !elf_is_named(s, symbol, name))
		return NULL;
	return is_mapped(&s->object, symbol) ? symbol : NULL;
}

/* Header: buckets, symbols; then buckets, chains. A chain that is a ring ends when it had each symbol once. */
static const ElfW(Sym) *find_by_old_hash(const struct elf_symbols *s, const char *name)
{
	uint32_t buckets = s->old_hash[0], count = s->old_hash[1], steps = 0;
	const uint32_t *bucket = s->old_hash + OLD_HASH_HEAD, *chain = bucket + buckets;

	for (uint32_t i = buckets ? bucket[old_hash(name) % buckets] : 0; i && i < count && steps < count; i = chain[i], steps++) {
		const ElfW(Sym) *symbol = defines(s, i, name);

		if (symbol)
			return symbol;
	}
	return NULL;
}

/* Header: buckets, first hashed symbol, words of the bloom filter, shift; then filter, buckets, chains. */
static const uint32_t *chains_of(const struct elf_symbols *s, size_t *words)
{
	uint64_t before = words_before_chains(s->hash);

	*words = s->hash_words - before;
	return s->hash + before;
}

static const ElfW(Sym) *find_by_hash(const struct elf_symbols *s, const char *name)
{
	uint32_t buckets = s->hash[0], first = s->hash[1];
	size_t words;
	const uint32_t *chain = chains_of(s, &words), *bucket = chain - buckets;
	uint32_t wanted = gnu_hash(name);
	uint32_t begin = buckets ? bucket[wanted % buckets] : 0;

	for (size_t i = (size_t)begin - first; begin >= first && i < words; i++) {
		const ElfW(Sym) *symbol = (chain[i] | 1) == (wanted | 1) ? defines(s, first + i, name) : NULL;

		if (symbol)
			return symbol;
		if (chain[i] & 1)
			break;
	}
	return NULL;
}

const ElfW(Sym) *elf_find(const struct elf_symbols *s, const char *name)
{
	return s->hash ? find_by_hash(s, name) : s->old_hash ? find_by_old_hash(s, name) : NULL;
}

/* The newer table does not say how many symbols it has: the last chain that a bucket starts ends with the last. */
static size_t count_hashed(const struct elf_symbols *s)
{
	const uint32_t *chain, *bucket;
	uint32_t buckets, first, last = 0;
	size_t words, i;

	if (!s->hash)
		return s->old_hash ? s->old_hash[1] : 0;
	buckets = s->hash[0];
	first = s->hash[1];
	chain = chains_of(s, &words);
	bucket = chain - buckets;
	for (uint32_t b = 0; b < buckets; b++)
		last = MAX(last, bucket[b]);
	if (last < first)
		return 0;
	for (i = last - first; i < words && !(chain[i] & 1); i++)
		;
	return i < words ? (size_t)first + i + 1 : 0;
}

uint32_t elf_buckets(const struct elf_symbols *s)
{
	return s->hash ? s->hash[0] : s->old_hash ? s->old_hash[0] : 0;
}

size_t elf_symbol_count(const struct elf_symbols *s)
{
	return MIN(count_hashed(s), s->symbols);
}

const ElfW(Sym) *elf_function(const struct elf_symbols *s, size_t index)
{
	const ElfW(Sym) *symbol = defined(s, index);

	return symbol && ELF64_ST_TYPE(symbol->st_info) == STT_FUNC ? symbol : NULL;
}

const ElfW(Sym) *elf_symbol_at(const struct elf_symbols *s, uintptr_t addr)
{
	size_t count = elf_symbol_count(s);

	for (size_t i = s->hash ? s->hash[1] : 0; i < count; i++) {
		const ElfW(Sym) *symbol = elf_function(s, i);

		if (symbol && addr - (s->base + symbol->st_value) < symbol->st_size)
			return symbol;
	}
	return NULL;
}

/* The kernel says where the program's headers are, and its dynamic section where the dynamic linker's list is. */
const struct link_map *elf_objects(void)
{
	const ElfW(Phdr) *headers = (const ElfW(Phdr) *)getauxval(AT_PHDR);
	size_t count = headers ? getauxval(AT_PHNUM) : 0;
	struct elf_object program = { .headers = headers, .header_count = count };
	const ElfW(Dyn) *d, *end;

	for (size_t i = 0; i < count; i++)
		if (headers[i].p_type == PT_PHDR)
			program.base = (uintptr_t)headers - headers[i].p_vaddr;
	for (size_t i = 0; i < count; i++)
		if (headers[i].p_type == PT_DYNAMIC)
			program.dynamic = (const ElfW(Dyn) *)(program.base + headers[i].p_vaddr);
	d = program.dynamic;
	end = elf_dynamic_end(&program);
	for (; d != end && d->d_tag != DT_NULL; d++)
		if (d->d_tag == DT_DEBUG && d->d_un.d_ptr)
			return ((const struct r_debug *)d->d_un.d_ptr)->r_map;
	return NULL;
}

struct elf_object elf_object_of(const struct link_map *map)
{
	return (struct elf_object){ .base = map->l_addr, .dynamic = map->l_ld };
}
