/* SPDX-License-Identifier: MIT */
/* Finds the region at an address. See address.h. */
#include "address.h"

#include <errno.h>
#include <string.h>

#define ENOUGH 2                /* ends the reading: nothing behind it is of interest */

static void keep(struct neighbour *to, const struct region *region)
{
	size_t len = region->vma.name.len < sizeof(to->name) ? region->vma.name.len : sizeof(to->name);

	to->there = true;
	to->region = *region;
	if (len)
		memcpy(to->name, region->vma.name.at, len);
	to->region.vma.name = (struct text){ to->name, len };
}

static void forget(struct address *found)
{
	found->before.there = found->holds.there = found->after.there = false;
}

static int look(void *context, const struct region *region)
{
	struct address *found = context;

	if (!region) {
		forget(found);
		return 0;
	}
	if (region->vma.end <= found->at) {
		keep(&found->before, region);
		return 0;
	}
	if (region->vma.start <= found->at) {
		keep(&found->holds, region);
		return 0;
	}
	keep(&found->after, region);
	return ENOUGH;
}

struct file_base {
	struct text file;
	bool there;
	uint64_t start;
};

static int look_for_file(void *context, const struct region *region)
{
	struct file_base *base = context;

	if (!region) {
		base->there = false;
		return 0;
	}
	if (region->vma.class != VMA_FILE)
		return 0;
	struct text name = text_base_name(region->vma.name);

	if (name.len != base->file.len || memcmp(name.at, base->file.at, name.len))
		return 0;
	base->there = true;
	base->start = region->vma.start - region->vma.offset;
	return ENOUGH;
}

static bool take_hex(struct text *text, uint64_t *value)
{
	if (text_starts(*text, "0x") || text_starts(*text, "0X")) {
		text->at += 2;
		text->len -= 2;
	}
	return text_u64(text, 16, value) && !text->len;
}

static int resolve_file(const struct proc *proc, pid_t pid, struct text file, struct address *found)
{
	struct file_base base = { .file = file };
	int error = process_read_apart(proc, pid, PROCESS_NAMES, NULL, look_for_file, &base, &found->process);

	if (error && error != ENOUGH)
		return tool_process_error(pid, error);
	if (!base.there) {
		tool_error("process %d has no file %.*s mapped. Give the last part of its path.", (int)pid, (int)file.len, file.at);
		return EXIT_FAILED;
	}
	found->at += base.start;
	return EXIT_DONE;
}

int address_find(const struct proc *proc, pid_t pid, const char *text, struct address *found)
{
	struct text rest = { text, strlen(text) };
	const char *plus = strrchr(text, '+');
	int code = EXIT_DONE, error;

	memset(found, 0, sizeof(*found));
	if (plus)
		rest = (struct text){ plus + 1, strlen(plus + 1) };
	if (!take_hex(&rest, &found->at)) {
		tool_error("'%s' is not an address. Give it in hexadecimal, as 7f31580041c0 or libc.so.6+1d2c80.", text);
		return EXIT_USAGE;
	}
	if (plus)
		code = resolve_file(proc, pid, (struct text){ text, (size_t)(plus - text) }, found);
	if (code != EXIT_DONE)
		return code;
	error = process_read_apart(proc, pid, PROCESS_FIGURES_ALL, NULL, look, found, &found->process);
	return error && error != ENOUGH ? tool_process_error(pid, error) : EXIT_DONE;
}
