/* SPDX-License-Identifier: MIT */
/* Go's heap, by its table of arenas and their spans. See go.c. */
#ifndef ANONNAME_RECOGNISE_GO_H
#define ANONNAME_RECOGNISE_GO_H

#include "memory.h"

#define GO_ARENA (64ULL << 20)

enum go_kind { GO_HEAP, GO_STACK, GO_RUNTIME };

/* A span that is in use, as it says itself: whoever takes it looks whether that can be. */
struct go_span {
	uint64_t start, size;
	enum go_kind kind;
	uint64_t element;           /* of a heap's: bytes of an object, */
	uint64_t allocated;         /* how many are allocated, */
	uint64_t limit;             /* and where the last of them may end */
};

typedef void go_span_function(void *context, const struct go_span *span);
typedef void go_arena_function(void *context, uint64_t arena);

/* Calls each for the spans of an arena in order of address, and then arena for it, and so on. false: the program is none of Go's. */
bool go_spans(struct target *target, go_span_function *each, go_arena_function *arena, void *context);

#endif
