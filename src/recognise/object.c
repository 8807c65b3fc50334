/* SPDX-License-Identifier: MIT */
/* Finds what a process has mapped of ELF files. See object.h. */
#include "object.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OBJECTS_MAX  4096

static bool is_code(const struct area *area)
{
	return area->class == VMA_FILE && area->perms[2] == 'x';
}

static bool same_file(const struct area *a, const struct area *b)
{
	return a->class == VMA_FILE && a->inode == b->inode && a->major == b->major && a->minor == b->minor;
}

/* An object's areas follow each other, with anonymous memory between them at most. */
static size_t last_of(const struct target *target, size_t first)
{
	size_t last = first;

	for (size_t i = first + 1; i < target->areas; i++) {
		const struct area *area = &target->area[i];

		if (same_file(area, &target->area[first]) && area->offset)
			last = i;
		else if (!area_is_anonymous(area))
			break;
	}
	return last;
}

static int add_object(struct target *target, size_t first, size_t last)
{
	struct object *grown;
	const char *path = target->area[first].path, *slash = strrchr(path, '/');

	/* Room is made in powers of two. */
	if (!(target->objects & (target->objects - 1))) {
		size_t room = target->objects ? 2 * target->objects : 1;

		grown = realloc(target->object, room * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		target->object = grown;
	}
	target->object[target->objects++] = (struct object){
		.path = path, .name = slash ? slash + 1 : path, .first = first, .last = last, .fd = -1,
	};
	return 0;
}

int objects_find(struct target *target)
{
	int error = 0;

	for (size_t i = 0; !error && i < target->areas && target->objects < OBJECTS_MAX; i++) {
		const struct area *area = &target->area[i];
		size_t last;
		/* A core may have none: what is as in the file is left out. */
		bool code = target->proc->core != NULL;

		if (area->class != VMA_FILE || area->offset)
			continue;
		last = last_of(target, i);
		for (size_t k = i; k <= last; k++)
			code |= is_code(&target->area[k]) && same_file(&target->area[k], area);
		if (code)
			error = add_object(target, i, last);
		i = last;
	}
	return error;
}

struct object *object_named(struct target *target, const char *prefix)
{
	for (size_t i = 0; i < target->objects; i++)
		if (!strncmp(target->object[i].name, prefix, strlen(prefix)))
			return &target->object[i];
	return NULL;
}

/* --- what its file says --------------------------------------------------------- */

/* The first segment lies where the file's beginning is mapped. */
static bool find_base(const struct target *target, struct object *object, const struct image *image)
{
	const Elf64_Phdr *first = &image->segment[0], *last = &image->segment[image->segments - 1];
	uint64_t start = target->area[object->first].start, page = target->own.page;

	if (first->p_offset >= page || last->p_vaddr < first->p_vaddr ||
	    last->p_vaddr - first->p_vaddr > INT64_MAX / 2 || last->p_memsz > INT64_MAX / 2)
		return false;
	object->base = start - (first->p_vaddr & ~(page - 1));
	object->end = object->base + last->p_vaddr + last->p_memsz;
	return object->end > start;
}

bool object_read(struct target *target, struct object *object)
{
	struct image *image;

	if (object->state != OBJECT_UNREAD)
		return object->state == OBJECT_READ;
	object->state = OBJECT_REFUSED;
	image = image_of(target, object->first, object->last);
	if (image && find_base(target, object, image)) {
		object->image = image;
		object->state = OBJECT_READ;
	} else {
		image_release(image);
	}
	return object->state == OBJECT_READ;
}

struct object *object_static(struct target *target)
{
	struct object *program = target->objects == 1 ? &target->object[0] : NULL;

	return program && object_read(target, program) ? program : NULL;
}

uint64_t object_symbol(struct target *target, struct object *object, const char *name, uint64_t *size)
{
	const Elf64_Sym *symbol = object_read(target, object) ? image_symbol(target, object->image, object->first, name) : NULL;

	if (!symbol)
		return 0;
	if (size)
		*size = symbol->st_size;
	return object->base + symbol->st_value;
}

bool object_constant(struct target *target, struct object *object, uint64_t address, void *buffer, size_t size)
{
	uint64_t offset;

	if (!object_read(target, object) || !image_offset(object->image, address - object->base, size, &offset))
		return false;
	if (object->fd < 0)
		object->fd = image_open(target, &target->area[object->first]);
	return object->fd >= 0 && offset <= (uint64_t)INT64_MAX - size && pread(object->fd, buffer, size, (off_t)offset) == (ssize_t)size;
}

bool object_bss(const struct target *target, const struct object *object, size_t segment, uint64_t *from, uint64_t *to)
{
	const Elf64_Phdr *header = &object->image->segment[segment];
	uint64_t page = target->own.page, start = object->base + header->p_vaddr;
	const struct area *area;

	*from = (start + header->p_filesz + page - 1) & ~(page - 1);
	*to = (start + header->p_memsz + page - 1) & ~(page - 1);
	if (header->p_memsz <= header->p_filesz || *from >= *to)
		return false;
	area = area_at(target, *from);
	return area && area_is_anonymous(area) && *to <= area->end;
}

void objects_free(struct target *target)
{
	for (size_t i = 0; i < target->objects; i++) {
		image_release(target->object[i].image);
		if (target->object[i].fd >= 0)
			close(target->object[i].fd);
	}
	free(target->object);
	target->object = NULL;
	target->objects = 0;
}
