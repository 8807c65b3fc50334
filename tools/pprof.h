/* SPDX-License-Identifier: MIT */
/*
 * A profile for pprof: what folded.h prints as lines, as stacks of process, owner,
 * thing and detail with their bytes. The format is profile.proto of github.com/google/pprof.
 */
#ifndef ANONNAME_TOOLS_PPROF_H
#define ANONNAME_TOOLS_PPROF_H

#include "measure.h"
#include "protobuf.h"

struct pprof {
	enum figure figure;         /* what is measured */
	bool fold;                  /* names that differ in a number are one, and processes of a name */
	size_t unknown;             /* stacks that are missing: their figure cannot be had */

	struct message profile;
	char **string;              /* each once; its number is that of its function and place, too */
	size_t strings, room;
	uint32_t *slot;             /* by hash: number + 1 */
	size_t slots;
	bool failed;
};

/* For wants.each; context is a struct pprof. */
int pprof_process(void *context, const struct measured *process);

/* The document, as gzip. 0 or -ENOMEM. figure: its name. */
int pprof_write(FILE *out, struct pprof *pprof, const char *figure);
void pprof_free(struct pprof *pprof);

#endif
