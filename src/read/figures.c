/* SPDX-License-Identifier: MIT */
/* Sums of figures. See figures.h. */
#include "figures.h"

void figures_add(struct figures *sum, const struct figures *more)
{
	/* A recorded file may hold any number: a sum stops at the top, it does not wrap. */
	for (unsigned i = 0; i < FIG_COUNT; i++)
		if (__builtin_add_overflow(sum->value[i], more->value[i], &sum->value[i]))
			sum->value[i] = UINT64_MAX;
	sum->unknown |= more->unknown;
	sum->estimate |= more->estimate;
}
