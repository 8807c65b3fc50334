/* SPDX-License-Identifier: MIT */
/*
 * Blocks, tops and names of the registry. See store.h, and
 * format/registry_format.h for the bytes. A change may be left at any
 * instruction, so what is kept here is written in such an order that a block or a
 * name's memory is lost at worst: written_before() says where the order matters.
 */
#include "sink/registry/store.h"

#include "base/own.h"

#define NAME_BUCKETS 512
#define NAME_CLASSES 7                  /* 16, 32, ... 112 bytes: header and 79 of text need 92 */
#define FIRST_TOP_SIZE 512U
/*
 * The first mapping: blocks, two tops, names; so that the last two blocks, the
 * tops and the first names share one page, the only one that most processes
 * touch. For that block_get begins with the last two blocks.
 */
#define FIRST_PAGE_PART 2048U
#define FIRST_BLOCKS (REGISTRY_SEGMENT0_SIZE / REGISTRY_BLOCK_SIZE)
#define FIRST_MAPPING (FIRST_PAGE_PART + 2 * REGISTRY_SEGMENT0_SIZE + 2 * FIRST_TOP_SIZE)

static uint32_t blocks_made;            /* blocks ever handed out */
static uint32_t blocks_room;            /* blocks in the segments there are */
static uint32_t free_first, free_last;  /* retired blocks, oldest first; index + 1, 0 none */
uint32_t store_generation;
static uint32_t names_made;             /* granules ever handed out */
static uint32_t names_room;
static uint32_t name_bucket[NAME_BUCKETS];
static uint32_t name_free[NAME_CLASSES];
uint32_t name_last;
static struct registry_top *spare_top;  /* same capacity as the published one, or NULL */

/* --- memory ---------------------------------------------------------------- */

/* Adds a segment to segments[]; *room grows by its units. */
static bool add_segment(uint64_t segments[], uint32_t *room, uint32_t unit)
{
	for (unsigned k = 0; k < REGISTRY_SEGMENTS; k++) {
		if (segments[k])
			continue;
		void *memory = own_map(registry_segment_size(k), "registry");

		if (!memory)
			return false;
		store_release(&segments[k], (uint64_t)(uintptr_t)memory);
		*room += (uint32_t)(registry_segment_size(k) / unit);
		return true;
	}
	return false;
}

int64_t block_get(void)
{
	if (free_first) {
		uint32_t block = free_first - 1;

		/* Left between the two, a block is lost, and not the list. */
		if (free_first == free_last)
			free_last = 0;
		written_before();
		free_first = (uint32_t)block_at(block)->reserved;
		written_before();
		fence_before_reuse();
		return block;
	}
	if (blocks_made == blocks_room && !add_segment(registry.blocks, &blocks_room, REGISTRY_BLOCK_SIZE))
		return -1;
	count_add(COUNT_BYTES, REGISTRY_BLOCK_SIZE);

	uint32_t made = blocks_made++;

	return made < FIRST_BLOCKS ? made ^ (FIRST_BLOCKS - 2) : made;
}

void block_put(uint32_t block)
{
	struct registry_leaf *leaf = block_at(block);

	store_release(&leaf->generation, 0U);
	leaf->reserved = 0;
	written_before();
	if (free_last)
		block_at(free_last - 1)->reserved = block + 1;
	else
		free_first = block + 1;
	written_before();
	free_last = block + 1;
}

struct registry_top *top_get(uint32_t slots)
{
	struct registry_top *top = spare_top;

	spare_top = NULL;
	if (top && top->capacity >= slots)
		return top;

	size_t size = page_up(sizeof(*top) + (size_t)slots * 2 * sizeof(top->slot[0]));

	top = own_map(size, "registry");
	if (!top)
		return NULL;
	count_add(COUNT_BYTES, (int64_t)size);
	top->capacity = (uint32_t)((size - sizeof(*top)) / sizeof(top->slot[0]));
	return top;
}

void top_publish(struct registry_top *top)
{
	struct registry_top *old = top_now();

	store_release(&top->generation, (uint64_t)new_generation());
	store_release(&registry.top, (uint64_t)(uintptr_t)top);
	if (old) {
		store_release(&old->generation, (uint64_t)0);
		written_before();
		spare_top = old;
	}
}

bool store_start(void)
{
	if (top_now())
		return true;
	char *memory = own_map(FIRST_MAPPING, "registry");

	if (!memory)
		return false;
	registry.blocks[0] = (uint64_t)(uintptr_t)memory + FIRST_PAGE_PART;

	struct registry_top *top = (void *)(uintptr_t)(registry.blocks[0] + REGISTRY_SEGMENT0_SIZE);

	spare_top = (void *)((char *)top + FIRST_TOP_SIZE);
	registry.names[0] = (uint64_t)(uintptr_t)spare_top + FIRST_TOP_SIZE;
	blocks_room = FIRST_BLOCKS;
	names_room = REGISTRY_SEGMENT0_SIZE / REGISTRY_NAME_GRANULE;
	top->capacity = spare_top->capacity = (FIRST_TOP_SIZE - sizeof(*top)) / sizeof(top->slot[0]);
	top->count = 1;
	top->slot[0].low = 0;
	uint32_t block = (uint32_t)block_get();

	block_at(block)->generation = new_generation();
	top->slot[0].ref = (uint64_t)block << 32 | block_at(block)->generation;
	count_add(COUNT_BYTES, 2 * FIRST_TOP_SIZE);
	top_publish(top);
	return true;
}

/* --- names ------------------------------------------------------------------ */

static uint32_t name_class(size_t len)
{
	return (uint32_t)((offsetof(struct registry_name, text) + len + REGISTRY_NAME_GRANULE - 1) / REGISTRY_NAME_GRANULE);
}

/*
 * The lowest bit is not the text's: it says that the name is for code. So one
 * text is two names where it is given to code and to other memory, and what is
 * code stays marked through every cut, move and merge of ranges.
 */
static uint32_t name_hash(const char *text, size_t len, bool code)
{
	uint32_t h = 2166136261U;       /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)text[i]) * 16777619U;
	return (h & ~1U) | code;
}

void name_put(uint32_t granule)
{
	struct registry_name *name = name_at(granule);

	if (--name->refs)
		return;

	uint32_t *link = &name_bucket[name->hash % NAME_BUCKETS];

	while (*link && *link != granule + 1)
		link = &name_at(*link - 1)->next;
	if (*link)
		*link = name->next;
	written_before();

	uint32_t class = name_class(name->length);

	name->next = name_free[class - 1];
	written_before();
	name_free[class - 1] = granule + 1;
	count_held(COUNT_NAMES, -1);
}

int64_t name_find(const char *text, size_t len, bool code)
{
	if (name_last) {
		uint32_t old = name_last - 1;

		name_last = 0;
		written_before();
		name_put(old);
	}

	uint32_t hash = name_hash(text, len, code);
	uint32_t *bucket = &name_bucket[hash % NAME_BUCKETS];

	for (uint32_t n = *bucket; n; n = name_at(n - 1)->next) {
		struct registry_name *name = name_at(n - 1);

		if (name->hash == hash && name_is(name, text, len, code)) {
			name->refs += 2;
			written_before();
			name_last = n;
			return n - 1;
		}
	}

	uint32_t granules = name_class(len);
	uint32_t granule;

	if (name_free[granules - 1]) {
		granule = name_free[granules - 1] - 1;
		name_free[granules - 1] = name_at(granule)->next;
		written_before();
		fence_before_reuse();
	} else {
		/* A name does not straddle two segments. */
		if (names_made + granules > names_room)
			names_made = names_room;
		if (names_made == names_room && !add_segment(registry.names, &names_room, REGISTRY_NAME_GRANULE))
			return -1;
		granule = names_made;
		names_made += granules;
		count_add(COUNT_BYTES, (int64_t)granules * REGISTRY_NAME_GRANULE);
	}

	struct registry_name *name = name_at(granule);

	name->refs = 2;         /* one for name_last */
	name->hash = hash;
	name->length = (uint8_t)len;
	memcpy(name->text, text, len);
	name->next = *bucket;
	written_before();
	*bucket = granule + 1;
	written_before();
	name_last = granule + 1;
	count_held(COUNT_NAMES, 1);
	return granule;
}
