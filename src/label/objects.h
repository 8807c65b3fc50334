/* SPDX-License-Identifier: MIT */
/*
 * Our own table of loaded objects: which library a code address belongs to,
 * without the dynamic linker's lock. dl_iterate_phdr takes that lock, and a
 * thread that holds malloc's lock must never wait for it; so it is called only
 * where the program itself calls the dynamic linker or creates a thread
 * (objects_refresh), and everything else reads this table.
 */
#ifndef ANONNAME_LABEL_OBJECTS_H
#define ANONNAME_LABEL_OBJECTS_H

#include "base/compiler.h"
#include "base/elf.h"

enum object_class {
	OBJECT_APP,             /* a program or library that asks for itself */
	OBJECT_LIBC,            /* asks for others, as those below do */
	OBJECT_ALLOCATOR,
	OBJECT_CXX,             /* operator new, the exception allocator */
	OBJECT_LOADER,
	OBJECT_SELF,
};

#define OBJECT_NAME_MAX 56

struct object {
	uintptr_t start, end;           /* all its segments; end 0: gone */
	uintptr_t eh_frame_hdr;         /* 0: none */
	uintptr_t unwind_start, unwind_end; /* the segment that holds it and .eh_frame */
	uintptr_t base;                 /* what its addresses are relative to */
	uintptr_t dynamic;              /* its dynamic section; 0: none */
	const void *headers;            /* its program headers, in its memory */
	uint16_t header_count;
	uintptr_t bss_start, bss_end;   /* the pages of .bss that no file backs; equal: none */
	uint8_t class;                  /* enum object_class */
	bool has_runpath;               /* dlopen from it looks where DT_RPATH or DT_RUNPATH says */
	bool seen;                      /* objects_refresh */
	uint8_t owner;                  /* its row in owner/owner.c; 0: none */
	const char *allocator;          /* what %a says; "" where it is none */
	char name[OBJECT_NAME_MAX];     /* base name of the soname, else of the file */
};

/* What an object is by its name, as the table of owners has it: fills in class, owner, allocator. Set before the first objects_refresh. */
extern void (*objects_classify)(struct object *o);

/* It is that owner's, whatever its name says. */
void object_give(const struct object *o, uint8_t owner);

/* The first call reads everything; later ones what changed. Calls each_new and each_gone, if not NULL. */
void objects_refresh(void (*each_new)(const struct object *o), void (*each_gone)(const struct object *o, void *context), void *context);

void objects_each(void (*each)(const struct object *o));

/* Another number whenever objects came or went. */
extern uint32_t objects_changes OURS;
static inline uint32_t objects_generation(void) { return load_acquire(&objects_changes); }

/* The object that holds the address, or NULL (generated code, or not seen yet). */
const struct object *objects_find(uintptr_t addr);

/* Is an object within so many bytes of [start, end), or in it? */
bool objects_near(uintptr_t start, uintptr_t end, size_t distance);

/* Do these bytes lie in a segment of an object that is loaded to be read? */
bool objects_can_be_read(uintptr_t start, size_t len);

/* What base/elf.h needs to read it. */
struct elf_object object_elf(const struct object *o);

/* Its symbols; false as from elf_symbols, or there is no such object. */
bool object_symbols(const struct object *o, struct elf_symbols *out);

/* The first object whose name starts so, or NULL. */
const struct object *objects_named(const char *start);

/* Where to keep answers of objects_find: zeroes, now and after anything that zeroes them. */
#define OBJECTS_CACHE 256U
void objects_cache_in(uint64_t *zeroed);

/* After fork: the thread that was refreshing does not exist here. */
void objects_fork_child(void);

/* What the program was started as: the base name of its file, or of a symbolic link to that. */
const char *objects_program(void);

/* The base name of its file; "" where that is not known. */
const char *objects_program_file(void);

/* Its file, as /proc/self/maps has it. At start only. */
void objects_program_is(const char *path);

/* Any object uses DT_RPATH, which its dependents inherit. */
bool objects_have_rpath(void);

#endif
