/* SPDX-License-Identifier: MIT */
/*
 * One thread unmaps A while another names its neighbour B alike, which may make
 * the two one range with one stamp: is A ever left with a name, or a note with
 * nobody to apply it? See src/sink/registry/queue.c and order.c.
 *
 * The memory is aarch64's: each thread's stores wait in a buffer, and leave it in
 * any order, except that a release leaves after all that were stored before it.
 * Compare and swap is a load and a store of which only the store waits; nobody
 * else stores there meanwhile. So what follows it can be visible before it is.
 * Loads are made in the order of the program: all that matter are acquires.
 * A sequentially consistent load waits for the releases before it.
 *     -DSTAMP_RELAXED: the clock of who unmaps is no release,
 *     -DHOLD_RELAXED:  who left a note looks by a relaxed load if somebody holds,
 *     -DEND_RELAXED:   so does it here, and gives the slot back by no release:
 * each of them fails. With the load in its place, the slot would be in order anyway.
 */
#define SLOT    0       /* an unmap is on its way */
#define CLOCK   1
#define HOLDER  2
#define WAITING 3       /* a bit for each change that left a note */
#define TREE    4       /* the stamp of A's range, 0: it is not there */
#define PLACES  5
#define BIT(place) (1 << (place))

#define UNMAP   0       /* the two threads, and their changes */
#define NAME    1
#define THREADS 2

typedef buffer {
	byte stored;            /* bits of the places whose store waits */
	byte released;          /* of these the releases */
	byte value[PLACES];
	byte behind[PLACES]     /* what must leave before */
};
byte memory[PLACES];
buffer waits[THREADS];
byte stamp[THREADS];
byte ended;

/* Nobody's store to the place waits. */
#define IS_FREE(place) (!((waits[0].stored | waits[1].stored) & BIT(place)))
#define ALL_LEFT        (!waits[0].stored && !waits[1].stored)

/* The same place's stores keep their order: the next one is made when the one before has left. */
inline store(place, what, is_release)
{
	atomic {
		!(waits[me].stored & BIT(place));
		put(place, what, is_release)
	}
}

inline put(place, what, is_release)
{
	waits[me].behind[place] = (is_release -> waits[me].stored : 0);
	waits[me].stored = waits[me].stored | BIT(place);
	waits[me].released = (is_release -> waits[me].released | BIT(place) : waits[me].released & ~BIT(place));
	waits[me].value[place] = what
}

inline load(place, to)
{
	to = (waits[me].stored & BIT(place) -> waits[me].value[place] : memory[place])
}

/* Compare and swap in a loop, or any other change of one place. */
inline change(place, from, what, is_release)
{
	atomic {
		IS_FREE(place);
		from = memory[place];
		put(place, what, is_release)
	}
}

active proctype stores_leave()
{
	byte t, p;

	do
	:: atomic {
		!ALL_LEFT ->
		select (t: 0 .. THREADS - 1);
		select (p: 0 .. PLACES - 1);
		if
		:: (waits[t].stored & BIT(p)) && !(waits[t].behind[p] & waits[t].stored) ->
			memory[p] = waits[t].value[p];
			waits[t].stored = waits[t].stored & ~BIT(p);
			waits[t].released = waits[t].released & ~BIT(p);
			waits[t].behind[p] = 0;
			waits[t].value[p] = 0
		:: else
		fi;
		t = 0;
		p = 0
	   }
	:: ended == THREADS && ALL_LEFT -> break
	od;
#ifdef END_RELAXED
	assert(!memory[TREE] || (memory[WAITING] & BIT(UNMAP)))
#else
	assert(!memory[HOLDER] && !memory[WAITING]);
	assert(!memory[TREE])
#endif
}

/* --- queue.c ------------------------------------------------------------------------ */

inline hold()
{
#if !defined(HOLD_RELAXED) && !defined(END_RELAXED)
	!waits[me].released;
#endif
	load(HOLDER, seen);
	held = false;
	if
	:: seen
	:: else ->
		atomic {
			IS_FREE(HOLDER);
			if
			:: memory[HOLDER]
			:: else -> put(HOLDER, 1, false); held = true
			fi
		}
	fi
}

/* The clear leaves what is newer than the unmap. Neighbours become one, with one stamp, where all is quiet. */
inline apply(op)
{
	load(TREE, tree);
	if
	:: op == UNMAP && tree && tree <= stamp[UNMAP] -> store(TREE, 0, false)
	:: op == NAME && tree ->
		load(SLOT, seen);
		if
		:: seen || applying
		:: else ->
			load(WAITING, seen);
			if
			:: seen
			:: else -> store(TREE, stamp[NAME], false)
			fi
		fi
	:: else
	fi;
	tree = 0
}

/* Oldest first; here in any order. */
inline apply_waiting()
{
	change(WAITING, applying, 0, false);
	do
	:: applying & BIT(UNMAP) -> apply(UNMAP); applying = applying & ~BIT(UNMAP)
	:: applying & BIT(NAME) -> apply(NAME); applying = applying & ~BIT(NAME)
	:: !applying -> break
	od
}

inline let_go()
{
	do
	:: load(WAITING, seen);
		if
		:: seen -> apply_waiting()
		:: else
		fi;
		store(HOLDER, 0, true);
		!waits[me].released;
		load(WAITING, seen);
		if
		:: !seen -> break
		:: else
		fi;
		hold();
		if
		:: !held -> break
		:: else
		fi
	od
}

proctype thread(byte me)
{
	byte seen, tree, applying;
	bool held;

	if
	:: me == UNMAP -> change(SLOT, seen, 1, true)
	:: else
	fi;
	atomic {
		IS_FREE(CLOCK);
		stamp[me] = memory[CLOCK] + 1;
#ifdef STAMP_RELAXED
		put(CLOCK, stamp[me], false)
#else
		put(CLOCK, stamp[me], true)
#endif
	}
	hold();
	if
	:: held ->
		load(WAITING, seen);
		if
		:: seen -> apply_waiting()
		:: else
		fi;
		apply(me);
		let_go()
	:: else ->
		atomic {
			IS_FREE(WAITING);
			put(WAITING, memory[WAITING] | BIT(me), true)
		}
		hold();
		if
		:: held -> let_go()
		:: else
		fi
	fi;
	if
#ifdef END_RELAXED
	:: me == UNMAP -> store(SLOT, 0, false)
#else
	:: me == UNMAP -> store(SLOT, 0, true)
#endif
	:: else
	fi;
	ended++
}

init {
	atomic {
		memory[CLOCK] = 1;
		memory[TREE] = 1;
		run thread(UNMAP); run thread(NAME)
	}
}
