/* SPDX-License-Identifier: MIT */
/* What objects are called, as the library does: a program by the name it was started with. See object.h. */
#include "image.h"
#include "object.h"

#include "../read/files.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

/* Of /proc/PID/stat, behind the name in parentheses: arg_start is field 48 of proc(5), and state, the first there, 3. */
#define ARG_START (48 - 3)

static uint64_t auxiliary(const struct proc_text *vector, uint64_t key)
{
	uint64_t pair[2];

	for (size_t at = 0; at + sizeof(pair) <= vector->len; at += sizeof(pair)) {
		memcpy(pair, vector->text + at, sizeof(pair));
		if (pair[0] == key)
			return pair[1];
	}
	return 0;
}

static uint64_t first_argument(const struct target *target)
{
	struct proc_text stat;
	const char *at;
	uint64_t address = 0;
	struct text rest;

	if (proc_read(target->proc, target->pid, "stat", &stat))
		return 0;
	at = strrchr(stat.text, ')');
	for (unsigned i = 0; at && i <= ARG_START; i++)
		at = strchr(at + 1, ' ');
	if (at) {
		rest = (struct text){ at + 1, stat.len - (size_t)(at + 1 - stat.text) };
		if (!text_u64(&rest, 10, &address))
			address = 0;
	}
	proc_text_free(&stat);
	return address;
}

/* Up to its NUL, from page to page. */
static bool read_path(struct target *target, uint64_t address, char path[PATH_MAX])
{
	uint64_t page = target->own.page;

	for (size_t len = 0; address && len < PATH_MAX;) {
		uint64_t part = page - (address + len) % page;

		part = part < PATH_MAX - len ? part : PATH_MAX - len;
		if (memory_get(target, address + len, path + len, part))
			return false;
		if (memchr(path + len, '\0', part))
			return *path;
		len += part;
	}
	return false;
}

/* Of a core's process it is what lies here, as with its objects (open_of_core() in image.c). */
static bool stat_there(const struct target *target, const char *path, struct stat *st)
{
	char name[PATH_MAX + 32];

	if (target->proc->core)
		return *path == '/' && !file_stat_at(AT_FDCWD, path, st);
	snprintf(name, sizeof(name), "%d/%s%s", (int)target->pid, *path == '/' ? "root" : "cwd/", path);
	return !file_stat_at(target->proc->fd, name, st);
}

static bool same_file(const struct target *target, const char *a, const char *b)
{
	struct stat of_a, of_b;

	return stat_there(target, a, &of_a) && stat_there(target, b, &of_b) && of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* The links of /proc have no name of the program's. */
static bool is_name_of(const struct target *target, const struct object *object, const char *path)
{
	return strncmp(path, "/proc/", strlen("/proc/")) && strncmp(path, "/dev/fd/", strlen("/dev/fd/")) &&
	       (!strcmp(last_part(path), object->name) || same_file(target, path, object->path));
}

/* Of a script the first path is the script, and the second is the interpreter. */
static void find_start(struct target *target, const struct object *object, uint64_t execfn, char label[OBJECT_LABEL_MAX])
{
	const uint64_t address[] = { execfn, first_argument(target) };
	char path[PATH_MAX];

	for (size_t i = 0; i < sizeof(address) / sizeof(*address); i++)
		if (read_path(target, address[i], path) && is_name_of(target, object, path)) {
			snprintf(label, OBJECT_LABEL_MAX, "%.*s", OBJECT_LABEL_MAX - 1, last_part(path));
			return;
		}
}

/* The dynamic linker is called as the program asks for it, which may be by a link to its file (musl's, which has no soname). */
static bool find_interpreter(struct target *target, const struct object *object, char label[OBJECT_LABEL_MAX])
{
	struct object *program = target->objects ? &target->object[0] : NULL;
	char path[OBJECT_LABEL_MAX];
	const Elf64_Phdr *interpreter;

	/* Many objects have no soname, and asking is system calls. */
	if ((strncmp(object->name, "libc.", strlen("libc.")) && strncmp(object->name, "ld-", strlen("ld-"))) || !program || program == object ||
	    !object_read(target, program))
		return false;
	interpreter = &program->image->interpreter;
	if (!interpreter->p_memsz || interpreter->p_filesz > sizeof(path) ||
	    !object_constant(target, program, program->base + interpreter->p_vaddr, path, interpreter->p_filesz) ||
	    !memchr(path, '\0', interpreter->p_filesz) || !same_file(target, path, object->path))
		return false;
	snprintf(label, OBJECT_LABEL_MAX, "%s", last_part(path));
	return true;
}

void object_label(struct target *target, const struct object *object, char label[OBJECT_LABEL_MAX])
{
	struct proc_text vector;
	uint64_t headers;

	snprintf(label, OBJECT_LABEL_MAX, "%.*s", OBJECT_LABEL_MAX - 1, *object->image->soname ? object->image->soname : object->name);
	/* The program is the first, as a rule; many may follow it that have no soname either. */
	if (*object->image->soname || find_interpreter(target, object, label) || target->has_program || proc_read(target->proc, target->pid, "auxv", &vector))
		return;
	headers = auxiliary(&vector, AT_PHDR);
	target->has_program = headers >= object->base && headers < object->end;
	if (target->has_program)
		find_start(target, object, auxiliary(&vector, AT_EXECFN), label);
	proc_text_free(&vector);
}
