/* SPDX-License-Identifier: MIT */
/*
 * Who has memory, one row an owner (owner.c): its object's name, what %a says,
 * and what it wants to hear. An event asks here; nobody else knows an allocator
 * by its name.
 */
#ifndef ANONNAME_OWNER_OWNER_H
#define ANONNAME_OWNER_OWNER_H

#include "label/config.h"
#include "label/mapping.h"
#include "label/objects.h"
#include "label/thread.h"

/*
 * What a room above hears as the rows do: src/malloc, which is in one of the two
 * libraries that are built. Its address is NULL in the other.
 */
struct owner_above {
	void (*start)(void);
	void (*thread_ends)(void);
	void (*look)(void);
	void (*fork_child)(void);
	void (*writable)(uintptr_t start, size_t len);  /* a range, of whomever, is about to be */
};
extern const struct owner_above owner_above __attribute__((weak)) OURS;
static inline bool owner_is_above(void) { return &owner_above != NULL; }

/* The first rows. The others are known by their objects' names alone. */
enum { OWNER_NONE, OWNER_STACKS, OWNER_GLIBC, OWNER_JEMALLOC };

/* For objects_classify: which row an object is, by its name. */
void owner_classify(struct object *o);

/* Its object has mapped. true: the owner has named it. false: it is to be named, by *kind. */
bool owner_mapped(const struct mapping *m, const struct object *asker, enum kind *kind);

/* What of it anybody knows is gone. */
void owners_unmapped(uintptr_t start, size_t len);

/* Mapped before we came: true: it was an owner's, who has named it. start: where in the VMA it begins. */
bool owners_found(uintptr_t vma, uintptr_t start);

/* The address lies in a heap of an arena, and what is there is given and taken by an allocator. */
bool owners_heap_holds(uintptr_t addr);

/* The program's own malloc, where no hook sees what libc maps: a chunk is a mapping of its own, or lies in a heap. */
void owners_chunk_mapped(const struct mapping *m);
void owners_chunk_in_heap(uintptr_t chunk);

/* The library starts, in the process's first thread. */
void owners_start(void);

/* From inside the thread. */
void owners_thread_begins(const struct new_thread *new);
void owners_thread_ends(void);

/* The thread whose control block (pthread_self) is at self has a new name. */
void owners_thread_renamed(uintptr_t self, const char *name);

/* A safe moment: no lock of an allocator's or of the dynamic linker's is held. Objects may have come and gone. */
void owners_look(void);

/* The program has named memory itself: its name wins over what an owner would say. */
void owners_program_named(void);

/* Only the calling thread exists in a fork's child. */
void owners_fork_child(void);

#endif
