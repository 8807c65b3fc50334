/* SPDX-License-Identifier: MIT */
/* Lines, numbers and safe names. See text.h. */
#include "text.h"

#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

static uint64_t clock_read(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

uint64_t clock_ns(void)
{
	return clock_read(CLOCK_MONOTONIC);
}

uint64_t clock_cpu_ns(void)
{
	return clock_read(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t text_seed[2] = { 0x9e3779b97f4a7c15U, 0xd6e8feb86659fd93U };

__attribute__((constructor)) static void seed(void)
{
	const void *random = (const void *)(uintptr_t)getauxval(AT_RANDOM);

	if (random)
		memcpy(text_seed, random, sizeof(text_seed));
	/* A factor that is even, or nearly 0, would lose much of the text. */
	text_seed[1] |= 0x8000000000000001U;
}

uint64_t cost_add(struct cost *cost, uint64_t started_ns, uint64_t bytes)
{
	uint64_t took = clock_ns() - started_ns;

	if (!cost)
		return took;
	cost->reads++;
	cost->bytes += bytes;
	if (took > cost->longest_ns)
		cost->longest_ns = took;
	return took;
}

void cost_merge(struct cost *cost, const struct cost *more)
{
	if (!cost)
		return;
	cost->reads += more->reads;
	cost->bytes += more->bytes;
	if (more->longest_ns > cost->longest_ns)
		cost->longest_ns = more->longest_ns;
}

void lines_open(struct lines *lines, struct text ahead, int fd, struct cost *cost)
{
	lines->fd = fd;
	lines->ahead = ahead;
	lines->eof = false;
	lines->error = 0;
	lines->start = lines->end = 0;
	lines->cost = cost;
}

static size_t lines_fill_from_memory(struct lines *lines)
{
	size_t piece = LINES_BUFFER - lines->end;

	if (piece > lines->ahead.len)
		piece = lines->ahead.len;
	if (!piece)
		return 0;
	memcpy(lines->buffer + lines->end, lines->ahead.at, piece);
	lines->ahead.at += piece;
	lines->ahead.len -= piece;
	lines->end += piece;
	return piece;
}

static void lines_fill(struct lines *lines)
{
	uint64_t started = lines->cost ? clock_ns() : 0;
	ssize_t got = 0;

	if (lines->start) {
		memmove(lines->buffer, lines->buffer + lines->start, lines->end - lines->start);
		lines->end -= lines->start;
		lines->start = 0;
	}
	if (lines_fill_from_memory(lines))
		return;
	while (lines->fd >= 0 && (got = read(lines->fd, lines->buffer + lines->end, LINES_BUFFER - lines->end)) < 0 &&
	       errno == EINTR)
		;
	if (got > 0) {
		lines->end += (size_t)got;
		cost_add(lines->cost, started, (uint64_t)got);
		return;
	}
	lines->eof = true;
	if (got < 0)
		lines->error = -errno;
}

bool lines_next(struct lines *lines, struct text *line)
{
	size_t seen = 0;
	const char *nl;

	for (;;) {
		const char *from = lines->buffer + lines->start;
		size_t have = lines->end - lines->start;

		nl = have > seen ? memchr(from + seen, '\n', have - seen) : NULL;
		if (nl) {
			*line = (struct text){ from, (size_t)(nl - from) };
			lines->start += line->len + 1;
			return true;
		}
		/* A line that fills the buffer is not the kernel's: hand it out in pieces. */
		if (lines->eof || have == LINES_BUFFER) {
			*line = (struct text){ from, have };
			lines->start = lines->end;
			return have > 0;
		}
		seen = have;
		lines_fill(lines);
	}
}

static const signed char digits[256] = {
	['0'] = 1, ['1'] = 2, ['2'] = 3, ['3'] = 4, ['4'] = 5, ['5'] = 6, ['6'] = 7, ['7'] = 8, ['8'] = 9,
	['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
};

bool text_u64(struct text *text, unsigned base, uint64_t *value)
{
	const size_t safe = 15;     /* digits that fit whatever they are, in base 16 and below */
	uint64_t sum = 0;
	size_t i;

	for (i = 0; i < text->len && i < safe; i++) {
		unsigned digit = (unsigned)digits[(unsigned char)text->at[i]] - 1;

		if (digit >= base)
			break;
		sum = sum * base + digit;
	}
	for (; i >= safe && i < text->len; i++) {
		unsigned digit = (unsigned)digits[(unsigned char)text->at[i]] - 1;

		if (digit >= base)
			break;
		if (__builtin_mul_overflow(sum, base, &sum) || __builtin_add_overflow(sum, digit, &sum))
			return false;
	}
	if (i == 0)
		return false;
	text->at += i;
	text->len -= i;
	*value = sum;
	return true;
}

bool text_char(struct text *text, char c)
{
	if (!text->len || *text->at != c)
		return false;
	text->at++;
	text->len--;
	return true;
}

struct text text_cut(struct text *rest, char c)
{
	const char *at = rest->len ? memchr(rest->at, c, rest->len) : NULL;
	struct text front = *rest;

	if (at)
		front.len = (size_t)(at - front.at);
	rest->at += front.len + (at != NULL);
	rest->len -= front.len + (at != NULL);
	return front;
}

bool text_is(struct text text, const char *string)
{
	return strlen(string) == text.len && !memcmp(text.at, string, text.len);
}

bool text_starts(struct text text, const char *prefix)
{
	size_t len = strlen(prefix);

	return len <= text.len && !memcmp(text.at, prefix, len);
}

bool text_ends(struct text text, const char *suffix)
{
	size_t len = strlen(suffix);

	return len <= text.len && !memcmp(text.at + text.len - len, suffix, len);
}

struct text text_base_name(struct text path)
{
	const char *slash = path.len ? memrchr(path.at, '/', path.len) : NULL;

	if (slash) {
		path.len -= (size_t)(slash + 1 - path.at);
		path.at = slash + 1;
	}
	return path;
}

/* Marks that turn the reading direction: they can make one name look like another. */
static bool reorders(uint32_t c)
{
	return c == 0x61c || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

/* The length of the showable UTF-8 character at p, 0 when there is none. */
static size_t showable(const unsigned char *p, size_t len)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t c = p[0];
	size_t i, need;

	if (c < 0x80)
		return c >= 0x20 && c != 0x7f;
	need = c >= 0xf0 && c < 0xf8 ? 4 : c >= 0xe0 && c < 0xf0 ? 3 : c >= 0xc0 && c < 0xe0 ? 2 : 0;
	if (!need || need > len)
		return 0;
	c &= 0x7fU >> need;
	for (i = 1; i < need; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[need] || c < 0xa0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) || reorders(c))
		return 0;
	return need;
}

size_t text_clean(char *dst, size_t size, struct text src)
{
	static const char hex[] = "0123456789abcdef";
	size_t in = 0, out = 0;

	while (in < src.len) {
		const unsigned char *p = (const unsigned char *)src.at + in;
		size_t n = *p >= 0x20 && *p < 0x7f ? 1 : showable(p, src.len - in);

		if (out + (n ? n : 4) >= size)
			break;
		if (n) {
			memcpy(dst + out, p, n);
			out += n;
			in += n;
		} else {
			dst[out++] = '\\';
			dst[out++] = 'x';
			dst[out++] = hex[*p >> 4];
			dst[out++] = hex[*p & 15];
			in++;
		}
	}
	dst[out] = '\0';
	return out;
}
