/* SPDX-License-Identifier: MIT */
/* Sentences about arenas. See advice.h. */
#include "advice.h"
#include "tool.h"

#include <stdarg.h>
#include <string.h>

#define WORTH_IT   (1ULL << 20)     /* bytes: of less nothing is said */
#define ARENAS_MAX 5                /* that get a sentence each */
#define MANY_ARENAS 8

struct speaker {
	void (*say)(void *context, const char *sentence);
	void *context;
};

static void say(const struct speaker *speaker, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(const struct speaker *speaker, const char *format, ...)
{
	char sentence[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	speaker->say(speaker->context, sentence);
}

static uint64_t known(uint64_t figure)
{
	return figure == HEAP_UNKNOWN ? 0 : figure;
}

static bool is_worth_it(const struct heap_arena *arena)
{
	return arena->figure[HEAP_FREE] != HEAP_UNKNOWN && arena->figure[HEAP_FREE] >= WORTH_IT;
}

/* What gives whole free pages of it back; NULL: nothing that can be called. */
static const char *purge_of(enum heap_kind kind)
{
	static const char *const words[HEAP_KINDS] = {
		[HEAP_GLIBC_MAIN] = "malloc_trim", [HEAP_GLIBC_ARENA] = "malloc_trim", [HEAP_GLIBC_LARGE] = "malloc_trim",
		[HEAP_JEMALLOC] = "A purge", [HEAP_MIMALLOC] = "mi_collect",
		[HEAP_TCMALLOC] = "ReleaseFreeMemory", [HEAP_GO] = "debug.FreeOSMemory",
	};

	return words[kind];
}

static void tell_arena(const struct speaker *speaker, const struct heap_arena *arena)
{
	char holds[16], live[16], free[16], trim[16], pinned[16], sizes[64] = "";
	const uint64_t *figure = arena->figure;

	tool_human(figure[HEAP_SYSTEM], holds);
	tool_human(figure[HEAP_LIVE], live);
	tool_human(figure[HEAP_FREE], free);
	tool_human(figure[HEAP_TRIMMABLE], trim);
	tool_human(figure[HEAP_PINNED], pinned);
	if (arena->pinning_size[1])
		snprintf(sizes, sizeof(sizes), ", most of them of %llu and %llu bytes",
		         (unsigned long long)arena->pinning_size[0], (unsigned long long)arena->pinning_size[1]);
	else if (arena->pinning_size[0])
		snprintf(sizes, sizeof(sizes), ", most of them of %llu bytes", (unsigned long long)arena->pinning_size[0]);
	if (!purge_of(arena->kind))
		say(speaker, "%s holds %s: %s live, %s free.", arena->name, holds, live, free);
	else if (arena->pinning && figure[HEAP_PINNED])
		say(speaker, "%s holds %s: %s live, %s free. %s would give back %s; %s are pinned by %llu chunks in use%s.", arena->name,
		    holds, live, free, purge_of(arena->kind), trim, pinned, (unsigned long long)arena->pinning, sizes);
	else
		say(speaker, "%s holds %s: %s live, %s free. %s would give back %s.", arena->name, holds, live, free,
		    purge_of(arena->kind), trim);
}

/* The one with most free memory of those that were not told yet. */
static const struct heap_arena *most_free(const struct heaps *heaps, const struct heap_arena **told, unsigned count)
{
	const struct heap_arena *most = NULL;

	for (size_t i = 0; i < heaps->count; i++) {
		const struct heap_arena *arena = &heaps->arena[i];
		bool again = false;

		for (unsigned k = 0; k < count; k++)
			again |= told[k] == arena;
		if (!again && is_worth_it(arena) && (!most || arena->figure[HEAP_FREE] > most->figure[HEAP_FREE]))
			most = arena;
	}
	return most;
}

static void tell_arenas(const struct speaker *speaker, const struct heaps *heaps)
{
	const struct heap_arena *told[ARENAS_MAX];

	for (unsigned i = 0; i < ARENAS_MAX && (told[i] = most_free(heaps, told, i)); i++)
		tell_arena(speaker, told[i]);
}

struct sums {
	uint64_t resident, trimmable, pinned, cached, top, free;
	size_t arenas;
};

/* Of all arenas of these kinds, what is known. */
static struct sums sum_of(const struct heaps *heaps, enum heap_kind first, enum heap_kind last)
{
	struct sums sums = { 0 };

	for (size_t i = 0; i < heaps->count; i++) {
		const uint64_t *figure = heaps->arena[i].figure;

		if (heaps->arena[i].kind < first || heaps->arena[i].kind > last)
			continue;
		sums.arenas++;
		sums.resident += known(figure[HEAP_RESIDENT]);
		sums.trimmable += known(figure[HEAP_TRIMMABLE]);
		sums.pinned += known(figure[HEAP_PINNED]);
		sums.cached += known(figure[HEAP_CACHED]);
		sums.top += known(figure[HEAP_TOP]);
		sums.free += known(figure[HEAP_FREE]);
	}
	return sums;
}

static bool is_a_part(uint64_t part, uint64_t whole, unsigned percent)
{
	return part >= WORTH_IT && part >= whole / 100 * percent;
}

static void advise_glibc(const struct speaker *speaker, const struct heaps *heaps)
{
	struct sums all = sum_of(heaps, HEAP_GLIBC_MAIN, HEAP_GLIBC_ARENA), threads = sum_of(heaps, HEAP_GLIBC_ARENA, HEAP_GLIBC_ARENA);
	char size[16];

	if (is_a_part(all.trimmable, all.resident, 5))
		say(speaker, "malloc_trim(0) gives back %s: let the program call it when its load has gone down.", tool_human(all.trimmable, size));
	if (is_a_part(all.pinned, all.resident, 20))
		say(speaker, "No call gives back the %s that are pinned: they lie between live chunks, and serve the next allocations of their "
		    "size or below. Allocate what lives long before or apart from what lives shortly.", tool_human(all.pinned, size));
	if (threads.arenas >= MANY_ARENAS && is_a_part(threads.free, all.resident, 20))
		say(speaker, "%zu arenas of threads hold %s free memory, each for itself: MALLOC_ARENA_MAX=2 (M_ARENA_MAX of mallopt) makes "
		    "threads share.", threads.arenas, tool_human(threads.free, size));
	if (is_a_part(threads.top, all.resident, 20))
		say(speaker, "%s are free at the ends of threads' arenas, which malloc_trim leaves: libc gives them back as they pass "
		    "M_TRIM_THRESHOLD (MALLOC_TRIM_THRESHOLD_, 128K at the start).", tool_human(threads.top, size));
	if (is_a_part(all.cached, all.resident, 10))
		say(speaker, "%s are cached for the next allocation of their size: GLIBC_TUNABLES=glibc.malloc.tcache_count=0 turns off the "
		    "caches of threads, M_MXFAST 0 the fastbins.", tool_human(all.cached, size));
}

static void advise_jemalloc(const struct speaker *speaker, const struct heaps *heaps)
{
	struct sums all = sum_of(heaps, HEAP_JEMALLOC, HEAP_JEMALLOC);
	char size[16];

	if (is_a_part(all.trimmable, all.resident, 5))
		say(speaker, "A purge gives back %s: mallctl arena.4096.purge does it now, a smaller dirty_decay_ms in MALLOC_CONF sooner, and "
		    "background_thread:true also while the program does nothing.", tool_human(all.trimmable, size));
	if (is_a_part(all.pinned, all.resident, 20))
		say(speaker, "No purge gives back the %s that are free in slabs with live regions. They serve allocations of their size; a program "
		    "that can move what it has (Redis: activedefrag) gets them back.", tool_human(all.pinned, size));
}

static void advise_mimalloc(const struct speaker *speaker, const struct heaps *heaps)
{
	struct sums all = sum_of(heaps, HEAP_MIMALLOC, HEAP_MIMALLOC);
	char size[16];

	if (is_a_part(all.trimmable, all.resident, 5))
		say(speaker, "mi_collect(true) gives back %s of this thread's and of threads that have ended; a smaller MIMALLOC_DECOMMIT_DELAY "
		    "does so sooner.", tool_human(all.trimmable, size));
	if (is_a_part(all.pinned, all.resident, 20))
		say(speaker, "No call gives back the %s that are free in mimalloc's pages with live blocks: they serve blocks of their size.",
		    tool_human(all.pinned, size));
}

static void advise_tcmalloc(const struct speaker *speaker, const struct heaps *heaps)
{
	struct sums all = sum_of(heaps, HEAP_TCMALLOC, HEAP_TCMALLOC);
	char size[16];

	if (is_a_part(all.trimmable, all.resident, 5))
		say(speaker, "MallocExtension_ReleaseFreeMemory() gives back %s; a larger TCMALLOC_RELEASE_RATE (1 at the start) does so sooner.",
		    tool_human(all.trimmable, size));
	if (is_a_part(all.pinned, all.resident, 20))
		say(speaker, "No call gives back the %s that are free in spans with live objects: they serve objects of their size.",
		    tool_human(all.pinned, size));
	if (is_a_part(all.cached, all.resident, 10))
		say(speaker, "%s are cached for the next objects of their size: a smaller TCMALLOC_MAX_TOTAL_THREAD_CACHE_BYTES bounds what "
		    "threads keep.", tool_human(all.cached, size));
}

static void advise_python(const struct speaker *speaker, const struct heaps *heaps)
{
	struct sums all = sum_of(heaps, HEAP_PYTHON, HEAP_PYTHON);
	char size[16];

	if (is_a_part(all.pinned, all.resident, 20))
		say(speaker, "CPython gives an arena back when nothing in it is live: the %s that are free serve its next objects. What peaks once "
		    "does so best in a process of its own (multiprocessing).", tool_human(all.pinned, size));
}

void advice_give(const struct heaps *heaps, void (*each)(void *context, const char *sentence), void *context)
{
	const struct speaker speaker = { each, context };

	tell_arenas(&speaker, heaps);
	advise_glibc(&speaker, heaps);
	advise_jemalloc(&speaker, heaps);
	advise_mimalloc(&speaker, heaps);
	advise_tcmalloc(&speaker, heaps);
	advise_python(&speaker, heaps);
}
