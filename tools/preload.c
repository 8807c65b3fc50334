/* SPDX-License-Identifier: MIT */
/* Finds and sets what LD_PRELOAD needs. See preload.h. */
#include "preload.h"
#include "tool.h"
#include "../src/read/files.h"

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

/* Where Debian keeps libraries of this machine, below lib. */
#ifndef ANONNAME_MULTIARCH
#define ANONNAME_MULTIARCH "."
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
	ANONNAME_LIBDIR, "/usr/local/lib", ("/usr/lib/" ANONNAME_MULTIARCH), "/usr/lib64", "/usr/lib",
};

/* Its soname: the name without a number is there for linkers only, in a package of its own. */
#define LIBRARY "libanonname.so.0"
/* The one with a malloc by library has the same name, in a folder of the library's directory. */
#define FOLDER "libanonname"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

bool preload_is_by_library(void)
{
	const char *value = getenv("ANONNAME_MALLOC");

	return value && (!strcmp(value, "library") || !strcmp(value, "thread,library"));
}

/* From the directory of this program: a build tree, with libtool's and without, then an installation. */
static bool find_beside(const char *const *beside, size_t count, char *path, size_t size)
{
	char self[PATH_MAX];

	if (!tool_directory(self, sizeof(self)))
		return false;
	for (size_t i = 0; i < count; i++) {
		char candidate[PATH_MAX + 64], real[PATH_MAX];

		snprintf(candidate, sizeof(candidate), "%s/%s/" LIBRARY, self, beside[i]);
		if (realpath(candidate, real) && strlen(real) < size) {
			strcpy(path, real);
			return true;
		}
	}
	return false;
}

bool preload_find_library(bool by_library, char *path, size_t size)
{
	static const char *const plain[] = {
		".libs", "../.libs", "../../.libs", "../src/.libs", "../lib", ("../lib/" ANONNAME_MULTIARCH),
	};
	static const char *const with_malloc[] = {
		"../malloc/.libs", "../../malloc/.libs", "../lib/" FOLDER, ("../lib/" ANONNAME_MULTIARCH "/" FOLDER),
	};
	const char *wanted = getenv("ANONNAME_LIBRARY");
	char real[PATH_MAX];

	if (wanted && *wanted) {
		if (realpath(wanted, real) && strlen(real) < size) {
			strcpy(path, real);
			return true;
		}
		tool_error("ANONNAME_LIBRARY is '%s', which cannot be used: %s", wanted, strerror(errno));
		return false;
	}
	if (by_library ? find_beside(with_malloc, COUNT(with_malloc), path, size) : find_beside(plain, COUNT(plain), path, size))
		return true;
	snprintf(path, size, by_library ? "%s/" FOLDER "/" LIBRARY : "%s/" LIBRARY, ANONNAME_LIBDIR);
	if (access(path, R_OK) == 0)
		return true;
	if (by_library)
		tool_error("malloc by library needs a library of its own, and there is no %s. Install libanonname-malloc "
		           "(built from source: libmimalloc-dev first), or set ANONNAME_LIBRARY to its path.", path);
	else
		tool_error(LIBRARY " is neither beside this program nor in %s. "
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
	struct stat st;
	char *value;
	int failed;

	/* The dynamic linker would wait for a FIFO's writer. */
	if (strchr(path, '/') && !file_stat(path, &st) && !S_ISREG(st.st_mode)) {
		tool_error("'%s' is no file, so it cannot be preloaded. Give a library.", path);
		return false;
	}
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

static void run_command(char **argv, int failure)
{
	int why;

	execvp(argv[0], argv);
	why = errno;
	(void)!write(failure, &why, sizeof(why));
	_exit(127);
}

pid_t preload_start(char **argv, void (*before)(void *context), void *context, int *why)
{
	int failure[2];
	pid_t child;

	*why = 0;
	if (pipe2(failure, O_CLOEXEC)) {
		tool_error("pipe: %s", strerror(errno));
		return -1;
	}
	child = fork();
	if (!child) {
		if (before)
			before(context);
		run_command(argv, failure[1]);
	}
	close(failure[1]);
	if (child < 0)
		tool_error("fork: %s", strerror(errno));
	/* Ends with exec. */
	while (child > 0 && read(failure[0], why, sizeof(*why)) < 0 && errno == EINTR)
		;
	close(failure[0]);
	return child;
}
