/* SPDX-License-Identifier: MIT */
/* Bounded text without libc. See text.h. */
#include "base/text.h"

#include "base/sys.h"

void text_init(struct text_buffer *t, char *buf, size_t room)
{
	*t = (struct text_buffer){ .at = buf, .room = room };
	buf[0] = '\0';
}

void text_add_bytes(struct text_buffer *t, const char *s, size_t len)
{
	size_t left = t->room - 1 - t->used;

	if (len > left) {
		len = left;
		t->cut = true;
	}
	for (size_t i = 0; i < len; i++)
		t->at[t->used + i] = s[i];
	t->used += len;
	t->at[t->used] = '\0';
}

void text_add(struct text_buffer *t, const char *s)
{
	text_add_bytes(t, s, text_length(s));
}

static size_t number_in_base(char *buf, uint64_t n, unsigned base)
{
	char digits[20];
	size_t count = 0;

	do {
		digits[count++] = "0123456789abcdef"[n % base];
		n /= base;
	} while (n);
	for (size_t i = 0; i < count; i++)
		buf[i] = digits[count - 1 - i];
	return count;
}

size_t text_number(char *buf, uint64_t n)
{
	return number_in_base(buf, n, 10);
}

void text_add_number(struct text_buffer *t, uint64_t n)
{
	char digits[20];

	text_add_bytes(t, digits, number_in_base(digits, n, 10));
}

void text_add_hex(struct text_buffer *t, uint64_t n)
{
	char digits[20];

	text_add_bytes(t, digits, number_in_base(digits, n, 16));
}

/* Compiled once for each base, so that nothing is multiplied: /proc/self/maps is numbers for the most part. */
static inline __attribute__((always_inline)) bool read_in_base(const char **s, const char *end, unsigned base, uint64_t *value)
{
	const char *p = *s;
	uint64_t n = 0;

	for (; p < end; p++) {
		unsigned digit;

		if (*p >= '0' && *p <= '9')
			digit = (unsigned)(*p - '0');
		else if (base == 16 && *p >= 'a' && *p <= 'f')
			digit = (unsigned)(*p - 'a') + 10;
		else
			break;
		if (__builtin_mul_overflow(n, base, &n) || __builtin_add_overflow(n, digit, &n))
			return false;
	}
	if (p == *s)
		return false;
	*s = p;
	*value = n;
	return true;
}

bool text_read_number(const char **s, const char *end, unsigned base, uint64_t *value)
{
	return base == 16 ? read_in_base(s, end, 16, value) : read_in_base(s, end, 10, value);
}

size_t text_length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

bool text_equal(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

bool text_begins(const char *s, const char *prefix)
{
	while (*prefix)
		if (*s++ != *prefix++)
			return false;
	return true;
}

const char *text_last_part(const char *path)
{
	const char *base = path;

	for (; *path; path++)
		if (*path == '/' && path[1])
			base = path + 1;
	return base;
}

void text_copy(char *to, size_t room, const char *from)
{
	struct text_buffer t;

	text_init(&t, to, room);
	text_add(&t, from);
}

size_t text_clean_name(char to[80], const char *name)
{
	size_t len = text_length(name), head = len;
	struct text_buffer t;

	if (len > 79)
		head = 39;
	text_init(&t, to, 80);
	text_add_bytes(&t, name, head);
	if (head < len) {
		text_add(&t, "..");
		text_add_bytes(&t, name + len - 38, 38);
	}
	for (size_t i = 0; i < t.used; i++)
		to[i] = name_clean_char(to[i]);
	return t.used;
}

void text_complain(const char *const parts[], size_t n)
{
	char line[512];
	struct text_buffer t;

	text_init(&t, line, sizeof(line));
	text_add(&t, "libanonname: ");
	for (size_t i = 0; i < n; i++)
		text_add(&t, parts[i]);
	/* Some of it comes from the environment, or is a thread's name: a terminal must not obey it. */
	for (size_t i = 0; i < t.used; i++)
		if ((unsigned char)line[i] < 0x20 || (unsigned char)line[i] >= 0x7f)
			line[i] = '?';
	if (t.cut)
		t.used = t.room - 2;
	line[t.used] = '\n';
	(void)!sys_write(2, line, t.used + 1);
}
