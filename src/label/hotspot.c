/* SPDX-License-Identifier: MIT */
/*
 * Heap, code, metaspace or the collector's tables? See hotspot.h.
 *
 * At its start HotSpot reserves and commits in a fixed order (universe_init):
 *
 *   code cache | its tables | heap | the collector's tables | classes ...
 *              ^            ^                               ^
 *         _low_bound   _collectedHeap      the classes' base, their archive's, or ClassLoaderDataGraph::_head
 *
 * Each variable is set between two of them. ZGC has all of its own before
 * _collectedHeap is set, but the code cache says where its tables are. Heap and
 * code cache are ranges that can be read. What else is reserved before the last
 * variable is set gets its purpose from the first commit in it and keeps it, since
 * the collector commits more as the heap grows. All that is reserved later is
 * metaspace, in pieces of some MiB, unless it is committed whole: such are the
 * collector's queues.
 */
#include "label/hotspot.h"

#include <sys/mman.h>

#include "base/elf.h"
#include "base/text.h"
#include "label/thread.h"

/* Where the variables are, and at which offset their fields: the names are HotSpot's (vmStructs.cpp). */
enum { LOW, HIGH, HEAP, CLASSES, RESERVED, REGION_START, REGION_WORDS, NEEDED, CLASS_BASE = NEEDED, ARCHIVE, CODE_HEAPS,
       ARRAY_LENGTH, ARRAY_DATA, SEGMAP, SPACE_LOW, SPACE_HIGH, PLACES };
static const struct wanted {
	uint8_t place;
	const char *type, *field;
} wanted[] = {
	{ LOW, "CodeCache", "_low_bound" },
	{ HIGH, "CodeCache", "_high_bound" },
	{ HEAP, "Universe", "_collectedHeap" },
	{ CLASSES, "ClassLoaderDataGraph", "_head" },
	{ RESERVED, "CollectedHeap", "_reserved" },
	{ REGION_START, "MemRegion", "_start" },
	{ REGION_WORDS, "MemRegion", "_word_size" },
	{ CLASS_BASE, "CompressedKlassPointers", "_narrow_klass._base" },
	{ CLASS_BASE, "CompressedKlassPointers", "_base" },     /* JDK 25 */
	{ ARCHIVE, "MetaspaceObj", "_shared_metaspace_base" },
	{ CODE_HEAPS, "CodeCache", "_heaps" },
	{ ARRAY_LENGTH, "GrowableArrayBase", "_len" },
	{ ARRAY_LENGTH, "GenericGrowableArray", "_len" },       /* until JDK 14 */
	{ ARRAY_DATA, "GrowableArray<int>", "_data" },
	{ SEGMAP, "CodeHeap", "_segmap" },
	{ SPACE_LOW, "VirtualSpace", "_low_boundary" },
	{ SPACE_HIGH, "VirtualSpace", "_high_boundary" },
};

static uintptr_t place[PLACES] COLD_BSS;        /* an address, or an offset from RESERVED on */
static uint32_t place_state;                    /* 0 not looked for, 1 not there, 2 there */

enum purpose { UNDECIDED, CODE, GC, METASPACE };

/* What is reserved while HotSpot starts, by one thread; G1 has 15 of them. */
static struct reservation {
	uintptr_t start, end;
	uint32_t purpose;
} reservations[64] COLD_BSS;
static uint32_t reservation_count;

/* The last reservation after the start, by its ends. */
static uintptr_t last_start, last_end;

/* --- finding the variables ------------------------------------------------------- */

static uintptr_t exported(const struct elf_symbols *symbols, const char *name)
{
	const ElfW(Sym) *s = elf_find(symbols, name);

	return s ? *(const uintptr_t *)(symbols->base + s->st_value) : 0;
}

/* The table is an array of entries, and other exported words tell their layout. A NULL type ends it. */
static bool read_table(const struct elf_symbols *symbols)
{
	uintptr_t entry = exported(symbols, "gHotSpotVMStructs");
	uintptr_t stride = exported(symbols, "gHotSpotVMStructEntryArrayStride");
	uintptr_t type_at = exported(symbols, "gHotSpotVMStructEntryTypeNameOffset");
	uintptr_t field_at = exported(symbols, "gHotSpotVMStructEntryFieldNameOffset");
	uintptr_t static_at = exported(symbols, "gHotSpotVMStructEntryIsStaticOffset");
	uintptr_t offset_at = exported(symbols, "gHotSpotVMStructEntryOffsetOffset");
	uintptr_t address_at = exported(symbols, "gHotSpotVMStructEntryAddressOffset");
	uint32_t found = 0;

	for (; entry && stride; entry += stride) {
		const char *type = *(const char *const *)(entry + type_at);
		const char *field = *(const char *const *)(entry + field_at);

		if (!type)
			break;
		for (unsigned i = 0; field && i < ARRAY_SIZE(wanted); i++) {
			if (!text_equal(type, wanted[i].type) || !text_equal(field, wanted[i].field))
				continue;
			place[wanted[i].place] =
				*(const uintptr_t *)(entry + (*(const int *)(entry + static_at) ? address_at : offset_at));
			found |= 1U << wanted[i].place;
		}
	}
	return (found & ((1U << NEEDED) - 1)) == (1U << NEEDED) - 1;
}

static bool have_places(const struct object *libjvm)
{
	struct elf_symbols symbols;
	bool found;

	if (likely(load_acquire(&place_state)))
		return load_acquire(&place_state) == 2;
	found = object_symbols(libjvm, &symbols) && read_table(&symbols);
	store_release(&place_state, found ? 2U : 1U);
	return found;
}

static uintptr_t value(unsigned variable)
{
	return load_acquire((const uintptr_t *)place[variable]);
}

/* Where class space begins; 0: not known yet, or never. JDK 25 has -1 until then. */
static uintptr_t class_base(void)
{
	uintptr_t base = place[CLASS_BASE] ? value(CLASS_BASE) : 0;

	return base + 1 > 1 ? base : place[ARCHIVE] ? value(ARCHIVE) : 0;
}

/* The collector is ready, and memory for classes comes next. */
static bool classes_come(void)
{
	return value(CLASSES) || class_base();
}

/* --- whose is it -------------------------------------------------------------------- */

static bool in_heap(uintptr_t addr)
{
	uintptr_t heap = value(HEAP), region = heap + place[RESERVED];

	return heap && addr - *(const uintptr_t *)(region + place[REGION_START]) <
		       *(const uintptr_t *)(region + place[REGION_WORDS]) * sizeof(uintptr_t);
}

/* Aligned ones are reserved, given back, and reserved again: the newest holds. */
static struct reservation *reservation_of(uintptr_t addr)
{
	for (uint32_t i = load_acquire(&reservation_count); i-- > 0;)
		if (addr >= reservations[i].start && addr < reservations[i].end)
			return &reservations[i];
	return NULL;
}

static void reserved(uintptr_t start, uintptr_t end)
{
	uint32_t i = load_relaxed(&reservation_count);

	if (classes_come()) {
		store_relaxed(&last_start, start);
		store_relaxed(&last_end, end);
	} else if (i < ARRAY_SIZE(reservations)) {
		reservations[i] = (struct reservation){ .start = start, .end = end };
		store_release(&reservation_count, i + 1);
	}
}

/* A code heap says where its map of segments is, before that is committed. 0 is an offset, too. */
static bool is_segmap(const struct reservation *r)
{
	uintptr_t heaps = place[CODE_HEAPS] ? value(CODE_HEAPS) : 0;
	int length = heaps ? *(const int *)(heaps + place[ARRAY_LENGTH]) : 0;

	for (int i = 0; i < length; i++) {
		uintptr_t map = (*(uintptr_t *const *)(heaps + place[ARRAY_DATA]))[i] + place[SEGMAP];
		uintptr_t low = *(const uintptr_t *)(map + place[SPACE_LOW]), high = *(const uintptr_t *)(map + place[SPACE_HIGH]);

		if (low < r->end && r->start < high)
			return true;
	}
	return false;
}

/* ZGC makes its tables before _collectedHeap is set. Who does not say where its code heaps are has no ZGC. */
static enum purpose before_classes(const struct reservation *r)
{
	return !value(HEAP) && (!place[CODE_HEAPS] || is_segmap(r)) ? CODE : GC;
}

static const char *purpose_of(struct reservation *r)
{
	uint32_t purpose = load_relaxed(&r->purpose);
	uintptr_t classes = class_base();

	/* Class space may have a first page, for nobody to touch, before it is known to be that. */
	if (classes >= r->start && classes < r->end)
		return "metaspace";
	if (purpose == UNDECIDED) {
		if (!value(LOW))
			return "memory";
		purpose = classes_come() ? METASPACE : before_classes(r);
		store_relaxed(&r->purpose, purpose);
	}
	return purpose == METASPACE ? "metaspace" : purpose == GC ? "gc" : "code";
}

static const char *committed(uintptr_t start, uintptr_t end)
{
	const struct thread *me = thread_self();
	struct reservation *r;

	if (start - value(LOW) < value(HIGH) - value(LOW))
		return "code";
	if (in_heap(start))
		return "heap";
	/* The pages that each thread makes unusable at the end of its stack. */
	if (start >= me->stack_start && start < me->stack_end)
		return "guard";
	r = reservation_of(start);
	if (r)
		return purpose_of(r);
	if (!classes_come() || (start == load_relaxed(&last_start) && end == load_relaxed(&last_end)))
		return "memory";
	return "metaspace";
}

const char *hotspot_part(const struct object *libjvm, const struct mapping *m)
{
	bool fixed = m->flags & MAP_FIXED;

	if (!have_places(libjvm))
		return m->prot == PROT_NONE ? "reserve" : m->prot & PROT_EXEC ? "code" : "memory";
	if (m->prot == PROT_NONE && !fixed)
		reserved(m->start, m->start + m->len);
	if (m->prot == PROT_NONE)
		return "reserve";
	return fixed ? committed(m->start, m->start + m->len) : "memory";
}
