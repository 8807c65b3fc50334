/* SPDX-License-Identifier: MIT */
/* The chunks of V8's heap. See v8.c. */
#ifndef ANONNAME_RECOGNISE_V8_H
#define ANONNAME_RECOGNISE_V8_H

#include "memory.h"

/* What one begins with. Behind the first five words Node 20 has the others; whoever takes them looks. */
struct v8_chunk {
	uint64_t size, flags, heap, start, end;
	uint64_t allocated, wasted, high, owner, allocator;
	uint64_t mapped, mapped_size; /* its own address, and its size again */
};

#define V8_NEW_SPACE (3ULL << 3)    /* flags: of one of the two halves */

/* Calls take for the chunks of all isolates. false: the program is none of V8's. */
typedef void v8_chunk_function(void *context, uint64_t at, const struct v8_chunk *chunk);
bool v8_chunks(struct target *target, v8_chunk_function *take, void *context);

#endif
