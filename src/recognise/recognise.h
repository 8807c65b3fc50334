/* SPDX-License-Identifier: MIT */
/*
 * Names for the memory of a process that nobody prepared, told from what lies
 * in it: the structures of its allocators, its threads, its runtime. A name is
 * given where the structure proves itself (a ring closes, back pointers agree,
 * sums are right), and else none. The process is not stopped or written to, and
 * no page of it is brought in.
 */
#ifndef ANONNAME_RECOGNISE_RECOGNISE_H
#define ANONNAME_RECOGNISE_RECOGNISE_H

#include "findings.h"
#include "memory.h"

#include "../read/process.h"

/* A row of the table in recognise.c; each has a file of its own. */
typedef void recogniser(struct target *target, struct findings *findings);

recogniser recognise_bss;
recogniser recognise_threads;
recogniser recognise_linked_threads;
recogniser recognise_musl;
recogniser recognise_loader;
recogniser recognise_arenas;
recogniser recognise_jemalloc;
recogniser recognise_tcmalloc;
recogniser recognise_mimalloc;
recogniser recognise_hotspot;
recogniser recognise_v8;
recogniser recognise_go;
recogniser recognise_php;
recogniser recognise_ruby;
recogniser recognise_beam;
recogniser recognise_ghc;
recogniser recognise_luajit;
recogniser recognise_sbcl;
recogniser recognise_mono;
recogniser recognise_python;
recogniser recognise_innodb;
recogniser recognise_large;
recogniser recognise_mariadb;

/* All of the above, in their order, NULL at the end. */
extern recogniser *const recognisers[];

/* All of them, of an open target. */
void recognise_all(struct target *target, struct findings *findings);

/* For struct proc: the same. 0 or a negative errno; -EDQUOT: a limit cut it short, and what was found by then is there. */
recognise_function recognise;

/* A chunk of glibc's that has its own mapping, with its header there: how long it is, behind end, too; 0: there is none. */
uint64_t large_at(struct target *target, uint64_t address, uint64_t end);

#endif
