/* SPDX-License-Identifier: MIT */
/* A hash table of rows, and what can be read from a name. See names.h. */
#include "names.h"
#include "list.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t hash_of(enum vma_class class, struct text raw)
{
	return text_hash(raw) ^ class;
}

static bool row_is(const struct name_row *row, enum vma_class class, struct text raw)
{
	return row->class == class && row->raw_len == raw.len && !memcmp(row->raw, raw.at, raw.len);
}

static int grow_slots(struct name_table *table)
{
	size_t slots = table->slots ? 2 * table->slots : 64;
	uint32_t *slot = calloc(slots, sizeof(*slot));

	if (!slot)
		return -ENOMEM;
	for (size_t i = 0; i < table->rows; i++) {
		size_t at = table->row[i].hash & (slots - 1);

		while (slot[at])
			at = (at + 1) & (slots - 1);
		slot[at] = (uint32_t)i + 1;
	}
	free(table->slot);
	table->slot = slot;
	table->slots = slots;
	return 0;
}

static const char *shown_name(enum vma_class class, struct text raw, char *buffer, size_t size)
{
	if (class == VMA_UNNAMED)
		return "[anon]";
	if (class == VMA_FILE && !raw.len)
		return "[file]";
	text_clean(buffer, size, raw);
	return buffer;
}

/* The row of this key, made when it is not there and there may be more. NULL: no memory. */
static struct name_row *row_of(struct name_table *table, enum vma_class class, struct text raw)
{
	uint32_t hash;
	size_t at;
	struct name_row *row;
	char shown[NAME_PART_MAX];

	/* The VMAs of an allocator follow each other. */
	if (table->rows && row_is(&table->row[table->last], class, raw))
		return &table->row[table->last];
	if (table->rows * 2 >= table->slots && grow_slots(table))
		return NULL;
	hash = hash_of(class, raw);
	for (at = hash & (table->slots - 1); table->slot[at]; at = (at + 1) & (table->slots - 1)) {
		row = &table->row[table->slot[at] - 1];
		if (row->hash == hash && row_is(row, class, raw)) {
			table->last = table->slot[at] - 1;
			return row;
		}
	}
	if (table->limit && table->rows >= table->limit)
		return &table->rest;
	row = list_grown(table->row, table->rows, &table->room, sizeof(*row), 64, LIST_ENDLESS);
	if (!row)
		return NULL;
	table->row = row;
	row = &table->row[table->rows];
	memset(row, 0, sizeof(*row));
	row->class = class;
	row->hash = hash;
	row->raw_len = (uint32_t)raw.len;
	row->raw = malloc(raw.len + 1);
	row->name = table->raw_only ? NULL : strdup(shown_name(class, raw, shown, sizeof(shown)));
	if (!row->raw || (!row->name && !table->raw_only)) {
		free(row->raw);
		free(row->name);
		return NULL;
	}
	memcpy(row->raw, raw.at, raw.len);
	row->raw[raw.len] = '\0';
	table->last = table->rows++;
	table->slot[at] = (uint32_t)table->rows;
	return row;
}

int names_add(struct name_table *table, const struct region *region)
{
	const struct vma *vma = &region->vma;
	struct name_row *row = row_of(table, vma->class, vma->name);

	if (!row)
		return -ENOMEM;
	row->sources |= 1U << region->source;
	figures_add(&row->figures, &vma->figures);
	table->totals.figures.unknown |= region->sum_unknown;
	table->totals.figures.estimate |= region->sum_estimate;
	if (vma->class == VMA_ROLLUP)
		table->totals.rss_unknown = true;
	if (vma_is_anonymous(vma)) {
		figure_add(&table->totals.anon_rss, vma->figures.value[FIG_RSS]);
		if (region->source != NAME_NONE) {
			figure_add(&table->totals.named_rss, vma->figures.value[FIG_RSS]);
			figure_add(&table->totals.by_source[region->source], vma->figures.value[FIG_RSS]);
		}
		if (vma->figures.unknown & FIG_BIT(FIG_RSS))
			table->totals.rss_unknown = true;
	}
	return 0;
}

int names_add_row(struct name_table *table, const struct name_row *from)
{
	size_t before = table->rows;
	struct name_row *row = row_of(table, from->class, (struct text){ from->raw, from->raw_len });

	if (!row)
		return -ENOMEM;
	row->sources |= from->sources;
	figures_add(&row->figures, &from->figures);
	return table->rows > before;
}

void names_add_rest(struct name_table *table, const struct name_row *rest)
{
	table->rest.sources |= rest->sources;
	figures_add(&table->rest.figures, &rest->figures);
}

void names_add_totals(struct name_totals *totals, const struct name_totals *more)
{
	figures_add(&totals->figures, &more->figures);
	figure_add(&totals->anon_rss, more->anon_rss);
	figure_add(&totals->named_rss, more->named_rss);
	for (unsigned i = 0; i < NAME_SOURCES; i++)
		figure_add(&totals->by_source[i], more->by_source[i]);
	totals->rss_unknown |= more->rss_unknown;
}

void names_free(struct name_table *table)
{
	for (size_t i = 0; i < table->rows; i++) {
		free(table->row[i].raw);
		free(table->row[i].name);
	}
	free(table->row);
	free(table->slot);
	*table = (struct name_table){ .raw_only = table->raw_only, .limit = table->limit };
}

void names_sum(struct name_table *table)
{
	memset(table->totals.figures.value, 0, sizeof(table->totals.figures.value));
	for (size_t i = 0; i < table->rows; i++)
		for (unsigned k = 0; k < FIG_COUNT; k++)
			figure_add(&table->totals.figures.value[k], table->row[i].figures.value[k]);
	for (unsigned k = 0; k < FIG_COUNT; k++)
		figure_add(&table->totals.figures.value[k], table->rest.figures.value[k]);
}

double names_labelled(const struct name_totals *totals)
{
	if (totals->rss_unknown || !totals->anon_rss)
		return -1;
	return (double)totals->named_rss / (double)totals->anon_rss;
}

bool name_is_file(const struct name_row *row)
{
	return row->class == VMA_FILE || row->class == VMA_SHM;
}

static bool has_name(const struct name_row *row)
{
	return row->class == VMA_NAMED || row->class == VMA_SHARED_NAMED;
}

/* glibc and Go begin their names with a space. */
static struct text name_text(const struct name_row *row)
{
	struct text name = { row->name, strlen(row->name) };

	text_blanks(&name);
	return name;
}

/* The part up to the next colon, without the blanks before it. */
static struct text next_part(struct text *rest)
{
	struct text part = text_cut(rest, ':');

	text_blanks(&part);
	return part;
}

static void put(char *buffer, size_t size, struct text text)
{
	snprintf(buffer, size, "%.*s", (int)(text.len < size ? text.len : size - 1), text.at);
}

void name_owner(const struct name_row *row, char *buffer, size_t size)
{
	/* Families that put something else than a colon behind their own name. */
	static const struct {
		const char *prefix, *owner;
	} families[] = {
		{ "dalvik-", "dalvik" },
		{ "libc_malloc", "libc" },
		{ "tcmalloc_", "tcmalloc" },
		{ "stack_and_tls", "stack" },
	};
	struct text name = name_text(row);

	if (name_is_file(row)) {
		put(buffer, size, text_base_name(name));
		return;
	}
	if (has_name(row)) {
		for (size_t i = 0; i < sizeof(families) / sizeof(*families); i++)
			if (text_starts(name, families[i].prefix)) {
				put(buffer, size, (struct text){ families[i].owner, strlen(families[i].owner) });
				return;
			}
		name = next_part(&name);
		if (!name.len)
			name = (struct text){ "-", 1 };
	}
	put(buffer, size, name);
}

static const char *const own_kinds[] = {
	"arena", "large", "heap", "stack", "sigstack", "bss", "jit", "reserve", "mmap", "shm", "early", "gc", "metadata", "tls",
};

/* Names and parts of names that are such a word as a whole. */
static const struct {
	const char *part, *kind;
} kind_parts[] = {
	{ "lib", "heap" },          /* a library's own, the name of which says nothing of the kind */
	{ "class", "metadata" },
	{ "cds", "metadata" },
	{ "symbol", "metadata" },
	{ "literals", "metadata" },
	{ "thread", "stack" },
	{ "transient", "heap" },
	{ "pool", "heap" },
	{ "buffer", "heap" },
	{ "sandbox", "reserve" },
	/* Chromium's on Android. */
	{ "v8", "heap" },
	{ "blink_gc", "heap" },
	{ "chromium", "heap" },
};

/*
 * What other allocators and runtimes call theirs: Go, Android's ART and bionic,
 * Chromium and V8, HotSpot. The first that occurs in the name counts, so the
 * more telling words come first: a mark stack is no thread's.
 */
static const struct {
	const char *word, *kind;
} kind_words[] = {
	{ "bionic tls", "tls" },
	{ "live stack", "gc" },
	{ "allocation stack", "gc" },
	{ "checkmarks", "gc" },
	{ "allspans", "metadata" },
	{ "signal stack", "sigstack" },
	{ "sigstack", "sigstack" },
	{ "mark stack", "gc" },
	{ "mark-stack", "gc" },
	{ "bitmap", "gc" },
	{ "card table", "gc" },
	{ "gc bits", "gc" },
	{ "metaspace", "metadata" },
	{ "metadata", "metadata" },
	{ "linearalloc", "metadata" },
	{ "reference table", "metadata" },
	{ "ref table", "metadata" },
	{ "hash buckets", "metadata" },
	{ "page summary", "metadata" },
	{ "page alloc", "metadata" },
	{ "scavenge index", "metadata" },
	{ "heap index", "metadata" },
	{ "stack", "stack" },
	{ ":fiber", "stack" },
	{ ":coroutine", "stack" },
	{ "arena", "arena" },
	{ "bss", "bss" },
	{ "jit", "jit" },
	{ ": code", "jit" },
	{ ":code", "jit" },
	{ "code-cache", "jit" },
	{ "reserv", "reserve" },
	{ "malloc", "heap" },
	{ "heap", "heap" },
	{ "alloc", "heap" },
	{ "scudo", "heap" },
	{ " space", "heap" },
	{ "blink gc", "heap" },
	{ ".art", "heap" },
	{ ":carrier", "heap" },
	{ ":cage", "heap" },
};

static const char *const class_kinds[] = {
	[VMA_UNNAMED] = "unnamed", [VMA_NAMED] = "other", [VMA_SHARED_NAMED] = "shm", [VMA_SHARED] = "shm",
	[VMA_HEAP] = "heap", [VMA_STACK] = "stack", [VMA_SPECIAL] = "special", [VMA_FILE] = "file",
	[VMA_SHM] = "shm", [VMA_ROLLUP] = "special",
};

const char *name_kind_find(const char *kind)
{
	for (size_t i = 0; i < sizeof(own_kinds) / sizeof(*own_kinds); i++)
		if (!strcmp(kind, own_kinds[i]))
			return own_kinds[i];
	for (size_t i = 0; i < sizeof(class_kinds) / sizeof(*class_kinds); i++)
		if (!strcmp(kind, class_kinds[i]))
			return class_kinds[i];
	return class_kinds[VMA_NAMED];
}

static const char *own_kind(struct text part)
{
	for (size_t i = 0; i < sizeof(own_kinds) / sizeof(*own_kinds); i++)
		if (text_is(part, own_kinds[i]))
			return own_kinds[i];
	return NULL;
}

static const char *kind_of_part(struct text part)
{
	for (size_t i = 0; i < sizeof(kind_parts) / sizeof(*kind_parts); i++)
		if (text_is(part, kind_parts[i].part))
			return kind_parts[i].kind;
	return NULL;
}

const char *name_kind(const struct name_row *row)
{
	struct text rest = name_text(row), first, second;
	const char *kind;

	if (row->class != VMA_NAMED)
		return class_kinds[row->class];
	first = next_part(&rest);
	second = next_part(&rest);
	while (second.len && isdigit((unsigned char)second.at[second.len - 1]))
		second.len--;
	if ((kind = own_kind(second)) || (kind = kind_of_part(second)) || (kind = own_kind(first)))
		return kind;
	for (size_t i = 0; i < sizeof(kind_words) / sizeof(*kind_words); i++)
		if (strcasestr(row->name, kind_words[i].word))
			return kind_words[i].kind;
	kind = kind_of_part(first);
	return kind ? kind : class_kinds[VMA_NAMED];
}

void name_thread(const struct name_row *row, char *buffer, size_t size)
{
	struct text rest = name_text(row), part;

	put(buffer, size, (struct text){ "-", 1 });
	if (row->class == VMA_STACK) {
		/* Linux before 4.5 has "[stack:TID]", too. */
		uint64_t tid;

		part = (struct text){ row->name + strcspn(row->name, ":"), strcspn(row->name + strcspn(row->name, ":"), "]") };
		rest = text_char(&part, ':') ? part : (struct text){ "", 0 };
		put(buffer, size, text_u64(&rest, 10, &tid) && !rest.len ? part : (struct text){ "main", 4 });
	}
	/* A part that is a number is a tid: no other field of ours is one. */
	while (has_name(row) && rest.len) {
		uint64_t tid;
		struct text number = part = next_part(&rest);

		if (text_u64(&number, 10, &tid) && !number.len)
			put(buffer, size, part);
	}
}

void name_library(const struct name_row *row, char *buffer, size_t size)
{
	static const char *const of_owner[] = { "bss", "jit", "reserve", "mmap", "shm", "early" };
	struct text rest = name_text(row), owner, kind;

	put(buffer, size, (struct text){ "-", 1 });
	if (name_is_file(row))
		name_owner(row, buffer, size);
	if (!has_name(row))
		return;
	owner = next_part(&rest);
	kind = next_part(&rest);
	if ((text_is(kind, "large") || text_is(kind, "lib")) && rest.len)
		put(buffer, size, next_part(&rest));
	for (size_t i = 0; i < sizeof(of_owner) / sizeof(*of_owner); i++)
		if (text_is(kind, of_owner[i]))
			put(buffer, size, owner);
}

void name_fold(const char *name, char *buffer, size_t size)
{
	size_t out = 0;
	bool owner = true;          /* the first part: v8 is not the eighth of anything */

	while (*name && out + 1 < size) {
		/* One part at a time. A version number (libz.so.1) is not a number to fold. "[stack:4711]" is. */
		size_t len = strcspn(name, ": ]"), digits = len;

		if (!len) {
			buffer[out++] = *name++;
			continue;
		}
		while (digits && isdigit((unsigned char)name[digits - 1]))
			digits--;
		if (digits < len && !owner && !memchr(name, '.', len)) {
			out += (size_t)snprintf(buffer + out, size - out, "%.*s*", (int)digits, name);
		} else {
			out += (size_t)snprintf(buffer + out, size - out, "%.*s", (int)len, name);
		}
		if (out >= size)
			out = size - 1;
		owner = false;
		name += len;
	}
	buffer[out] = '\0';
}

void name_split(const struct name_row *row, bool fold, struct name_parts *parts)
{
	char folded[NAME_PART_MAX];
	struct name_row one = *row;
	struct text rest, thing;

	*parts->thing = *parts->detail = '\0';
	if (!row->name) {
		strcpy(parts->owner, NAME_REST);
		return;
	}
	if (name_is_file(row)) {
		strcpy(parts->owner, "[file]");
		put(parts->thing, sizeof(parts->thing), (struct text){ row->name, strlen(row->name) });
		return;
	}
	if (fold) {
		name_fold(row->name, folded, sizeof(folded));
		one.name = folded;
	}
	name_owner(&one, parts->owner, sizeof(parts->owner));
	rest = name_text(&one);
	if (!has_name(row) || text_is(rest, parts->owner))
		return;
	/* A family's name may go on without a colon: then the thing is the whole name. */
	if (text_starts(rest, parts->owner) && rest.at[strlen(parts->owner)] == ':')
		next_part(&rest);
	thing = next_part(&rest);
	put(parts->thing, sizeof(parts->thing), thing);
	put(parts->detail, sizeof(parts->detail), rest);
}
