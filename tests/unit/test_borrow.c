/* SPDX-License-Identifier: MIT */
/* label/borrow.c: a library is mapped, bound to what we choose, or refused with nothing left behind. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/maps.h"
#include "base/sys.h"
#include "label/borrow.h"
#include "run.h"

static const char library[] = BORROWED;
static char changed[] = "/tmp/borrow.XXXXXX";
static char tls_block[16];

static int our_wanted(int x) { return x * 2; }
static long our_missing(void) { return 77; }
static void *our_tls(void *index) { (void)index; return tls_block; }

static const struct import imports[] = {
	{ "wanted", (void *)our_wanted },
	{ "__tls_get_addr", (void *)our_tls },
};

static int borrow(const char *path, struct elf_symbols *lib)
{
	return borrow_library(path, imports, ARRAY_SIZE(imports), (void *)our_missing, lib);
}

static void *function(const struct elf_symbols *lib, const char *name)
{
	const ElfW(Sym) *sym = elf_find(lib, name);

	ck_assert_msg(sym != NULL, "%s is not there", name);
	return (void *)(lib->base + sym->st_value);
}

#define CALL(type, lib, name) ((type)function(lib, name))

START_TEST(bound_as_told)
{
	struct elf_symbols lib = { 0 }, again = { 0 };
	struct maps_line line;
	size_t size;
	char *bss;

	ck_assert_int_eq(borrow(library, &lib), 0);
	ck_assert_int_eq(CALL(int (*)(int), &lib, "borrowed_wanted")(21), 42);
	/* A strong reference that nobody serves, and a weak one. */
	ck_assert_int_eq(CALL(int (*)(void), &lib, "borrowed_unknown")(), 77);
	ck_assert_int_eq(CALL(int (*)(void), &lib, "borrowed_maybe")(), -1);
	/* Relative relocations: data, and data that is read-only by now. */
	ck_assert_int_eq(CALL(int (*)(void), &lib, "borrowed_own")(), 42);
	const char *(*word)(unsigned) = CALL(const char *(*)(unsigned), &lib, "borrowed_word");

	ck_assert_str_eq(word(0), "none");
	ck_assert_str_eq(word(2), "two");
	ck_assert_ptr_eq(CALL(int *(*)(void), &lib, "borrowed_tls")(), (void *)tls_block);

	/* .bss: the rest of the file's last page, and pages of its own. */
	bss = CALL(char *(*)(size_t *), &lib, "borrowed_bss")(&size);
	for (size_t i = 0; i < size; i++)
		ck_assert_int_eq(bss[i], 0);
	memset(bss, 1, size);

	/* Code may not be written, data not be run. */
	ck_assert(maps_find((uintptr_t)word, &line));
	ck_assert_str_eq(line.perms, "r-xp");
	ck_assert(maps_find((uintptr_t)bss + size / 2, &line));
	ck_assert_str_eq(line.perms, "rw-p");

	/* A second copy has data of its own. */
	ck_assert_int_eq(borrow(library, &again), 0);
	ck_assert_uint_ne(lib.base, again.base);
	ck_assert_int_eq(CALL(int (*)(void), &again, "borrowed_own")(), 42);
	ck_assert_int_eq(CALL(int (*)(void), &lib, "borrowed_own")(), 43);
}
END_TEST

/* --- what is refused ------------------------------------------------------------- */

static char *image;
static size_t image_size;

static ElfW(Phdr) *segment(uint32_t type)
{
	ElfW(Ehdr) *eh = (void *)image;
	ElfW(Phdr) *ph = (void *)(image + eh->e_phoff);

	for (int i = 0; i < eh->e_phnum; i++)
		if (ph[i].p_type == type)
			return &ph[i];
	ck_abort_msg("the library has no segment of type %u", type);
	return NULL;
}

/* Its data segments are mapped where they are in the file, but for a shift. */
static void *at_address(uintptr_t addr)
{
	ElfW(Ehdr) *eh = (void *)image;
	ElfW(Phdr) *ph = (void *)(image + eh->e_phoff);

	for (int i = 0; i < eh->e_phnum; i++)
		if (ph[i].p_type == PT_LOAD && addr - ph[i].p_vaddr < ph[i].p_filesz)
			return image + ph[i].p_offset + (addr - ph[i].p_vaddr);
	ck_abort_msg("nothing of the file is at %#lx", addr);
	return NULL;
}

static ElfW(Dyn) *dynamic(ElfW(Sxword) tag)
{
	ElfW(Dyn) *d = (void *)(image + segment(PT_DYNAMIC)->p_offset);

	for (; d->d_tag != DT_NULL; d++)
		if (d->d_tag == tag)
			return d;
	ck_abort_msg("the library has no dynamic entry %ld", (long)tag);
	return NULL;
}

static void other_machine(void) { ((ElfW(Ehdr) *)(void *)image)->e_machine = EM_68K; }
static void a_program(void) { ((ElfW(Ehdr) *)(void *)image)->e_type = ET_EXEC; }
static void many_segments(void) { ((ElfW(Ehdr) *)(void *)image)->e_phnum = 1000; }
static void far_headers(void) { ((ElfW(Ehdr) *)(void *)image)->e_phoff = 1 << 20; }
static void cut_in_the_header(void) { image_size = sizeof(ElfW(Ehdr)) - 1; }
static void cut_in_the_segments(void) { image_size = sizeof(ElfW(Ehdr)) + sizeof(ElfW(Phdr)); }
static void a_text(void) { memset(image, 'x', image_size); }
static void initialised_tls(void) { segment(PT_TLS)->p_filesz = 4; }
static void nothing_dynamic(void) { segment(PT_DYNAMIC)->p_type = PT_NULL; }
static void no_hash_table(void) { dynamic(DT_GNU_HASH)->d_tag = DT_DEBUG; }
static void text_relocations(void) { dynamic(DT_RELACOUNT)->d_tag = DT_TEXTREL; }
static void too_large(void) { segment(PT_LOAD)->p_memsz = 1UL << 40; }

static void unknown_relocation(void)
{
	ElfW(Rela) *rela = at_address(dynamic(DT_RELA)->d_un.d_ptr);

	rela->r_info = ELF64_R_INFO(ELF64_R_SYM(rela->r_info), 0xfff);
}

static void relocation_outside(void)
{
	ElfW(Rela) *rela = at_address(dynamic(DT_RELA)->d_un.d_ptr);

	rela->r_offset = 1UL << 30;
}

static void relocation_of_what_is_only_read(void)
{
	ElfW(Rela) *rela = at_address(dynamic(DT_RELA)->d_un.d_ptr);

	rela->r_offset = 0;
}

static void symbols_outside(void) { dynamic(DT_SYMTAB)->d_un.d_ptr = 1UL << 40; }
static void hash_table_outside(void) { dynamic(DT_GNU_HASH)->d_un.d_ptr = 1UL << 40; }
static void headers_not_mapped(void) { segment(PT_LOAD)->p_flags = PF_X; }

static const struct {
	const char *what;
	void (*change)(void);
} refused[] = {
	{ "another machine's", other_machine }, { "a program", a_program }, { "too many segments", many_segments },
	{ "headers elsewhere", far_headers }, { "cut in the header", cut_in_the_header },
	{ "cut in the segments", cut_in_the_segments }, { "a text", a_text }, { "initialised TLS", initialised_tls },
	{ "nothing dynamic", nothing_dynamic }, { "no hash table", no_hash_table },
	{ "text relocations", text_relocations }, { "too large", too_large },
	{ "an unknown relocation", unknown_relocation }, { "a relocation outside", relocation_outside },
	{ "a relocation of what is only read", relocation_of_what_is_only_read },
	{ "symbols outside", symbols_outside }, { "a hash table outside", hash_table_outside },
	{ "headers that are not mapped", headers_not_mapped },
};

static void read_image(void)
{
	int fd = open(library, O_RDONLY);
	struct stat st;

	ck_assert_msg(fd >= 0 && fstat(fd, &st) == 0, "%s: %s", library, strerror(errno));
	image_size = (size_t)st.st_size;
	image = malloc(image_size);
	ck_assert(read(fd, image, image_size) == (ssize_t)image_size);
	close(fd);
}

START_TEST(refusals)
{
	struct elf_symbols lib = { 0 };
	int fd = mkstemp(changed);
	long before;

	read_image();
	refused[_i].change();
	ck_assert(fd >= 0 && write(fd, image, image_size) == (ssize_t)image_size);
	close(fd);
	before = maps_each(NULL, NULL);
	ck_assert_msg(borrow(changed, &lib) == -ENOEXEC, "%s: not refused", refused[_i].what);
	ck_assert_msg(maps_each(NULL, NULL) == before, "%s: something is left mapped", refused[_i].what);
	unlink(changed);
	ck_assert_int_eq(borrow(changed, &lib), -ENOENT);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("borrow");

	tcase_add_test(tests, bound_as_told);
	tcase_add_loop_test(tests, refusals, 0, ARRAY_SIZE(refused));
	return run_tests("borrow", tests);
}
