/* SPDX-License-Identifier: MIT */
/* base: text, table, elf and maps. One file, as each is small. */
#include <dlfcn.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "base/elf.h"
#include "base/maps.h"
#include "base/sandbox.h"
#include "base/sys.h"
#include "base/table.h"
#include "base/text.h"
#include "label/functions.h"
#include "label/objects.h"
#include "owner/owner.h"
#include "run.h"

START_TEST(text_never_overflows)
{
	char buf[9] = "--------";
	struct text_buffer t;

	text_init(&t, buf, 8);
	text_add(&t, "abc");
	text_add_number(&t, 42);
	ck_assert_str_eq(buf, "abc42");
	ck_assert(!t.cut);
	text_add_hex(&t, 0xbeef);
	ck_assert_str_eq(buf, "abc42be");
	ck_assert(t.cut);
}
END_TEST

START_TEST(numbers)
{
	static const char most[] = "18446744073709551615", over[] = "18446744073709551616", hex[] = "7fx", none[] = "x";
	const char *s = most;
	uint64_t n = 0;

	ck_assert(text_read_number(&s, most + 20, 10, &n) && n == UINT64_MAX && s == most + 20);
	s = over;
	ck_assert(!text_read_number(&s, over + 20, 10, &n) && s == over);
	s = hex;
	ck_assert(text_read_number(&s, hex + 3, 16, &n) && n == 0x7f && *s == 'x');
	s = none;
	ck_assert(!text_read_number(&s, none + 1, 16, &n));
	s = hex;
	ck_assert(text_read_number(&s, hex + 1, 16, &n) && n == 7);
}
END_TEST

START_TEST(names_are_cleaned)
{
	char name[80], longest[200];

	ck_assert_uint_eq(text_clean_name(name, "a/b[c]\n"), 7);
	ck_assert_str_eq(name, "a_b_c__");
	memset(longest, 'x', sizeof(longest));
	longest[199] = '\0';
	ck_assert_uint_eq(text_clean_name(name, longest), 79);
	ck_assert_uint_eq(strlen(name), 79);
	ck_assert(strstr(name, ".."));
	ck_assert_str_eq(text_last_part("/usr/lib/libx.so"), "libx.so");
}
END_TEST

static bool count_one(struct place *p, void *context)
{
	ck_assert_uint_eq(p->arena, p->key >> 12);
	++*(int *)context;
	return true;
}

START_TEST(table_finds_what_was_added)
{
	static struct table t;
	struct place *first = NULL;
	int count = 0;

	for (uintptr_t i = 1; i <= 5000; i++) {
		struct place *p = table_add(&t, i << 12);

		ck_assert_ptr_nonnull(p);
		p->arena = (uint32_t)i;
		first = first ? first : p;
	}
	for (uintptr_t i = 1; i <= 5000; i++)
		ck_assert_uint_eq(table_find(&t, i << 12)->arena, i);
	ck_assert_ptr_eq(table_find(&t, 1 << 12), first);
	ck_assert_ptr_null(table_find(&t, 5001UL << 12));
	table_each(&t, count_one, &count);
	ck_assert_int_eq(count, 5000);
	table_remove(first);
	ck_assert_ptr_null(table_find(&t, 1 << 12));
	ck_assert_uint_eq(table_find(&t, 2 << 12)->arena, 2);
}
END_TEST

START_TEST(objects_and_their_symbols)
{
	/* Not mmap: a sanitizer stands in front of that one. */
	void *function = dlsym(RTLD_DEFAULT, "gnu_get_libc_version");
	const struct object *libc, *self;
	const ElfW(Sym) *symbol;
	struct elf_symbols s;
	int nowhere;

	objects_classify = owner_classify;
	objects_refresh(NULL, NULL, NULL);
	libc = objects_find((uintptr_t)function);
	self = objects_find((uintptr_t)count_one);
	ck_assert(libc && self);
	ck_assert_str_eq(libc->name, "libc.so.6");
	ck_assert_int_eq(libc->class, OBJECT_LIBC);
	ck_assert_int_eq(self->class, OBJECT_APP);
	ck_assert_ptr_null(objects_find((uintptr_t)&nowhere));
	ck_assert_ptr_null(objects_find(1));
	ck_assert_ptr_eq(objects_named("libc.so"), libc);
	ck_assert(object_symbols(libc, &s));
	symbol = elf_find(&s, "gnu_get_libc_version");
	ck_assert_ptr_nonnull(symbol);
	ck_assert_uint_eq(libc->base + symbol->st_value, (uintptr_t)function);
	ck_assert_ptr_null(elf_find(&s, "no_such_function"));
	ck_assert_uint_eq(elf_symbol_at(&s, (uintptr_t)function + 1)->st_value, symbol->st_value);
	/* It has two versions: what was compiled before 2004 calls the other. */
	ck_assert_uint_eq(libc->base + elf_find(&s, "regexec")->st_value, (uintptr_t)dlsym(dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD), "regexec"));
	/* By the older table alone, where this libc has both. */
	s.hash = NULL;
	if (!s.old_hash)
		return;
	ck_assert_ptr_eq(elf_find(&s, "gnu_get_libc_version"), symbol);
	ck_assert_ptr_null(elf_find(&s, "no_such_function"));
	ck_assert_uint_eq(elf_symbol_at(&s, (uintptr_t)function + 1)->st_value, symbol->st_value);
	ck_assert_uint_eq(elf_buckets(&s), s.old_hash[0]);
}
END_TEST

/* By the index and by a look at every symbol it is the same function. */
START_TEST(functions_by_their_place)
{
	const struct object *libc;
	struct elf_symbols s;
	unsigned named = 0;

	objects_classify = owner_classify;
	objects_refresh(NULL, NULL, NULL);
	libc = objects_named("libc.so");
	ck_assert(libc && object_symbols(libc, &s));
	for (uintptr_t at = libc->start; at < libc->end; at += 509) {
		const ElfW(Sym) *symbol = elf_symbol_at(&s, at);

		ck_assert_str_eq(function_name_at(libc, at), symbol ? elf_string(&s, symbol->st_name) : "");
		named += symbol != NULL;
	}
	ck_assert_uint_gt(named, 100);
	ck_assert_str_eq(function_name_at(libc, libc->end), "");
	ck_assert_str_eq(function_name_at(libc, 1), "");
}
END_TEST

START_TEST(objects_in_the_order_of_symbols)
{
	const struct link_map *o = elf_objects();
	struct elf_symbols s;

	/* The program itself, then others, until one has it. */
	ck_assert_ptr_eq(o->l_ld, _DYNAMIC);
	for (; o; o = o->l_next) {
		const struct elf_object elf = elf_object_of(o);

		if (elf_symbols(&elf, &s) && elf_find(&s, "gnu_get_libc_version"))
			break;
	}
	ck_assert_ptr_nonnull(o);
	ck_assert_uint_eq(s.base + elf_find(&s, "gnu_get_libc_version")->st_value,
			  (uintptr_t)dlsym(RTLD_DEFAULT, "gnu_get_libc_version"));
}
END_TEST

START_TEST(maps_of_this_process)
{
	const size_t size = 3 * page_size;
	char *p = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct maps_line line;

	ck_assert(mprotect(p + page_size, page_size, PROT_READ) == 0);
	ck_assert(maps_find((uintptr_t)p + page_size, &line));
	ck_assert_uint_eq(line.start, (uintptr_t)p + page_size);
	ck_assert_uint_eq(line.end, (uintptr_t)p + 2 * page_size);
	ck_assert_str_eq(line.perms, "r--p");
	ck_assert(line.anonymous && !line.special);
	munmap(p, size);
	ck_assert(!maps_find((uintptr_t)p + page_size, &line));
	ck_assert(maps_find((uintptr_t)count_one, &line) && !line.anonymous && line.inode);
	ck_assert(maps_find((uintptr_t)&line, &line) && line.special);
	ck_assert_int_gt(maps_each(NULL, NULL), 10);
}
END_TEST

struct seen {
	struct {
		struct maps_line line;
		char path[256];
	} vma[200];
	unsigned count;
	uintptr_t skip_from, skip_to;
};

static bool keep_line(struct maps_line *line, void *context)
{
	struct seen *s = context;

	/* A page that no VMA of the process's is behind: asking knows nothing of it. */
	if (text_equal(line->path, "[vsyscall]"))
		return true;
	if (s->count == ARRAY_SIZE(s->vma))
		return false;
	s->vma[s->count].line = *line;
	text_copy(s->vma[s->count++].path, sizeof(s->vma->path), line->path);
	if (line->start == s->skip_from)
		line->next = s->skip_to;
	return true;
}

/* Asked for one by one (Linux 6.11) and read as text: the same, in all that is said of a VMA. */
START_TEST(maps_both_ways)
{
	static struct seen asked, read, skipped;
	const size_t size = 200 * page_size;
	uint32_t rights;
	unsigned i, j = 0;
	long not_asked;
	char *shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *code = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *none = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert(shared != MAP_FAILED && code != MAP_FAILED && none != MAP_FAILED);
	/* A check may map something: first all is looked at. */
	maps_some(keep_line, &asked);
	maps_each(keep_line, &read);
	skipped.skip_from = read.vma[1].line.start;
	skipped.skip_to = read.vma[5].line.start;
	maps_some(keep_line, &skipped);
	rights = sandbox_restrict(MAY_ALL & ~MAY_ASK_VMA);
	not_asked = maps_some(NULL, NULL);
	sandbox_restore(rights);
	ck_assert_uint_lt(read.count, ARRAY_SIZE(read.vma));
	ck_assert_int_ge(not_asked, (int)read.count);
	ck_assert_uint_eq(asked.count, read.count);
	for (i = 0; i < read.count; i++) {
		const struct maps_line *a = &asked.vma[i].line, *r = &read.vma[i].line;

		ck_assert_uint_eq(a->start, r->start);
		ck_assert_uint_eq(a->end, r->end);
		ck_assert_uint_eq(a->inode, r->inode);
		ck_assert_str_eq(a->perms, r->perms);
		ck_assert_str_eq(asked.vma[i].path, read.vma[i].path);
		ck_assert(a->anonymous == r->anonymous && a->special == r->special);
	}
	/* Whoever skips some sees all that come behind. */
	for (i = 0; i < read.count; i++) {
		if (i > 1 && i < 5 && skipped.vma[j].line.start != read.vma[i].line.start)
			continue;
		ck_assert_uint_eq(skipped.vma[j++].line.start, read.vma[i].line.start);
	}
	ck_assert_uint_eq(skipped.count, j);
	munmap(shared, size);
	munmap(code, size);
	munmap(none, size);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("base");

	tcase_add_test(tests, text_never_overflows);
	tcase_add_test(tests, numbers);
	tcase_add_test(tests, names_are_cleaned);
	tcase_add_test(tests, table_finds_what_was_added);
	tcase_add_test(tests, objects_and_their_symbols);
	tcase_add_test(tests, objects_in_the_order_of_symbols);
	tcase_add_test(tests, functions_by_their_place);
	tcase_add_test(tests, maps_of_this_process);
	tcase_add_test(tests, maps_both_ways);
	return run_tests("base", tests);
}
