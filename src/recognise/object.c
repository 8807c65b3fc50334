/* SPDX-License-Identifier: MIT */
/* Reads the headers and symbols of what a process has mapped. See object.h. */
#include "object.h"

#include "../base/elf.h"
#include "../read/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OBJECTS_MAX  4096
#define HEADERS_MAX  128            /* program headers of one file */
#define DYNAMIC_MAX  1024           /* entries of a dynamic section */
#define TABLES_MAX   (32U << 20)    /* hash table, symbols and strings of a large program */

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
		bool code = false;

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

/* --- the file -------------------------------------------------------------------- */

/* "36 35 0:33 / /tmp rw,nosuid shared:1 - tmpfs tmpfs rw", see proc(5): 1 served by FUSE, 0 not, -1 another device. */
static int mount_is_fuse(struct text line, const struct area *area)
{
	uint64_t id, major, minor;
	const char *type;

	if (!text_u64(&line, 10, &id) || !text_char(&line, ' ') || !text_u64(&line, 10, &id) || !text_char(&line, ' ') ||
	    !text_u64(&line, 10, &major) || !text_char(&line, ':') || !text_u64(&line, 10, &minor) ||
	    major != area->major || minor != area->minor)
		return -1;
	type = memmem(line.at, line.len, " - ", 3);
	return !type || (line.at + line.len - type >= 7 && !memcmp(type + 3, "fuse", 4));
}

static bool mount_is_served(const struct target *target, const struct area *area)
{
	struct proc_text mounts;
	const char *at, *end, *newline;
	int found = -1;

	if (proc_read(target->proc, target->pid, "mountinfo", &mounts))
		return true;
	end = mounts.text + mounts.len;
	for (at = mounts.text; found < 0 && at < end; at = newline + 1) {
		newline = memchr(at, '\n', (size_t)(end - at));
		newline = newline ? newline : end;
		found = mount_is_fuse((struct text){ at, (size_t)(newline - at) }, area);
	}
	proc_text_free(&mounts);
	return found != 0;
}

/* A file system without a device may be anybody's program: it is looked up, and what is not listed is not believed. */
static bool is_served(struct target *target, const struct area *area)
{
	if (area->major)
		return false;
	/* All of a container's files are on one. */
	if (target->mount != area->minor + 1) {
		target->mount_served = mount_is_served(target, area);
		target->mount = area->minor + 1;
	}
	return target->mount_served;
}

/* The mapped file itself where we may, else what has its path now and is the same file. */
static int open_file(struct target *target, const struct area *area)
{
	char name[PATH_MAX + 8];
	struct stat st;
	int fd;

	if (is_served(target, area))
		return -EPERM;
	snprintf(name, sizeof(name), "map_files/%llx-%llx", (unsigned long long)area->start, (unsigned long long)area->end);
	fd = proc_open(target->proc, target->pid, name);
	if (fd < 0 && snprintf(name, sizeof(name), "root%s", area->path) < (int)sizeof(name))
		fd = proc_open(target->proc, target->pid, name);
	if (fd >= 0 && (file_stat_of(fd, &st) || !S_ISREG(st.st_mode) || st.st_ino != area->inode)) {
		close(fd);
		return -ESTALE;
	}
	return fd;
}

static bool read_at(int fd, uint64_t offset, void *buffer, size_t size)
{
	return offset <= INT64_MAX - size && pread(fd, buffer, size, (off_t)offset) == (ssize_t)size;
}

static bool is_ours(const Elf64_Ehdr *head)
{
	return !memcmp(head->e_ident, ELFMAG, SELFMAG) && head->e_ident[EI_CLASS] == ELFCLASS64 &&
	       head->e_ident[EI_DATA] == ELFDATA2LSB && head->e_phentsize == sizeof(Elf64_Phdr) &&
	       head->e_phnum <= HEADERS_MAX;
}

static void take_header(struct object *object, const Elf64_Phdr *ph)
{
	if (ph->p_type == PT_LOAD && object->segments < OBJECT_SEGMENTS)
		object->segment[object->segments++] = *ph;
	else if (ph->p_type == PT_DYNAMIC)
		object->dynamic = *ph;
	else if (ph->p_type == PT_TLS)
		object->tls = *ph;
}

/* The first segment lies where the file's beginning is mapped. */
static bool find_base(const struct target *target, struct object *object)
{
	const Elf64_Phdr *first = &object->segment[0], *last = &object->segment[object->segments - 1];
	uint64_t start = target->area[object->first].start, page = target->own.page;

	if (!object->segments || first->p_offset >= page || last->p_vaddr < first->p_vaddr ||
	    last->p_vaddr - first->p_vaddr > INT64_MAX / 2 || last->p_memsz > INT64_MAX / 2)
		return false;
	object->base = start - (first->p_vaddr & ~(page - 1));
	object->end = object->base + last->p_vaddr + last->p_memsz;
	return object->end > start;
}

static bool file_offset(const struct object *object, uint64_t address, uint64_t size, uint64_t *offset)
{
	for (size_t i = 0; i < object->segments; i++) {
		const Elf64_Phdr *ph = &object->segment[i];
		uint64_t into = address - ph->p_vaddr;

		if (into < ph->p_filesz && size <= ph->p_filesz - into) {
			*offset = ph->p_offset + into;
			return true;
		}
	}
	return false;
}

/* DT_SONAME, read without the rest of the tables: every object is asked for it. */
static void find_soname(struct object *object, int fd)
{
	Elf64_Dyn entry[64];
	uint64_t name = 0, strings = 0, offset, size = object->dynamic.p_filesz;

	snprintf(object->soname, sizeof(object->soname), "%s", object->name);
	size = size < sizeof(entry) ? size : sizeof(entry);
	if (!size || !read_at(fd, object->dynamic.p_offset, entry, size))
		return;
	for (size_t i = 0; i < size / sizeof(*entry) && entry[i].d_tag != DT_NULL; i++) {
		name = entry[i].d_tag == DT_SONAME ? entry[i].d_un.d_val : name;
		strings = entry[i].d_tag == DT_STRTAB ? entry[i].d_un.d_val : strings;
	}
	if (!name || !file_offset(object, strings + name, 1, &offset) ||
	    pread(fd, object->soname, sizeof(object->soname) - 1, (off_t)offset) <= 0 || !*object->soname)
		snprintf(object->soname, sizeof(object->soname), "%s", object->name);
}

bool object_read(struct target *target, struct object *object)
{
	Elf64_Ehdr head;
	Elf64_Phdr header[HEADERS_MAX];
	int fd;

	if (object->state != OBJECT_UNREAD)
		return object->state == OBJECT_READ;
	object->state = OBJECT_REFUSED;
	fd = open_file(target, &target->area[object->first]);
	if (fd < 0)
		return false;
	if (read_at(fd, 0, &head, sizeof(head)) && is_ours(&head) &&
	    read_at(fd, head.e_phoff, header, head.e_phnum * sizeof(*header))) {
		for (size_t i = 0; i < head.e_phnum; i++)
			take_header(object, &header[i]);
		object->machine = head.e_machine;
		if (find_base(target, object))
			object->state = OBJECT_READ;
	}
	if (object->state == OBJECT_READ)
		find_soname(object, fd);
	close(fd);
	return object->state == OBJECT_READ;
}

/* --- symbols ------------------------------------------------------------------------ */

/*
 * The tables of the file, copied, and what makes base/elf.c believe that they
 * are a mapped object: the true segments, which may not be read, and two that
 * may, the tables and the dynamic section.
 */
struct object_symbols {
	struct elf_symbols table;
	Elf64_Phdr header[OBJECT_SEGMENTS + 2];
	Elf64_Dyn dynamic[DYNAMIC_MAX + 1];
	char *bytes;
};

/* From the lowest table to the end of the strings, which is the last that is needed, as linkers put them. */
static bool tables_range(const Elf64_Dyn *dynamic, uint64_t *low, uint64_t *high)
{
	uint64_t strings = 0, size = 0;

	*low = UINT64_MAX;
	for (const Elf64_Dyn *d = dynamic; d->d_tag != DT_NULL; d++) {
		uint64_t value = d->d_un.d_val;

		if ((d->d_tag == DT_SYMTAB || d->d_tag == DT_STRTAB || d->d_tag == DT_GNU_HASH || d->d_tag == DT_HASH) && value < *low)
			*low = value;
		if (d->d_tag == DT_STRTAB)
			strings = value;
		if (d->d_tag == DT_STRSZ)
			size = value;
	}
	*high = strings + size;
	return size && size < TABLES_MAX && *low < *high && *high - *low < TABLES_MAX;
}

static bool read_tables(const struct object *object, int fd, struct object_symbols *s)
{
	uint64_t low, high, offset, size = object->dynamic.p_filesz;

	size = size < DYNAMIC_MAX * sizeof(*s->dynamic) ? size : DYNAMIC_MAX * sizeof(*s->dynamic);
	if (!size || !read_at(fd, object->dynamic.p_offset, s->dynamic, size) || !tables_range(s->dynamic, &low, &high) ||
	    !file_offset(object, low, high - low, &offset))
		return false;
	/* As aligned as in the file. */
	s->bytes = aligned_alloc(64, (high - low + 2 * 64) & ~63ULL);
	if (!s->bytes || !read_at(fd, offset, s->bytes + low % 64, high - low))
		return false;
	s->table.base = (uintptr_t)s->bytes + low % 64 - low;
	for (size_t i = 0; i < object->segments; i++) {
		s->header[i] = object->segment[i];
		s->header[i].p_flags = 0;
	}
	s->header[object->segments] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R, .p_vaddr = low, .p_memsz = high - low };
	s->header[object->segments + 1] = (Elf64_Phdr){
		.p_type = PT_LOAD, .p_flags = PF_R, .p_vaddr = (uintptr_t)s->dynamic - s->table.base, .p_memsz = sizeof(s->dynamic),
	};
	return elf_symbols(&(struct elf_object){ .base = s->table.base, .dynamic = s->dynamic, .headers = s->header,
	                                         .header_count = object->segments + 2 }, &s->table);
}

static bool read_symbols(struct target *target, struct object *object)
{
	int fd;

	object->no_symbols = true;
	fd = object_read(target, object) ? open_file(target, &target->area[object->first]) : -1;
	if (fd < 0)
		return false;
	object->symbols = calloc(1, sizeof(*object->symbols));
	object->no_symbols = !object->symbols || !read_tables(object, fd, object->symbols);
	close(fd);
	return !object->no_symbols;
}

uint64_t object_symbol(struct target *target, struct object *object, const char *name, uint64_t *size)
{
	const Elf64_Sym *symbol;

	if (object->no_symbols || (!object->symbols && !read_symbols(target, object)))
		return 0;
	symbol = elf_find(&object->symbols->table, name);
	if (!symbol)
		return 0;
	if (size)
		*size = symbol->st_size;
	return object->base + symbol->st_value;
}

bool object_constant(struct target *target, struct object *object, uint64_t address, void *buffer, size_t size)
{
	uint64_t offset;

	if (!object_read(target, object) || !file_offset(object, address - object->base, size, &offset))
		return false;
	if (object->fd < 0)
		object->fd = open_file(target, &target->area[object->first]);
	return object->fd >= 0 && read_at(object->fd, offset, buffer, size);
}

bool object_bss(const struct target *target, const struct object *object, size_t segment, uint64_t *from, uint64_t *to)
{
	const Elf64_Phdr *header = &object->segment[segment];
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
		struct object *object = &target->object[i];

		if (object->symbols)
			free(object->symbols->bytes);
		free(object->symbols);
		if (object->fd >= 0)
			close(object->fd);
	}
	free(target->object);
	target->object = NULL;
	target->objects = 0;
}
