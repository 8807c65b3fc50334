/* SPDX-License-Identifier: MIT */
/*
 * Sums of figures by name: one row a name, whatever the number of VMAs. What
 * else a name tells (owner, kind, thread, library) is worked out from the rows
 * at the end, not for each VMA.
 */
#ifndef ANONNAME_READ_NAMES_H
#define ANONNAME_READ_NAMES_H

#include "figures.h"
#include "process.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct name_row {
	enum vma_class class;
	unsigned sources;           /* bit of each enum name_source */
	uint32_t hash;
	uint32_t raw_len;
	char *raw;                  /* as the process gave it: the key, not to be shown */
	char *name;                 /* safe to show; NULL in a table that is raw_only */
	struct figures figures;
};

/* With what "labelled" is worked out. */
struct name_totals {
	struct figures figures;
	uint64_t anon_rss, named_rss;
	uint64_t by_source[NAME_SOURCES]; /* of named_rss */
	bool rss_unknown;           /* of some anonymous region */
};

struct name_table {
	bool raw_only;              /* rows get no name to show: they are merged into another table */
	struct name_row *row;
	size_t rows, room;
	uint32_t *slot;             /* open addressing: row + 1, 0 is free */
	size_t slots;
	size_t last;                /* the row that was added to last */
	size_t limit;               /* of rows; 0: none */
	struct name_row rest;       /* what found no row any more; its name and raw are NULL, and it is shown as NAME_REST */
	struct name_totals totals;
};

/* No one process makes more rows than this: the VMAs that the kernel lets it have by default. */
#define NAMES_OF_ONE 65536

#define NAME_REST "[more regions]"

int names_add(struct name_table *table, const struct region *region);

/* Fills in the values of totals.figures, of which names_add() has the marks: once is enough. */
void names_sum(struct name_table *table);

/* Adds a row of another table: its class, sources, raw, raw_len and figures. 1: it made a row here. */
int names_add_row(struct name_table *table, const struct name_row *from);

/* The same for what found no row there. */
void names_add_rest(struct name_table *table, const struct name_row *rest);

void names_add_totals(struct name_totals *totals, const struct name_totals *more);
void names_free(struct name_table *table);

/* The labelled share of anonymous RSS, 0 to 1; negative when it is not known, or there is no such memory. */
double names_labelled(const struct name_totals *totals);

/* Parts of a name. Each writes a string that is safe to show; size is at least 8. */
#define NAME_PART_MAX 4400
/* A mapped file: its name is a path. */
bool name_is_file(const struct name_row *row);
void name_owner(const struct name_row *row, char *buffer, size_t size);
const char *name_kind(const struct name_row *row);
/* The same string as name_kind() gives, of one that comes from elsewhere; "other" where it is none. */
const char *name_kind_find(const char *kind);
void name_thread(const struct name_row *row, char *buffer, size_t size);
void name_library(const struct name_row *row, char *buffer, size_t size);
/*
 * owner, thing and detail of a name, for pictures; thing and detail may be empty.
 * A mapped file is "[file]" and its path; what found no row is NAME_REST. fold: as name_fold().
 */
struct name_parts {
	char owner[NAME_PART_MAX], thing[NAME_PART_MAX], detail[NAME_PART_MAX];
};
void name_split(const struct name_row *row, bool fold, struct name_parts *parts);
/* Numbers that end a part of the name become a star: tids, arena numbers. */
void name_fold(const char *name, char *buffer, size_t size);

#endif
