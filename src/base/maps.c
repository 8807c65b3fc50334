/* SPDX-License-Identifier: MIT */
/* The process's own VMAs. See maps.h. */
#include "base/maps.h"

#include <errno.h>
#include <fcntl.h>

#include "base/sandbox.h"
#include "base/sys.h"
#include "base/text.h"

#define ROOM 1024       /* for text, or a path: the caller may be on a small stack */

/* /proc shows no file for [heap], [stack], [anon:...]: their inode is 0 as well. */
static void classify(struct maps_line *line)
{
	const char *path = line->path;

	line->special = *path == '[' && (text_begins(path, "[heap]") || text_begins(path, "[stack"));
	line->anonymous = line->inode == 0 && line->perms[3] == 'p' && (!*path || line->special || text_begins(path, "[anon:"));
}

/* In order from `from` on. Only who may skip asks. */
struct search {
	uintptr_t from;
	bool ask;
	bool (*each)(struct maps_line *line, void *context);
	void *context;
};

static bool wants_more(const struct search *s, struct maps_line *line)
{
	return !s->each || s->each(line, s->context);
}

/* --- asked for ----------------------------------------------------------------------- */

enum { IS_READABLE = 1, IS_WRITABLE = 2, IS_EXECUTABLE = 4, IS_SHARED = 8, THIS_OR_NEXT = 16 };

/* The VMA that holds `at` or is the next one behind it. Returns 0 or -errno: -ENOENT is the end. */
static long ask(int fd, uintptr_t at, char *path, struct maps_line *line)
{
	struct maps_question q = { .size = sizeof(q), .flags = THIS_OR_NEXT, .address = at, .name = (uintptr_t)path, .name_size = ROOM };
	long r = sys_call6(SYS_ioctl, fd, SYS_ARG(PROCMAP_QUERY), SYS_ARG(&q), 0, 0, 0);

	if (r == -ENAMETOOLONG) {
		q.name = q.name_size = 0;
		r = sys_call6(SYS_ioctl, fd, SYS_ARG(PROCMAP_QUERY), SYS_ARG(&q), 0, 0, 0);
	}
	if (sys_failed(r))
		return r;
	if (!q.name_size)
		path[0] = '\0';
	*line = (struct maps_line){
		.start = q.start, .end = q.end, .next = q.end, .inode = q.inode, .path = path,
		.perms = { q.vma_flags & IS_READABLE ? 'r' : '-', q.vma_flags & IS_WRITABLE ? 'w' : '-',
			   q.vma_flags & IS_EXECUTABLE ? 'x' : '-', q.vma_flags & IS_SHARED ? 's' : 'p' },
	};
	classify(line);
	return 0;
}

/* -errno: this kernel cannot be asked, or we may not. */
static long ask_each(int fd, char *path, const struct search *s)
{
	struct maps_line line = { .next = s->from };
	long count = 0, r;

	if (!sandbox_allows(MAY_ASK_VMA))
		return -EPERM;
	while ((r = ask(fd, line.next, path, &line)) == 0) {
		count++;
		if (!wants_more(s, &line))
			return count;
	}
	return r == -ENOENT || count ? count : r;
}

/* --- read as text ---------------------------------------------------------------------- */

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
	out->end = out->next = stop;
	out->path = line;
	classify(out);
	return true;
}

static long read_each(int fd, char *buf, const struct search *s)
{
	size_t have = 0;
	long count = 0, n;
	bool more = true;

	while (more && (n = sys_read(fd, buf + have, ROOM - have)) > 0) {
		size_t done = 0, at = have;

		have += (size_t)n;
		for (; at < have && more; at++) {
			struct maps_line line;

			if (buf[at] != '\n')
				continue;
			buf[at] = '\0';
			if (parse(buf + done, buf + at, &line)) {
				count++;
				more = wants_more(s, &line);
			}
			done = at + 1;
		}
		/* A path longer than the buffer: drop what we have of it, its line is not parsed. */
		if (done == 0 && have == ROOM)
			done = have;
		have -= done;
		__builtin_memmove(buf, buf + done, have);
	}
	return count;
}

/* --- either -------------------------------------------------------------------------------- */

static long each_of(const char *file, const struct search *s)
{
	char room[ROOM] = "";   /* all of it: valgrind does not know that a question writes here */
	long fd = sys_open(file, O_RDONLY | O_CLOEXEC), count = -1;

	if (sys_failed(fd))
		return fd;
	if (s->ask)
		count = ask_each((int)fd, room, s);
	if (count < 0)
		count = read_each((int)fd, room, s);
	sys_close((int)fd);
	return count;
}

static long search(const struct search *s)
{
	long count;

	if (!sandbox_allows(MAY_READ_PROC))
		return -1; /* EPERM */
	count = each_of("/proc/self/maps", s);
	/* That is the main thread's, which may have ended before us: it has no memory any more. */
	return count > 0 ? count : each_of("/proc/thread-self/maps", s);
}

long maps_each(bool (*each)(struct maps_line *line, void *context), void *context)
{
	return search(&(struct search){ .each = each, .context = context });
}

long maps_some(bool (*each)(struct maps_line *line, void *context), void *context)
{
	return search(&(struct search){ .ask = true, .each = each, .context = context });
}

struct find {
	uintptr_t addr;
	struct maps_line *line;
	bool found;
};

static bool find_one(struct maps_line *line, void *context)
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

	search(&(struct search){ .from = addr, .ask = true, .each = find_one, .context = &f });
	return f.found;
}
