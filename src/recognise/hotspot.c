/* SPDX-License-Identifier: MIT */
/*
 * HotSpot's heap, code and classes, by the table of its variables that it
 * exports for debuggers (vmStructs.cpp): type, field, and where it is, an
 * address or an offset. A range is named where both its ends make sense.
 */
#include "recognise.h"

#include "object.h"

#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX 8192
#define ENTRY_MAX   128             /* bytes */
#define NAME_MAX_   64
#define CLASS_SPAN  (1ULL << 30)    /* CompressedClassSpaceSize, unless it is set */

enum { HEAP, RESERVED, REGION_START, REGION_WORDS, LOW, HIGH, VARIABLES };
static const struct {
	const char *type, *field;
} wanted[VARIABLES] = {
	[HEAP] = { "Universe", "_collectedHeap" },
	[RESERVED] = { "CollectedHeap", "_reserved" },
	[REGION_START] = { "MemRegion", "_start" },
	[REGION_WORDS] = { "MemRegion", "_word_size" },
	[LOW] = { "CodeCache", "_low_bound" },
	[HIGH] = { "CodeCache", "_high_bound" },
};

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

static bool text_at(struct target *target, struct object *jvm, uint64_t at, const char *text)
{
	char found[NAME_MAX_];
	size_t size = strlen(text) + 1;

	return size <= sizeof(found) && object_constant(target, jvm, at, found, size) && !memcmp(found, text, size);
}

static uint64_t word_of(const char *entry, uint64_t offset)
{
	uint64_t word;

	memcpy(&word, entry + offset, sizeof(word));
	return word;
}

/* Fills in what is wanted: static variables' addresses, and the offsets of the others. */
static unsigned read_table(struct target *target, struct object *jvm, const struct layout *layout, uint64_t *variable)
{
	char entry[ENTRY_MAX];
	unsigned found = 0;

	for (unsigned i = 0; i < ENTRIES_MAX && found < VARIABLES; i++) {
		uint32_t is_static;

		if (memory_get(target, layout->table + i * layout->stride, entry, layout->stride) || !word_of(entry, layout->type))
			break;
		memcpy(&is_static, entry + layout->is_static, sizeof(is_static));
		for (unsigned k = 0; k < VARIABLES; k++)
			if (text_at(target, jvm, word_of(entry, layout->field), wanted[k].field) &&
			    text_at(target, jvm, word_of(entry, layout->type), wanted[k].type)) {
				variable[k] = word_of(entry, is_static ? layout->address : layout->offset);
				found++;
			}
	}
	return found;
}

void recognise_hotspot(struct target *target, struct findings *findings)
{
	struct object *jvm = object_named(target, "libjvm.so");
	struct layout layout;
	uint64_t variable[VARIABLES] = { 0 }, heap, start, words, low, high;

	if (!jvm || !find_layout(target, jvm, &layout) || read_table(target, jvm, &layout, variable) != VARIABLES)
		return;
	if (memory_word(target, variable[HEAP], &heap) && memory_word(target, heap + variable[RESERVED] + variable[REGION_START], &start) &&
	    memory_word(target, heap + variable[RESERVED] + variable[REGION_WORDS], &words) && start % target->own.page == 0 &&
	    words < 1ULL << 44)
		found_add(findings, start, start + words * sizeof(words), "jvm:heap");
	if (memory_word(target, variable[LOW], &low) && memory_word(target, variable[HIGH], &high) && low % target->own.page == 0 &&
	    low < high && high - low <= 2ULL << 30)
		found_add(findings, low, high, "jvm:code");
}
