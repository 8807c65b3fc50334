/* SPDX-License-Identifier: MIT */
/*
 * A set-user-ID program that is linked with the library: no variable is
 * honoured, no file is opened outside /proc. As root it makes itself one, in a
 * place where set-user-ID counts.
 */
#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "format/registry_format.h"
#include "live.h"

static int secured(void)
{
	char *p = map(64 * KIB), *q = malloc(4 * MIB);

	check(live_active(), "the library is not active");
	check(strstr(live_name(p), "live-secure") != NULL, "the name is '%s'", live_name(p));
	check(live_counter(COUNT_WALKS) == 0, "a library was opened by path and walked with");
	free(q);
	return live_status();
}

static char mounted[] = "/tmp/live-secure.XXXXXX";

/* A new file where set-user-ID counts, if need be on a file system that only we see. -1: no such place. */
static int new_file(char path[64])
{
	static const char *const places[] = { "/var/lib", "/run" };
	struct statvfs fs;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		sprintf(path, "%s/live-secure.XXXXXX", places[i]);
		int fd = mkstemp(path);

		if (fd >= 0 && fstatvfs(fd, &fs) == 0 && !(fs.f_flag & ST_NOSUID))
			return fd;
		if (fd >= 0) {
			unlink(path);
			close(fd);
		}
	}
	if (!mkdtemp(mounted))
		return -1;
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("live-secure", mounted, "tmpfs", 0, "mode=755") != 0) {
		rmdir(mounted);
		return -1;
	}
	sprintf(path, "%s/live-secure.XXXXXX", mounted);
	return mkstemp(path);
}

int main(int argc, char **argv)
{
	char copy[64], from[4096];
	char again[] = "again", *args[] = { copy, again, NULL };
	char library[4200];
	struct passwd *nobody = getpwnam("nobody");
	pid_t child;
	int fd;
	ssize_t n;

	if (getauxval(AT_SECURE))
		return secured();
	if (argc > 1)
		return 77;
	if (geteuid() != 0 || !nobody)
		live_skip("only root can make a set-user-ID program here");
	fd = new_file(copy);
	if (fd < 0)
		live_skip("no place for a set-user-ID program");
	snprintf(library, sizeof(library), "%s", argv[0]);
	n = readlink("/proc/self/exe", from, sizeof(from) - 1);
	from[n > 0 ? n : 0] = '\0';
	int in = open(from, O_RDONLY);

	while ((n = read(in, library, sizeof(library))) > 0)
		check(write(fd, library, (size_t)n) == n, "copying");
	fchown(fd, nobody->pw_uid, nobody->pw_gid);
	fchmod(fd, 04755);
	close(fd);
	setenv("ANONNAME_MMAP", "honoured", 1);
	setenv("ANONNAME_SINK", "off", 1);
	setenv("ANONNAME_DEBUG", "on", 1);
	child = live_fork();
	if (child == 0) {
		execv(copy, args);
		_exit(78);
	}
	int status = 0;

	waitpid(child, &status, 0);
	unlink(copy);
	if (umount(mounted) == 0)
		rmdir(mounted);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		live_skip("%s did not gain another user: no new privileges?", copy);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "as a set-user-ID program: status %#x", (unsigned)status);
	return live_status();
}
