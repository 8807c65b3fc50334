/* SPDX-License-Identifier: MIT */
/* Sums of figures. See figures.h. */
#include "figures.h"

void figures_add(struct figures *sum, const struct figures *more)
{
	for (unsigned i = 0; i < FIG_COUNT; i++)
		figure_add(&sum->value[i], more->value[i]);
	sum->unknown |= more->unknown;
	sum->estimate |= more->estimate;
}
