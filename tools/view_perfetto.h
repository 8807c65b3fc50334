/* SPDX-License-Identifier: MIT */
/* A recording as a trace for Perfetto's viewer: anonname view --perfetto. */
#ifndef ANONNAME_TOOLS_VIEW_PERFETTO_H
#define ANONNAME_TOOLS_VIEW_PERFETTO_H

#include "recording.h"

/* Returns the exit code. */
int view_perfetto(FILE *out, const struct recording *recording);

#endif
