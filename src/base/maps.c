/* SPDX-License-Identifier: MIT */
/* Reads /proc/self/maps. See maps.h. */
#include "base/maps.h"

#include <fcntl.h>

#include "base/sandbox.h"
#include "base/sys.h"
#include "base/text.h"

/* A field that nobody asks for. */
static const char *skip_field(const char *at)
{
	while (*at && *at != ' ')
		at++;
	return *at ? at + 1 : at;
}

/*
 * start-end perms offset major:minor inode path
 *
 * Each start of a program reads some thirty of these: each byte is looked at
 * once, and the path stays where it is. The line ends with a NUL.
 */
static bool parse(const char *line, const char *end, struct maps_line *out)
{
	uint64_t start, stop;

	if (!text_read_number(&line, end, 16, &start) || *line++ != '-' || !text_read_number(&line, end, 16, &stop) || end - line < 6)
		return false;
	line++;
	for (int i = 0; i < 4; i++)
		out->perms[i] = *line++;
	out->perms[4] = '\0';
	line = skip_field(skip_field(line + 1));
	if (!text_read_number(&line, end, 10, &out->inode))
		return false;
	while (*line == ' ')
		line++;
	out->start = start;
	out->end = stop;
	out->path = line;
	/* /proc shows no file for [heap], [stack], [anon:...]: their inode is 0 as well. */
	out->special = *line == '[' && (text_begins(line, "[heap]") || text_begins(line, "[stack"));
	out->anonymous = out->inode == 0 && out->perms[3] == 'p' && (!*line || out->special || text_begins(line, "[anon:"));
	return true;
}

static long read_file(const char *file, bool (*each)(const struct maps_line *line, void *context), void *context)
{
	char buf[1024];      /* the caller may be on a small stack */
	size_t have = 0;
	long count = 0, n;
	bool more = true;
	long fd = sys_open(file, O_RDONLY | O_CLOEXEC);

	if (sys_failed(fd))
		return fd;
	while (more && (n = sys_read((int)fd, buf + have, sizeof(buf) - have)) > 0) {
		size_t done = 0, at = have;

		have += (size_t)n;
		for (; at < have && more; at++) {
			struct maps_line line;

			if (buf[at] != '\n')
				continue;
			buf[at] = '\0';
			if (parse(buf + done, buf + at, &line)) {
				count++;
				more = !each || each(&line, context);
			}
			done = at + 1;
		}
		/* A path longer than the buffer: drop what we have of it, its line is not parsed. */
		if (done == 0 && have == sizeof(buf))
			done = have;
		have -= done;
		__builtin_memmove(buf, buf + done, have);
	}
	sys_close((int)fd);
	return count;
}

long maps_each(bool (*each)(const struct maps_line *line, void *context), void *context)
{
	long count;

	if (!sandbox_allows(MAY_READ_PROC))
		return -1; /* EPERM */
	count = read_file("/proc/self/maps", each, context);
	/* That is the main thread's, which may have ended before us: it has no memory any more. */
	return count > 0 ? count : read_file("/proc/thread-self/maps", each, context);
}

struct find {
	uintptr_t addr;
	struct maps_line *line;
	bool found;
};

static bool find_one(const struct maps_line *line, void *context)
{
	struct find *f = context;

	if (f->addr >= line->end)
		return true;
	f->found = f->addr >= line->start;
	if (f->found) {
		*f->line = *line;
		f->line->path = "";
	}
	return false;
}

bool maps_find(uintptr_t addr, struct maps_line *line)
{
	struct find f = { .addr = addr, .line = line };

	maps_each(find_one, &f);
	return f.found;
}
