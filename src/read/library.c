/* SPDX-License-Identifier: MIT */
/*
 * Finds the library by its file among the mappings, and struct root in that
 * file's writable data, where it stands once the library has started: a page
 * that was written to is the process's own. Nothing of the file itself is
 * read, nor of the dynamic linker's lists.
 */
#include "library.h"

#include <errno.h>
#include <string.h>

/* How many mappings are searched, and how far: our own data has some KiB. */
#define CANDIDATES 16
#define DATA_MAX   (1U << 20)
#define ROOTS_MAX  64              /* whatever looks like one */

#define BLOCK      4096

struct search {
	struct library *library;
	struct memory_range data[CANDIDATES];
	size_t count;
	bool found;                 /* the file */
	bool started;               /* some of its data was written to */
	unsigned roots;             /* that were looked at */
};

static int memory_read(void *context, uint64_t address, void *buffer, size_t size)
{
	return process_memory_read(context, address, buffer, size);
}

struct memory library_memory(struct library *library)
{
	return (struct memory){ memory_read, &library->memory };
}

bool library_is_in(const struct vma *vma)
{
	return vma_is_file(vma) && text_starts(text_base_name(vma->name), LIBRARY_NAME);
}

static int search_vma(void *context, struct vma *vma)
{
	struct search *search = context;
	struct library *library = search->library;

	if (library_is_in(vma)) {
		if (!search->found)
			text_clean(library->path, sizeof(library->path), vma->name);
		search->found = true;
		if (vma->perms[0] == 'r' && vma->perms[1] == 'w' && vma->perms[3] == 'p' && search->count < CANDIDATES)
			search->data[search->count++] = (struct memory_range){ vma->start, vma->end };
	}
	return process_memory_add(&library->memory, vma);
}

/* Looks at what may be the root. */
static void try_root(struct search *search, uint64_t address)
{
	struct library *library = search->library;
	struct memory memory = library_memory(library);
	int error = registry_read_root(&memory, address, &library->root);

	search->roots++;
	library->root_address = address;
	library->state = !error ? LIBRARY_READY : error == -EAGAIN ? LIBRARY_UNREADY : LIBRARY_FOREIGN;
}

/* The magic stands at the beginning of struct root. */
static void search_data(struct search *search, const struct memory_range *data)
{
	struct library *library = search->library;
	uint64_t word[BLOCK / sizeof(uint64_t)];

	for (uint64_t at = data->start; at < data->end && at - data->start < DATA_MAX; at += sizeof(word)) {
		if (process_memory_read(&library->memory, at, word, sizeof(word)))
			continue;
		search->started = true;
		for (size_t i = 0; i < sizeof(word) / sizeof(*word); i++) {
			if (word[i] == ANONNAME_ROOT_MAGIC)
				try_root(search, at + i * sizeof(*word));
			if (library->state == LIBRARY_READY || search->roots == ROOTS_MAX)
				return;
		}
	}
}

void library_find(const struct proc *proc, pid_t pid, struct text ahead, int maps, struct cost *cost,
                  struct library *library)
{
	struct search search = { .library = library };

	memset(library, 0, sizeof(*library));
	library->error = process_memory_open(&library->memory, proc, pid);
	if (maps_read(proc->maps, ahead, maps, false, cost, search_vma, &search, NULL) || !search.found)
		return;
	library->state = library->error ? LIBRARY_UNREADABLE : LIBRARY_UNREADY;
	for (size_t i = 0; !library->error && i < search.count && library->state != LIBRARY_READY; i++)
		search_data(&search, &search.data[i]);
	if (search.started && !search.roots)
		library->state = LIBRARY_FOREIGN;
}

void library_close(struct library *library)
{
	process_memory_close(&library->memory);
}
