/* SPDX-License-Identifier: MIT */
/*
 * Text from /proc and from other processes: lines cut from a file descriptor,
 * numbers out of them, and names made safe to show. Kept apart from maps.c so
 * that everything which touches a raw byte is in one place.
 */
#ifndef ANONNAME_READ_TEXT_H
#define ANONNAME_READ_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "wide.h"

/* A slice of somebody else's buffer. Never NUL terminated. */
struct text {
	const char *at;
	size_t len;
};

/* What reading cost, for the last line of a report. */
struct cost {
	uint64_t reads;
	uint64_t bytes;
	uint64_t longest_ns;
};

uint64_t clock_ns(void);
/* The time that this thread has had on a processor. */
uint64_t clock_cpu_ns(void);
/* A read that began then has ended: how long it took, in ns. */
uint64_t cost_add(struct cost *cost, uint64_t started_ns, uint64_t bytes);
void cost_merge(struct cost *cost, const struct cost *more);

/*
 * /proc hands out about 4 KiB a read whatever the buffer. The buffer is larger
 * so that a line never has to be read in two buffers: the longest is a path of
 * PATH_MAX bytes, each written as an octal escape.
 */
#define LINES_BUFFER 65536

struct lines {
	int fd;                     /* -1: there is nothing but what is ahead */
	struct text ahead;          /* what comes before that, in memory */
	bool eof;
	int error;                  /* negative errno of a failed read */
	size_t start, end;
	struct cost *cost;          /* may be NULL */
	char buffer[LINES_BUFFER];
};

/* First what is ahead of it in memory, then the file: -1 for none. */
void lines_open(struct lines *lines, struct text ahead, int fd, struct cost *cost);

/* The next line without its newline; false at the end or after an error. */
bool lines_next(struct lines *lines, struct text *line);

/* Takes exactly these bytes, when they come next and are there already. */
static inline bool lines_take(struct lines *lines, const char *bytes, size_t len)
{
	const char *at = lines->buffer + lines->start;

	/* The last bytes first: a block of lines differs at its end (VmFlags) as often as anywhere. */
	if (lines->end - lines->start < len || (len >= 8 && memcmp(at + len - 8, bytes + len - 8, 8)) ||
	    memcmp(at, bytes, len))
		return false;
	lines->start += len;
	return true;
}

/* Each takes its token from the front of text; false (and no change) when it is not there. */
bool text_u64(struct text *text, unsigned base, uint64_t *value);
bool text_char(struct text *text, char c);
static inline void text_blanks(struct text *text)
{
	while (text->len && (*text->at == ' ' || *text->at == '\t')) {
		text->at++;
		text->len--;
	}
}

/*
 * For tables in memory: the same text has the same hash until the process ends.
 * In the next it has another, so that nobody can choose names that collide.
 */
extern uint64_t text_seed[2];

static inline uint64_t text_hash_mix(uint64_t a, uint64_t b)
{
	uint64_t high, low = wide_product(a, b, &high);

	return low ^ high;
}

static inline uint32_t text_hash(struct text text)
{
	uint64_t hash = text_seed[0] ^ text.len, piece = 0;

	for (; text.len > sizeof(piece); text.at += sizeof(piece), text.len -= sizeof(piece)) {
		memcpy(&piece, text.at, sizeof(piece));
		hash = text_hash_mix(hash ^ piece, text_seed[1]);
	}
	piece = 0;
	if (text.len)
		memcpy(&piece, text.at, text.len);
	return (uint32_t)text_hash_mix(hash ^ piece, text_seed[1]);
}

/* Takes what stands before the first c from the front of rest, and c; all of it where there is none. */
struct text text_cut(struct text *rest, char c);

bool text_is(struct text text, const char *string);
bool text_starts(struct text text, const char *prefix);
bool text_ends(struct text text, const char *suffix);

/* What follows the last slash. */
struct text text_base_name(struct text path);

/*
 * Copies src so that it can be shown on a terminal and put into JSON: control
 * characters, bytes that are not UTF-8 and the characters that reorder a line
 * become \xNN. Cuts at size - 1 and ends with NUL. Returns the length.
 */
size_t text_clean(char *dst, size_t size, struct text src);

#endif
