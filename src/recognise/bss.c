/* SPDX-License-Identifier: MIT */
/* .bss: memory behind an object's data that its program headers ask for and its file does not have. */
#include "recognise.h"

#include "object.h"

void recognise_bss(struct target *target, struct findings *findings)
{
	for (size_t i = 0; i < target->objects; i++) {
		struct object *object = &target->object[i];
		char label[OBJECT_LABEL_MAX];
		uint64_t from, to;

		if (!object_read(target, object))
			continue;
		object_label(target, object, label);
		for (size_t k = 0; k < object->image->segments; k++)
			if (object_bss(target, object, k, &from, &to))
				found_add(findings, from, to, "%s:bss", label);
	}
}
