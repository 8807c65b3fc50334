/* SPDX-License-Identifier: MIT */
/*
 * Creates a file that was named on the command line. Where others may write to
 * a directory on the way, they may have put something there under its name: a
 * link to a file of ours, or a pipe that nobody reads.
 */
#include "tool.h"
#include "../src/read/files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool is_shared(int directory)
{
	struct stat st;

	return file_stat_of(directory, &st) || st.st_mode & (S_IWGRP | S_IWOTH) || (st.st_uid && st.st_uid != geteuid());
}

/* A step into a directory; takes the one before. */
static int step(int directory, const char *name)
{
	int next = openat(directory, name, O_PATH | O_DIRECTORY | O_CLOEXEC | (is_shared(directory) ? O_NOFOLLOW : 0));
	int error = errno;

	close(directory);
	errno = error;
	return next;
}

/* In a shared directory: what is there already must be a file of ours alone. */
static int create_in_shared(int directory, const char *name)
{
	struct stat st;
	int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);

	if (fd >= 0 || errno != EEXIST)
		return fd;
	fd = openat(directory, name, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno != ENXIO)
		return fd;
	if (fd >= 0 && !file_stat_of(fd, &st) && S_ISREG(st.st_mode) && st.st_nlink == 1 && st.st_uid == geteuid() &&
	    !ftruncate(fd, 0))
		return fd;
	if (fd >= 0)
		close(fd);
	errno = ELOOP;
	return -1;
}

static int create(const char *path)
{
	int directory = open(*path == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC), fd, error;
	char name[NAME_MAX + 1];

	for (;;) {
		size_t len;

		path += strspn(path, "/");
		len = strcspn(path, "/");
		if (directory < 0)
			return -1;
		if (len > NAME_MAX) {
			close(directory);
			errno = ENAMETOOLONG;
			return -1;
		}
		memcpy(name, path, len);
		name[len] = '\0';
		path += len;
		if (!*path)
			break;
		directory = step(directory, name);
	}
	fd = is_shared(directory) ? create_in_shared(directory, name)
	                          : openat(directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	error = errno;
	close(directory);
	errno = error;
	return fd;
}

FILE *tool_create(const char *path)
{
	int fd = create(path);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");

	if (!file && (errno == ELOOP || errno == ENOTDIR))
		tool_error("%s: a link, or not a file of yours, in a directory that others may write to. Remove it, or "
		           "give another directory.", path);
	else if (!file)
		tool_error("%s: %s", path, strerror(errno));
	return file;
}

int tool_place(FILE *file, const char *written, const char *path)
{
	bool failed = ferror(file);

	/* First the close: a full disk may show only then. */
	if (!fclose(file) && !failed && !rename(written, path))
		return EXIT_DONE;
	tool_error("%s: %s", path, strerror(errno));
	unlink(written);
	return EXIT_FAILED;
}
