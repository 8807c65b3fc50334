/* SPDX-License-Identifier: MIT */
/* Where a process lives, from /proc/PID/status and cgroup. See place.h. */
#include "place.h"

#include "text.h"

#include <ctype.h>
#include <fnmatch.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#define UNKNOWN "-"

bool place_user_id(const struct proc *proc, pid_t pid, uid_t *uid)
{
	long id = proc_status(proc, pid, "Uid");

	if (id < 0)
		return false;
	*uid = (uid_t)id;
	return true;
}

void place_user_name(uid_t uid, bool by_number, char *buffer, size_t size)
{
	const struct passwd *entry = by_number ? NULL : getpwuid(uid);

	if (entry)
		text_clean(buffer, size, (struct text){ entry->pw_name, strlen(entry->pw_name) });
	else
		snprintf(buffer, size, "%lu", (unsigned long)uid);
}

/* --- the control group ------------------------------------------------------ */

static bool has_controller(struct text list, const char *controller)
{
	while (list.len)
		if (text_is(text_cut(&list, ','), controller))
			return true;
	return false;
}

/* "HIERARCHY:CONTROLLERS:PATH", a line each; the unified one has 0 and no controllers. */
static struct text find_path(struct text lines)
{
	struct text unified = { 0 }, memory = { 0 };

	while (lines.len) {
		struct text path = text_cut(&lines, '\n'), controllers;

		text_cut(&path, ':');
		controllers = text_cut(&path, ':');
		if (!controllers.len)
			unified = path;
		else if (has_controller(controllers, "memory"))
			memory = path;
	}
	/* A machine that uses both has everybody at / of the unified one. */
	return memory.len && unified.len <= 1 ? memory : unified;
}

void place_cgroup(const struct proc *proc, pid_t pid, char *buffer, size_t size)
{
	struct proc_text whole;
	struct text path = { 0 };

	snprintf(buffer, size, UNKNOWN);
	if (proc_read(proc, pid, "cgroup", &whole))
		return;
	path = find_path((struct text){ whole.text, whole.len });
	if (path.len >= size) {
		/* The end says more than the beginning. */
		path.at += path.len - (size - 1);
		path.len = size - 1;
	}
	if (path.len)
		text_clean(buffer, size, path);
	proc_text_free(&whole);
}

/* --- what its path tells -------------------------------------------------------- */

static const char *const unit_suffixes[] = { ".service", ".scope", ".socket", ".mount", ".swap" };

/*
 * The part of the path nearest the root that is a unit and not a slice: the
 * unit that systemctl status shows (systemd, src/basic/cgroup-util.c). A
 * leading _ keeps a unit's name apart from the kernel's files.
 */
void place_unit(const char *cgroup, char *buffer, size_t size)
{
	struct text rest = { cgroup, strlen(cgroup) };

	snprintf(buffer, size, UNKNOWN);
	while (rest.len) {
		struct text part = text_cut(&rest, '/');

		if (part.len && *part.at == '_') {
			part.at++;
			part.len--;
		}
		for (size_t i = 0; i < sizeof(unit_suffixes) / sizeof(*unit_suffixes); i++)
			if (part.len > strlen(unit_suffixes[i]) && text_ends(part, unit_suffixes[i])) {
				snprintf(buffer, size, "%.*s", (int)part.len, part.at);
				return;
			}
	}
}

/* Container engines name the group after the container: PREFIX ID SUFFIX, or ENGINE/ID. */
static const struct {
	const char *prefix, *engine;
} scopes[] = {
	{ "docker-", "docker" },
	{ "cri-containerd-", "containerd" },
	{ "crio-", "crio" },
	{ "libpod-", "podman" },
	{ "lxc.payload.", "lxc" },
	{ "machine-", "machine" },
	{ "systemd-nspawn@", "nspawn" },
};

static const char *const folders[] = { "docker", "lxc", "lxd", "podman", "garden", "ecs" };

#define ID_SHOWN 12             /* of 64 digits: what docker ps shows */

static bool is_id(struct text part)
{
	for (size_t i = 0; i < part.len; i++)
		if (!isxdigit((unsigned char)part.at[i]))
			return false;
	return part.len == 64 || part.len == 32;
}

static void put_container(const char *engine, struct text id, char *buffer, size_t size)
{
	if (is_id(id))
		id.len = ID_SHOWN;
	snprintf(buffer, size, "%s:%.*s", engine, (int)id.len, id.at);
}

static bool container_of_part(struct text part, struct text before, char *buffer, size_t size)
{
	struct text name = part;

	if (text_ends(name, ".scope"))
		name.len -= strlen(".scope");
	else if (text_ends(name, ".service"))
		name.len -= strlen(".service");
	for (size_t i = 0; i < sizeof(scopes) / sizeof(*scopes); i++) {
		size_t len = strlen(scopes[i].prefix);

		/* podman's monitor is not in the container, and lies beside it. */
		if (text_starts(name, scopes[i].prefix) && name.len > len && !text_starts(name, "libpod-conmon-")) {
			put_container(scopes[i].engine, (struct text){ name.at + len, name.len - len }, buffer, size);
			return true;
		}
	}
	for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++)
		if (part.len && text_is(before, folders[i])) {
			put_container(folders[i], part, buffer, size);
			return true;
		}
	/* kubepods/burstable/podUID/ID of the cgroupfs driver: the engine is not named. */
	if (is_id(part) && text_starts(before, "pod")) {
		put_container("kubernetes", part, buffer, size);
		return true;
	}
	return false;
}

/* The innermost one: containers are nested. */
void place_container(const char *cgroup, char *buffer, size_t size)
{
	struct text rest = { cgroup, strlen(cgroup) }, before = { "", 0 };

	snprintf(buffer, size, UNKNOWN);
	while (rest.len) {
		struct text part = text_cut(&rest, '/');

		container_of_part(part, before, buffer, size);
		before = part;
	}
}

static bool part_matches(const char *cgroup, const char *pattern)
{
	struct text rest = { cgroup, strlen(cgroup) };
	char one[PLACE_MAX];

	while (rest.len) {
		struct text part = text_cut(&rest, '/');

		snprintf(one, sizeof(one), "%.*s", (int)part.len, part.at);
		if (part.len && !fnmatch(pattern, one, 0))
			return true;
	}
	return false;
}

bool place_is_in(const char *cgroup, const char *wanted)
{
	static const char mount[] = "/sys/fs/cgroup";
	size_t len;

	if (!strchr(wanted, '/'))
		return part_matches(cgroup, wanted);
	if (!strncmp(wanted, mount, strlen(mount)) && (wanted[strlen(mount)] == '/' || !wanted[strlen(mount)]))
		wanted += strlen(mount);
	len = strlen(wanted);
	while (len && wanted[len - 1] == '/')
		len--;
	return !strncmp(cgroup, wanted, len) && (cgroup[len] == '/' || !cgroup[len]);
}
