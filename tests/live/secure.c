/* SPDX-License-Identifier: MIT */
/*
 * A set-user-ID program that is linked with the library: no variable is
 * honoured, no file is opened outside /proc. As root it makes itself one, in a
 * place where set-user-ID counts.
 */
#include <fcntl.h>
#include <pwd.h>
#include <sys/auxv.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/registry_format.h"
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

int main(int argc, char **argv)
{
	char copy[] = "/var/lib/live-secure.XXXXXX", from[4096];
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
	fd = mkstemp(copy);
	if (fd < 0) {
		strcpy(copy, "/run/live-secure.XXXXXX");
		fd = mkstemp(copy);
	}
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
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		live_skip("the file system of %s ignores set-user-ID", copy);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "as a set-user-ID program: status %#x", (unsigned)status);
	return live_status();
}
