/* SPDX-License-Identifier: MIT */
/* Changes of the registry, made by who holds it (queue.h). Nobody outside this folder uses it. */
#ifndef ANONNAME_SINK_REGISTRY_EDIT_H
#define ANONNAME_SINK_REGISTRY_EDIT_H

#include "base/compiler.h"
#include "format/registry_format.h"

enum op_kind { OP_SET, OP_CLEAR, OP_MOVE, OP_START };

struct op {
	uintptr_t start;
	uintptr_t end;
	uintptr_t to;              /* OP_MOVE */
	size_t to_len;
	uint32_t stamp;
	uint8_t kind;
	bool keep;                 /* OP_MOVE: the old range stays */
	bool unless_newer;         /* OP_CLEAR: leave what was set after the stamp */
	bool code;                 /* OP_SET: see registry_set_code */
	uint8_t len;
	char name[ANONNAME_NAME_MAX];
};

/*
 * Makes the change, for which the caller holds the registry. It
 * may be left at any instruction, by a handler that jumps, and made once more
 * from its beginning. What is behind a move's half is kept in the op itself.
 */
void registry_apply(struct op *op);

#endif
