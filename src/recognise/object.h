/* SPDX-License-Identifier: MIT */
/* The ELF objects that a process has mapped: its program and libraries. What their files say is image.h's. */
#ifndef ANONNAME_RECOGNISE_OBJECT_H
#define ANONNAME_RECOGNISE_OBJECT_H

#include "image.h"

struct object {
	const char *path, *name;    /* name: what follows the last slash of it */
	size_t first, last;         /* its areas */
	enum { OBJECT_UNREAD = 0, OBJECT_READ, OBJECT_REFUSED } state;
	uint64_t base;              /* what is added to the addresses in the file */
	uint64_t end;               /* where its last segment ends in memory, its .bss included */
	struct image *image;        /* of one that is read */
	int fd;                     /* its file, where constants are read; -1: not open */
};

/* Fills in target->object; 0 or -ENOMEM. No file is opened yet. */
int objects_find(struct target *target);
void objects_free(struct target *target);

/* Reads the headers, once. false: it is no ELF object of this machine, or may not be read. */
bool object_read(struct target *target, struct object *object);

/*
 * What the library calls one that was read: its soname; else the last part of
 * the path that the program was started by, which may be a link to its file; else its file's name.
 */
#define OBJECT_LABEL_MAX 64
void object_label(struct target *target, const struct object *object, char label[OBJECT_LABEL_MAX]);

/* The first object the name of which begins so; NULL: none. */
struct object *object_named(struct target *target, const char *prefix);

/* The program, where it has all of its libraries in itself; NULL: it is none of these. */
struct object *object_static(struct target *target);

/*
 * The object's variables, .data and .bss: calls each for every word of them that
 * is not 0, with those that follow it (absent: 0), until that says true; so does it then.
 */
#define VARIABLES_AHEAD 16
typedef bool object_variables_function(void *context, uint64_t address, const uint64_t word[VARIABLES_AHEAD]);
bool object_variables(struct target *target, const struct object *object, object_variables_function *each, void *context);

/* Where an exported symbol lies in the process; 0: it has none of that name. size may be NULL. */
uint64_t object_symbol(struct target *target, struct object *object, const char *name, uint64_t *size);

/*
 * The pages of a segment's .bss: what its file does not have, which the dynamic
 * linker maps anonymously behind the page that the file's end is in. false: it
 * has none, or something else lies there.
 */
bool object_bss(const struct target *target, const struct object *object, size_t segment, uint64_t *from, uint64_t *to);

/* What the file has for an address that nothing writes to, such as a constant; false: it has nothing there. */
bool object_constant(struct target *target, struct object *object, uint64_t address, void *buffer, size_t size);

#endif
