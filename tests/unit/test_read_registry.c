/* SPDX-License-Identifier: MIT */
/* The registry's reader against registries laid out by hand: whole, changing, and malformed. */
#include "read_registry_image.h"
#include "run.h"

#include <stdlib.h>

static unsigned char bytes[IMAGE_SIZE];
static struct image image;
static struct memory memory = { image_read, &image };
static struct registry registry;

static void setup(void)
{
	image_build(bytes);
	image = (struct image){ .bytes = bytes, .size = IMAGE_SIZE, .writable = bytes };
	memset(&registry, 0, sizeof(registry));
}

static void teardown(void)
{
	registry_free(&registry);
}

static struct registry_top *top(void)
{
	return (struct registry_top *)(bytes + IMAGE_TOP);
}

static struct registry_leaf *leaf(unsigned block)
{
	return (struct registry_leaf *)(bytes + IMAGE_BLOCKS + block * REGISTRY_BLOCK_SIZE);
}

START_TEST(reads_all_ranges)
{
	ck_assert_int_eq(registry_read(&memory, IMAGE_BASE, &registry), 0);
	ck_assert_uint_eq(registry.count, 3);
	ck_assert_uint_eq(registry.entry[0].start, 0x100000);
	ck_assert_str_eq(registry_name(&registry, 0), "glibc:arena1:42");
	ck_assert_str_eq(registry_name(&registry, 1), "python3.11:mmap");
	ck_assert_uint_eq(registry.entry[2].end, 0x300000);
	ck_assert_str_eq(registry_name(&registry, 2), "python3.11:mmap");
	ck_assert_uint_eq(registry.torn + registry.refused, 0);
	ck_assert_uint_eq(registry_seek(&registry, 0x102000), 1);
	ck_assert_uint_eq(registry_seek(&registry, 0x300000), 3);
}
END_TEST

/* A name may end a page, and the next one, which nobody has written to, need not be there. */
START_TEST(last_name_of_what_is_there)
{
	leaf(17)->range[0].name = image_name(bytes, 42, "end-of-page");
	image.size = IMAGE_NAMES + 4096;
	ck_assert_int_eq(registry_read(&memory, IMAGE_BASE, &registry), 0);
	ck_assert_uint_eq(registry.refused, 0);
	ck_assert_uint_eq(registry.count, 3);
	ck_assert_str_eq(registry_name(&registry, 0), "glibc:arena1:42");
	ck_assert_str_eq(registry_name(&registry, 2), "end-of-page");
}
END_TEST

START_TEST(empty_registry_is_no_error)
{
	((struct root *)bytes)->registry.top = 0;
	ck_assert_int_eq(registry_read(&memory, IMAGE_BASE, &registry), 0);
	ck_assert_uint_eq(registry.count, 0);
}
END_TEST

/* The writer replaces leaf 3 by leaf 5 after the first look at the slots. */
static void replace_once(struct image *context, uint64_t address, size_t size)
{
	struct registry_range range = { .start = 0x100000, .end = 0x101000, .name = 0 };
	(void)size;

	if (address != IMAGE_BASE + IMAGE_BLOCKS + 3 * REGISTRY_BLOCK_SIZE)
		return;
	context->before_read = NULL;
	image_leaf(bytes, 5, 11, &range, 1);
	top()->slot[0].ref = 5ULL << 32 | 11;
	memset(leaf(3), 0x55, sizeof(struct registry_leaf));
	leaf(3)->generation = 7;
}

START_TEST(changed_leaf_is_read_again)
{
	image.before_read = replace_once;
	ck_assert_int_eq(registry_read(&memory, IMAGE_BASE, &registry), 0);
	ck_assert_uint_eq(registry.count, 2);
	ck_assert_uint_eq(registry.entry[0].end, 0x101000);
	ck_assert_uint_eq(registry.torn, 0);
}
END_TEST

/* A name whose leaf is gone is rewritten: the copy of the old leaf must not show the new text. */
static void reuse_name(struct image *context, uint64_t address, size_t size)
{
	struct registry_range range = { .start = 0x100000, .end = 0x101000 };
	(void)size;

	if (address < IMAGE_BASE + IMAGE_NAMES || address >= IMAGE_BASE + IMAGE_NAMES + 0x8000)
		return;
	context->before_read = NULL;
	image_name(bytes, 0, "somebody-else");
	range.name = image_name(bytes, 2, "fresh");
	image_leaf(bytes, 5, 11, &range, 1);
	top()->slot[0].ref = 5ULL << 32 | 11;
}

START_TEST(reused_name_is_not_shown)
{
	image.before_read = reuse_name;
	ck_assert_int_eq(registry_read(&memory, IMAGE_BASE, &registry), 0);
	ck_assert_uint_eq(registry.count, 2);
	ck_assert_str_eq(registry_name(&registry, 0), "fresh");
}
END_TEST

/* A slot that changes at every look: the other leaf is still worth having. */
static void change_always(struct image *context, uint64_t address, size_t size)
{
	(void)context;
	(void)size;
	if (address == IMAGE_BASE + IMAGE_TOP + sizeof(struct registry_top))
		top()->slot[0].ref = (top()->slot[0].ref & ~0xffffffffULL) | (uint32_t)++leaf(3)->generation;
}

START_TEST(restless_leaf_is_left_out)
{
	image.before_read = change_always;
	ck_assert_int_eq(registry_read(&memory, IMAGE_BASE, &registry), 0);
	ck_assert_uint_eq(registry.count, 1);
	ck_assert_uint_eq(registry.torn, 1);
	ck_assert_uint_eq(registry.entry[0].start, 0x200000);
	ck_assert_uint_lt(image.reads, 2000);
}
END_TEST

START_TEST(top_being_rewritten_is_bounded)
{
	top()->generation = 0;
	ck_assert_int_eq(registry_read(&memory, IMAGE_BASE, &registry), -EAGAIN);
	ck_assert_uint_lt(image.reads, 200);
}
END_TEST

/* Each breaks one rule of the format. */
static void break_count(void) { leaf(3)->count = 43; }
static void break_huge_count(void) { leaf(3)->count = UINT32_MAX; }
static void break_order(void) { leaf(3)->range[1].start = 0x100000; }
static void break_backwards(void) { leaf(3)->range[0].end = 0x100000; }
static void break_beyond_slot(void) { leaf(3)->range[1].start = leaf(3)->range[1].end = 0x200000; leaf(3)->range[1].end++; }
static void break_generation(void) { leaf(3)->generation = 8; }
static void break_block(void) { top()->slot[0].ref = 0xffffffffULL << 32 | 7; }
static void break_missing_segment(void) { ((struct root *)bytes)->registry.blocks[0] = 0; }
static void break_segment_address(void) { ((struct root *)bytes)->registry.blocks[0] = UINT64_MAX - 8; }
static void break_name_index(void) { leaf(3)->range[0].name = leaf(3)->range[1].name = UINT32_MAX; }
static void break_name_length(void)
{
	bytes[IMAGE_NAMES + offsetof(struct registry_name, length)] = 80;
	bytes[IMAGE_NAMES + 96 + offsetof(struct registry_name, length)] = 255;
}

static const struct {
	void (*apply)(void);
	size_t left;
} leaf_breaks[] = {
	{ break_count, 1 }, { break_huge_count, 1 }, { break_order, 1 }, { break_backwards, 1 },
	{ break_beyond_slot, 1 }, { break_generation, 1 }, { break_block, 1 },
	{ break_missing_segment, 1 }, { break_segment_address, 1 }, { break_name_index, 1 },
	{ break_name_length, 0 },
};

START_TEST(malformed_leaf_is_refused_alone)
{
	leaf_breaks[_i].apply();
	ck_assert_int_eq(registry_read(&memory, IMAGE_BASE, &registry), 0);
	ck_assert_uint_eq(registry.count, leaf_breaks[_i].left);
	ck_assert_uint_gt(registry.torn + registry.refused, 0);
	ck_assert_uint_lt(image.reads, 1000);
}
END_TEST

static void break_top_count(void) { top()->count = top()->capacity = UINT32_MAX; }
static void break_top_over_capacity(void) { top()->count = 65; }
static void break_top_order(void) { top()->slot[1].low = 0; }
static void break_top_address(void) { ((struct root *)bytes)->registry.top = UINT64_MAX - 3; }
static void break_top_far(void) { ((struct root *)bytes)->registry.top = 0x4141414141414141; }

static void (*const top_breaks[])(void) = {
	break_top_count, break_top_over_capacity, break_top_order, break_top_address, break_top_far,
};

START_TEST(malformed_top_is_an_error)
{
	top_breaks[_i]();
	ck_assert_int_lt(registry_read(&memory, IMAGE_BASE, &registry), 0);
	ck_assert_ptr_null(registry.entry);
	ck_assert_uint_lt(image.reads, 200);
}
END_TEST

START_TEST(bad_bytes_in_a_name_are_replaced)
{
	image_name(bytes, 0, "a\033]b$c");
	ck_assert_int_eq(registry_read(&memory, IMAGE_BASE, &registry), 0);
	ck_assert_str_eq(registry_name(&registry, 0), "a__b_c");
}
END_TEST

START_TEST(root_is_checked)
{
	struct root *root = (struct root *)bytes, copy;

	ck_assert_int_eq(registry_read_root(&memory, IMAGE_BASE, &copy), 0);
	root->self = 0;
	ck_assert_int_eq(registry_read_root(&memory, IMAGE_BASE, &copy), -EAGAIN);
	root->self = IMAGE_BASE + 8;
	ck_assert_int_eq(registry_read_root(&memory, IMAGE_BASE, &copy), -EBADMSG);
	root->self = IMAGE_BASE;
	root->version = 2;
	ck_assert_int_eq(registry_read_root(&memory, IMAGE_BASE, &copy), -EPROTO);
	root->magic = 1;
	ck_assert_int_eq(registry_read_root(&memory, IMAGE_BASE, &copy), -EBADMSG);
}
END_TEST

int main(void)
{
	TCase *tests = tcase_create("read registry");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, reads_all_ranges);
	tcase_add_test(tests, last_name_of_what_is_there);
	tcase_add_test(tests, empty_registry_is_no_error);
	tcase_add_test(tests, changed_leaf_is_read_again);
	tcase_add_test(tests, reused_name_is_not_shown);
	tcase_add_test(tests, restless_leaf_is_left_out);
	tcase_add_test(tests, top_being_rewritten_is_bounded);
	tcase_add_loop_test(tests, malformed_leaf_is_refused_alone, 0,
	                    sizeof(leaf_breaks) / sizeof(*leaf_breaks));
	tcase_add_loop_test(tests, malformed_top_is_an_error, 0, sizeof(top_breaks) / sizeof(*top_breaks));
	tcase_add_test(tests, bad_bytes_in_a_name_are_replaced);
	tcase_add_test(tests, root_is_checked);
	return run_tests("read registry", tests);
}
