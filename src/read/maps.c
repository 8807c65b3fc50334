/* SPDX-License-Identifier: MIT */
/*
 * Parses maps and smaps by hand. Reading smaps costs the kernel 2.5 us a VMA;
 * sscanf would cost as much again, this costs a twentieth.
 */
#include "maps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *text;
	enum vma_class class;
} known_names[] = {
	{ "[heap]", VMA_HEAP },
	{ "[stack]", VMA_STACK },
	{ "[rollup]", VMA_ROLLUP },
	{ "/dev/zero (deleted)", VMA_SHARED },
	{ "/anon_hugepage (deleted)", VMA_SHARED },
};

/* Shared memory, by its path alone, as in a copy of smaps. */
static bool is_shared_memory(struct text path)
{
	return text_starts(path, "/memfd:") || text_starts(path, "/dev/shm/") ||
	       (text_starts(path, "/SYSV") && text_ends(path, " (deleted)"));
}

static void classify(struct vma *vma)
{
	static const char anon[] = "[anon:", shmem[] = "[anon_shmem:";
	struct text *name = &vma->name;
	bool bracketed;
	size_t prefix = 0;

	if (!name->len) {
		vma->class = vma->inode ? VMA_FILE : VMA_UNNAMED;
		return;
	}
	bracketed = name->at[0] == '[' && name->at[name->len - 1] == ']';
	vma->class = bracketed ? VMA_SPECIAL : VMA_FILE;
	if (bracketed && text_starts(*name, anon)) {
		vma->class = VMA_NAMED;
		prefix = sizeof(anon) - 1;
	} else if (bracketed && text_starts(*name, shmem)) {
		vma->class = VMA_SHARED_NAMED;
		prefix = sizeof(shmem) - 1;
	} else if (bracketed && text_starts(*name, "[stack:")) {
		vma->class = VMA_STACK;     /* Linux before 4.5 */
	} else if (is_shared_memory(*name)) {
		vma->class = VMA_SHM;
	} else {
		for (size_t i = 0; i < sizeof(known_names) / sizeof(*known_names); i++)
			if (text_is(*name, known_names[i].text))
				vma->class = known_names[i].class;
	}
	if (prefix) {
		name->at += prefix;
		name->len -= prefix + 1;
	}
}

/*
 * The numbers of a header line are half of what there is to parse, so they are
 * taken with a pointer and not through text_u64(). More digits than fit are
 * refused.
 */
static const signed char hex_digits[256] = {
	['0'] = 1, ['1'] = 2, ['2'] = 3, ['3'] = 4, ['4'] = 5, ['5'] = 6, ['6'] = 7, ['7'] = 8, ['8'] = 9,
	['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

static inline bool take_hex(const char **at, const char *end, char behind, uint64_t *value)
{
	const char *p = *at;
	uint64_t sum = 0;
	int digit;

	while (p < end && (digit = hex_digits[(unsigned char)*p])) {
		sum = sum << 4 | (unsigned)(digit - 1);
		p++;
	}
	if (p == *at || p - *at > 16 || p == end || *p != behind)
		return false;
	*at = p + 1;
	*value = sum;
	return true;
}

static bool parse_addresses(const char **at, const char *end, uint64_t *first, uint64_t *last)
{
	return take_hex(at, end, '-', first) && take_hex(at, end, ' ', last) && *last > *first;
}

/* What stands behind the addresses. */
static bool parse_rest(const char *at, const char *end, struct vma *vma)
{
	struct text line;

	if (end - at < 5 || at[4] != ' ')
		return false;
	for (unsigned i = 0; i < 4; i++)
		if (at[i] < '!' || at[i] > '~')
			return false;
	memcpy(vma->perms, at, 4);
	at += 5;
	if (!take_hex(&at, end, ' ', &vma->offset) || !take_hex(&at, end, ':', &vma->major) ||
	    !take_hex(&at, end, ' ', &vma->minor))
		return false;
	line = (struct text){ at, (size_t)(end - at) };
	if (!text_u64(&line, 10, &vma->inode))
		return false;
	/* To the end of the line: a name may hold and end in blanks, "[anon: ]" is one. */
	text_blanks(&line);
	vma->name = line;
	vma->figures.value[FIG_VMAS] = 1;
	vma->figures.value[FIG_SIZE] = vma->end - vma->start;
	classify(vma);
	return true;
}

bool vma_parse(struct text line, struct vma *vma)
{
	const char *at = line.at, *end = line.at + line.len;

	memset(vma, 0, sizeof(*vma));
	return parse_addresses(&at, end, &vma->start, &vma->end) && parse_rest(at, end, vma);
}

bool vma_is_anonymous(const struct vma *vma)
{
	return vma->class == VMA_UNNAMED || vma->class == VMA_NAMED ||
	       vma->class == VMA_HEAP || vma->class == VMA_STACK;
}

bool vma_takes_registry_name(const struct vma *vma)
{
	return vma->class == VMA_UNNAMED || vma->class == VMA_SHARED;
}

/* The fields of smaps that are used, in the order in which the kernel prints them. */
enum field {
	F_RSS, F_PSS, F_PSS_DIRTY, F_SHARED_CLEAN, F_SHARED_DIRTY, F_PRIVATE_CLEAN, F_PRIVATE_DIRTY, F_ANONYMOUS,
	F_KSM, F_LAZYFREE, F_ANON_HUGE, F_SHMEM_HUGE, F_FILE_HUGE, F_SHARED_HUGETLB, F_PRIVATE_HUGETLB,
	F_SWAP, F_SWAP_PSS, F_LOCKED, F_FLAGS, F_COUNT
};

#define FIELD(text) { text, sizeof(text) - 1 }
static const struct {
	const char *key;
	size_t len;
} fields[F_COUNT] = {
	[F_RSS] = FIELD("Rss:"),
	[F_PSS] = FIELD("Pss:"),
	[F_PSS_DIRTY] = FIELD("Pss_Dirty:"),            /* Linux 6.0 */
	[F_SHARED_CLEAN] = FIELD("Shared_Clean:"),
	[F_SHARED_DIRTY] = FIELD("Shared_Dirty:"),
	[F_PRIVATE_CLEAN] = FIELD("Private_Clean:"),
	[F_PRIVATE_DIRTY] = FIELD("Private_Dirty:"),
	[F_ANONYMOUS] = FIELD("Anonymous:"),
	[F_KSM] = FIELD("KSM:"),                        /* Linux 6.8 */
	[F_LAZYFREE] = FIELD("LazyFree:"),              /* Linux 4.12 */
	[F_ANON_HUGE] = FIELD("AnonHugePages:"),
	[F_SHMEM_HUGE] = FIELD("ShmemPmdMapped:"),
	[F_FILE_HUGE] = FIELD("FilePmdMapped:"),
	[F_SHARED_HUGETLB] = FIELD("Shared_Hugetlb:"),
	[F_PRIVATE_HUGETLB] = FIELD("Private_Hugetlb:"),
	[F_SWAP] = FIELD("Swap:"),
	[F_SWAP_PSS] = FIELD("SwapPss:"),
	[F_LOCKED] = FIELD("Locked:"),
	[F_FLAGS] = FIELD("VmFlags:"),
};

enum { FLAG_LOCKED = 1, FLAG_MERGEABLE = 2 };

/*
 * Comparing is many times cheaper than parsing, and much of smaps repeats: an
 * allocator's VMAs are alike, and processes have libraries in common. So the
 * text of a VMA, from behind the addresses to its last line, is kept with what
 * it said, and found again by a hash of its first line. Where that fails, the
 * lines of the VMA before help one by one: of two VMAs that differ most lines
 * do not.
 */
#define KNOWN_SETS  128
#define KNOWN_WAYS  4
#define KNOWN_SIZE  1024        /* Linux 6.18 has 720 bytes, and a path */
#define SHAPE_LINES 40
#define SHAPE_WIDTH 96

struct known {
	struct vma vma;             /* but for the addresses, and what follows from them */
	size_t name_at;             /* where in text the name begins */
	char text[KNOWN_SIZE];
};

/* Apart from the rest, so that most of that is never touched. */
struct known_index {
	uint32_t hash;
	uint16_t tail;              /* bytes of the first line; 0: not in use */
	uint16_t len;               /* of the lines below */
};

struct shape_line {
	size_t len;                 /* with the newline; 0: not usable */
	uint64_t value;             /* bytes, or the flags */
	int field;                  /* enum field, -1: nothing that is used */
	char text[SHAPE_WIDTH];
};

struct maps_reader {
	struct known_index index[KNOWN_SETS][KNOWN_WAYS];
	uint8_t oldest[KNOWN_SETS]; /* the way to be replaced next */
	/* What is being collected for the next time; NULL: it cannot be kept. */
	struct known *collect;
	struct known_index *collect_index;
	struct known_index collected;
	uint32_t flags;
	struct shape_line shape[SHAPE_LINES];
	unsigned line;              /* below the header */
	unsigned what;              /* MAPS_ */
	bool with_figures;          /* of it */
	bool have;                  /* vma holds a VMA that was not handed out yet */
	bool complete;              /* and its figures */
	struct vma vma;
	uint64_t field[F_COUNT];    /* bytes */
	uint32_t seen;
	int last;                   /* the field of the last line, -1: of no use */
	int next;                   /* the field that comes next, most likely */
	uint64_t last_start, last_end;
	uint64_t malformed;
	vma_function *each;
	void *context;
	struct lines lines;
	struct known known[KNOWN_SETS][KNOWN_WAYS];
	char name[LINES_BUFFER];    /* smaps only: the line is gone when the fields are read */
};

/* Anonymous pages that smaps counts as shared. KSM's are shared too, but not by fork. */
static void cow_to_figures(const uint64_t *field, uint32_t seen, struct vma *vma)
{
	uint64_t shared = field[F_SHARED_CLEAN] + field[F_SHARED_DIRTY];
	uint64_t private = field[F_PRIVATE_CLEAN] + field[F_PRIVATE_DIRTY];
	uint64_t anonymous = field[F_ANONYMOUS], ksm = field[F_KSM], low, high;

	if (vma->figures.unknown & FIG_BIT(FIG_COW))
		return;
	if (!(seen & 1U << F_ANONYMOUS))        /* Linux before 2.6.36 */
		anonymous = vma_is_anonymous(vma) ? field[F_RSS] : 0;
	low = anonymous > private ? anonymous - private : 0;
	high = anonymous < shared ? anonymous : shared;
	if (!(seen & 1U << F_ANONYMOUS) && vma->class == VMA_FILE && vma->perms[3] == 'p')
		high = shared;
	if (vma->figures.unknown & FIG_BIT(FIG_KSM))
		ksm = high;
	else
		high -= ksm > private ? (ksm - private < high ? ksm - private : high) : 0;
	low -= ksm < low ? ksm : low;
	/* The kernel does not say who shares a hugetlb page, nor whether it was copied. Without a file, it was. */
	if (field[F_SHARED_HUGETLB] && vma->perms[3] == 'p') {
		high = field[F_SHARED_HUGETLB];
		low = vma->class == VMA_SHARED ? high : 0;
	}
	/* Of copied and file pages in one VMA: after a fork the copied ones are the dirty ones. KSM's are mostly shared. */
	figure_between(&vma->figures, FIG_COW, low, high, field[F_SHARED_DIRTY] - (ksm < field[F_SHARED_DIRTY] ? ksm : field[F_SHARED_DIRTY]));
}

/* hugetlb pages are not in Rss, Pss and the private and shared fields. */
static void fields_to_figures(const uint64_t *field, uint32_t seen, struct vma *vma)
{
	static const struct {
		enum figure figure;
		uint32_t needs;
	} need[] = {
		{ FIG_RSS, 1U << F_RSS },
		{ FIG_PSS, 1U << F_PSS },
		{ FIG_USS, 1U << F_PRIVATE_CLEAN | 1U << F_PRIVATE_DIRTY },
		{ FIG_COW, 1U << F_SHARED_CLEAN | 1U << F_SHARED_DIRTY },
		{ FIG_KSM, 1U << F_KSM },
		{ FIG_SWAP, 1U << F_SWAP },
		{ FIG_SWAP_PSS, 1U << F_SWAP_PSS },
		{ FIG_THP, 1U << F_ANON_HUGE },
		{ FIG_LOCKED, 1U << F_LOCKED },
		{ FIG_DIRTY, 1U << F_SHARED_DIRTY | 1U << F_PRIVATE_DIRTY },
		{ FIG_CLEAN, 1U << F_SHARED_CLEAN | 1U << F_PRIVATE_CLEAN },
		{ FIG_LAZYFREE, 1U << F_LAZYFREE },
		{ FIG_PSS_DIRTY, 1U << F_PSS_DIRTY },
	};
	uint64_t *value = vma->figures.value;

	for (size_t i = 0; i < sizeof(need) / sizeof(*need); i++)
		if ((seen & need[i].needs) != need[i].needs)
			vma->figures.unknown |= FIG_BIT(need[i].figure);
	/* Where KSM never looked there is nothing of it, whatever the kernel prints. */
	if (!(seen & 1U << F_FLAGS))
		vma->mergeable = true;
	if (!vma->mergeable)
		vma->figures.unknown &= ~FIG_BIT(FIG_KSM);
	/* Before Linux 4.3: nothing swapped is nobody's share of it. */
	if (seen & 1U << F_SWAP && !field[F_SWAP])
		vma->figures.unknown &= ~FIG_BIT(FIG_SWAP_PSS);
	vma->figures.unknown |= FIG_BIT(FIG_ZERO);

	vma->anonymous = field[F_ANONYMOUS];
	value[FIG_RSS] = field[F_RSS] + field[F_SHARED_HUGETLB] + field[F_PRIVATE_HUGETLB];
	value[FIG_USS] = field[F_PRIVATE_CLEAN] + field[F_PRIVATE_DIRTY] + field[F_PRIVATE_HUGETLB];
	value[FIG_KSM] = field[F_KSM];
	value[FIG_SWAP] = field[F_SWAP];
	value[FIG_SWAP_PSS] = field[F_SWAP_PSS];
	value[FIG_THP] = field[F_ANON_HUGE] + field[F_SHMEM_HUGE] + field[F_FILE_HUGE] +
	                 field[F_SHARED_HUGETLB] + field[F_PRIVATE_HUGETLB];
	value[FIG_LOCKED] = field[F_LOCKED];
	/* hugetlb pages have no clean state to go back to. */
	value[FIG_DIRTY] = field[F_SHARED_DIRTY] + field[F_PRIVATE_DIRTY] + field[F_SHARED_HUGETLB] + field[F_PRIVATE_HUGETLB];
	value[FIG_CLEAN] = field[F_SHARED_CLEAN] + field[F_PRIVATE_CLEAN];
	value[FIG_LAZYFREE] = field[F_LAZYFREE];
	/* The kernel does not say who shares a hugetlb page. Half of it is this process's at the most. */
	for (unsigned i = 0; i < 2; i++) {
		enum figure figure = i ? FIG_PSS_DIRTY : FIG_PSS;
		uint64_t pss = field[i ? F_PSS_DIRTY : F_PSS] + field[F_PRIVATE_HUGETLB], shared = field[F_SHARED_HUGETLB];

		if (!(vma->figures.unknown & FIG_BIT(figure)))
			figure_between(&vma->figures, figure, pss, pss + shared / 2, pss + shared / 4);
	}
	cow_to_figures(field, seen, vma);
	/* Its address range is from the first VMA to the last, with all that is empty in between. */
	if (vma->class == VMA_ROLLUP)
		vma->figures.unknown |= FIG_BIT(FIG_SIZE) | FIG_BIT(FIG_VMAS);
}

static void reader_value(struct maps_reader *reader, int field, uint64_t value)
{
	reader->last = field;
	if (field < 0)
		return;
	reader->seen |= 1U << field;
	if (field == F_FLAGS)
		reader->flags = (uint32_t)value;
	else
		reader->field[field] = value;
}

/* Adds a line to what is being collected. */
static void collect_line(struct maps_reader *reader, const char *text, size_t len)
{
	struct known_index *index = &reader->collected;
	size_t have = index->tail + 1U + index->len;

	if (!reader->collect)
		return;
	if (len > KNOWN_SIZE - have) {
		reader->collect = NULL;
		return;
	}
	memcpy(reader->collect->text + have, text, len);
	index->len = (uint16_t)(index->len + len);
}

/* The VMA is complete: keep it for the next. */
static void collect_end(struct maps_reader *reader)
{
	if (!reader->collect)
		return;
	/* What was cut off in the middle could be the beginning of a longer one. */
	if (!reader->with_figures || reader->last == F_FLAGS) {
		reader->collect->vma = reader->vma;
		*reader->collect_index = reader->collected;
	}
	reader->collect = NULL;
}

static int reader_emit(struct maps_reader *reader)
{
	struct vma *vma = &reader->vma;

	if (!reader->have)
		return 0;
	reader->have = false;
	if (reader->with_figures && !reader->complete) {
		vma->locked = reader->flags & FLAG_LOCKED;
		vma->mergeable = reader->flags & FLAG_MERGEABLE;
		fields_to_figures(reader->field, reader->seen, vma);
	}
	collect_end(reader);
	if (vma->class == VMA_ROLLUP)
		vma->figures.value[FIG_SIZE] = 0;
	/* Within a process the kernel only goes up. */
	vma->another = reader->what & MAPS_SEVERAL && reader->last_end &&
	               (vma->class == VMA_ROLLUP || (vma->end <= reader->last_end && vma->start < reader->last_start));
	if (vma->another)
		reader->last_end = 0;
	reader->last_start = vma->start;
	if (vma->end <= reader->last_end)
		return 0;
	if (vma->start < reader->last_end) {
		vma->offset += reader->last_end - vma->start;
		vma->start = reader->last_end;
		vma->figures.value[FIG_SIZE] = vma->end - vma->start;
	}
	reader->last_end = vma->end;
	return reader->each(reader->context, vma);
}

/* Addresses are in small letters. */
static bool is_below_header(char first)
{
	return first >= 'A' && first <= 'Z';
}

static uint64_t parse_flags(struct text line)
{
	uint64_t flags = 0;

	for (size_t i = 0; i + 1 < line.len; i += 3) {
		flags |= line.at[i] == 'l' && line.at[i + 1] == 'o' ? FLAG_LOCKED : 0;
		flags |= line.at[i] == 'm' && line.at[i + 1] == 'g' ? FLAG_MERGEABLE : 0;
	}
	return flags;
}

static inline bool is_field(struct text line, int f)
{
	return line.len >= fields[f].len && line.at[0] == fields[f].key[0] &&
	       !memcmp(line.at, fields[f].key, fields[f].len);
}

/* What a line below a header says: the field, or -1. */
static int parse_field(struct maps_reader *reader, struct text line, uint64_t *value)
{
	int f = reader->next;
	uint64_t kib;

	if (f >= F_COUNT || !is_field(line, f))
		for (f = 0; f < F_COUNT && !is_field(line, f); f++)
			;
	if (f == F_COUNT) {
		if (!memchr(line.at, ':', line.len))
			reader->malformed++;
		return -1;
	}
	reader->next = f + 1;
	line.at += fields[f].len;
	line.len -= fields[f].len;
	text_blanks(&line);
	if (f == F_FLAGS) {
		*value = parse_flags(line);
		return f;
	}
	if (!text_u64(&line, 10, &kib)) {
		reader->malformed++;
		return -1;
	}
	/* A quarter of the range, so that four fields can be added up. */
	*value = kib > UINT64_MAX / 4096 ? UINT64_MAX / 4 : kib * 1024;
	return f;
}

static void reader_field(struct maps_reader *reader, struct text line)
{
	struct shape_line *shape = reader->line < SHAPE_LINES ? &reader->shape[reader->line] : NULL;
	uint64_t malformed = reader->malformed, value = 0;
	int field = parse_field(reader, line, &value);

	reader_value(reader, field, value);
	reader->line++;
	if (malformed != reader->malformed)
		reader->collect = NULL;     /* to be counted each time */
	if (!shape) {
		reader->collect = NULL;
		return;
	}
	shape->len = 0;
	if (line.len < SHAPE_WIDTH && malformed == reader->malformed) {
		memcpy(shape->text, line.at, line.len);
		shape->text[line.len] = '\n';
		shape->len = line.len + 1;
		shape->field = field;
		shape->value = value;
		collect_line(reader, shape->text, shape->len);
	} else {
		reader->collect = NULL;
	}
}

/* Takes the lines that are those of the VMA before. */
static void reader_same_lines(struct maps_reader *reader)
{
	while (reader->line < SHAPE_LINES) {
		const struct shape_line *shape = &reader->shape[reader->line];

		if (!shape->len || !lines_take(&reader->lines, shape->text, shape->len))
			return;
		reader_value(reader, shape->field, shape->value);
		collect_line(reader, shape->text, shape->len);
		reader->line++;
		if (shape->field >= 0)
			reader->next = shape->field + 1;
	}
}

/* Takes these lines if they are all that is said of the VMA. */
static bool take_whole(struct lines *lines, const char *text, size_t len)
{
	if (!lines_take(lines, text, len))
		return false;
	if (!len || lines->start == lines->end || !is_below_header(lines->buffer[lines->start]))
		return true;
	lines->start -= len;
	return false;
}

/*
 * What is known of the VMA whose header goes on with this: all of it, its lines
 * are taken then; or its first line (all false); or nothing, NULL.
 */
static const struct known *known_find(struct maps_reader *reader, struct text tail, uint32_t hash, bool *all)
{
	const struct known_index *index = reader->index[hash % KNOWN_SETS];
	const struct known *found = NULL;

	*all = false;
	for (unsigned i = 0; i < KNOWN_WAYS; i++) {
		const struct known *known = &reader->known[hash % KNOWN_SETS][i];

		if (index[i].hash != hash || index[i].tail != tail.len || memcmp(known->text, tail.at, tail.len))
			continue;
		found = known;
		*all = take_whole(&reader->lines, known->text + tail.len + 1, index[i].len);
		if (*all)
			break;
	}
	return found;
}

/* Makes room for a VMA that is not known. */
static void collect_begin(struct maps_reader *reader, struct text tail, size_t name_at, uint32_t hash)
{
	unsigned set = hash % KNOWN_SETS, way = reader->oldest[set];

	reader->collect = NULL;
	if (tail.len >= KNOWN_SIZE)
		return;
	reader->oldest[set] = (uint8_t)((way + 1) % KNOWN_WAYS);
	reader->collect = &reader->known[set][way];
	reader->collect_index = &reader->index[set][way];
	reader->collect_index->tail = 0;
	reader->collected = (struct known_index){ .hash = hash, .tail = (uint16_t)tail.len };
	memcpy(reader->collect->text, tail.at, tail.len);
	reader->collect->text[tail.len] = '\n';
	reader->collect->name_at = name_at;
}

static void vma_no_figures(struct vma *vma)
{
	memset(&vma->figures, 0, sizeof(vma->figures));
	vma->anonymous = 0;
	vma->locked = vma->mergeable = false;
}

/* Starts a VMA. False: the line is no header. */
static bool reader_header(struct maps_reader *reader, struct text line)
{
	struct vma *vma = &reader->vma;
	const char *at = line.at, *end = line.at + line.len;
	const struct known *known;
	uint64_t first, last;
	struct text tail;
	size_t name_at;
	uint32_t hash;
	bool all;

	/* With nothing behind the addresses it is none, and 0 stands for an unused entry. */
	if (!parse_addresses(&at, end, &first, &last) || at == end)
		return false;
	tail = (struct text){ at, (size_t)(end - at) };
	/* maps and smaps in turn do not know each other's. */
	hash = text_hash(tail) ^ reader->with_figures;
	known = known_find(reader, tail, hash, &all);
	if (known) {
		*vma = known->vma;
		name_at = known->name_at;
		vma->name.at = known->text + name_at;
		if (!all)
			vma_no_figures(vma);
	} else {
		memset(vma, 0, sizeof(*vma));
		if (!parse_rest(at, end, vma))
			return false;
		name_at = (size_t)(vma->name.at - at);
	}
	vma->start = first;
	vma->end = last;
	vma->figures.value[FIG_VMAS] = 1;
	vma->figures.value[FIG_SIZE] = last - first;
	reader->complete = all;
	reader->collect = NULL;
	if (all)
		return true;
	collect_begin(reader, tail, name_at, hash);
	if (!reader->with_figures)
		return true;
	/* The line will be gone when the fields are read. */
	if (reader->collect) {
		vma->name.at = reader->collect->text + name_at;
	} else {
		memcpy(reader->name, vma->name.at, vma->name.len);
		vma->name.at = reader->name;
	}
	memset(reader->field, 0, sizeof(reader->field));
	reader->seen = 0;
	reader->flags = 0;
	reader->last = -1;
	reader->next = 0;
	reader->line = 0;
	return true;
}

static int reader_line(struct maps_reader *reader, struct text line)
{
	int stop;

	if (reader->what & MAPS_RECORDED && line.len && line.at[line.len - 1] == '\r')
		line.len--;
	if (reader->with_figures && line.len && is_below_header(line.at[0])) {
		if (reader->have && !reader->complete)
			reader_field(reader, line);
		return 0;
	}
	stop = reader_emit(reader);
	if (stop)
		return stop;
	if (!reader_header(reader, line)) {
		reader->malformed++;
		return 0;
	}
	reader->have = true;
	return reader->with_figures ? 0 : reader_emit(reader);
}

static int read_all(struct maps_reader *reader, unsigned what, vma_function *each, void *context,
                    uint64_t *malformed)
{
	bool with_figures = what & MAPS_FIGURES;
	struct text line;
	int stop = 0;

	reader->collect = NULL;
	reader->what = what;
	reader->with_figures = with_figures;
	reader->have = false;
	reader->last_end = reader->malformed = 0;
	reader->each = each;
	reader->context = context;
	while (!stop && lines_next(&reader->lines, &line)) {
		stop = reader_line(reader, line);
		if (with_figures && reader->have && !reader->complete)
			reader_same_lines(reader);
	}
	if (!stop)
		stop = reader_emit(reader);
	if (malformed)
		*malformed = reader->malformed;
	return stop ? stop : reader->lines.error;
}

struct maps_reader *maps_reader_new(void)
{
	struct maps_reader *reader = malloc(sizeof(*reader));

	if (!reader)
		return NULL;
	/* Not all of it: most of its pages a small process never touches. */
	memset(reader->index, 0, sizeof(reader->index));
	memset(reader->oldest, 0, sizeof(reader->oldest));
	for (unsigned i = 0; i < SHAPE_LINES; i++)
		reader->shape[i].len = 0;
	return reader;
}

void maps_reader_free(struct maps_reader *reader)
{
	free(reader);
}

int maps_read(struct maps_reader *reader, struct text ahead, int fd, unsigned what, struct cost *cost,
              vma_function *each, void *context, uint64_t *malformed)
{
	lines_open(&reader->lines, ahead, fd, cost);
	return read_all(reader, what, each, context, malformed);
}
