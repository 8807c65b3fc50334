/* SPDX-License-Identifier: MIT */
/* The page of a recording: anonname view --html. */
#ifndef ANONNAME_TOOLS_VIEW_PAGE_H
#define ANONNAME_TOOLS_VIEW_PAGE_H

#include "recording.h"

/* Returns the exit code. */
int view_page(FILE *out, const struct recording *recording);

#endif
