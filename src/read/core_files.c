/* SPDX-License-Identifier: MIT */
/* Makes what /proc says of a process out of a core file. See core.h. */
#include "core.h"

#include "core_parts.h"
#include "files.h"
#include "list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How much of variables is searched for the end of [heap]. */
#define VARIABLES_MAX (16ULL << 20)
#define BLOCK_WORDS   512
#define HEAPS_MAX     64
#define GAP_MAX       (1ULL << 40)

static const struct core_mapped *file_at(const struct core *core, uint64_t address)
{
	size_t i = list_seek(core->file, core->files, sizeof(*core->file), address);

	return i < core->files && core->file[i].start <= address ? &core->file[i] : NULL;
}

/* --- [heap] --------------------------------------------------------------------------- */

static bool is_anonymous(const struct core *core, const struct core_segment *segment)
{
	return !file_at(core, segment->start) && segment->flags & PF_W;
}

/* Mappings that may be it, by their ends. */
struct heaps {
	const struct core_segment *segment[HEAPS_MAX];
	size_t count;
	uint64_t left;              /* bytes of variables that may still be looked at */
};

static const struct core_segment *ends_at(const struct heaps *heaps, uint64_t end)
{
	size_t i = 0;

	while (i < heaps->count && heaps->segment[i]->end != end)
		i++;
	return i < heaps->count ? heaps->segment[i] : NULL;
}

/* The mapping that a variable in this one says the end of; NULL: none does. */
static const struct core_segment *look_at_variables(const struct core *core, const struct core_segment *variables, struct heaps *heaps)
{
	const uint64_t low = heaps->segment[0]->end, high = heaps->segment[heaps->count - 1]->end;
	const struct core_segment *found = NULL;
	uint64_t word[BLOCK_WORDS], at = variables->start;

	while (!found && heaps->left >= sizeof(word) && (at = core_next(core, at, variables->end)) < variables->end) {
		heaps->left -= sizeof(word);
		if (!core_read(core, at, word, sizeof(word)))
			for (size_t i = 0; i < BLOCK_WORDS && !found; i++)
				found = word[i] >= low && word[i] <= high ? ends_at(heaps, word[i]) : NULL;
		at += sizeof(word);
	}
	return found;
}

/* Behind the program and in front of what is mapped later, which begins far from there; and not its .bss. */
static void find_candidates(const struct core *core, struct heaps *heaps)
{
	const struct core_segment *last = NULL;

	for (size_t i = 0; i < core->segments && heaps->count < HEAPS_MAX; i++) {
		const struct core_segment *segment = &core->segment[i];

		if (last && segment->start - last->end > GAP_MAX)
			return;
		if (is_anonymous(core, segment) && !(last && last->end == segment->start && file_at(core, last->start)))
			heaps->segment[heaps->count++] = segment;
		last = segment;
	}
}

/*
 * Nothing in a core says where it was. But libc has its end (__curbrk, or what
 * musl has) among its variables: in a writable mapping of a file, or behind it.
 */
void core_find_heap(struct core *core)
{
	struct heaps heaps = { .left = VARIABLES_MAX };
	const struct core_segment *found = NULL;
	bool behind = false;

	if (!core->files)
		return;
	find_candidates(core, &heaps);
	for (size_t i = 0; i < core->segments && heaps.count && !found; i++) {
		const struct core_segment *segment = &core->segment[i];
		bool of_file = file_at(core, segment->start) != NULL;

		if (segment->flags & PF_W && (of_file || behind))
			found = look_at_variables(core, segment, &heaps);
		behind = of_file && segment->flags & PF_W;
	}
	core->heap = found ? found->start : 0;
}

/* --- maps ----------------------------------------------------------------------------- */

static bool starts(const char *text, const char *with)
{
	return !strncmp(text, with, strlen(with));
}

/* Whether it was shared is not said: but what is called so was. */
static bool is_shared(const char *path)
{
	return starts(path, "/dev/zero (deleted)") || starts(path, "/memfd:") || starts(path, "/SYSV") || starts(path, "/dev/shm/") ||
	       starts(path, "/[aio]");
}

/* As the kernel writes a path. */
static void put_path(FILE *out, const char *path)
{
	for (; *path; path++)
		if (*path == '\n')
			fputs("\\012", out);
		else
			putc(*path, out);
}

static const char *special_name(const struct core *core, const struct core_segment *segment)
{
	uint64_t size = segment->end - segment->start;

	if (core->heap && segment->start == core->heap)
		return "[heap]";
	if (core->stack - segment->start < size)
		return "[stack]";
	if (core->vdso - segment->start < size)
		return "[vdso]";
	return "";
}

/* A file's number is the first of its path in the list, from 1 on. */
static unsigned long number_of(const struct core *core, const struct core_mapped *file)
{
	const struct core_mapped *first = file;

	while (first > core->file && !strcmp(first[-1].path, file->path))
		first--;
	return (unsigned long)(first - core->file) + 1;
}

static void put_segment(FILE *out, const struct core *core, const struct core_segment *segment)
{
	const struct core_mapped *file = file_at(core, segment->start);
	uint64_t offset = file ? file->offset + (segment->start - file->start) : 0;

	fprintf(out, "%08llx-%08llx %c%c%c%c %08llx 00:00 %lu ", (unsigned long long)segment->start, (unsigned long long)segment->end,
	        segment->flags & PF_R ? 'r' : '-', segment->flags & PF_W ? 'w' : '-', segment->flags & PF_X ? 'x' : '-',
	        file && is_shared(file->path) ? 's' : 'p', (unsigned long long)offset, file ? number_of(core, file) : 0);
	put_path(out, file ? file->path : special_name(core, segment));
	putc('\n', out);
}

static void put_maps(FILE *out, const struct core *core)
{
	for (size_t i = 0; i < core->segments; i++)
		put_segment(out, core, &core->segment[i]);
}

/* --- other files ------------------------------------------------------------------------ */

static void put_comm(FILE *out, const struct core *core)
{
	fprintf(out, "%s\n", core->comm);
}

static void put_stat(FILE *out, const struct core *core)
{
	fprintf(out, "%d (%s) t 0\n", (int)core->pid, core->comm);
}

static void put_vector(FILE *out, const struct core *core)
{
	if (core->vector)
		fwrite(core->vector, 1, core->vector_size, out);
}

static const struct made {
	const char *name;
	void (*put)(FILE *out, const struct core *core);
} made[] = {
	{ "maps", put_maps }, { "comm", put_comm }, { "stat", put_stat }, { "auxv", put_vector },
};

static int make_file(const struct core *core, const struct made *what)
{
	int fd = file_in_memory("core"), copy = fd < 0 ? -1 : dup(fd);
	FILE *out = copy < 0 ? NULL : fdopen(copy, "w");
	bool failed = !out;

	if (out) {
		what->put(out, core);
		failed = fflush(out) != 0;
		failed |= fclose(out) != 0;
	} else if (copy >= 0) {
		close(copy);
	}
	if (!failed && lseek(fd, 0, SEEK_SET) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -ENOMEM;
}

int core_file(const struct core *core, const char *name)
{
	for (size_t i = 0; i < sizeof(made) / sizeof(*made); i++)
		if (!strcmp(made[i].name, name))
			return make_file(core, &made[i]);
	return -ENOENT;
}
