/* SPDX-License-Identifier: MIT */
/*
 * dlopen, dlmopen and dlclose: afterwards the table of objects is brought up
 * to date and a new object's .bss gets its name.
 *
 * dlopen looks at its own return address: the object that calls it decides
 * where a name without a slash is searched (DT_RPATH, DT_RUNPATH), what
 * $ORIGIN means, and which namespace is used. A call from here would answer
 * for libanonname instead. So where that can matter, the stub (arch/NAME/stubs.S)
 * jumps on to libc's function with the caller's return address untouched, and
 * the table is brought up to date at the next call of this room that may.
 */
#include "hook/hook.h"

#include "base/text.h"
#include "event/event.h"
#include "label/objects.h"

/* The stubs ask: may dlopen be called from here, for a call that came from `caller`? */
static bool may_call(const char *file, uintptr_t caller)
{
	const struct object *o;
	bool has_slash = false;

	if (!hook_start() || !label_active())
		return false;
	event_objects_changed();
	o = objects_find(caller);
	if (!file || !o)
		return false;
	for (const char *p = file; *p; p++) {
		if (*p == '$')
			return false;
		has_slash = has_slash || *p == '/';
	}
	return has_slash || (!o->has_runpath && !objects_have_rpath());
}

int hook_dlopen_may_call(const char *file, uintptr_t caller);
int hook_dlopen_may_call(const char *file, uintptr_t caller)
{
	bool may = may_call(file, caller);

	if (unlikely(!hook_next.dlopen))
		hook_find_next();
	if (!may)
		event_objects_will_change();
	return may;
}

void *hook_dlopen(const char *file, int flags);
void *hook_dlopen(const char *file, int flags)
{
	void *r = hook_next.dlopen(file, flags);

	event_objects_changed();
	event_look();
	malloc_look();
	return r;
}

void *hook_dlmopen(Lmid_t space, const char *file, int flags);
void *hook_dlmopen(Lmid_t space, const char *file, int flags)
{
	void *r = hook_next.dlmopen(space, file, flags);

	event_objects_changed();
	event_look();
	malloc_look();
	return r;
}

EXPORT int dlclose(void *handle)
{
	struct event_close close;
	int r;

	hook_start();
	close = event_objects_closing(FRAME);
	r = hook_next_of(dlclose)(handle);
	event_objects_closed(close);
	event_look();
	malloc_look();
	return r;
}
