/* SPDX-License-Identifier: MIT */
/* Sums of figures. See figures.h. */
#include "figures.h"

void figure_between(struct figures *figures, enum figure figure, uint64_t low, uint64_t high, uint64_t likely)
{
	const uint64_t hundredth = low / 95;    /* 1 %, rounded */
	uint32_t bit = FIG_BIT(figure);

	if (high < low)
		high = low;
	if (likely < low || likely > high)
		likely = low + (high - low) / 2;
	figures->value[figure] = likely;
	figures->unknown &= ~bit;
	figures->estimate &= ~bit;
	if (high == low)
		return;
	if (high - likely > hundredth || likely - low > hundredth)
		figures->unknown |= bit;
	else
		figures->estimate |= bit;
}

void figures_add(struct figures *sum, const struct figures *more)
{
	for (unsigned i = 0; i < FIG_COUNT; i++)
		figure_add(&sum->value[i], more->value[i]);
	sum->unknown |= more->unknown;
	sum->estimate |= more->estimate;
}
