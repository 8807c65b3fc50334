/* SPDX-License-Identifier: MIT */
/* Templates: each field, what is cut and how, styles, choices, and bad values. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/text.h"
#include "label/config.h"
#include "run.h"

static const struct fields all = {
	.allocator = "jemalloc", .library = "libfoo.so.1", .thread = "worker", .program = "app", .index = 3, .has_index = true, .tid = 4711,
	.pid = 4700, .size = 100000,
};
static char name[ANONNAME_NAME_MAX + 1];

static const char *format(enum kind kind, const struct fields *f)
{
	size_t len = config_format(kind, f, false, name);

	ck_assert_uint_eq(len, strlen(name));
	ck_assert_uint_le(len, ANONNAME_NAME_MAX);
	for (const char *p = name; *p; p++)
		ck_assert_msg(name_kernel_takes((unsigned char)*p), "a byte that the kernel refuses in '%s'", name);
	return name;
}

static const char *with(const char *template, const struct fields *f)
{
	setenv("ANONNAME_MMAP", template, 1);
	config_read();
	return format(KIND_MMAP, f);
}

START_TEST(defaults)
{
	config_read();
	ck_assert_str_eq(format(KIND_ARENA, &all), "jemalloc:arena3:4711");
	ck_assert_str_eq(format(KIND_LARGE, &all), "jemalloc:large:libfoo.so.1");
	ck_assert_str_eq(format(KIND_EXTENT, &all), "jemalloc:arena3");
	ck_assert_str_eq(format(KIND_HEAP, &all), "jemalloc:heap");
	ck_assert_str_eq(format(KIND_STACK, &all), "stack:4711:worker");
	ck_assert_str_eq(format(KIND_STACK_UNUSED, &all), "stack:unused");
	ck_assert_str_eq(format(KIND_SIGSTACK, &all), "sigstack:4711");
	ck_assert_str_eq(format(KIND_BSS, &all), "libfoo.so.1:bss");
	ck_assert_str_eq(format(KIND_JIT, &all), "libfoo.so.1:jit");
	ck_assert_str_eq(format(KIND_RESERVE, &all), "libfoo.so.1:reserve");
	ck_assert_str_eq(format(KIND_MMAP, &all), "libfoo.so.1:mmap");
	ck_assert_str_eq(format(KIND_MMAP_BIG, &all), "libfoo.so.1:mmap:4711");
	ck_assert_str_eq(format(KIND_SHM, &all), "libfoo.so.1:shm");
	ck_assert_str_eq(format(KIND_EARLY, &all), "libfoo.so.1:early");
}
END_TEST

START_TEST(each_field)
{
	ck_assert_str_eq(with("%a-%i-%l-%t-%n", &all), "jemalloc-3-libfoo.so.1-4711-worker");
	ck_assert_str_eq(with("%p-%e-%k-%z-%%", &all), "4700-app-mmap-128K-%");
	ck_assert_str_eq(with("100%% of %e", &all), "100% of app");
	ck_assert_str_eq(with("%k", &(struct fields){ .thing = "other" }), "other");
	ck_assert_str_eq(with("%n-%r", &(struct fields){ .thread = "app", .routine = "work" }), "app-work");
}
END_TEST

/* What is not known is left out, and is not 0. */
START_TEST(unknown_fields)
{
	static const struct fields nothing = { .library = "app" }, other = { .library = "app", .tid = TID_UNKNOWN };
	static const char *const templates[] = {
		"%l:mmap:%t:%c", "app:mmap", "%l:%t:mmap", "app:mmap", "%l:arena%i:%t", "app:arena", "%t:%l", "app", "%p:%i:%l:%z", "app",
		"%c:heap", "heap", "sigstack:%t", "sigstack", " glibc: pthread stack: %t", " glibc: pthread stack", "<%a>", "<>",
		"stack:%t:%n:%r", "stack", "%t", "",
	};

	for (size_t i = 0; i < ARRAY_SIZE(templates); i += 2) {
		ck_assert_str_eq(with(templates[i], &nothing), templates[i + 1]);
		ck_assert_str_eq(with(templates[i], &other), templates[i + 1]);
	}
	/* 0 is the number of an arena, and only of that. */
	ck_assert_str_eq(with("arena%i", &(struct fields){ .has_index = true }), "arena0");
}
END_TEST

START_TEST(sizes)
{
	static const struct {
		size_t size;
		const char *says;
	} rows[] = {
		{ 1, "1K" }, { 1024, "1K" }, { 1025, "2K" }, { 4096, "4K" }, { 4097, "8K" }, { 1 << 20, "1M" }, { (1 << 20) + 1, "2M" },
		{ 1UL << 30, "1G" }, { 3UL << 30, "4G" }, { 1UL << 46, "64T" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ck_assert_str_eq(with("%z", &(struct fields){ .size = rows[i].size }), rows[i].says);
}
END_TEST

START_TEST(bytes_that_names_cannot_hold)
{
	char odd[300];

	for (int i = 1; i < 256; i++)
		odd[i - 1] = (char)i;
	odd[255] = '\0';
	for (int i = 0; i < 255; i += 20) {
		char piece[21] = "";

		memcpy(piece, odd + i, (size_t)(i + 20 > 255 ? 255 - i : 20));
		with("%l", &(struct fields){ .library = piece });
		ck_assert_uint_eq(strlen(name), strlen(piece));
		ck_assert(!strchr(name, '/'));
	}
}
END_TEST

static bool ends(const char *s, const char *tail) { return strlen(s) >= strlen(tail) && !strcmp(s + strlen(s) - strlen(tail), tail); }

START_TEST(what_must_be_cut)
{
	char longest[200], wanted[200];
	struct fields f = all;

	memset(longest, 'x', sizeof(longest));
	memcpy(longest, "begin", 5);
	strcpy(longest + 150, "end.so.1");
	f.library = longest;
	with("%a:large:%l:%t", &f);
	ck_assert_uint_eq(strlen(name), ANONNAME_NAME_MAX);
	ck_assert(text_begins(name, "jemalloc:large:begin"));
	ck_assert_msg(ends(name, "end.so.1:4711"), "%s", name);
	ck_assert(strstr(name, "..") != NULL);
	/* Exactly at the limit nothing is cut; one more and something is. */
	memset(longest, 'y', sizeof(longest));
	longest[79] = '\0';
	ck_assert_str_eq(with("%l", &f), longest);
	longest[79] = 'y';
	longest[80] = '\0';
	with("%l", &f);
	ck_assert_uint_eq(strlen(name), ANONNAME_NAME_MAX);
	ck_assert(strstr(name, "..") != NULL);
	/* The least telling field first: the program before the library. */
	memset(longest, 'p', 70);
	longest[70] = '\0';
	f.program = longest;
	f.library = "libwhole.so.1";
	with("%e:%l:%t", &f);
	ck_assert(ends(name, ":libwhole.so.1:4711"));
	/* Literals alone. */
	memset(wanted, 'w', 110);
	wanted[110] = '\0';
	with(wanted, &f);
	ck_assert_uint_eq(strlen(name), ANONNAME_NAME_MAX);
	/* Every length of every field comes out within the limit and clean. */
	with("%a:%l:%e:%n:%t:%i", &f);
	for (size_t l = 0; l < 150; l++) {
		memset(longest, 'l', l);
		longest[l] = '\0';
		f.library = f.program = f.thread = f.allocator = longest;
		format(KIND_MMAP, &f);
		if (l)
			ck_assert_msg(ends(name, ":4711:3") || strlen(name) == ANONNAME_NAME_MAX, "%s", name);
	}
}
END_TEST

START_TEST(coarser)
{
	config_read();
	config_format(KIND_ARENA, &all, true, name);
	ck_assert_str_eq(name, "jemalloc:arena");
	config_format(KIND_MMAP_BIG, &all, true, name);
	ck_assert_str_eq(name, "libfoo.so.1:mmap");
	config_format(KIND_STACK, &all, true, name);
	ck_assert_str_eq(name, "stack");
}
END_TEST

START_TEST(an_empty_template_names_nothing)
{
	setenv("ANONNAME_MMAP", "", 1);
	config_read();
	ck_assert_uint_eq(config_format(KIND_MMAP, &all, false, name), 0);
}
END_TEST

START_TEST(styles)
{
	setenv("ANONNAME_STYLE", "glibc", 1);
	config_read();
	ck_assert_str_eq(format(KIND_ARENA, &all), " glibc: malloc arena");
	ck_assert_str_eq(format(KIND_LARGE, &all), " glibc: malloc");
	ck_assert_str_eq(format(KIND_STACK, &all), " glibc: pthread stack: 4711");
	setenv("ANONNAME_STYLE", "android", 1);
	config_read();
	ck_assert_str_eq(format(KIND_STACK, &all), "stack_and_tls:4711");
	ck_assert_str_eq(format(KIND_BSS, &all), ".bss");
	ck_assert_str_eq(format(KIND_LARGE, &all), "libc_malloc");
	/* A template wins over the style. */
	setenv("ANONNAME_BSS", "%l", 1);
	config_read();
	ck_assert_str_eq(format(KIND_BSS, &all), "libfoo.so.1");
}
END_TEST

/* What config_read writes to standard error. */
static const char *complaint(const char *variable, const char *value)
{
	static char said[4096];
	int pipes[2], saved = dup(2);
	ssize_t n;

	ck_assert_int_eq(pipe(pipes), 0);
	dup2(pipes[1], 2);
	setenv(variable, value, 1);
	config_read();
	unsetenv(variable);
	dup2(saved, 2);
	close(saved);
	close(pipes[1]);
	n = read(pipes[0], said, sizeof(said) - 1);
	said[n > 0 ? n : 0] = '\0';
	close(pipes[0]);
	return said;
}

START_TEST(bad_values)
{
	static const struct {
		const char *variable, *value;
	} rows[] = {
		{ "ANONNAME_MMAP", "%q" }, { "ANONNAME_MMAP", "50%" }, { "ANONNAME_MMAP", "a[b" }, { "ANONNAME_MMAP", "tab\there" },
		{ "ANONNAME_MMAP", "%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a" },
		{ "ANONNAME_MMAP", "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
				   "012345678901234567890" },
		{ "ANONNAME_SINK", "sink" }, { "ANONNAME_SINK", "Auto" }, { "ANONNAME_SINK", "auto " }, { "ANONNAME_STYLE", "gli" },
		{ "ANONNAME_WALK", "yes" }, { "ANONNAME_WALK", "1" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *said = complaint(rows[i].variable, rows[i].value);
		const char *newline = strchr(said, '\n');

		ck_assert_msg(text_begins(said, "libanonname: ") && strstr(said, rows[i].variable) && newline && !newline[1],
			      "%s=%s: '%s'", rows[i].variable, rows[i].value, said);
		ck_assert_str_eq(format(KIND_MMAP, &all), "libfoo.so.1:mmap");
		ck_assert_int_eq(config_choice[CHOICE_SINK], 0);
	}
	ck_assert_str_eq(complaint("ANONNAME_SINK", "both"), "");
	ck_assert_int_eq(config_choice[CHOICE_SINK], 3);
	ck_assert_str_eq(complaint("ANONNAME_SINK", ""), "");
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("config");

	tcase_add_test(tests, defaults);
	tcase_add_test(tests, each_field);
	tcase_add_test(tests, sizes);
	tcase_add_test(tests, bytes_that_names_cannot_hold);
	tcase_add_test(tests, what_must_be_cut);
	tcase_add_test(tests, unknown_fields);
	tcase_add_test(tests, coarser);
	tcase_add_test(tests, an_empty_template_names_nothing);
	tcase_add_test(tests, styles);
	tcase_add_test(tests, bad_values);
	return run_tests("config", tests);
}
