/* SPDX-License-Identifier: MIT */
/* What is inside the arenas of processes that were measured. See inside.h. */
#include "inside.h"
#include "advice.h"
#include "arenas.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int read_arenas(const struct proc *all, const struct measured *process, struct heaps *heaps)
{
	struct proc proc;
	int error = measured_bind(&proc, all, process);

	if (error)
		return error;
	error = heap_read_apart(&proc, process->pid, heaps);
	if (!error && heaps->count)
		error = heaps_label(&proc, process->pid, heaps);
	proc_unbind(&proc);
	return error;
}

static void read_one(struct inside *inside, const struct proc *proc, const struct measured *process, struct heaps *heaps)
{
	int error = read_arenas(proc, process, heaps);

	inside->cut += !error && heaps->cut;
	inside->missing += error != 0;
	if (error)
		heaps_free(heaps);
	if (error || !heaps->count)
		return;
	arenas_sort(heaps);
	for (unsigned i = 0; i < HEAP_FIGURES; i++)
		heap_figure_add(&inside->total[i], heaps_sum(heaps, i));
	inside->any = true;
}

int inside_read(struct inside *inside, const struct proc *proc, const struct measurement *measurement)
{
	*inside = (struct inside){ .of = calloc(measurement->count + 1, sizeof(*inside->of)) };
	if (!inside->of)
		return -ENOMEM;
	inside->count = measurement->count;
	for (size_t i = 0; i < inside->count; i++)
		if (!measurement->process[i].error)
			read_one(inside, proc, &measurement->process[i], &inside->of[i]);
	return 0;
}

void inside_free(struct inside *inside)
{
	for (size_t i = 0; i < inside->count; i++)
		heaps_free(&inside->of[i]);
	free(inside->of);
	*inside = (struct inside){ .count = 0 };
}

/* --- beside rows ------------------------------------------------------------------ */

/* As the rows of its name have it; false: its memory has none, and lies in a row with other things. */
static bool key_of(const struct heap_arena *arena, const struct measured *process, const struct group *group, char *key)
{
	char label[HEAP_NAME_MAX];
	struct name_row row = { .class = arena->class, .raw = label, .name = label };

	if (group->of_process) {
		group->of_process(process, key, NAME_PART_MAX);
		return true;
	}
	memcpy(label, arena->label, sizeof(label));
	row.raw_len = (uint32_t)strlen(label);
	group->key(&row, key, NAME_PART_MAX);
	return arena->class == VMA_NAMED || arena->class == VMA_HEAP;
}

static const char *kind_of(const struct heap_arena *arena)
{
	char label[HEAP_NAME_MAX];
	const struct name_row row = { .class = arena->class, .raw = label, .raw_len = (uint32_t)strlen(arena->label), .name = label };

	memcpy(label, arena->label, sizeof(label));
	return name_kind(&row);
}

/* Two kinds of memory may share a name. */
static struct row *find_row(struct rows *rows, const char *key, const char *kind)
{
	for (size_t i = 0; i < rows->count; i++)
		if (!strcmp(rows->row[i].name, key) && (!kind || !rows->row[i].kind || !strcmp(rows->row[i].kind, kind)))
			return &rows->row[i];
	return NULL;
}

static int fill_row(struct row *row, const struct heap_arena *arena)
{
	if (!row)
		return 0;
	if (!row->heap)
		row->heap = calloc(HEAP_FIGURES, sizeof(*row->heap));
	if (!row->heap)
		return -ENOMEM;
	for (unsigned i = 0; i < HEAP_FIGURES; i++)
		heap_figure_add(&row->heap[i], arena->figure[i]);
	return 0;
}

static int fill_from(const struct heaps *heaps, const struct measured *process, const struct group *group, bool fold, struct rows *rows)
{
	char key[NAME_PART_MAX], folded[NAME_PART_MAX];
	int error = 0;

	for (size_t i = 0; !error && i < heaps->count; i++) {
		const struct heap_arena *arena = &heaps->arena[i];

		if (!key_of(arena, process, group, key))
			continue;
		if (fold && group->key)
			name_fold(key, folded, sizeof(folded));
		error = fill_row(find_row(rows, fold && group->key ? folded : key, group == &groups[0] ? kind_of(arena) : NULL), arena);
	}
	return error;
}

int inside_fill(const struct inside *inside, const struct measurement *measurement, const struct group *group, bool fold,
                struct rows *rows)
{
	int error = 0;

	for (size_t i = 0; !error && i < inside->count; i++)
		error = fill_from(&inside->of[i], &measurement->process[i], group, fold, rows);
	return error;
}

/* --- sentences ---------------------------------------------------------------------- */

struct speech {
	const struct measured *process; /* NULL: there is only one */
	void (*say)(void *context, const char *sentence);
	void *context;
};

static void say_whose(void *context, const char *sentence)
{
	const struct speech *speech = context;
	char whole[1200];

	if (!speech->process) {
		speech->say(speech->context, sentence);
		return;
	}
	snprintf(whole, sizeof(whole), "%s %d: %s", speech->process->comm, (int)speech->process->pid, sentence);
	speech->say(speech->context, whole);
}

void inside_advise(const struct inside *inside, const struct measurement *measurement,
                   void (*say)(void *context, const char *sentence), void *context)
{
	struct speech speech = { .say = say, .context = context };

	for (size_t i = 0; i < inside->count; i++) {
		speech.process = inside->count > 1 ? &measurement->process[i] : NULL;
		advice_give(&inside->of[i], say_whose, &speech);
	}
}

static void print_sentence(void *context, const char *sentence)
{
	fprintf(context, "%s\n", sentence);
}

void inside_print_advice(FILE *out, const struct inside *inside, const struct measurement *measurement)
{
	inside_advise(inside, measurement, print_sentence, out);
}

static void put_sentence(void *context, const char *sentence)
{
	json_put(context, NULL, json_string(sentence));
}

void inside_json(struct json_out *json, const struct inside *inside, const struct measurement *measurement)
{
	if (inside->cut + inside->missing)
		json_put(json, "arenas_cut", json_true());
	json_list_begin(json, "arenas");
	for (size_t i = 0; i < inside->count; i++)
		for (size_t k = 0; k < inside->of[i].count; k++) {
			json_t *arena = arena_json(&inside->of[i].arena[k], false);

			json_object_set_new(arena, "pid", json_integer(measurement->process[i].pid));
			json_put(json, NULL, arena);
		}
	json_list_end(json);
	json_list_begin(json, "advice");
	inside_advise(inside, measurement, put_sentence, json);
	json_list_end(json);
}
