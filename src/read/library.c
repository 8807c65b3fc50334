/* SPDX-License-Identifier: MIT */
/*
 * Finds the library through the dynamic linker's list of loaded objects
 * (auxv -> program headers -> DT_DEBUG -> link_map): some twenty small reads,
 * however many VMAs the process has. Only when that list cannot be had is maps
 * read to the end, which for 20,000 VMAs costs a tenth of a whole report.
 */
#include "library.h"
#include "maps.h"

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <string.h>
#include <unistd.h>

#define OBJECTS_MAX  4096

static int mem_read(void *context, uint64_t address, void *buffer, size_t size)
{
	const struct library *library = context;
	size_t done = 0;

	if (address > INT64_MAX - size)
		return -EFAULT;
	while (done < size) {
		ssize_t got = pread(library->mem, (char *)buffer + done, size - done,
		                    (off_t)(address + done));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		if (got == 0)
			return -ESRCH;
		done += (size_t)got;
	}
	return 0;
}

struct memory library_memory(struct library *library)
{
	return (struct memory){ mem_read, library };
}

bool library_is_ours(struct text path)
{
	return text_starts(text_base_name(path), LIBRARY_NAME);
}

/* The main program's dynamic section. */
static int find_dynamic(const struct proc *proc, pid_t pid, const struct memory *memory,
                        uint64_t *dynamic, uint64_t *size)
{
	Elf64_Phdr segment[32];
	uint64_t at = 0, count = 0, bias = 0;
	struct proc_text auxv;
	int error = proc_read(proc, pid, "auxv", &auxv);

	if (error)
		return error;
	for (size_t i = 0; i + sizeof(Elf64_auxv_t) <= auxv.len; i += sizeof(Elf64_auxv_t)) {
		Elf64_auxv_t one;

		memcpy(&one, auxv.text + i, sizeof(one));
		if (one.a_type == AT_NULL)
			break;
		if (one.a_type == AT_PHDR)
			at = one.a_un.a_val;
		else if (one.a_type == AT_PHNUM)
			count = one.a_un.a_val;
	}
	proc_text_free(&auxv);
	if (!at || !count || count > sizeof(segment) / sizeof(*segment))
		return -ENOENT;
	error = memory->read(memory->context, at, segment, count * sizeof(*segment));
	if (error)
		return error;
	for (uint64_t i = 0; i < count; i++)
		if (segment[i].p_type == PT_PHDR)
			bias = at - segment[i].p_vaddr;
	for (uint64_t i = 0; i < count; i++)
		if (segment[i].p_type == PT_DYNAMIC) {
			*dynamic = bias + segment[i].p_vaddr;
			*size = segment[i].p_memsz;
			return 0;
		}
	return -ENOENT;
}

/* Names are read in short pieces: most are short, and the page behind may be missing. */
static size_t read_string(const struct memory *memory, uint64_t address, char *buffer, size_t size)
{
	size_t len = 0;

	while (len < size) {
		size_t piece = 128 - (address + len) % 128;
		const char *nul;

		if (piece > size - len)
			piece = size - len;
		if (memory->read(memory->context, address + len, buffer + len, piece))
			return 0;
		nul = memchr(buffer + len, 0, piece);
		if (nul)
			return (size_t)(nul - buffer);
		len += piece;
	}
	return 0;
}

/* 0: base is that of the library; -ENODATA: not among the objects; else the list could not be had. */
static int find_in_link_map(const struct proc *proc, pid_t pid, const struct memory *memory,
                            uint64_t *base, struct library *library)
{
	uint64_t dynamic, next = 0, size = 0;
	Elf64_Dyn section[256];
	struct r_debug debug;
	struct link_map object;
	char name[1024];
	int error = find_dynamic(proc, pid, memory, &dynamic, &size);

	if (size > sizeof(section))
		size = sizeof(section);
	if (!error)
		error = memory->read(memory->context, dynamic, section, size);
	for (size_t i = 0; !error && i < size / sizeof(*section) && section[i].d_tag != DT_NULL; i++)
		if (section[i].d_tag == DT_DEBUG)
			next = section[i].d_un.d_ptr;
	if (error || !next)
		return error ? error : -ENOENT;
	error = memory->read(memory->context, next, &debug, offsetof(struct r_debug, r_brk));
	if (error)
		return error;
	next = (uint64_t)(uintptr_t)debug.r_map;
	for (unsigned i = 0; next && i < OBJECTS_MAX; i++) {
		size_t len;

		error = memory->read(memory->context, next, &object, offsetof(struct link_map, l_prev));
		if (error)
			return error;
		len = read_string(memory, (uint64_t)(uintptr_t)object.l_name, name, sizeof(name));
		if (library_is_ours((struct text){ name, len })) {
			text_clean(library->path, sizeof(library->path), (struct text){ name, len });
			*base = object.l_addr;
			return 0;
		}
		next = (uint64_t)(uintptr_t)object.l_next;
	}
	return -ENODATA;
}

struct maps_search {
	struct library *library;
	uint64_t base;
};

static int search_vma(void *context, struct vma *vma)
{
	struct maps_search *search = context;

	if (vma->class != VMA_FILE || vma->offset || !library_is_ours(vma->name))
		return 0;
	search->base = vma->start;
	text_clean(search->library->path, sizeof(search->library->path), vma->name);
	return 1;
}

static int find_in_maps(const struct proc *proc, pid_t pid, struct cost *cost, uint64_t *base,
                        struct library *library)
{
	struct maps_search search = { .library = library };
	int fd = proc_open(proc, pid, "maps");
	int found;

	if (fd < 0)
		return fd;
	found = maps_read(proc->maps, fd, false, cost, search_vma, &search, NULL);
	close(fd);
	*base = search.base;
	return found == 1 ? 0 : -ENODATA;
}

void library_find(const struct proc *proc, pid_t pid, struct cost *cost, struct library *library)
{
	struct memory memory = library_memory(library);
	uint64_t base = 0;
	int error = -ENOENT;

	memset(library, 0, sizeof(*library));
	library->mem = proc_open(proc, pid, "mem");
	if (library->mem < 0) {
		library->error = library->mem;
		library->mem = -1;
	} else {
		error = find_in_link_map(proc, pid, &memory, &base, library);
	}
	if (error == -ENODATA)
		return;
	if (error && find_in_maps(proc, pid, cost, &base, library))
		return;
	if (library->mem < 0) {
		library->state = LIBRARY_UNREADABLE;
		return;
	}
	error = registry_find_root(&memory, base, &library->root_address);
	if (!error)
		error = registry_read_root(&memory, library->root_address, &library->root);
	library->error = error;
	library->state = !error ? LIBRARY_READY :
	                 error == -EAGAIN ? LIBRARY_UNREADY :
	                 error == -EPROTO || error == -EBADMSG || error == -ENOENT ? LIBRARY_FOREIGN :
	                 LIBRARY_UNREADABLE;
}

void library_close(struct library *library)
{
	if (library->mem >= 0)
		close(library->mem);
	library->mem = -1;
}
