/* SPDX-License-Identifier: MIT */
/*
 * MariaDB's memory that does not come from malloc. InnoDB's pool of pages, in
 * pieces: descriptors, all alike, and the pages that they say they describe:
 *
 *   piece ---> descriptor [page 0] descriptor [page 1] ... page 0, page 1, ...
 *
 * From 10.11.12 on a piece is 8 MiB, before it is a chunk of the pool. And buffers
 * such as the log's, which have no structure: a mapping that begins where a
 * variable of the server says, and is as long as another one.
 */
#include "recognise.h"

#include "object.h"
#include "pages.h"

#include <stdlib.h>

#define FRAME_MIN    4096ULL        /* innodb_page_size */
#define FRAME_MAX    (64ULL << 10)
#define HEAD_WORDS   64
#define STRIDE_MIN   8              /* words of a descriptor */
#define STRIDE_MAX   48
#define AGREE_MIN    8              /* descriptors */
#define DENSE        4096           /* so many are all looked at, behind these one of so many */
#define SPARSE       64

#define BUFFER_MIN   (1ULL << 20)
#define BUFFER_MAX   (1ULL << 40)
#define VALUES_MAX   1024

static struct object *find_server(struct target *target)
{
	struct object *server = object_named(target, "mariadbd");

	server = server ? server : object_named(target, "mysqld");
	return server && object_read(target, server) ? server : NULL;
}

/* --- the pool --------------------------------------------------------------------- */

struct piece {
	uint64_t word;              /* address of the first descriptor's word that says where its page is */
	uint64_t stride;            /* bytes from one to the next */
	uint64_t frame, size;       /* page 0, and of all */
};

static bool describes(struct pages *pages, const struct piece *piece, uint64_t i)
{
	uint64_t frame;

	return pages_get(pages, piece->word + i * piece->stride, &frame, sizeof(frame)) && frame == piece->frame + i * piece->size;
}

/* How many pages have their descriptors. */
static uint64_t count_pages(struct pages *pages, const struct piece *piece, uint64_t start, uint64_t end)
{
	uint64_t most = (piece->frame - start) / piece->stride, room = (end - piece->frame) / piece->size, count = 0, i;

	most = most < room ? most : room;
	for (i = 0; i < most && describes(pages, piece, i); i += i < DENSE ? 1 : SPARSE)
		count = i + 1;
	return count;
}

/* Where a piece that begins here ends; 0: none does. */
static uint64_t piece_end(struct target *target, struct pages *pages, uint64_t start, uint64_t end)
{
	uint64_t word[HEAD_WORDS];

	if (memory_get(target, start, word, sizeof(word)))
		return 0;
	for (size_t i = 0; i < STRIDE_MIN; i++) {
		if (word[i] % FRAME_MIN || word[i] <= start || word[i] >= end)
			continue;
		for (size_t k = STRIDE_MIN; k <= STRIDE_MAX; k++) {
			struct piece piece = { start + i * sizeof(*word), k * sizeof(*word), word[i], word[i + k] - word[i] };
			uint64_t count = 0;

			if (piece.size >= FRAME_MIN && piece.size <= FRAME_MAX && !(piece.size & (piece.size - 1)))
				count = count_pages(pages, &piece, start, end);
			if (count >= AGREE_MIN)
				return piece.frame + count * piece.size;
		}
	}
	return 0;
}

/* Whether a descriptor may begin a page with these words: one of them is the address of a page behind it. */
static bool may_be_piece(const uint64_t *word, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < STRIDE_MIN; i++)
		if (word[i] % FRAME_MIN == 0 && word[i] > start && word[i] < end)
			return true;
	return false;
}

/* The first words of many pages are one read. Where it went on to. */
static uint64_t search_heads(struct target *target, struct findings *findings, struct pages *pages, uint64_t start, uint64_t end)
{
	uint64_t head[HEADS_MAX][STRIDE_MIN], page = target->own.page, at = start;
	size_t count = end - start < HEADS_MAX * page ? (size_t)((end - start) / page) : HEADS_MAX;
	bool there[HEADS_MAX];

	memory_heads(target, start, count, page, there, head, sizeof(head[0]));
	for (size_t i = 0; i < count; i++) {
		uint64_t piece = 0;

		at = start + i * page;
		if (there[i] && may_be_piece(head[i], at, end))
			piece = piece_end(target, pages, at, end);
		if (piece) {
			found_add(findings, at, piece, "innodb:pool");
			return piece;
		}
	}
	return at + page;
}

void recognise_innodb(struct target *target, struct findings *findings)
{
	struct pages *pages = find_server(target) ? pages_new(target, PAGES_FEW) : NULL;

	for (uint64_t start = 0, end; pages && findings_left(target, findings, &start, &end); start = end)
		for (uint64_t at = start; (at = memory_next(target, at, end)) < end;)
			at = search_heads(target, findings, pages, at, end);
	pages_free(pages);
}

/* --- buffers ---------------------------------------------------------------------- */

struct values {
	uint64_t value[VALUES_MAX];
	size_t count;
};

/* What the server's variables say that can be an address of unnamed memory, or a length. */
struct server {
	struct target *target;
	const struct findings *findings;
	struct values start, length;
};

static bool values_have(const struct values *values, uint64_t value)
{
	for (size_t i = 0; i < values->count; i++)
		if (values->value[i] == value)
			return true;
	return false;
}

static void values_add(struct values *values, uint64_t value)
{
	if (values->count < VALUES_MAX && !values_have(values, value))
		values->value[values->count++] = value;
}

static bool is_unnamed(const struct server *server, uint64_t address)
{
	const struct area *area = area_at(server->target, address);

	return area && area->class == VMA_UNNAMED && area_is_anonymous(area) && area_is_writable(area) &&
	       !findings_have(server->findings, address);
}

static bool take_value(void *context, uint64_t address, const uint64_t *word)
{
	struct server *server = context;

	(void)address;
	/* A mask: each word of many is asked. */
	if (*word & (server->target->own.page - 1))
		return false;
	if (*word >= BUFFER_MIN && *word <= BUFFER_MAX)
		values_add(&server->length, *word);
	else if (is_unnamed(server, *word))
		values_add(&server->start, *word);
	return false;
}

/* The next address behind it that a variable has, or end. */
static uint64_t next_start(const struct server *server, uint64_t at, uint64_t end)
{
	for (size_t i = 0; i < server->start.count; i++)
		if (server->start.value[i] > at && server->start.value[i] < end)
			end = server->start.value[i];
	return end;
}

/* Buffers may follow each other in one mapping. */
static void name_buffers(const struct server *server, struct findings *findings, uint64_t at, uint64_t end)
{
	while (at < end && values_have(&server->start, at)) {
		uint64_t next = next_start(server, at, end);

		if (values_have(&server->length, next - at))
			found_add(findings, at, next, "mariadb:buffer");
		at = next;
	}
}

void recognise_mariadb(struct target *target, struct findings *findings)
{
	struct object *program = find_server(target);
	struct server *server = program ? calloc(1, sizeof(*server)) : NULL;

	if (!server)
		return;
	server->target = target;
	server->findings = findings;
	object_variables(target, program, take_value, server);
	for (uint64_t start = 0, end; findings_left(target, findings, &start, &end); start = end)
		name_buffers(server, findings, start, end);
	free(server);
}
