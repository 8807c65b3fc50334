/* SPDX-License-Identifier: MIT */
/* .bss: memory behind an object's data that its program headers ask for and its file does not have. */
#include "recognise.h"

#include "object.h"

/* The dynamic linker maps a segment's rest anonymously, from the page behind its file's. */
static void segment_bss(struct target *target, struct findings *findings, const struct object *object,
                        const Elf64_Phdr *segment)
{
	uint64_t page = target->own.page, start = object->base + segment->p_vaddr;
	uint64_t from = (start + segment->p_filesz + page - 1) & ~(page - 1);
	uint64_t to = (start + segment->p_memsz + page - 1) & ~(page - 1);
	const struct area *area;

	if (segment->p_memsz <= segment->p_filesz || from >= to)
		return;
	area = area_at(target, from);
	if (area && area_is_anonymous(area) && to <= area->end)
		found_add(findings, from, to, "%s:bss", object->soname);
}

void recognise_bss(struct target *target, struct findings *findings)
{
	for (size_t i = 0; i < target->objects; i++) {
		struct object *object = &target->object[i];

		if (!object_read(target, object))
			continue;
		for (size_t k = 0; k < object->segments; k++)
			segment_bss(target, findings, object, &object->segment[k]);
	}
}
