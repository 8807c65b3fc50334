/* SPDX-License-Identifier: MIT */
/* Reads the headers and symbols of ELF files, and keeps them. See image.h. */
#include "image.h"

#include "../base/elf.h"
#include "../read/core.h"
#include "../read/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEADERS_MAX  128            /* program headers of one file */
#define HEAD_BYTES   1024           /* of a file, that a core has to have, too */
#define DYNAMIC_MAX  1024           /* entries of a dynamic section */
#define TABLES_MAX   (32U << 20)    /* hash table, symbols and strings of a large program */

/* What is kept: so many files, and so many bytes of symbols. Then it begins anew. */
#define KEPT_MAX     2048
#define KEPT_BYTES   (32U << 20)
#define BUCKETS      256

static struct image *bucket[BUCKETS];
static size_t kept, kept_bytes;

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

static bool read_at(int fd, uint64_t offset, void *buffer, size_t size)
{
	return offset <= (uint64_t)INT64_MAX - size && pread(fd, buffer, size, (off_t)offset) == (ssize_t)size;
}

/*
 * The file that a core's process had mapped, if it lies here, too: the beginning
 * of it is in the core, with its headers and as a rule its build id, or it is not
 * believed. The path is the core's, so what is no file is not opened.
 */
static int open_of_core(const struct target *target, const struct area *area)
{
	char there[HEAD_BYTES], here[HEAD_BYTES], self[32];
	int path = area->offset ? -1 : open(area->path, O_PATH | O_CLOEXEC), fd = -1;
	struct stat st;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", path);
	if (path >= 0 && !file_stat_of(path, &st) && S_ISREG(st.st_mode))
		fd = open(self, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (path >= 0)
		close(path);
	if (fd >= 0 && !core_read(target->proc->core, area->start, there, sizeof(there)) && read_at(fd, 0, here, sizeof(here)) &&
	    !memcmp(there, here, sizeof(here)))
		return fd;
	if (fd >= 0)
		close(fd);
	return -ESTALE;
}

/* The mapped file itself where we may, else what has its path now and is the same file. */
int image_open(struct target *target, const struct area *area)
{
	char name[PATH_MAX + 8];
	struct stat st;
	int fd;

	if (target->proc->core)
		return open_of_core(target, area);
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

static bool is_ours(const Elf64_Ehdr *head)
{
	return !memcmp(head->e_ident, ELFMAG, SELFMAG) && head->e_ident[EI_CLASS] == ELFCLASS64 &&
	       head->e_ident[EI_DATA] == ELFDATA2LSB && head->e_phentsize == sizeof(Elf64_Phdr) &&
	       head->e_phnum <= HEADERS_MAX;
}

static void take_header(struct image *image, const Elf64_Phdr *ph)
{
	if (ph->p_type == PT_LOAD && image->segments < IMAGE_SEGMENTS)
		image->segment[image->segments++] = *ph;
	else if (ph->p_type == PT_DYNAMIC)
		image->dynamic = *ph;
	else if (ph->p_type == PT_TLS)
		image->tls = *ph;
	else if (ph->p_type == PT_INTERP)
		image->interpreter = *ph;
}

bool image_offset(const struct image *image, uint64_t address, uint64_t size, uint64_t *offset)
{
	for (size_t i = 0; i < image->segments; i++) {
		const Elf64_Phdr *ph = &image->segment[i];
		uint64_t into = address - ph->p_vaddr;

		if (into < ph->p_filesz && size <= ph->p_filesz - into) {
			*offset = ph->p_offset + into;
			return true;
		}
	}
	return false;
}

/* DT_SONAME, read without the rest of the tables: every object is asked for it. */
static void find_soname(struct image *image, int fd)
{
	Elf64_Dyn entry[64];
	uint64_t name = 0, strings = 0, offset, size = image->dynamic.p_filesz;

	size = size < sizeof(entry) ? size : sizeof(entry);
	if (!size || !read_at(fd, image->dynamic.p_offset, entry, size))
		return;
	for (size_t i = 0; i < size / sizeof(*entry) && entry[i].d_tag != DT_NULL; i++) {
		name = entry[i].d_tag == DT_SONAME ? entry[i].d_un.d_val : name;
		strings = entry[i].d_tag == DT_STRTAB ? entry[i].d_un.d_val : strings;
	}
	if (!name || !image_offset(image, strings + name, 1, &offset) ||
	    pread(fd, image->soname, sizeof(image->soname) - 1, (off_t)offset) <= 0)
		*image->soname = '\0';
}

static bool read_headers(struct image *image, int fd)
{
	Elf64_Ehdr head;
	Elf64_Phdr header[HEADERS_MAX];

	if (!read_at(fd, 0, &head, sizeof(head)) || !is_ours(&head) ||
	    !read_at(fd, head.e_phoff, header, head.e_phnum * sizeof(*header)))
		return false;
	for (size_t i = 0; i < head.e_phnum; i++)
		take_header(image, &header[i]);
	image->machine = head.e_machine;
	if (!image->segments)
		return false;
	find_soname(image, fd);
	return true;
}

/* --- symbols ------------------------------------------------------------------------ */

/*
 * The tables of the file, copied, and what makes base/elf.c believe that they
 * are a mapped object: the true segments, which may not be read, and two that
 * may, the tables and the dynamic section.
 */
struct image_symbols {
	struct elf_symbols table;
	Elf64_Phdr header[IMAGE_SEGMENTS + 2];
	Elf64_Dyn dynamic[DYNAMIC_MAX + 1];
	char *bytes;
	size_t size;
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

static bool read_tables(const struct image *image, int fd, struct image_symbols *s)
{
	uint64_t low, high, offset, size = image->dynamic.p_filesz;

	size = size < DYNAMIC_MAX * sizeof(*s->dynamic) ? size : DYNAMIC_MAX * sizeof(*s->dynamic);
	if (!size || !read_at(fd, image->dynamic.p_offset, s->dynamic, size) || !tables_range(s->dynamic, &low, &high) ||
	    !image_offset(image, low, high - low, &offset))
		return false;
	/* As aligned as in the file. */
	s->size = (high - low + 2 * 64) & ~63ULL;
	s->bytes = aligned_alloc(64, s->size);
	if (!s->bytes || !read_at(fd, offset, s->bytes + low % 64, high - low))
		return false;
	s->table.base = (uintptr_t)s->bytes + low % 64 - low;
	for (size_t i = 0; i < image->segments; i++) {
		s->header[i] = image->segment[i];
		s->header[i].p_flags = 0;
	}
	s->header[image->segments] = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_R, .p_vaddr = low, .p_memsz = high - low };
	s->header[image->segments + 1] = (Elf64_Phdr){
		.p_type = PT_LOAD, .p_flags = PF_R, .p_vaddr = (uintptr_t)s->dynamic - s->table.base, .p_memsz = sizeof(s->dynamic),
	};
	return elf_symbols(&(struct elf_object){ .base = s->table.base, .dynamic = (const void *)s->dynamic, .headers = (const void *)s->header,
	                                         .header_count = image->segments + 2 }, &s->table);
}

static bool read_symbols(struct target *target, struct image *image, const struct area *area)
{
	/* base/elf.h reads tables of its own word size: what is built with 32 bits goes without. */
	int fd = sizeof(ElfW(Sym)) == sizeof(Elf64_Sym) ? image_open(target, area) : -1;

	image->no_symbols = true;
	if (fd < 0)
		return false;
	image->symbols = calloc(1, sizeof(*image->symbols));
	image->no_symbols = !image->symbols || !read_tables(image, fd, image->symbols);
	close(fd);
	if (image->symbols && image->symbols->bytes)
		kept_bytes += image->kept ? image->symbols->size : 0;
	return !image->no_symbols;
}

const Elf64_Sym *image_symbol(struct target *target, struct image *image, size_t first, const char *name)
{
	if (image->no_symbols || (!image->symbols && !read_symbols(target, image, &target->area[first])))
		return NULL;
	return (const void *)elf_find(&image->symbols->table, name);
}

/* --- those that are kept ---------------------------------------------------------- */

static void free_image(struct image *image)
{
	if (image->symbols)
		free(image->symbols->bytes);
	free(image->symbols);
	free(image->path);
	free(image);
}

void image_release(struct image *image)
{
	if (image && !--image->users && !image->kept)
		free_image(image);
}

void images_forget(void)
{
	for (size_t i = 0; i < BUCKETS; i++)
		while (bucket[i]) {
			struct image *image = bucket[i];

			bucket[i] = image->next;
			image->kept = false;
			image->users++;
			image_release(image);
		}
	kept = kept_bytes = 0;
}

/* The number of its mount namespace; asked for once a process. */
static bool mount_space(struct target *target, uint64_t *space)
{
	char path[32], link[64] = "";

	if (!target->space) {
		struct text text = { link, 0 };
		ssize_t len;

		snprintf(path, sizeof(path), "%d/ns/mnt", (int)target->pid);
		len = readlinkat(target->proc->fd, path, link, sizeof(link) - 1);
		text.len = len > 0 ? (size_t)len : 0;
		if (!text_starts(text, "mnt:["))
			return false;
		text.at += strlen("mnt:[");
		text.len -= strlen("mnt:[");
		if (!text_u64(&text, 10, &target->space))
			return false;
	}
	*space = target->space;
	return true;
}

/*
 * A device and an inode are one file. But a device without a number of its own
 * (btrfs, overlay) gives the same to several, so there the mount namespace and
 * the path count, too; and the same file is mapped in the same way.
 */
static bool identify(struct target *target, size_t first, size_t last, struct image *image)
{
	const struct area *area = &target->area[first];
	uint64_t hash = text_seed[0];

	for (size_t i = first; i <= last; i++) {
		const struct area *part = &target->area[i];

		if (part->inode == area->inode && part->class == VMA_FILE)
			hash = text_hash_mix(hash ^ (part->start - area->start) ^ part->offset << 20, text_seed[1] ^ (part->end - part->start));
	}
	*image = (struct image){ .hash = hash ^ area->inode, .major = area->major, .minor = area->minor, .inode = area->inode,
	                         .path = area->path };
	return area->major || mount_space(target, &image->space);
}

static bool is_same(const struct image *a, const struct image *b)
{
	return a->hash == b->hash && a->inode == b->inode && a->major == b->major && a->minor == b->minor &&
	       a->space == b->space && !strcmp(a->path, b->path);
}

static struct image *find_kept(const struct image *wanted)
{
	struct image *image = bucket[wanted->hash % BUCKETS];

	while (image && !is_same(image, wanted))
		image = image->next;
	return image;
}

static void keep(struct image *image)
{
	struct image **first = &bucket[image->hash % BUCKETS];

	image->kept = true;
	image->next = *first;
	*first = image;
	kept++;
}

static struct image *read_image(struct target *target, const struct area *area, const struct image *wanted)
{
	struct image *image = malloc(sizeof(*image));
	int fd = image ? image_open(target, area) : -1;

	if (image) {
		*image = *wanted;
		image->path = strdup(wanted->path);
	}
	if (fd >= 0 && image->path && read_headers(image, fd)) {
		close(fd);
		return image;
	}
	if (fd >= 0)
		close(fd);
	if (image)
		free_image(image);
	return NULL;
}

struct image *image_of(struct target *target, size_t first, size_t last)
{
	struct image wanted, *image;
	bool known = identify(target, first, last, &wanted);

	if (kept >= KEPT_MAX || kept_bytes >= KEPT_BYTES)
		images_forget();
	image = known ? find_kept(&wanted) : NULL;
	if (!image) {
		image = read_image(target, &target->area[first], &wanted);
		if (image && known)
			keep(image);
	}
	if (image)
		image->users++;
	return image;
}
