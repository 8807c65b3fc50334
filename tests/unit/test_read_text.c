/* SPDX-License-Identifier: MIT */
/* Lines, maps and smaps lines, names: the parsers, on what kernels print and on what they never would. */
#include "../../src/read/maps.h"
#include "../../src/read/names.h"
#include "../../src/read/place.h"
#include "run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT(string) ((struct text){ string, strlen(string) })

static const struct {
	const char *line;
	bool ok;
	enum vma_class class;
	const char *name;
} headers[] = {
	{ "00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/dbus-daemon", true, VMA_FILE,
	  "/usr/bin/dbus-daemon" },
	{ "7f0000000000-7f0000001000 rw-p 00000000 00:00 0 ", true, VMA_UNNAMED, "" },
	{ "7f0000000000-7f0000001000 rw-p 00000000 00:00 0", true, VMA_UNNAMED, "" },
	{ "1000-2000 rw-p 00000000 00:00 0    [anon:glibc:arena1:7]", true, VMA_NAMED, "glibc:arena1:7" },
	{ "1000-2000 rw-p 00000000 00:00 0    [anon: glibc: pthread stack: 7]", true, VMA_NAMED,
	  " glibc: pthread stack: 7" },
	{ "1000-2000 rw-p 00000000 00:00 0    [anon: ]", true, VMA_NAMED, " " },
	{ "1000-2000 rw-p 00000000 00:00 0    [anon:]", true, VMA_NAMED, "" },
	{ "1000-2000 rw-s 00000000 00:01 9    [anon_shmem:ring]", true, VMA_SHARED_NAMED, "ring" },
	{ "1000-2000 rw-s 00000000 00:01 9    /dev/zero (deleted)", true, VMA_SHARED, "/dev/zero (deleted)" },
	{ "1000-2000 rw-p 00000000 00:00 0    [heap]", true, VMA_HEAP, "[heap]" },
	{ "1000-2000 rw-p 00000000 00:00 0    [stack]", true, VMA_STACK, "[stack]" },
	{ "1000-2000 r-xp 00000000 00:00 0    [vdso]", true, VMA_SPECIAL, "[vdso]" },
	{ "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]", true, VMA_SPECIAL,
	  "[vsyscall]" },
	{ "1000-2000 rw-p 00000000 08:01 5    /tmp/a b: c", true, VMA_FILE, "/tmp/a b: c" },
	{ "1000-2000 rw-s 00000000 00:01 5    /memfd:a (deleted)", true, VMA_SHM, "/memfd:a (deleted)" },
	{ "1000-2000 rw-s 00000000 00:01 5    /SYSV0000162e (deleted)", true, VMA_SHM, "/SYSV0000162e (deleted)" },
	{ "1000-2000 rw-s 00000000 00:01 5    /SYSV0000162e", true, VMA_FILE, "/SYSV0000162e" },
	{ "1000-2000 rw-s 00000000 00:1a 5    /dev/shm/x", true, VMA_SHM, "/dev/shm/x" },
	{ "00400000-ffffffffff601000 ---p 00000000 00:00 0           [rollup]", true, VMA_ROLLUP, "[rollup]" },
	{ "1000-2000 rw-p 00000000 08:01 5    /tmp/[anon:x]", true, VMA_FILE, "/tmp/[anon:x]" },
	{ "2000-1000 rw-p 00000000 00:00 0", false, 0, NULL },
	{ "1000-1000 rw-p 00000000 00:00 0", false, 0, NULL },
	{ "1000-2000 rw-p 00000000 00:00", false, 0, NULL },
	{ "1000-2000 rw", false, 0, NULL },
	{ "11111111111111111-22222222222222222 rw-p 00000000 00:00 0", false, 0, NULL },
	{ "1000-2000 rw\033p 00000000 00:00 0", false, 0, NULL },
	{ "", false, 0, NULL },
	{ "Size: 4 kB", false, 0, NULL },
};

START_TEST(header_line)
{
	struct vma vma;
	/* Exactly as long as the text, so that a sanitizer sees a byte too far. */
	size_t len = strlen(headers[_i].line);
	char *line = malloc(len ? len : 1);

	memcpy(line, headers[_i].line, len);
	ck_assert_int_eq(vma_parse((struct text){ line, len }, &vma), headers[_i].ok);
	if (headers[_i].ok) {
		ck_assert_int_eq(vma.class, headers[_i].class);
		ck_assert(text_is(vma.name, headers[_i].name));
	}
	free(line);
}
END_TEST

struct seen {
	unsigned count;
	struct vma last;
	uint64_t size;
};

static int see(void *context, struct vma *vma)
{
	struct seen *seen = context;

	seen->count++;
	seen->last = *vma;
	seen->size += vma->figures.value[FIG_SIZE];
	return 0;
}

/* Everything is read a second time by the same reader: what it kept changes nothing. */
static int read_text(struct text text, bool with_figures, vma_function *each, struct seen *seen, uint64_t *malformed)
{
	struct maps_reader *reader = maps_reader_new();
	struct seen before = *seen, first;
	uint64_t bad, again;
	int result;

	ck_assert_ptr_nonnull(reader);
	ck_assert_int_eq(maps_read(reader, text, -1, with_figures, NULL, each, seen, &bad), 0);
	/* Addresses alone are no VMA. */
	ck_assert_int_eq(maps_read(reader, TEXT("1000-2000 "), -1, with_figures, NULL, each, seen, &again), 0);
	ck_assert_uint_eq(again, 1);
	first = *seen;
	*seen = before;
	result = maps_read(reader, text, -1, with_figures, NULL, each, seen, &again);
	ck_assert_uint_eq(bad, again);
	ck_assert_uint_eq(first.count, seen->count);
	ck_assert_uint_eq(first.size, seen->size);
	ck_assert_mem_eq(&first.last.figures, &seen->last.figures, sizeof(first.last.figures));
	if (malformed)
		*malformed = bad;
	maps_reader_free(reader);
	return result;
}

static const char smaps[] =
	"1000-5000 rw-p 00000000 00:00 0    [anon:x]\n"
	"Size:                 16 kB\nRss:                  12 kB\nPss:                   9 kB\n"
	"Pss_Dirty:             9 kB\n"
	"Shared_Clean:          0 kB\nShared_Dirty:          6 kB\nPrivate_Clean:         2 kB\n"
	"Private_Dirty:         4 kB\nAnonymous:            12 kB\nKSM:                   2 kB\n"
	"LazyFree:              1 kB\n"
	"AnonHugePages:         0 kB\nSwap:                  8 kB\nSwapPss:               3 kB\n"
	"Locked:                9 kB\nVmFlags: rd wr lo mg \n"
	"9000-a000 rw-p 00000000 00:00 0 \n"
	"Rss:                   4 kB\n";

START_TEST(smaps_fields)
{
	struct seen seen = { 0 };
	struct vma vma;
	uint64_t malformed;

	ck_assert_int_eq(read_text((struct text){ smaps, (size_t)(strstr(smaps, "9000-") - smaps) },
	                                true, see, &seen, &malformed), 0);
	vma = seen.last;
	ck_assert_uint_eq(seen.count, 1);
	ck_assert_uint_eq(malformed, 0);
	ck_assert_uint_eq(vma.figures.value[FIG_SIZE], 16384);
	ck_assert_uint_eq(vma.figures.value[FIG_RSS], 12 << 10);
	ck_assert_uint_eq(vma.figures.value[FIG_PSS], 9 << 10);
	ck_assert_uint_eq(vma.figures.value[FIG_USS], 6 << 10);
	ck_assert_uint_eq(vma.figures.value[FIG_COW], 4 << 10);
	ck_assert_uint_eq(vma.figures.value[FIG_KSM], 2 << 10);
	ck_assert_uint_eq(vma.figures.value[FIG_SWAP], 8 << 10);
	ck_assert_uint_eq(vma.figures.value[FIG_SWAP_PSS], 3 << 10);
	ck_assert_uint_eq(vma.figures.value[FIG_LOCKED], 9 << 10);
	ck_assert_uint_eq(vma.figures.value[FIG_DIRTY], 10 << 10);
	ck_assert_uint_eq(vma.figures.value[FIG_CLEAN], 2 << 10);
	ck_assert_uint_eq(vma.figures.value[FIG_LAZYFREE], 1 << 10);
	ck_assert_uint_eq(vma.figures.value[FIG_PSS_DIRTY], 9 << 10);
	ck_assert(vma.locked && vma.mergeable);
	/* How many of KSM's are among the shared ones is not said: from 4 to 6. */
	ck_assert_uint_eq(vma.figures.unknown, FIG_BIT(FIG_ZERO) | FIG_BIT(FIG_COW));
}
END_TEST

START_TEST(missing_fields_are_unknown)
{
	struct seen seen = { 0 };

	ck_assert_int_eq(read_text(TEXT(smaps), true, see, &seen, NULL), 0);
	ck_assert_uint_eq(seen.count, 2);
	ck_assert(!(seen.last.figures.unknown & FIG_BIT(FIG_RSS)));
	ck_assert(seen.last.figures.unknown & FIG_BIT(FIG_PSS));
	ck_assert(seen.last.figures.unknown & FIG_BIT(FIG_SWAP));
	ck_assert(seen.last.figures.unknown & FIG_BIT(FIG_KSM));
	ck_assert(seen.last.figures.unknown & FIG_BIT(FIG_DIRTY));
	ck_assert(seen.last.figures.unknown & FIG_BIT(FIG_PSS_DIRTY));
}
END_TEST

START_TEST(truncated_anywhere)
{
	for (size_t len = 0; len < sizeof(smaps); len++) {
		struct seen seen = { 0 };
		char *copy = malloc(len ? len : 1);

		memcpy(copy, smaps, len);
		ck_assert_int_eq(read_text((struct text){ copy, len }, true, see, &seen, NULL), 0);
		ck_assert_uint_le(seen.count, 2);
		free(copy);
	}
}
END_TEST

/* The lines of one VMA are the beginning of another's. */
START_TEST(known_lines_with_more_behind)
{
	struct seen seen = { 0 };

	ck_assert_int_eq(read_text(TEXT(
		"1000-2000 rw-p 00000000 00:00 0 \nRss: 4 kB\nVmFlags: rd \n"
		"2000-3000 rw-p 00000000 00:00 0 \nRss: 4 kB\nVmFlags: rd \n"
		"3000-4000 rw-p 00000000 00:00 0 \nRss: 4 kB\nVmFlags: rd \nSwap: 8 kB\n"), true, see, &seen, NULL), 0);
	ck_assert_uint_eq(seen.count, 3);
	ck_assert_uint_eq(seen.last.figures.value[FIG_RSS], 4096);
	ck_assert_uint_eq(seen.last.figures.value[FIG_SWAP], 8192);
	ck_assert_int_eq(read_text(TEXT(
		"1000-2000 rw-p 00000000 00:00 0 \nRss: 4 kB\n"
		"3000-5000 rw-p 00000000 00:00 0 \nRss: 4 kB\nVmFlags: rd \n"
		"5000-6000 r--p 00000000 00:00 0 \nRss: 4 kB\nVmFlags: rd \n"
		"6000-7000 rw-p 00000000 00:00 0 \n"
		"7000-8000 rw-p 00000000 00:00 0 \nRss: 4 kB\nVmFlags: rd \n"
		"8000-9000 rw-p 00000000 00:00 0 \n"), true, see, &seen, NULL), 0);
	ck_assert(seen.last.figures.unknown & FIG_BIT(FIG_RSS));
	ck_assert_uint_eq(seen.last.figures.value[FIG_RSS], 0);
	ck_assert_uint_eq(seen.last.figures.value[FIG_SIZE], 4096);
}
END_TEST

START_TEST(vma_seen_twice_counts_once)
{
	struct seen seen = { 0 };

	ck_assert_int_eq(read_text(TEXT(
		"1000-3000 rw-p 0 00:00 0 \n1000-3000 rw-p 0 00:00 0 \n2000-4000 rw-p 0 00:00 0 \n"
		"1000-2000 rw-p 0 00:00 0 \n"), false, see, &seen, NULL), 0);
	ck_assert_uint_eq(seen.count, 2);
	ck_assert_uint_eq(seen.size, 0x3000);
	ck_assert_uint_eq(seen.last.start, 0x3000);
}
END_TEST

START_TEST(huge_numbers_do_not_wrap)
{
	struct seen seen = { 0 };

	ck_assert_int_eq(read_text(TEXT(
		"1000-3000 rw-p 0 00:00 0 \nRss: 18014398509481985 kB\nPrivate_Clean: 18446744073709551615 kB\n"
		"Private_Dirty: 18446744073709551615 kB\nShared_Clean: 99999999999999999999 kB\n"),
		true, see, &seen, NULL), 0);
	ck_assert_uint_gt(seen.last.figures.value[FIG_RSS], 1ULL << 60);
	ck_assert_uint_gt(seen.last.figures.value[FIG_USS], 1ULL << 60);
}
END_TEST

/* A line longer than any buffer, cut into reads of every size. */
START_TEST(lines_of_any_length)
{
	struct lines *lines = malloc(sizeof(*lines));
	size_t total = 200000, got = 0;
	struct text line;
	int fd[2];

	ck_assert_int_eq(pipe(fd), 0);
	if (fork() == 0) {
		char piece[777];

		memset(piece, 'x', sizeof(piece));
		for (size_t left = total; left;) {
			size_t n = left < sizeof(piece) ? left : sizeof(piece);

			left -= (size_t)write(fd[1], piece, n);
		}
		if (write(fd[1], "\nend", 4) != 4)
			_exit(1);
		_exit(0);
	}
	close(fd[1]);
	lines_open(lines, (struct text){ 0 }, fd[0], NULL);
	while (lines_next(lines, &line) && *line.at == 'x')
		got += line.len;
	ck_assert_uint_eq(got, total);
	ck_assert(text_is(line, "end"));
	ck_assert(!lines_next(lines, &line));
	close(fd[0]);
	free(lines);
}
END_TEST

static const struct {
	const char *raw, *shown;
} cleans[] = {
	{ "plain name", "plain name" },
	{ "tab\there", "tab\\x09here" },
	{ "\033[31mred", "\\x1b[31mred" },
	{ "del\177", "del\\x7f" },
	{ "gr\303\274n", "gr\303\274n" },
	{ "\302\205next line", "\\xc2\\x85next line" },
	{ "\342\200\256turned", "\\xe2\\x80\\xaeturned" },
	{ "\300\257overlong", "\\xc0\\xafoverlong" },
	{ "\355\240\200surrogate", "\\xed\\xa0\\x80surrogate" },
	{ "cut\303", "cut\\xc3" },
};

START_TEST(names_are_made_safe)
{
	char buffer[64];

	text_clean(buffer, sizeof(buffer), TEXT(cleans[_i].raw));
	ck_assert_str_eq(buffer, cleans[_i].shown);
	for (size_t size = 1; size < sizeof(buffer); size++)
		ck_assert_uint_lt(text_clean(buffer, size, TEXT(cleans[_i].raw)), size);
}
END_TEST

static const struct {
	const char *name;
	enum vma_class class;
	const char *owner, *kind, *thread, *library, *folded;
} names[] = {
	{ "glibc:arena2:4711", VMA_NAMED, "glibc", "arena", "4711", "-", "glibc:arena*:*" },
	{ "glibc:large:libsqlite3.so.0", VMA_NAMED, "glibc", "large", "-", "libsqlite3.so.0",
	  "glibc:large:libsqlite3.so.0" },
	{ "stack:4711:io-worker-3", VMA_NAMED, "stack", "stack", "4711", "-", "stack:*:io-worker-*" },
	{ "stack:unused", VMA_NAMED, "stack", "stack", "-", "-", "stack:unused" },
	{ "sigstack:12", VMA_NAMED, "sigstack", "sigstack", "12", "-", "sigstack:*" },
	{ "libcrypto.so.3:bss", VMA_NAMED, "libcrypto.so.3", "bss", "-", "libcrypto.so.3",
	  "libcrypto.so.3:bss" },
	{ "libarena.so.1:mmap:9", VMA_NAMED, "libarena.so.1", "mmap", "9", "libarena.so.1",
	  "libarena.so.1:mmap:*" },
	{ " glibc: pthread stack: 12", VMA_NAMED, "glibc", "stack", "12", "-", " glibc: pthread stack: *" },
	{ " Go: heap reservation", VMA_NAMED, "Go", "reserve", "-", "-", " Go: heap reservation" },
	{ "dalvik-main space (region space)", VMA_NAMED, "dalvik", "heap", "-", "-",
	  "dalvik-main space (region space)" },
	{ "scudo:primary", VMA_NAMED, "scudo", "heap", "-", "-", "scudo:primary" },
	{ "dalvik-non moving space live-bitmap", VMA_NAMED, "dalvik", "gc", "-", "-", "dalvik-non moving space live-bitmap" },
	{ "dalvik-thread local mark stack", VMA_NAMED, "dalvik", "gc", "-", "-", "dalvik-thread local mark stack" },
	{ "dalvik-jit-code-cache", VMA_NAMED, "dalvik", "jit", "-", "-", "dalvik-jit-code-cache" },
	{ "dalvik-indirect ref table", VMA_NAMED, "dalvik", "metadata", "-", "-", "dalvik-indirect ref table" },
	{ " Go: page alloc", VMA_NAMED, "Go", "metadata", "-", "-", " Go: page alloc" },
	{ "jvm:gc", VMA_NAMED, "jvm", "gc", "-", "-", "jvm:gc" },
	{ "jvm:metaspace", VMA_NAMED, "jvm", "metadata", "-", "-", "jvm:metaspace" },
	{ "jvm:code", VMA_NAMED, "jvm", "jit", "-", "-", "jvm:code" },
	{ "ruby:fiber", VMA_NAMED, "ruby", "stack", "-", "-", "ruby:fiber" },
	{ "v8: code: turbofan", VMA_NAMED, "v8", "jit", "-", "-", "v8: code: turbofan" },
	{ "blink gc: normal page 1", VMA_NAMED, "blink gc", "heap", "-", "-", "blink gc: normal page *" },
	{ "v8: old space 2", VMA_NAMED, "v8", "heap", "-", "-", "v8: old space *" },
	{ "blink_gc", VMA_NAMED, "blink_gc", "heap", "-", "-", "blink_gc" },
	{ "v8", VMA_NAMED, "v8", "heap", "-", "-", "v8" },
	{ "jvm:class", VMA_NAMED, "jvm", "metadata", "-", "-", "jvm:class" },
	{ "bionic TLS", VMA_NAMED, "bionic TLS", "tls", "-", "-", "bionic TLS" },
	{ "ld.so:tls", VMA_NAMED, "ld.so", "tls", "-", "-", "ld.so:tls" },
	{ "dalvik-live stack", VMA_NAMED, "dalvik", "gc", "-", "-", "dalvik-live stack" },
	{ " Go: allspans array", VMA_NAMED, "Go", "metadata", "-", "-", " Go: allspans array" },
	{ "partition_alloc", VMA_NAMED, "partition_alloc", "heap", "-", "-", "partition_alloc" },
	{ "", VMA_NAMED, "-", "other", "-", "-", "" },
	{ "", VMA_UNNAMED, "[anon]", "unnamed", "-", "-", "[anon]" },
	{ "/usr/lib/libc.so.6", VMA_FILE, "libc.so.6", "file", "-", "libc.so.6", "/usr/lib/libc.so.6" },
	{ "[stack]", VMA_STACK, "[stack]", "stack", "main", "-", "[stack]" },
};

START_TEST(name_parts)
{
	struct name_table table = { 0 };
	struct region region = { .source = NAME_KERNEL };
	char buffer[NAME_PART_MAX];

	region.vma.class = names[_i].class;
	region.vma.name = TEXT(names[_i].name);
	ck_assert_int_eq(names_add(&table, &region), 0);
	name_owner(table.row, buffer, sizeof(buffer));
	ck_assert_str_eq(buffer, names[_i].owner);
	ck_assert_str_eq(name_kind(table.row), names[_i].kind);
	name_thread(table.row, buffer, sizeof(buffer));
	ck_assert_str_eq(buffer, names[_i].thread);
	name_library(table.row, buffer, sizeof(buffer));
	ck_assert_str_eq(buffer, names[_i].library);
	name_fold(table.row->name, buffer, sizeof(buffer));
	ck_assert_str_eq(buffer, names[_i].folded);
	for (size_t size = 8; size < 40; size++)
		name_fold(table.row->name, buffer, size);
	names_free(&table);
}
END_TEST

/* What a report does with the rows of a process. */
static void add_all(struct name_table *sum, const struct name_table *table)
{
	for (size_t i = 0; i < table->rows; i++)
		ck_assert_int_ge(names_add_row(sum, &table->row[i]), 0);
	names_add_rest(sum, &table->rest);
	names_add_totals(&sum->totals, &table->totals);
}

START_TEST(bounds_are_marked)
{
	struct figures f = { .unknown = FIG_ALL };

	figure_between(&f, FIG_RSS, 1000, 1000, 0);
	ck_assert(f.value[FIG_RSS] == 1000 && !((f.unknown | f.estimate) & FIG_BIT(FIG_RSS)));
	figure_between(&f, FIG_RSS, 1000, 1010, 1010);
	ck_assert(f.value[FIG_RSS] == 1010 && !(f.unknown & FIG_BIT(FIG_RSS)) && f.estimate & FIG_BIT(FIG_RSS));
	figure_between(&f, FIG_RSS, 1000, 1012, 1012);
	ck_assert(f.unknown & FIG_BIT(FIG_RSS) && !(f.estimate & FIG_BIT(FIG_RSS)));
	figure_between(&f, FIG_RSS, 1000, 1020, 0);
	ck_assert(f.value[FIG_RSS] == 1010 && f.estimate & FIG_BIT(FIG_RSS));
	/* A part of nothing may be anything. */
	figure_between(&f, FIG_RSS, 0, 1, 0);
	ck_assert(f.unknown & FIG_BIT(FIG_RSS));
}
END_TEST

START_TEST(table_grows_and_sums)
{
	struct name_table table = { 0 }, sum = { 0 };
	struct region region = { .source = NAME_REGISTRY };
	char name[32];

	region.vma.class = VMA_NAMED;
	region.vma.figures.value[FIG_RSS] = 4096;
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "name%d", i % 1000);
		region.vma.name = TEXT(name);
		ck_assert_int_eq(names_add(&table, &region), 0);
	}
	ck_assert_uint_eq(table.rows, 1000);
	ck_assert_uint_eq(table.row[999].figures.value[FIG_RSS], 3 * 4096);
	names_sum(&table);
	add_all(&sum, &table);
	add_all(&sum, &table);
	ck_assert_uint_eq(sum.rows, 1000);
	ck_assert_uint_eq(sum.totals.figures.value[FIG_RSS], 6000 * 4096);
	ck_assert_double_eq(names_labelled(&sum.totals), 1);
	ck_assert_double_lt(names_labelled(&(struct name_totals){ 0 }), 0);
	region.source = NAME_NONE;
	region.vma.class = VMA_UNNAMED;
	region.vma.figures.value[FIG_RSS] = 6000 * 4096;
	ck_assert_int_eq(names_add(&sum, &region), 0);
	ck_assert_double_eq(names_labelled(&sum.totals), 0.5);
	region.vma.figures.unknown = FIG_BIT(FIG_RSS);
	ck_assert_int_eq(names_add(&sum, &region), 0);
	ck_assert_double_lt(names_labelled(&sum.totals), 0);
	names_free(&table);
	names_free(&sum);
}
END_TEST

START_TEST(full_table_keeps_the_sum)
{
	struct name_table table = { .limit = 10 }, sum = { .limit = 4 };
	struct region region = { .source = NAME_REGISTRY };
	char name[32];

	region.vma.class = VMA_NAMED;
	region.vma.figures.value[FIG_VMAS] = 1;
	region.vma.figures.value[FIG_RSS] = 4096;
	for (int i = 0; i < 60; i++) {
		snprintf(name, sizeof(name), "name%d", i % 30);
		region.vma.name = TEXT(name);
		ck_assert_int_eq(names_add(&table, &region), 0);
	}
	names_sum(&table);
	ck_assert_uint_eq(table.rows, 10);
	ck_assert_uint_eq(table.rest.figures.value[FIG_VMAS], 40);
	ck_assert_uint_eq(table.totals.figures.value[FIG_RSS], 60 * 4096);
	add_all(&sum, &table);
	ck_assert_uint_eq(sum.rows, 4);
	ck_assert_uint_eq(sum.rest.figures.value[FIG_VMAS], 52);
	names_sum(&sum);
	ck_assert_uint_eq(sum.totals.figures.value[FIG_VMAS], 60);
	names_free(&table);
	names_free(&sum);
}
END_TEST

static const struct {
	const char *cgroup, *unit, *container;
} places[] = {
	{ "/", "-", "-" },
	{ "-", "-", "-" },
	{ "/system.slice/nginx.service", "nginx.service", "-" },
	{ "/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.scope", "user@1000.service", "-" },
	{ "/system.slice/_cpu.service/worker", "cpu.service", "-" },
	{ "/system.slice/docker-4b1f3c5a697d8e9f00112233445566778899aabbccddeeff0011223344556677.scope",
	  "docker-4b1f3c5a697d8e9f00112233445566778899aabbccddeeff0011223344556677.scope", "docker:4b1f3c5a697d" },
	{ "/docker/4b1f3c5a697d8e9f00112233445566778899aabbccddeeff0011223344556677", "-", "docker:4b1f3c5a697d" },
	{ "/kubepods.slice/kubepods-besteffort.slice/kubepods-pod1.slice/"
	  "cri-containerd-00000000000011112222333344445555666677778888999900001111aaaabbbb.scope",
	  "cri-containerd-00000000000011112222333344445555666677778888999900001111aaaabbbb.scope", "containerd:000000000000" },
	{ "/kubepods/burstable/pod77/00000000000011112222333344445555666677778888999900001111aaaabbbb", "-", "kubernetes:000000000000" },
	{ "/machine.slice/libpod-conmon-4b1f.scope", "libpod-conmon-4b1f.scope", "-" },
	{ "/lxc.payload.web/system.slice/cron.service", "cron.service", "lxc:web" },
	{ "/machine.slice/systemd-nspawn@deb.service/payload", "systemd-nspawn@deb.service", "nspawn:deb" },
	{ "/a.service", "a.service", "-" },
	{ ".service", "-", "-" },
};

START_TEST(places_from_cgroups)
{
	char got[PLACE_MAX];

	place_unit(places[_i].cgroup, got, sizeof(got));
	ck_assert_str_eq(got, places[_i].unit);
	place_container(places[_i].cgroup, got, sizeof(got));
	ck_assert_str_eq(got, places[_i].container);
}
END_TEST

START_TEST(below_a_cgroup)
{
	const char *group = "/system.slice/nginx.service/worker";

	ck_assert(place_is_in(group, "/system.slice"));
	ck_assert(place_is_in(group, "/system.slice/"));
	ck_assert(place_is_in(group, "/sys/fs/cgroup/system.slice/nginx.service"));
	ck_assert(place_is_in(group, group));
	ck_assert(place_is_in(group, "/"));
	ck_assert(place_is_in(group, "nginx.service"));
	ck_assert(place_is_in(group, "nginx*"));
	ck_assert(!place_is_in(group, "/system"));
	ck_assert(!place_is_in(group, "/nginx.service"));
	ck_assert(!place_is_in(group, "nginx"));
	ck_assert(!place_is_in(group, "/system.slice/nginx.service/worker/x"));
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof(*(array))))

int main(void)
{
	TCase *tests = tcase_create("read text");

	tcase_add_loop_test(tests, header_line, 0, COUNT(headers));
	tcase_add_test(tests, smaps_fields);
	tcase_add_test(tests, missing_fields_are_unknown);
	tcase_add_test(tests, truncated_anywhere);
	tcase_add_test(tests, known_lines_with_more_behind);
	tcase_add_test(tests, vma_seen_twice_counts_once);
	tcase_add_test(tests, huge_numbers_do_not_wrap);
	tcase_add_test(tests, lines_of_any_length);
	tcase_add_loop_test(tests, names_are_made_safe, 0, COUNT(cleans));
	tcase_add_loop_test(tests, name_parts, 0, COUNT(names));
	tcase_add_test(tests, bounds_are_marked);
	tcase_add_test(tests, table_grows_and_sums);
	tcase_add_test(tests, full_table_keeps_the_sum);
	tcase_add_loop_test(tests, places_from_cgroups, 0, COUNT(places));
	tcase_add_test(tests, below_a_cgroup);
	return run_tests("read text", tests);
}
