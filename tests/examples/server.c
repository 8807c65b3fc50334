/* SPDX-License-Identifier: MIT */
/*
 * A small server with three subsystems, each with a heap of its own: a cache
 * of pages, the sessions of its users, and an index. Any tool that reads
 * /proc/PID/smaps then tells what each of them costs.
 *
 *   anonname run -a jemalloc ./server &
 *   anonname maps $! | grep heap
 *
 * It reads commands from standard input, one a line, and answers each:
 *   get PAGE      takes the page from the cache, and makes it when it is not there
 *   login USER    begins a session
 *   logout USER   ends it
 *   find WORD     tells in which pages the word is
 *   flush         throws the whole cache away: one call gives all of it back
 *   memory        what each subsystem uses
 *   quit
 *
 * libanonname need not be there: every call is a no-op then, and the heaps are
 * malloc. Without jemalloc the heaps work, and their memory has no name.
 */
#define ANONNAME_WEAK
#include <anonname.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 1024
#define PAGE_SIZE_MIN 20000

struct entry {
	struct entry *next;
	size_t size;
	char *value;
	char key[];
};

/* One subsystem: a heap and a hash table that lives in it. */
struct subsystem {
	const char *name;
	anonname_heap *heap;
	struct entry **bucket;
	size_t bytes;
};

static struct subsystem cache = { .name = "cache" }, sessions = { .name = "sessions" }, words = { .name = "index" };

static void *must(void *p)
{
	if (!p) {
		perror("server");
		exit(1);
	}
	return p;
}

static void subsystem_start(struct subsystem *s)
{
	/* Without jemalloc: a heap that works all the same, or NULL, which is malloc. */
	s->heap = anonname_heap_create(s->name);
	if (!s->heap)
		s->heap = anonname_heap_create_any(s->name);
	/* On cache lines of its own. */
	s->bucket = must(anonname_heap_aligned_alloc(s->heap, 64, BUCKETS * sizeof(struct entry *)));
	memset(s->bucket, 0, BUCKETS * sizeof(struct entry *));
	s->bytes = 0;
}

/* With a heap nothing has to be freed one by one; malloc has no such call. */
static void subsystem_stop(struct subsystem *s)
{
	for (int b = 0; !s->heap && b < BUCKETS; b++)
		for (struct entry *e = s->bucket[b], *next; e; e = next) {
			next = e->next;
			anonname_heap_free(s->heap, e->value);
			anonname_heap_free(s->heap, e);
		}
	if (!s->heap)
		anonname_heap_free(s->heap, s->bucket);
	anonname_heap_destroy(s->heap);
}

static struct entry **place(const struct subsystem *s, const char *key)
{
	unsigned hash = 5381;
	struct entry **e;

	for (const char *c = key; *c; c++)
		hash = hash * 33 + (unsigned char)*c;
	for (e = &s->bucket[hash % BUCKETS]; *e && strcmp((*e)->key, key); e = &(*e)->next)
		;
	return e;
}

static struct entry *add(struct subsystem *s, const char *key, size_t size)
{
	struct entry **at = place(s, key), *e = *at;

	if (e)
		return e;
	e = must(anonname_heap_malloc(s->heap, sizeof(*e) + strlen(key) + 1));
	e->next = NULL;
	strcpy(e->key, key);
	e->value = must(anonname_heap_calloc(s->heap, 1, size));
	e->size = size;
	s->bytes += anonname_heap_usable_size(s->heap, e) + anonname_heap_usable_size(s->heap, e->value);
	*at = e;
	return e;
}

static void drop(struct subsystem *s, const char *key)
{
	struct entry **at = place(s, key), *e = *at;

	if (!e)
		return;
	*at = e->next;
	s->bytes -= anonname_heap_usable_size(s->heap, e) + anonname_heap_usable_size(s->heap, e->value);
	anonname_heap_free(s->heap, e->value);
	anonname_heap_free(s->heap, e);
}

/* A page is text; its words go to the index. */
static void make_page(const char *page)
{
	struct entry *e = add(&cache, page, PAGE_SIZE_MIN), *word;
	size_t len;

	snprintf(e->value, e->size, "page %s", page);
	memset(e->value + strlen(e->value), 'x', e->size - strlen(e->value) - 1);
	word = add(&words, page, 64);
	len = strlen(word->value) + strlen(page) + 2;
	if (len > word->size) {
		word->value = must(anonname_heap_realloc(words.heap, word->value, len * 2));
		word->size = len * 2;
	}
	strcat(strcat(word->value, page), " ");
}

static int count_ranges(const struct anonname_range *range, void *count)
{
	++*(int *)count;
	(void)range;
	return 0;
}

static void memory(void)
{
	const struct subsystem *all[] = { &cache, &sessions, &words };
	struct anonname_stats stats;
	int ranges = 0;

	for (size_t i = 0; i < 3; i++) {
		char name[ANONNAME_MAX + 1] = "";

		anonname_get(all[i]->bucket, name, sizeof(name));
		printf("%-8s %8zu bytes in %s\n", all[i]->name, all[i]->bytes, *name ? name : "memory without a name");
	}
	if (anonname_stats(&stats, sizeof(stats)) == 0 && anonname_foreach(count_ranges, &ranges) == 0)
		printf("%d named ranges\n", ranges);
}

int main(void)
{
	char line[256], what[32], arg[128];
	/* Pages that are in no heap are named by hand. */
	static char settings[3 * 4096];
	char *start = (char *)(((unsigned long)settings + 4095) & ~4095UL);

	setvbuf(stdout, NULL, _IOLBF, 0);
	subsystem_start(&cache);
	subsystem_start(&sessions);
	subsystem_start(&words);
	strcpy(start, "greeting=hello");
	strcpy(start + 4096, "nobody was here yet");
	if (anonname_setf(start, 4096, "server:settings:%d", 1) != 0 || anonname_set(start + 4096, 4096, "server:visitors") != 0)
		perror("server: settings have no name");
	while (fgets(line, sizeof(line), stdin)) {
		/* What the work maps directly, and not through a heap, is told apart by the request. */
		ANONNAME_SCOPE("request");

		arg[0] = what[0] = '\0';
		if (sscanf(line, "%31s %127s", what, arg) < 1)
			continue;
		if (!strcmp(what, "get")) {
			bool hit = *place(&cache, arg) != NULL;

			if (!hit) {
				anonname_push("page");
				make_page(arg);
				anonname_pop();
			}
			printf("%s %.20s...\n", hit ? "hit" : "miss", (*place(&cache, arg))->value);
		} else if (!strcmp(what, "login")) {
			printf("hello %s\n", add(&sessions, arg, 2000)->key);
		} else if (!strcmp(what, "logout")) {
			drop(&sessions, arg);
			printf("bye %s\n", arg);
		} else if (!strcmp(what, "find")) {
			printf("found in: %s\n", *place(&words, arg) ? (*place(&words, arg))->value : "no page");
		} else if (!strcmp(what, "flush")) {
			int before = anonname_push("flush");

			subsystem_stop(&cache);
			subsystem_start(&cache);
			/* Whatever they may have pushed and left. */
			anonname_pop_to(before);
			printf("flushed\n");
		} else if (!strcmp(what, "memory")) {
			memory();
		} else if (!strcmp(what, "quit")) {
			break;
		} else {
			printf("unknown: %s\n", what);
		}
	}
	anonname_clear(start, 2 * 4096);
	anonname_sweep();
	subsystem_stop(&cache);
	subsystem_stop(&sessions);
	subsystem_stop(&words);
	return 0;
}
