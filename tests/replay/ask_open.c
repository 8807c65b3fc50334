/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into a reader: before it opens anything below a directory that it has
 * open, which is how /proc/PID is read, it says so (descriptor ASK_FD) and waits for
 * an answer (ANSWER_FD). So pid_reuse.py can change what is there between any two.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int number(const char *name)
{
	const char *text = getenv(name);

	return text ? atoi(text) : -1;
}

/* The path, for whoever looks on, to a byte 0; then a byte back. Both ways are atomic, whoever else asks. */
static void ask(int directory, const char *path)
{
	int to = number("ASK_FD"), from = number("ANSWER_FD"), error = errno;
	char byte;

	if (to >= 0 && directory != AT_FDCWD && *path != '/' && write(to, path, strlen(path) + 1) > 0)
		while (read(from, &byte, 1) < 0 && errno == EINTR)
			;
	errno = error;
}

int openat(int directory, const char *path, int flags, ...)
{
	static int (*next)(int directory, const char *path, int flags, ...);
	va_list rest;
	mode_t mode;

	va_start(rest, flags);
	mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;
	va_end(rest);
	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "openat");
	ask(directory, path);
	return next(directory, path, flags, mode);
}

int openat64(int directory, const char *path, int flags, ...) __attribute__((alias("openat")));
