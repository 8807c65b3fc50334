/* SPDX-License-Identifier: MIT */
/* Where the tools start reading: struct root, which begins with its magic. An ELF note leads to it, too. */
#include "base/root.h"

struct root root = {
	.magic = ANONNAME_ROOT_MAGIC,
	.version = ANONNAME_ROOT_VERSION,
	.size = sizeof(struct root),
};

/*
 * The distance is filled in by the linker, so no relocation touches the note
 * and it can be read from the file as well as from memory.
 * Layout: gabi, "Note Section": sizes of name and description, type, name, description.
 */
__asm__(".pushsection .note.anonname, \"a\", %note\n"
	".balign 8\n"
	".long 9, 8, 1\n"
	".asciz \"anonname\"\n"
	".balign 4\n"
	"0: .quad root - 0b\n"
	".popsection\n");

_Static_assert(ANONNAME_NOTE_TYPE == 1 && sizeof(ANONNAME_NOTE_NAME) == 9, "the note above");
