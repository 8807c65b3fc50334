/* SPDX-License-Identifier: MIT */
/*
 * Bounded text: building a line or a name in a caller's buffer, and reading
 * numbers back. It exists because stdio allocates and locks.
 */
#ifndef ANONNAME_BASE_TEXT_H
#define ANONNAME_BASE_TEXT_H

#include "base/compiler.h"
#include "format/name.h"

/* A buffer that is filled from the left. It never overflows: what does not fit is dropped and `cut` is set. */
struct text_buffer {
	char *at;
	size_t used;
	size_t room;      /* the NUL included */
	bool cut;
};

void text_init(struct text_buffer *t, char *buf, size_t room);
void text_add(struct text_buffer *t, const char *s);
void text_add_bytes(struct text_buffer *t, const char *s, size_t len);
void text_add_number(struct text_buffer *t, uint64_t n);
void text_add_hex(struct text_buffer *t, uint64_t n);

/* Writes decimal digits, no NUL. buf has room for 20. Returns their number. */
size_t text_number(char *buf, uint64_t n);

/*
 * Reads a number at *s, at most up to end, and moves *s behind it.
 * Returns false, *s unchanged, where no digit stands or the value overflows.
 */
bool text_read_number(const char **s, const char *end, unsigned base, uint64_t *value);

size_t text_length(const char *s);
bool text_equal(const char *a, const char *b);
bool text_begins(const char *s, const char *prefix);
const char *text_last_part(const char *path);

/* Copies at most room - 1 bytes and a NUL. */
void text_copy(char *to, size_t room, const char *from);

/*
 * A program's own name for memory: what a name cannot hold becomes _, the
 * middle of a long one goes. Returns its length, at most 79.
 */
size_t text_clean_name(char to[80], const char *name);

/* One line on standard error, `libanonname: ...`; what is no printable ASCII is shown as ?. The only place that writes there. */
void text_complain(const char *const parts[], size_t n);
#define complain(...) \
	text_complain((const char *const[]){ __VA_ARGS__ }, sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

#endif
