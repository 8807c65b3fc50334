/* SPDX-License-Identifier: MIT */
/* A snapshot as a document: what anonname snapshot prints, and anonname watch writes. */
#ifndef ANONNAME_TOOLS_SNAPSHOT_H
#define ANONNAME_TOOLS_SNAPSHOT_H

#include "measure.h"

/* why: a member "reason", or NULL. 0 or -ENOMEM; whether it could be written, the file says. */
int snapshot_write(FILE *out, const struct measurement *measurement, const char *why);

#endif
