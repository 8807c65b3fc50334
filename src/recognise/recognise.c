/* SPDX-License-Identifier: MIT */
/* The table of recognisers. See recognise.h. */
#include "recognise.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/*
 * In this order: what is certain by its address comes first, and what must
 * search in memory that is still nobody's comes last. The linker and arenas ask for threads.
 */
recogniser *const recognisers[] = {
	recognise_bss,
	recognise_threads,
	recognise_musl,
	recognise_linked_threads,
	recognise_loader,
	recognise_arenas,
	recognise_jemalloc,
	recognise_tcmalloc,
	recognise_mimalloc,
	recognise_hotspot,
	recognise_v8,
	recognise_go,
	recognise_php,
	recognise_ruby,
	recognise_beam,
	recognise_ghc,
	recognise_luajit,
	recognise_sbcl,
	recognise_mono,
	recognise_python,
	recognise_innodb,
	recognise_large,
	/* Arenas that lie against large chunks. */
	recognise_python,
	recognise_mariadb,
	NULL,
};

/* The same list as a registry is, so that whoever reads names sees no difference. */
static int hand_over(struct findings *findings, struct registry *out)
{
	struct registry_entry *entry = calloc(findings->settled + 1, sizeof(*entry));

	if (!entry)
		return -ENOMEM;
	for (size_t i = 0; i < findings->settled; i++)
		entry[i] = (struct registry_entry){
			findings->found[i].start, findings->found[i].end, (uint32_t)findings->found[i].name,
		};
	out->entry = entry;
	out->count = findings->settled;
	out->names = findings->names;
	out->names_len = findings->names_len;
	findings->names = NULL;
	return 0;
}

void recognise_all(struct target *target, struct findings *findings)
{
	for (size_t i = 0; recognisers[i]; i++) {
		recognisers[i](target, findings);
		findings_settle(findings);
	}
}

int recognise(const struct proc *proc, pid_t pid, struct text ahead, int maps, struct registry *out, struct cost *cost)
{
	struct target target;
	struct findings findings = { 0 };
	int error = target_open_maps(&target, proc, pid, ahead, maps);

	if (error)
		return error;
	recognise_all(&target, &findings);
	error = hand_over(&findings, out);
	if (!error && target.spent)
		error = -EDQUOT;
	findings_free(&findings);
	cost->reads += target.reads;
	cost->bytes += target.bytes;
	cost->longest_ns += clock_ns() - target.began;
	target_close(&target);
	return error;
}
