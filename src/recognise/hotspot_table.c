/* SPDX-License-Identifier: MIT */
/*
 * Finds HotSpot's variables in the table that it exports (vmStructs.cpp): a row
 * each, with the names of a type and of a field, and an address or an offset.
 */
#include "hotspot.h"

#include "object.h"
#include "pages.h"

#include <string.h>

#define ENTRIES_MAX 8192
#define ENTRY_MAX   128             /* bytes */
#define NAME_MAX_   64
#define BLOCK       4096
#define BLOCKS      8
#define HEAP_WORDS_MAX (1ULL << 44)

/* Where in an entry its parts are: exported words tell. */
struct layout {
	uint64_t table, stride, type, field, is_static, offset, address;
};

static bool exported(struct target *target, struct object *jvm, const char *name, uint64_t *value)
{
	uint64_t at = object_symbol(target, jvm, name, NULL);

	/* A constant nobody wrote to is the file's. */
	return at && (memory_word(target, at, value) || object_constant(target, jvm, at, value, sizeof(*value)));
}

static bool find_layout(struct target *target, struct object *jvm, struct layout *layout)
{
	return exported(target, jvm, "gHotSpotVMStructs", &layout->table) &&
	       exported(target, jvm, "gHotSpotVMStructEntryArrayStride", &layout->stride) &&
	       exported(target, jvm, "gHotSpotVMStructEntryTypeNameOffset", &layout->type) &&
	       exported(target, jvm, "gHotSpotVMStructEntryFieldNameOffset", &layout->field) &&
	       exported(target, jvm, "gHotSpotVMStructEntryIsStaticOffset", &layout->is_static) &&
	       exported(target, jvm, "gHotSpotVMStructEntryOffsetOffset", &layout->offset) &&
	       exported(target, jvm, "gHotSpotVMStructEntryAddressOffset", &layout->address) &&
	       layout->stride >= 8 && layout->stride <= ENTRY_MAX && layout->type <= layout->stride - 8 &&
	       layout->field <= layout->stride - 8 && layout->is_static <= layout->stride - 4 &&
	       layout->offset <= layout->stride - 8 && layout->address <= layout->stride - 8;
}

/* The table, and pieces of the file that the names are in: they lie close together. */
struct reader {
	struct target *target;
	struct object *jvm;
	struct pages *pages;
	uint64_t block[BLOCKS];     /* 0: none */
	char bytes[BLOCKS][BLOCK];
};

/* All from the address to the end of its block. */
static const char *block_at(struct reader *reader, uint64_t at)
{
	uint64_t block = at & ~(uint64_t)(BLOCK - 1);
	size_t slot = block / BLOCK % BLOCKS;

	if (reader->block[slot] != block) {
		reader->block[slot] = 0;
		if (!object_constant(reader->target, reader->jvm, block, reader->bytes[slot], BLOCK))
			return NULL;
		reader->block[slot] = block;
	}
	return reader->bytes[slot] + (at - block);
}

/* A name of a type or a field; "": there is none, or it is too long for any that is wanted. */
static void name_at(struct reader *reader, uint64_t at, char name[NAME_MAX_])
{
	const char *bytes = at % BLOCK <= BLOCK - NAME_MAX_ ? block_at(reader, at) : NULL;

	if (bytes) {
		memcpy(name, bytes, NAME_MAX_);
		name[NAME_MAX_ - 1] = memchr(name, 0, NAME_MAX_) ? name[NAME_MAX_ - 1] : '\0';
		return;
	}
	/* The last string of a file has less behind it. */
	for (size_t size = NAME_MAX_; size; size /= 2)
		if (object_constant(reader->target, reader->jvm, at, name, size)) {
			name[size - 1] = memchr(name, 0, size) ? name[size - 1] : '\0';
			return;
		}
	*name = '\0';
}

static uint64_t word_of(const char *entry, uint64_t offset)
{
	uint64_t word;

	memcpy(&word, entry + offset, sizeof(word));
	return word;
}

static bool is_wanted(const struct hotspot_variable *wanted, const char *type, const char *field)
{
	return !strcmp(field, wanted->field) && (!strcmp(type, wanted->type) || (wanted->alias && !strcmp(type, wanted->alias)));
}

static size_t read_table(struct reader *reader, const struct layout *layout, const struct hotspot_variable *wanted, size_t count, uint64_t *value)
{
	char entry[ENTRY_MAX], type[NAME_MAX_], field[NAME_MAX_];
	size_t found = 0;

	for (unsigned i = 0; i < ENTRIES_MAX && found < count; i++) {
		uint32_t is_static;

		if (!pages_get(reader->pages, layout->table + i * layout->stride, entry, layout->stride) || !word_of(entry, layout->type))
			break;
		memcpy(&is_static, entry + layout->is_static, sizeof(is_static));
		name_at(reader, word_of(entry, layout->field), field);
		name_at(reader, word_of(entry, layout->type), type);
		for (size_t k = 0; k < count; k++)
			if (value[k] == HOTSPOT_ABSENT && is_wanted(&wanted[k], type, field)) {
				value[k] = word_of(entry, is_static ? layout->address : layout->offset);
				found++;
			}
	}
	return found;
}

size_t hotspot_find(struct target *target, const struct hotspot_variable *wanted, size_t count, uint64_t *value)
{
	struct object *jvm = object_named(target, "libjvm.so");
	struct layout layout;

	for (size_t i = 0; i < count; i++)
		value[i] = HOTSPOT_ABSENT;
	if (!jvm || !find_layout(target, jvm, &layout))
		return 0;

	struct reader reader = { .target = target, .jvm = jvm, .pages = pages_new(target, PAGES_FEW) };
	size_t found = reader.pages ? read_table(&reader, &layout, wanted, count, value) : 0;

	pages_free(reader.pages);
	return found;
}

bool hotspot_field(struct target *target, uint64_t object, uint64_t at, uint64_t *word)
{
	return at != HOTSPOT_ABSENT && memory_word(target, object + at, word);
}

bool hotspot_word(const struct hotspot *hotspot, uint64_t object, unsigned place, uint64_t *word)
{
	return hotspot_field(hotspot->target, object, hotspot->at[place], word);
}

void hotspot_name_range(const struct hotspot *hotspot, uint64_t start, uint64_t end, const char *name)
{
	struct target *target = hotspot->target;

	for (size_t i = area_seek(target, start); i < target->areas && target->area[i].start < end && !target_is_spent(target); i++) {
		const struct area *area = &target->area[i];

		if (area->class == VMA_UNNAMED && area_is_anonymous(area))
			found_add(hotspot->findings, area->start > start ? area->start : start, area->end < end ? area->end : end, "%s",
			          area->perms[0] == '-' ? "jvm:reserve" : name);
	}
}

bool hotspot_heap(const struct hotspot *hotspot, uint64_t *start, uint64_t *end)
{
	uint64_t heap, words;

	if (!hotspot_word(hotspot, 0, HOTSPOT_HEAP, &heap) || !heap || hotspot->at[HOTSPOT_RESERVED] == HOTSPOT_ABSENT)
		return false;
	heap += hotspot->at[HOTSPOT_RESERVED];
	if (!hotspot_word(hotspot, heap, HOTSPOT_REGION_START, start) || !hotspot_word(hotspot, heap, HOTSPOT_REGION_WORDS, &words) || !*start ||
	    *start % hotspot->target->own.page || !words || words >= HEAP_WORDS_MAX)
		return false;
	*end = *start + words * sizeof(words);
	return true;
}
