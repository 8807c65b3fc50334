/* SPDX-License-Identifier: MIT */
/*
 * A reader copies a leaf of the registry while the writer replaces it and uses
 * its block again: does it ever keep a mixed copy? See fence_before_reuse in
 * src/sink/registry/registry.c, next_range there, and src/read/registry.c.
 *
 * The memory is aarch64's: a processor's stores become visible to all others at
 * once, but in any order, and its loads are made in any order, except
 *     - a store-release comes after all earlier stores,
 *     - stores behind a release fence come after those before it,
 *     - loads behind a load-acquire come after it,
 *     - loads behind an acquire fence come after those before it.
 *
 * A block is two words, each with the generation that it was written for. The
 * slot holds the generation; odd ones are in block 1, even ones in block 0.
 *     -DNO_WRITER_FENCE, -DNO_READER_FENCE: without one of the fences, which fails.
 */
#define SLOT    0
#define X(g)    (1 + (g) % 2)
#define Y(g)    (3 + (g) % 2)

byte memory[5];

/* The writer's stores in the order of its program, and how many of the first ones must be visible before each. */
#define STORES  9
byte place[STORES], value[STORES], behind[STORES];
bool visible[STORES];
byte stores, fenced;

inline store(where, what)
{
	place[stores] = where; value[stores] = what; behind[stores] = fenced; stores++
}

inline store_release(where, what)
{
	place[stores] = where; value[stores] = what; behind[stores] = stores; stores++
}

inline fence_release()
{
	fenced = stores
}

/* Three changes. Generation 3 goes to the block of 1, and 4 to that of 2. */
inline change(g)
{
#ifndef NO_WRITER_FENCE
	fence_release();
#endif
	store(X(g), g);
	store(Y(g), g);
	store_release(SLOT, g)
}

#define ALL_BEFORE(n)   ((n < 1 || visible[0]) && (n < 2 || visible[1]) && (n < 3 || visible[2]) && \
			 (n < 4 || visible[3]) && (n < 5 || visible[4]) && (n < 6 || visible[5]) && \
			 (n < 7 || visible[6]) && (n < 8 || visible[7]))
/* Two stores to one place keep their order: the next one to it is three further on, or six. */
#define SAME_PLACE(i)   ((i < 3 || place[i - 3] != place[i] || visible[i - 3]) && \
			 (i < 6 || place[i - 6] != place[i] || visible[i - 6]))

active proctype writer()
{
	byte i;

	d_step {
		memory[SLOT] = 1; memory[X(1)] = 1; memory[Y(1)] = 1;
		change(2); change(3); change(4);
	}
	do
	:: atomic {
		select (i: 0 .. STORES - 1);
		if
		:: !visible[i] && ALL_BEFORE(behind[i]) && SAME_PLACE(i) ->
			memory[place[i]] = value[i];
			visible[i] = true
		:: else
		fi
	   }
	:: ALL_BEFORE(8) && visible[8] -> break
	od
}

active proctype reader()
{
	byte before, x, y, after;
	bool have_x, have_y, have_after;

	(stores == STORES);
	before = memory[SLOT];          /* load-acquire */
	do
	:: !have_x -> x = memory[X(before)]; have_x = true
	:: !have_y -> y = memory[Y(before)]; have_y = true
#ifdef NO_READER_FENCE
	:: !have_after -> after = memory[SLOT]; have_after = true
#else
	:: have_x && have_y && !have_after -> after = memory[SLOT]; have_after = true
#endif
	:: have_x && have_y && have_after -> break
	od;
	assert(before != after || (x == before && y == before))
}
