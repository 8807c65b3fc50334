/* SPDX-License-Identifier: MIT */
/* The exported functions of objects, by their place. See functions.h. */
#include "label/functions.h"

#include "base/own.h"

/*
 * An object's addresses in pieces, and for each the numbers of the symbols that
 * begin there:
 *
 *     first   0       2   2           5 ...     one more than there are pieces
 *     number  17  4 |   | 9  12  3  | ...
 */
#define PIECE_SHIFT 10
#define MOST 1000000U

static struct index {
	uintptr_t start;                /* the object's, */
	const ElfW(Sym) *symbol;        /* and its table of symbols */
	const uint32_t *first, *number; /* NULL: no memory for them */
	uint32_t pieces;
} indices[32] COLD_BSS;
static uint32_t count;
static uint32_t making;                 /* one thread at a time makes one; others go without */

static uint32_t pieces_of(const struct object *o)
{
	return (uint32_t)MIN(((o->end - o->start) >> PIECE_SHIFT) + 1, MOST);
}

/* The piece in which the function begins; the number of pieces: in none. */
static uint32_t piece_of(const struct object *o, const struct elf_symbols *s, size_t i)
{
	const ElfW(Sym) *function = elf_function(s, i);
	uintptr_t offset = function ? s->base + function->st_value - o->start : UINTPTR_MAX;

	return (uint32_t)MIN(offset >> PIECE_SHIFT, pieces_of(o));
}

/* First how many there are in each piece and those before it; then each goes below that. */
static void fill(const struct object *o, const struct elf_symbols *s, uint32_t *first, uint32_t *number)
{
	uint32_t symbols = (uint32_t)elf_symbol_count(s), pieces = pieces_of(o);

	for (uint32_t i = 0; i < symbols; i++)
		first[piece_of(o, s, i)]++;
	for (uint32_t p = 1; p <= pieces; p++)
		first[p] += first[p - 1];
	for (uint32_t i = symbols; i-- > 0;)
		number[--first[piece_of(o, s, i)]] = i;
}

static void make(const struct object *o, const struct elf_symbols *s)
{
	struct index *new = &indices[count];
	size_t symbols = elf_symbol_count(s);
	uint32_t *first = symbols <= MOST ? own_map((pieces_of(o) + 1 + symbols) * sizeof(*first), "functions") : NULL;

	if (first)
		fill(o, s, first, first + pieces_of(o) + 1);
	*new = (struct index){ .start = o->start, .symbol = s->symbol, .first = first, .number = first + pieces_of(o) + 1,
			       .pieces = pieces_of(o) };
	store_release(&count, count + 1);
}

static const struct index *find(const struct object *o, const struct elf_symbols *s)
{
	uint32_t n = load_acquire(&count);

	for (uint32_t i = 0; i < n; i++)
		if (indices[i].start == o->start && indices[i].symbol == s->symbol && indices[i].pieces == pieces_of(o))
			return &indices[i];
	return NULL;
}

static const struct index *index_of(const struct object *o, const struct elf_symbols *s)
{
	const struct index *found = find(o, s);
	uint32_t no = 0;

	if (found || load_relaxed(&count) == ARRAY_SIZE(indices) ||
	    !__atomic_compare_exchange_n(&making, &no, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return found;
	found = find(o, s);
	if (!found && count < ARRAY_SIZE(indices)) {
		make(o, s);
		found = find(o, s);
	}
	store_release(&making, 0U);
	return found;
}

/* The last of a piece's functions that begins at the address or before it. */
static const ElfW(Sym) *last_before(const struct index *index, uint32_t piece, const struct elf_symbols *s, uintptr_t addr)
{
	const ElfW(Sym) *last = NULL;

	for (uint32_t k = index->first[piece]; k < index->first[piece + 1]; k++) {
		const ElfW(Sym) *f = elf_function(s, index->number[k]);

		if (f && s->base + f->st_value <= addr && (!last || f->st_value > last->st_value))
			last = f;
	}
	return last;
}

static const ElfW(Sym) *function_at(const struct object *o, const struct elf_symbols *s, uintptr_t addr)
{
	const struct index *index = index_of(o, s);
	const ElfW(Sym) *f = NULL;

	if (!index || !index->first || (addr - o->start) >> PIECE_SHIFT >= index->pieces)
		return elf_symbol_at(s, addr);
	for (uint32_t piece = (uint32_t)((addr - o->start) >> PIECE_SHIFT) + 1; !f && piece-- > 0;)
		f = last_before(index, piece, s, addr);
	return f && addr - (s->base + f->st_value) < f->st_size ? f : NULL;
}

static const char *name_of(const struct elf_symbols *s, const ElfW(Sym) *function)
{
	return function ? elf_string(s, function->st_name) : "";
}

const char *function_name_at(const struct object *o, uintptr_t addr)
{
	struct elf_symbols symbols;

	return object_symbols(o, &symbols) ? name_of(&symbols, function_at(o, &symbols, addr)) : "";
}

const char *function_name_once(const struct object *o, uintptr_t addr)
{
	struct elf_symbols symbols;

	return object_symbols(o, &symbols) ? name_of(&symbols, elf_symbol_at(&symbols, addr)) : "";
}
