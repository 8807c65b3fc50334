/* SPDX-License-Identifier: MIT */
/* A small loader for one well-behaved library. See borrow.h for why. */
#include "label/borrow.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>

#include "arch.h"
#include "base/own.h"
#include "base/sys.h"
#include "base/text.h"

#define ENOEXEC 8
#define MAX_PHDRS 16

/* elf.h has these since glibc 2.36. */
#ifndef DT_RELR
#define DT_RELRSZ 35
#define DT_RELR 36
#endif

/* Where the pieces of one file are, while it is loaded. */
struct loading {
	struct elf_symbols *lib;
	const struct import *imports;
	size_t import_count;
	void *missing;
	const ElfW(Rela) *rela[2];
	size_t rela_size[2];
	const ElfW(Addr) *relr;
	size_t relr_size;
};

static int prot_of(uint32_t flags)
{
	return (flags & PF_R ? PROT_READ : 0) | (flags & PF_W ? PROT_WRITE : 0) | (flags & PF_X ? PROT_EXEC : 0);
}

static int map_segment(int fd, uintptr_t base, const ElfW(Phdr) *ph)
{
	uintptr_t start = page_down(base + ph->p_vaddr);
	uintptr_t file_end = base + ph->p_vaddr + ph->p_filesz;
	uintptr_t end = page_up(base + ph->p_vaddr + ph->p_memsz);
	int prot = prot_of(ph->p_flags);

	if (ph->p_filesz) {
		long r = sys_mmap((void *)start, file_end - start, prot, MAP_PRIVATE | MAP_FIXED, fd,
				  (off_t)page_down(ph->p_offset));

		if (sys_failed(r))
			return (int)r;
	}
	/* .bss: the rest of the last page of the file, and pages of its own. */
	if (ph->p_memsz > ph->p_filesz && (prot & PROT_WRITE)) {
		uintptr_t zero = MAX(page_up(file_end), start);

		for (char *p = (char *)file_end; (uintptr_t)p < MIN(zero, end); p++)
			*p = 0;
		if (zero < end) {
			long r = sys_mmap((void *)zero, end - zero, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

			if (sys_failed(r))
				return (int)r;
			own_note((void *)zero, end - zero, "walk");
		}
	}
	return 0;
}

static bool read_dynamic(struct loading *l, const ElfW(Dyn) *dynamic)
{
	uintptr_t base = l->lib->base;
	/* Its headers are where place_for() looks for them, too. */
	const ElfW(Ehdr) *eh = (const ElfW(Ehdr) *)base;
	const struct elf_object elf = { base, dynamic, (const ElfW(Phdr) *)(eh + 1), eh->e_phnum };
	const ElfW(Dyn) *end = elf_dynamic_end(&elf);

	for (const ElfW(Dyn) *d = dynamic; d < end && d->d_tag != DT_NULL; d++) {
		uintptr_t at = base + d->d_un.d_ptr;

		switch (d->d_tag) {
		case DT_RELA: l->rela[0] = (const ElfW(Rela) *)at; break;
		case DT_RELASZ: l->rela_size[0] = d->d_un.d_val; break;
		case DT_JMPREL: l->rela[1] = (const ElfW(Rela) *)at; break;
		case DT_PLTRELSZ: l->rela_size[1] = d->d_un.d_val; break;
		case DT_RELR: l->relr = (const ElfW(Addr) *)at; break;
		case DT_RELRSZ: l->relr_size = d->d_un.d_val; break;
		case DT_TEXTREL: return false;
		default: break;
		}
	}
	for (int t = 0; t < 2; t++)
		l->rela_size[t] = MIN(l->rela_size[t], elf_room(&elf, (uintptr_t)l->rela[t]));
	l->relr_size = MIN(l->relr_size, elf_room(&elf, (uintptr_t)l->relr));
	return elf_symbols(&elf, l->lib);
}

static void *import(const struct loading *l, const char *name)
{
	for (size_t i = 0; i < l->import_count; i++)
		if (text_equal(l->imports[i].name, name))
			return l->imports[i].function;
	return NULL;
}

static uintptr_t resolve(const struct loading *l, uint32_t index)
{
	const ElfW(Sym) *sym = elf_symbol(l->lib, index);
	void *function;

	if (!sym)
		return 0;
	if (sym->st_shndx != SHN_UNDEF)
		return l->lib->base + sym->st_value;
	function = import(l, elf_string(l->lib, sym->st_name));
	if (!function && ELF64_ST_BIND(sym->st_info) != STB_WEAK)
		function = l->missing;
	return (uintptr_t)function;
}

static bool may_write(const struct loading *l, const void *at, size_t size)
{
	const struct elf_object *o = &l->lib->object;

	for (size_t i = 0; i < o->header_count; i++) {
		const ElfW(Phdr) *ph = &o->headers[i];
		uintptr_t offset = (uintptr_t)at - (o->base + ph->p_vaddr);

		if (ph->p_type == PT_LOAD && ph->p_flags & PF_W && offset < ph->p_memsz && size <= ph->p_memsz - offset)
			return true;
	}
	return false;
}

static bool relocate(const struct loading *l)
{
	uintptr_t base = l->lib->base;
	uintptr_t *where = NULL;

	for (int t = 0; t < 2; t++) {
		for (size_t i = 0; i < l->rela_size[t] / sizeof(ElfW(Rela)); i++) {
			const ElfW(Rela) *r = &l->rela[t][i];
			uintptr_t *slot = (uintptr_t *)(base + r->r_offset);

			if (!may_write(l, slot, sizeof(*slot)))
				return false;
			switch (ELF64_R_TYPE(r->r_info)) {
			case ARCH_R_RELATIVE: *slot = base + (uintptr_t)r->r_addend; break;
			case ARCH_R_WORD:
			case ARCH_R_GLOB_DAT:
			case ARCH_R_JUMP_SLOT:
				*slot = resolve(l, (uint32_t)ELF64_R_SYM(r->r_info)) + (uintptr_t)r->r_addend;
				break;
			/* Our __tls_get_addr does not look at them. */
			case ARCH_R_TLS_MODULE:
			case ARCH_R_TLS_OFFSET: break;
#ifdef ARCH_R_TLS_DESCRIPTOR
			case ARCH_R_TLS_DESCRIPTOR: {
				void *(*get_addr)(void *) = (void *(*)(void *))import(l, "__tls_get_addr");

				if (!get_addr || !may_write(l, slot, 2 * sizeof(*slot)))
					return false;
				slot[0] = (uintptr_t)arch_tls_descriptor;
				slot[1] = (uintptr_t)get_addr(NULL);
				break;
			}
#endif
			default: return false;
			}
		}
	}
	/* gABI, "Relative relocation table": an address, or a bitmap of the 63 words after it. */
	for (size_t i = 0; i < l->relr_size / sizeof(ElfW(Addr)); i++) {
		ElfW(Addr) entry = l->relr[i];

		if (!(entry & 1)) {
			where = (uintptr_t *)(base + entry);
			if (!may_write(l, where, sizeof(*where)))
				return false;
			*where++ += base;
			continue;
		}
		for (int bit = 0; entry >>= 1; bit++)
			if (entry & 1 && !may_write(l, where + bit, sizeof(*where)))
				return false;
			else if (entry & 1)
				where[bit] += base;
		where += 63;
	}
	return true;
}

/* What the segments take, from the base on. */
static uintptr_t end_of(const ElfW(Phdr) *ph, int n)
{
	uintptr_t end = 0;

	for (int i = 0; i < n; i++)
		if (ph[i].p_type == PT_LOAD)
			end = MAX(end, page_up(ph[i].p_vaddr + ph[i].p_memsz));
	return end;
}

/* Whether its first segment begins with the file, and holds the headers. */
static bool maps_headers(const ElfW(Phdr) *ph, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (ph[i].p_type == PT_LOAD && !ph[i].p_vaddr && !ph[i].p_offset && ph[i].p_flags & PF_R)
			return ph[i].p_filesz >= sizeof(ElfW(Ehdr)) + n * sizeof(*ph);
	return false;
}

/* Room for it: where it was borrowed before, if it is still as large. */
static long place_for(const struct elf_symbols *before, uintptr_t size)
{
	const ElfW(Ehdr) *eh = (const ElfW(Ehdr) *)before->base;

	if (eh && end_of((const ElfW(Phdr) *)(eh + 1), eh->e_phnum) == size)
		return (long)before->base;
	return sys_mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

int borrow_library(const char *path, const struct import *imports, size_t n, void *missing, struct elf_symbols *lib)
{
	struct {
		ElfW(Ehdr) eh;
		ElfW(Phdr) ph[MAX_PHDRS];
	} file;
	struct loading l = { .lib = lib, .imports = imports, .import_count = n, .missing = missing };
	const ElfW(Phdr) *dynamic = NULL;
	uintptr_t end;
	int error = -ENOEXEC;
	long fd = sys_open(path, O_RDONLY | O_CLOEXEC);

	if (sys_failed(fd))
		return (int)fd;
	long got = sys_read((int)fd, &file, sizeof(file));

	if (got < (long)sizeof(file.eh) || file.eh.e_machine != ARCH_MACHINE || file.eh.e_type != ET_DYN ||
	    file.eh.e_phoff != sizeof(file.eh) || file.eh.e_phnum > MAX_PHDRS ||
	    got < (long)(sizeof(file.eh) + file.eh.e_phnum * sizeof(file.ph[0])))
		goto close;
	for (int i = 0; i < file.eh.e_phnum; i++) {
		const ElfW(Phdr) *ph = &file.ph[i];

		if (ph->p_type == PT_DYNAMIC)
			dynamic = ph;
		else if (ph->p_type == PT_TLS && ph->p_filesz)
			goto close;
	}
	end = end_of(file.ph, file.eh.e_phnum);
	if (!dynamic || !end || end > 1UL << 26 || !maps_headers(&file.ph[0], file.eh.e_phnum))
		goto close;

	long base = place_for(lib, end);

	error = (int)base;
	if (sys_failed(base))
		goto close;
	*lib = (struct elf_symbols){ .base = (uintptr_t)base };
	error = 0;
	for (int i = 0; i < file.eh.e_phnum && !error; i++)
		if (file.ph[i].p_type == PT_LOAD)
			error = map_segment((int)fd, lib->base, &file.ph[i]);
	if (!error && (!read_dynamic(&l, (const ElfW(Dyn) *)(lib->base + dynamic->p_vaddr)) || !relocate(&l)))
		error = -ENOEXEC;
	for (int i = 0; i < file.eh.e_phnum && !error; i++) {
		const ElfW(Phdr) *ph = &file.ph[i];

		if (ph->p_type == PT_GNU_RELRO)
			sys_mprotect((void *)page_down(lib->base + ph->p_vaddr),
				     page_down(lib->base + ph->p_vaddr + ph->p_memsz) - page_down(lib->base + ph->p_vaddr),
				     PROT_READ);
	}
	if (error) {
		sys_munmap((void *)lib->base, end);
		lib->base = 0;
	}
close:
	sys_close((int)fd);
	return error;
}
