/* SPDX-License-Identifier: MIT */
/*
 * The input is the memory of a loaded object, its program headers at the start
 * as its file has them. The segments are cut to what is there, as the kernel
 * would not have mapped more. Whatever else it says, nothing outside of them is
 * read.
 */
#include "base/elf.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define HEADERS_MAX 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = { "mmap", "first", "second", "hidden", "variable", "", "no_such_function" };

static size_t read_headers(const unsigned char *bytes, size_t size, ElfW(Phdr) headers[HEADERS_MAX], struct elf_object *o)
{
	size_t count = 0;
	ElfW(Ehdr) file;

	if (size < sizeof(file))
		return 0;
	memcpy(&file, bytes, sizeof(file));
	while (count < HEADERS_MAX && count < file.e_phnum && file.e_phoff < size &&
	       (count + 1) * sizeof(*headers) <= size - file.e_phoff) {
		ElfW(Phdr) *ph = &headers[count];

		memcpy(ph, bytes + file.e_phoff + count * sizeof(*ph), sizeof(*ph));
		if (ph->p_type == PT_LOAD && ph->p_vaddr >= size)
			ph->p_memsz = 0;
		else if (ph->p_type == PT_LOAD && ph->p_memsz > size - ph->p_vaddr)
			ph->p_memsz = size - ph->p_vaddr;
		if (ph->p_type == PT_DYNAMIC)
			o->dynamic = (const ElfW(Dyn) *)(o->base + ph->p_vaddr);
		count++;
	}
	return count;
}

/* What is found lies in the object, and has the name that was asked for. */
static void check(const struct elf_symbols *s, const ElfW(Sym) *symbol, const char *name, size_t size)
{
	if (symbol->st_value > size || symbol->st_size > size - symbol->st_value ||
	    strcmp(elf_string(s, symbol->st_name), name))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	ElfW(Phdr) headers[HEADERS_MAX];
	struct elf_object object = { .headers = headers };
	struct elf_symbols s;
	unsigned char *bytes = size <= 1 << 18 ? malloc(size) : NULL;

	if (!bytes)
		return 0;
	memcpy(bytes, data, size);
	object.base = (uintptr_t)bytes;
	object.header_count = read_headers(bytes, size, headers, &object);
	if (elf_symbols(&object, &s))
		for (int old = 0; old < 2; old++) {
			for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
				const ElfW(Sym) *symbol = elf_find(&s, names[i]);

				if (symbol)
					check(&s, symbol, names[i], size);
			}
			for (size_t at = 0; at <= size; at += size / 8 + 1) {
				const ElfW(Sym) *symbol = elf_symbol_at(&s, object.base + at);

				if (symbol && strlen(elf_string(&s, symbol->st_name)) >= size)
					abort();
			}
			if (elf_buckets(&s) > size)
				abort();
			/* The older table, where both are there. */
			s.hash = NULL;
		}
	free(bytes);
	return 0;
}
