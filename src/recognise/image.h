/* SPDX-License-Identifier: MIT */
/*
 * What an ELF file says: its headers and its exported symbols. It is read from
 * the file, for reading what is mapped would bring pages in, and it is kept from
 * one process to the next: most have the same libraries. A file is as hostile as
 * memory is; and one that a FUSE server serves can make its reader wait for
 * ever, so it is not opened.
 */
#ifndef ANONNAME_RECOGNISE_IMAGE_H
#define ANONNAME_RECOGNISE_IMAGE_H

#include "memory.h"

#include <elf.h>

#define IMAGE_SEGMENTS 16

struct image_symbols;

struct image {
	Elf64_Phdr segment[IMAGE_SEGMENTS]; /* PT_LOAD, in order */
	size_t segments;            /* at least one */
	Elf64_Phdr dynamic, tls, interpreter; /* p_memsz 0: it has none */
	char soname[64];            /* what it is called where libraries are named; "": it has none */
	unsigned machine;           /* EM_X86_64, ... */
	struct image_symbols *symbols; /* read when the first is asked for */
	bool no_symbols;

	/* Which file it is, and who has it. */
	uint64_t hash, space, major, minor, inode;
	char *path;
	unsigned users;
	bool kept;
	struct image *next;         /* of those that are kept under the same hash */
};

/*
 * Of what the areas from first to last have mapped: kept, or read now. NULL: it
 * is no ELF file of this machine, or may not be read. For image_release().
 */
struct image *image_of(struct target *target, size_t first, size_t last);
void image_release(struct image *image);

/* Frees what is kept and nobody has. */
void images_forget(void);

/* The value of an exported symbol, an address in the file; NULL: it has none of that name. */
const Elf64_Sym *image_symbol(struct target *target, struct image *image, size_t first, const char *name);

/* Where the file has so many bytes of an address. */
bool image_offset(const struct image *image, uint64_t address, uint64_t size, uint64_t *offset);

/* The file that an area has mapped, opened; a negative errno. */
int image_open(struct target *target, const struct area *area);

#endif
