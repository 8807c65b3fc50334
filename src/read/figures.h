/* SPDX-License-Identifier: MIT */
/*
 * The figures that a name, a process or the machine has: one list, from which
 * the columns, the JSON members and the sums are made.
 */
#ifndef ANONNAME_READ_FIGURES_H
#define ANONNAME_READ_FIGURES_H

#include <stdint.h>

/* VMAS is a number, all others are bytes. */
enum figure {
	FIG_VMAS = 0,
	FIG_SIZE,
	FIG_RSS,
	FIG_PSS,
	FIG_USS,
	FIG_COW,                    /* anonymous pages shared with a relative by fork */
	FIG_KSM,
	FIG_ZERO,                   /* the zero page: not in RSS */
	FIG_SWAP,
	FIG_SWAP_PSS,
	FIG_THP,
	FIG_LOCKED,
	FIG_DIRTY,                  /* the four that only smaps has: see FIG_ONLY_SMAPS */
	FIG_CLEAN,
	FIG_LAZYFREE,
	FIG_PSS_DIRTY,
	FIG_PAGE_TABLES,            /* of a process, beside its VMAs and not in RSS */
	FIG_COUNT
};

#define FIG_BIT(figure) (1U << (figure))
#define FIG_ALL         (FIG_BIT(FIG_COUNT) - 1)

/* What is counted in a VMA's pages, and may therefore be unknown of it. */
#define FIG_OF_PAGES    (FIG_ALL & ~(FIG_BIT(FIG_VMAS) | FIG_BIT(FIG_SIZE) | FIG_BIT(FIG_PAGE_TABLES)))

/* What pagemap does not tell: a process is read from smaps for these, which takes longer. */
#define FIG_ONLY_SMAPS  (FIG_BIT(FIG_DIRTY) | FIG_BIT(FIG_CLEAN) | FIG_BIT(FIG_LAZYFREE) | FIG_BIT(FIG_PSS_DIRTY))

/*
 * A figure that could not be had is unknown, and so is every sum that it is part
 * of. An estimate is at most 1 % off; what may be further off is unknown. The
 * value of one that is unknown is a guess, for sums that are known without it.
 */
struct figures {
	uint64_t value[FIG_COUNT];
	uint32_t unknown;           /* FIG_BIT() of each */
	uint32_t estimate;
};

/* A recorded file may hold any number: a sum stops at the top, it does not wrap. */
static inline void figure_add(uint64_t *sum, uint64_t more)
{
	if (__builtin_add_overflow(*sum, more, sum))
		*sum = UINT64_MAX;
}

/* Sets a figure that lies between two bounds: exact, estimate or unknown, as far as they are apart. */
void figure_between(struct figures *figures, enum figure figure, uint64_t low, uint64_t high, uint64_t likely);

void figures_add(struct figures *sum, const struct figures *more);

#endif
