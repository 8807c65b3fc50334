/* SPDX-License-Identifier: MIT */
/* Names read back. See shown.h. */
#include "sink/shown.h"

#include <errno.h>

#include "base/maps.h"
#include "base/text.h"
#include "sink/sink.h"

/* "[anon:NAME]" and "[anon_shmem:NAME]". */
static bool given_name(const char *path, char *name, size_t room)
{
	static const char *const starts[] = { "[anon:", "[anon_shmem:" };

	for (size_t i = 0; i < ARRAY_SIZE(starts); i++) {
		if (!text_begins(path, starts[i]))
			continue;
		text_copy(name, room, path + text_length(starts[i]));

		size_t len = text_length(name);

		if (len && name[len - 1] == ']')
			name[len - 1] = '\0';
		return true;
	}
	return false;
}

struct visit {
	bool (*each)(const struct shown *range, void *context);
	void *context;
};

/* false: each wants no more. */
static bool visit_registry(const struct visit *v, uintptr_t at, uintptr_t end)
{
	struct registry_range r;
	struct shown range;

	for (; registry_next(at, &r, range.name) && r.start < end; at = r.end) {
		range.start = MAX(r.start, at);
		range.end = MIN(r.end, end);
		if (!v->each(&range, v->context))
			return false;
	}
	return true;
}

/* Code has no name in the kernel. */
static bool visit_line(struct maps_line *line, void *context)
{
	struct visit *v = context;
	struct shown range = { .start = line->start, .end = line->end };

	return given_name(line->path, range.name, sizeof(range.name)) ? v->each(&range, v->context) :
	       !line->anonymous || visit_registry(v, line->start, line->end);
}

int shown_each(bool (*each)(const struct shown *range, void *context), void *context)
{
	struct visit v = { .each = each, .context = context };

	registry_notice((uintptr_t)__builtin_frame_address(0));
	registry_settle();
	if (sink_modes() & ROOT_SINK_KERNEL) {
		long seen = maps_each(visit_line, &v);

		return seen < 0 ? (int)seen : 0;
	}
	visit_registry(&v, 0, UINTPTR_MAX);
	return 0;
}

struct search {
	uintptr_t addr;
	struct shown *found;
	bool mapped;
};

static bool search_line(struct maps_line *line, void *context)
{
	struct search *s = context;

	if (s->addr >= line->end)
		return true;
	if (s->addr < line->start)
		return false;
	s->mapped = true;
	s->found->start = line->start;
	s->found->end = line->end;
	if (!given_name(line->path, s->found->name, sizeof(s->found->name)))
		text_copy(s->found->name, sizeof(s->found->name), line->path);
	return false;
}

int shown_at(uintptr_t addr, struct shown *found)
{
	struct search s = { .addr = addr, .found = found };
	struct registry_range r;
	char name[ANONNAME_NAME_MAX + 1];
	long seen = maps_each(search_line, &s);

	if (seen < 0)
		return -ENOTSUP;
	if (!s.mapped)
		return -ENOENT;
	if (found->name[0] || !registry_started())
		return 0;
	registry_notice((uintptr_t)__builtin_frame_address(0));
	registry_settle();

	enum registry_waits waits = registry_waiting(&addr, &r, name);

	if (waits == REGISTRY_NAMED ||
	    (waits == REGISTRY_SAYS_NOTHING && registry_next(addr, &r, name) && r.start <= addr)) {
		found->start = r.start;
		found->end = r.end;
		text_copy(found->name, sizeof(found->name), name);
	}
	return 0;
}
