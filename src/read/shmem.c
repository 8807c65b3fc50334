/* SPDX-License-Identifier: MIT */
/* Devices of tmpfs, found in mountinfo and kept. See shmem.h. */
#include "shmem.h"
#include "files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* A process sees few file systems; who has more gets its names from the path alone. */
#define DEVICES_MAX 1024

struct shmem {
	size_t count;
	struct {
		uint64_t minor;     /* a tmpfs has no device of its own: its major number is 0 */
		bool shared;
	} device[DEVICES_MAX];
};

static void keep(struct shmem *shmem, uint64_t minor, bool shared)
{
	for (size_t i = 0; i < shmem->count; i++)
		if (shmem->device[i].minor == minor)
			return;
	if (shmem->count == DEVICES_MAX)
		return;
	shmem->device[shmem->count].minor = minor;
	shmem->device[shmem->count++].shared = shared;
}

struct shmem *shmem_new(bool live)
{
	struct shmem *shmem = calloc(1, sizeof(*shmem));
	int fd = shmem && live ? file_in_memory("anonname") : -1;
	struct stat st;

	/* The kernel's own, that of memfd and System V: nobody mounts it, so it is looked at. */
	if (fd >= 0 && !file_stat_of(fd, &st) && !major(st.st_dev))
		keep(shmem, minor(st.st_dev), true);
	if (fd >= 0)
		close(fd);
	return shmem;
}

void shmem_free(struct shmem *shmem)
{
	free(shmem);
}

/* "36 35 0:33 / /tmp rw,nosuid shared:1 - tmpfs tmpfs rw", see proc(5) */
static void keep_mount(struct shmem *shmem, struct text line)
{
	static const char end[] = " - ";
	uint64_t id, major, minor;
	const char *type;

	if (!text_u64(&line, 10, &id) || !text_char(&line, ' ') || !text_u64(&line, 10, &id) || !text_char(&line, ' ') ||
	    !text_u64(&line, 10, &major) || !text_char(&line, ':') || !text_u64(&line, 10, &minor) || major)
		return;
	type = memmem(line.at, line.len, end, sizeof(end) - 1);
	if (!type)
		return;
	line.len -= (size_t)(type + sizeof(end) - 1 - line.at);
	line.at = type + sizeof(end) - 1;
	keep(shmem, minor, text_starts(line, "tmpfs ") || text_starts(line, "devtmpfs "));
}

static void keep_mounts(struct shmem *shmem, const struct proc_text *mounts)
{
	const char *at = mounts->text, *end = mounts->text + mounts->len, *newline;

	for (; at < end; at = newline + 1) {
		newline = memchr(at, '\n', (size_t)(end - at));
		newline = newline ? newline : end;
		keep_mount(shmem, (struct text){ at, (size_t)(newline - at) });
	}
}

bool shmem_is_device(const struct proc *proc, pid_t pid, uint64_t major, uint64_t minor)
{
	struct shmem *shmem = proc->shmem;
	struct proc_text mounts;

	if (major)
		return false;
	for (unsigned looked = 0; looked < 2; looked++) {
		for (size_t i = 0; i < shmem->count; i++)
			if (shmem->device[i].minor == minor)
				return shmem->device[i].shared;
		if (looked || proc_read(proc, pid, "mountinfo", &mounts))
			break;
		keep_mounts(shmem, &mounts);
		proc_text_free(&mounts);
	}
	/* Nobody asks again. */
	keep(shmem, minor, false);
	return false;
}
