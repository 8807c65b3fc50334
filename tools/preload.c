/* SPDX-License-Identifier: MIT */
/* Finds and sets what LD_PRELOAD needs. See preload.h. */
#include "preload.h"
#include "tool.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef ANONNAME_LIBDIR
#define ANONNAME_LIBDIR "/usr/local/lib"
#endif

#if defined(__x86_64__)
#define MULTIARCH "x86_64-linux-gnu"
#define MACHINE   EM_X86_64
#elif defined(__aarch64__)
#define MULTIARCH "aarch64-linux-gnu"
#define MACHINE   EM_AARCH64
#else
#define MULTIARCH "."
#define MACHINE   EM_NONE
#endif

static const struct {
	const char *name, *file, *package;
	const char *variable;   /* set to 1, unless it is set already */
} allocators[] = {
	{ "jemalloc", "libjemalloc.so.2", "libjemalloc2", NULL },
	{ "tcmalloc", "libtcmalloc_minimal.so.4", "libtcmalloc-minimal4",
	  /* It would take the heap first, which the kernel calls [heap] whatever name it has. */
	  "TCMALLOC_SKIP_SBRK" },
	{ "mimalloc", "libmimalloc.so.2", "libmimalloc2.0", NULL },
	{ "libc", NULL, NULL, NULL },
};

static const char *const library_dirs[] = {
	ANONNAME_LIBDIR, "/usr/local/lib", ("/usr/lib/" MULTIARCH), "/usr/lib64", "/usr/lib",
};

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

bool preload_find_library(char *path, size_t size)
{
	/* From the directory of this program: a build tree, with libtool's and without, then an installation. */
	static const char *const beside[] = {
		".libs", "../.libs", "../../.libs", "../src/.libs", "../lib", ("../lib/" MULTIARCH),
	};
	const char *wanted = getenv("ANONNAME_LIBRARY");
	char self[PATH_MAX];

	if (wanted && *wanted) {
		if (realpath(wanted, self) && strlen(self) < size) {
			strcpy(path, self);
			return true;
		}
		tool_error("ANONNAME_LIBRARY is '%s', which cannot be used: %s", wanted, strerror(errno));
		return false;
	}
	if (tool_directory(self, sizeof(self))) {
		for (size_t i = 0; i < COUNT(beside); i++) {
			char candidate[PATH_MAX + 64], real[PATH_MAX];

			snprintf(candidate, sizeof(candidate), "%s/%s/libanonname.so", self, beside[i]);
			if (realpath(candidate, real) && strlen(real) < size) {
				strcpy(path, real);
				return true;
			}
		}
	}
	snprintf(path, size, "%s/libanonname.so", ANONNAME_LIBDIR);
	if (access(path, R_OK) == 0)
		return true;
	tool_error("libanonname.so is neither beside this program nor in %s. "
	           "Set ANONNAME_LIBRARY to its path.", ANONNAME_LIBDIR);
	return false;
}

void preload_list_allocators(char *text, size_t size)
{
	*text = '\0';
	for (size_t i = 0, at = 0; i < COUNT(allocators) && at < size; i++)
		at += (size_t)snprintf(text + at, size - at, "%s%s", i ? ", " : "", allocators[i].name);
}

static bool find_in_dirs(const char *file, char *path, size_t size)
{
	const char *own = getenv("LD_LIBRARY_PATH");

	while (own && *own) {
		size_t len = strcspn(own, ":;");

		if (len && (size_t)snprintf(path, size, "%.*s/%s", (int)len, own, file) < size &&
		    !access(path, R_OK))
			return true;
		own += len + (own[len] != '\0');
	}
	for (size_t i = 0; i < COUNT(library_dirs); i++)
		if ((size_t)snprintf(path, size, "%s/%s", library_dirs[i], file) < size && !access(path, R_OK))
			return true;
	return false;
}

bool preload_find_allocator(const char *name, char *path, size_t size)
{
	char list[128];

	*path = '\0';
	for (size_t i = 0; i < COUNT(allocators); i++) {
		if (strcmp(name, allocators[i].name))
			continue;
		if (!allocators[i].file || find_in_dirs(allocators[i].file, path, size)) {
			if (allocators[i].variable)
				setenv(allocators[i].variable, "1", 0);
			return true;
		}
		tool_error("%s is not installed: there is no %s. On Debian it is in the package %s.",
		           name, allocators[i].file, allocators[i].package);
		return false;
	}
	preload_list_allocators(list, sizeof(list));
	tool_error("'%s' is no allocator that is known here. Use one of %s, or -l with a library.", name, list);
	return false;
}

bool preload_add(const char *path)
{
	const char *old = getenv("LD_PRELOAD");
	size_t len = strlen(path);
	char *value;
	int failed;

	/* The dynamic linker has no way to quote them. */
	if (strpbrk(path, ": ")) {
		tool_error("'%s' holds a blank or a colon, at which LD_PRELOAD is cut. Use another path.", path);
		return false;
	}
	for (const char *at = old; at && (at = strstr(at, path)); at += len)
		if ((at == old || strchr(": ", at[-1])) && (!at[len] || strchr(": ", at[len])))
			return true;
	if (asprintf(&value, old && *old ? "%s:%s" : "%s", path, old) < 0)
		return false;
	failed = setenv("LD_PRELOAD", value, 1);
	free(value);
	return !failed;
}

/* Looks a command up as execvp() does. */
static bool find_command(const char *command, char *path, size_t size)
{
	const char *dirs = getenv("PATH");
	struct stat st;

	if (strchr(command, '/'))
		return (size_t)snprintf(path, size, "%s", command) < size;
	if (!dirs)
		dirs = "/bin:/usr/bin";
	for (;;) {
		size_t len = strcspn(dirs, ":");

		if ((size_t)snprintf(path, size, "%.*s%s%s", (int)len, dirs, len ? "/" : "", command) < size &&
		    !access(path, X_OK) && !stat(path, &st) && S_ISREG(st.st_mode))
			return true;
		if (!dirs[len])
			return false;
		dirs += len + 1;
	}
}

static bool has_interpreter(int fd, const Elf64_Ehdr *head)
{
	Elf64_Phdr segment;

	for (unsigned i = 0; i < head->e_phnum; i++) {
		if (pread(fd, &segment, sizeof(segment), (off_t)(head->e_phoff + i * sizeof(segment))) !=
		    sizeof(segment))
			return true;        /* not for us to judge */
		if (segment.p_type == PT_INTERP)
			return true;
	}
	return false;
}

/* The program behind a script's first line, in place of path. */
static bool interpreter_of(const char *line, ssize_t len, char *path, size_t size)
{
	size_t at = 2 + strspn(line + 2, " \t"), end = at + strcspn(line + at, " \t\n");

	if (len < 3 || line[0] != '#' || line[1] != '!' || end == at)
		return false;
	return (size_t)snprintf(path, size, "%.*s", (int)(end - at), line + at) < size;
}

void preload_warn(const char *command)
{
	char path[PATH_MAX], line[257];
	struct stat st;
	Elf64_Ehdr head;
	ssize_t len;
	int fd;

	if (!find_command(command, path, sizeof(path)))
		return;
	/* A script's interpreter may be a script in turn, up to the kernel's limit. */
	for (unsigned depth = 0; depth < 5; depth++) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return;
		len = pread(fd, line, sizeof(line) - 1, 0);
		line[len > 0 ? len : 0] = '\0';
		if (!interpreter_of(line, len, path, sizeof(path)))
			break;
		close(fd);
		fd = -1;
	}
	if (fd < 0)
		return;
	if (len >= (ssize_t)sizeof(head) && !memcmp(line, ELFMAG, SELFMAG)) {
		memcpy(&head, line, sizeof(head));
		if (head.e_ident[EI_CLASS] != ELFCLASS64 || (MACHINE != EM_NONE && head.e_machine != MACHINE))
			tool_error("warning: %s is made for another machine or word size than libanonname.so, "
			           "so its memory keeps no names", path);
		else if (!has_interpreter(fd, &head))
			tool_error("warning: %s is a static program: names need the dynamic linker, "
			           "so its memory keeps no names", path);
		else if (!fstat(fd, &st) &&
		         ((st.st_mode & S_ISUID && st.st_uid != getuid()) ||
		          (st.st_mode & S_ISGID && st.st_gid != getgid())))
			tool_error("warning: %s is set-user-ID or set-group-ID: the dynamic linker ignores "
			           "LD_PRELOAD there, so its memory keeps no names", path);
	}
	close(fd);
}
