/* SPDX-License-Identifier: MIT */
/*
 * Copies the registry (format/registry_format.h) out of another process while
 * that process goes on changing it. Whatever it says is hostile input: every
 * size, count, index and address is checked, and the work is bounded.
 */
#ifndef ANONNAME_READ_REGISTRY_H
#define ANONNAME_READ_REGISTRY_H

#include "../format/registry_format.h"
#include "memory.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct registry_entry {
	uint64_t start, end;
	uint32_t name;              /* offset into names */
};

struct registry {
	struct registry_entry *entry; /* sorted, not overlapping */
	size_t count;
	char *names;                /* NUL terminated strings, safe to show */
	size_t names_len;
	size_t torn;                /* leaves that kept changing and are left out */
	size_t refused;             /* leaves and ranges that break the format */
	uint64_t bytes;             /* read from the process */
};

/* A checked copy. -EAGAIN: not filled in yet; -EPROTO: another version; -EBADMSG: not a root. */
int registry_read_root(const struct memory *memory, uint64_t address, struct root *root);

/*
 * Copies the ranges. 0, also when some leaves were torn or refused; -EBADMSG
 * when nothing of it makes sense. registry is only touched on success.
 * Of a registry with more than some 100,000 ranges the rest is one entry that
 * is called "[N more ranges]".
 */
int registry_read(const struct memory *memory, uint64_t root_address, struct registry *registry);
void registry_free(struct registry *registry);

/* The first entry that ends above address; count when there is none. */
size_t registry_seek(const struct registry *registry, uint64_t address);
static inline const char *registry_name(const struct registry *registry, size_t i)
{
	return registry->names + registry->entry[i].name;
}

#endif
