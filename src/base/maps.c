/* SPDX-License-Identifier: MIT */
/* Reads /proc/self/maps. See maps.h. */
#include "base/maps.h"

#include <fcntl.h>

#include "base/sandbox.h"
#include "base/sys.h"
#include "base/text.h"

/* start-end perms offset major:minor inode path */
static bool parse(const char *line, const char *end, struct maps_line *out, char *path, size_t room)
{
	uint64_t start, stop, skip;

	if (!text_read_number(&line, end, 16, &start) || line == end || *line++ != '-' ||
	    !text_read_number(&line, end, 16, &stop) || end - line < 6)
		return false;
	line++;
	for (int i = 0; i < 4; i++)
		out->perms[i] = *line++;
	out->perms[4] = '\0';
	line++;
	if (!text_read_number(&line, end, 16, &skip) || line == end || *line++ != ' ' ||
	    !text_read_number(&line, end, 16, &skip) || line == end || *line++ != ':' ||
	    !text_read_number(&line, end, 16, &skip) || line == end || *line++ != ' ' ||
	    !text_read_number(&line, end, 10, &out->inode))
		return false;
	while (line < end && *line == ' ')
		line++;

	struct text_buffer t;

	if ((size_t)(end - line) >= room)
		line = end - room + 1;
	text_init(&t, path, room);
	text_add_bytes(&t, line, (size_t)(end - line));
	out->start = start;
	out->end = stop;
	out->path = path;
	/* /proc shows no file for [heap], [stack], [anon:...]: their inode is 0 as well. */
	out->special = text_begins(path, "[heap]") || text_begins(path, "[stack");
	out->anonymous = out->inode == 0 && out->perms[3] == 'p' &&
			 (path[0] == '\0' || out->special || text_begins(path, "[anon:"));
	return true;
}

static long read_file(const char *file, bool (*each)(const struct maps_line *line, void *context), void *context)
{
	char buf[1024], path[128];      /* the caller may be on a small stack */
	size_t have = 0;
	long count = 0, n;
	bool more = true;
	long fd = sys_open(file, O_RDONLY | O_CLOEXEC);

	if (sys_failed(fd))
		return fd;
	while (more && (n = sys_read((int)fd, buf + have, sizeof(buf) - have)) > 0) {
		size_t done = 0;

		have += (size_t)n;
		for (size_t i = 0; i < have && more; i++) {
			struct maps_line line;

			if (buf[i] != '\n')
				continue;
			if (parse(buf + done, buf + i, &line, path, sizeof(path))) {
				count++;
				more = !each || each(&line, context);
			}
			done = i + 1;
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
