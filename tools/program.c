/* SPDX-License-Identifier: MIT */
/* Why a program would not load a preloaded library. See program.h. */
#include "program.h"
#include "tool.h"
#include "../src/read/files.h"

#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

/* The linker's: the first bytes of this command, which is for the same machine as the library. */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

#define MAX_STEPS   8           /* scripts, env and the like on the way to a program; the kernel takes five scripts */
#define MAX_WORDS   16
#define MAX_LINE    256         /* of a script's first line: BINPRM_BUF_SIZE, include/uapi/linux/binfmts.h */
#define MAX_NAME    256         /* of a library */

/* --- the words of a command --------------------------------------------------------- */

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
		    !access(path, X_OK) && !file_stat(path, &st) && S_ISREG(st.st_mode))
			return true;
		if (!dirs[len])
			return false;
		dirs += len + 1;
	}
}

/* A command, in text of its own. */
struct command {
	char text[2 * PATH_MAX];
	size_t used;
	const char *word[MAX_WORDS + 1];
	size_t words;
};

/* What does not fit is left out: it is no program's name any more. */
static void add_word(struct command *c, const char *word, size_t len)
{
	if (c->words == MAX_WORDS || len + 1 > sizeof(c->text) - c->used)
		return;
	c->word[c->words++] = memcpy(c->text + c->used, word, len);
	c->text[c->used + len] = '\0';
	c->used += len + 1;
}

static void add_split(struct command *c, const char *line)
{
	while (*(line += strspn(line, " \t"))) {
		size_t len = strcspn(line, " \t");

		add_word(c, line, len);
		line += len;
	}
}

static void add_rest(struct command *to, const struct command *from, size_t first)
{
	for (size_t i = first; i < from->words; i++)
		add_word(to, from->word[i], strlen(from->word[i]));
}

/* "#!INTERPRETER ARGUMENT": the kernel passes on one argument, whatever is in it, and then the script. */
static void script_command(const char *line, const char *script, struct command *to)
{
	size_t len;

	line += strspn(line, " \t");
	len = strcspn(line, " \t");
	add_word(to, line, len);
	line += len + strspn(line + len, " \t");
	len = strlen(line);
	while (len && strchr(" \t", line[len - 1]))
		len--;
	if (len)
		add_word(to, line, len);
	add_word(to, script, strlen(script));
}

/* env(1): some options have a value of their own, and the one that is returned takes LD_PRELOAD away. */
static const char *env_command(const struct command *from, struct command *to)
{
	const char *lost = NULL;
	size_t i = 1;

	for (; i < from->words && from->word[i][0] == '-' && from->word[i][1]; i++) {
		const char *w = from->word[i], *split = NULL;

		if (!strcmp(w, "--")) {
			i++;
			break;
		}
		if (!strcmp(w, "-i") || !strcmp(w, "--ignore-environment"))
			lost = w;
		else if (!strcmp(w, "-u") || !strcmp(w, "--unset") || !strcmp(w, "-C") || !strcmp(w, "--chdir"))
			i++;
		else if (!strncmp(w, "--split-string=", 15))
			split = w + 15;
		else if (!strcmp(w, "-S") || !strcmp(w, "--split-string"))
			split = i + 1 < from->words ? from->word[++i] : "";
		else if (!strncmp(w, "-S", 2) || !strncmp(w, "-vS", 3))
			split = w + (w[1] == 'v' ? 3 : 2);
		if (split) {
			/* Options may be among the new words: a step more. */
			add_word(to, from->word[0], strlen(from->word[0]));
			add_split(to, split);
			add_rest(to, from, i + 1);
			return lost;
		}
	}
	while (i < from->words && strchr(from->word[i], '='))
		i++;
	add_rest(to, from, i);
	return lost;
}

/* --- one program --------------------------------------------------------------------- */

struct program {
	const char *path;
	int fd;
	struct stat st;
	Elf64_Ehdr head;
	Elf64_Phdr *segments;
	char interpreter[MAX_NAME];     /* "" none */
};

static bool read_at(int fd, void *to, size_t len, uint64_t offset)
{
	return offset <= INT64_MAX && pread(fd, to, len, (off_t)offset) == (ssize_t)len;
}

/* What the file says of an address; 0: nothing. */
static uint64_t offset_of(const struct program *p, uint64_t address)
{
	for (unsigned i = 0; i < p->head.e_phnum; i++) {
		const Elf64_Phdr *s = &p->segments[i];

		if (s->p_type == PT_LOAD && address >= s->p_vaddr && address - s->p_vaddr < s->p_filesz)
			return s->p_offset + (address - s->p_vaddr);
	}
	return 0;
}

static void read_name(const struct program *p, uint64_t offset, char name[MAX_NAME])
{
	ssize_t len = offset <= INT64_MAX ? pread(p->fd, name, MAX_NAME - 1, (off_t)offset) : 0;

	name[len > 0 ? len : 0] = '\0';
}

static bool read_segments(struct program *p)
{
	size_t size = p->head.e_phnum * sizeof(*p->segments);

	p->segments = p->head.e_phentsize == sizeof(*p->segments) ? malloc(size + 1) : NULL;
	if (!p->segments || !read_at(p->fd, p->segments, size, p->head.e_phoff))
		return false;
	for (unsigned i = 0; i < p->head.e_phnum; i++)
		if (p->segments[i].p_type == PT_INTERP)
			read_name(p, p->segments[i].p_offset, p->interpreter);
	return true;
}

/* Is there a DT_NEEDED that begins so? */
static bool needs(const struct program *p, const char *const *starts)
{
	const Elf64_Phdr *dynamic = NULL;
	uint64_t strings = 0;
	char name[MAX_NAME];
	Elf64_Dyn d;

	for (unsigned i = 0; i < p->head.e_phnum; i++)
		if (p->segments[i].p_type == PT_DYNAMIC)
			dynamic = &p->segments[i];
	for (uint64_t at = 0; dynamic && at < dynamic->p_filesz && read_at(p->fd, &d, sizeof(d), dynamic->p_offset + at); at += sizeof(d))
		if (d.d_tag == DT_STRTAB)
			strings = offset_of(p, d.d_un.d_ptr);
	for (uint64_t at = 0; strings && at < dynamic->p_filesz && read_at(p->fd, &d, sizeof(d), dynamic->p_offset + at) && d.d_tag; at += sizeof(d)) {
		if (d.d_tag != DT_NEEDED)
			continue;
		read_name(p, strings + d.d_un.d_val, name);
		for (const char *const *start = starts; *start; start++)
			if (!strncmp(name, *start, strlen(*start)))
				return true;
	}
	return false;
}

/* Will the kernel tell the dynamic linker to trust nobody (AT_SECURE)? NULL: no. */
static const char *secure(const struct program *p)
{
	struct statvfs fs;

	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 || (!fstatvfs(p->fd, &fs) && fs.f_flag & ST_NOSUID))
		return NULL;
	if (p->st.st_mode & S_ISUID && p->st.st_uid != getuid())
		return "is set-user-ID";
	if (p->st.st_mode & S_ISGID && p->st.st_mode & S_IXGRP && p->st.st_gid != getgid())
		return "is set-group-ID";
	if (getuid() && fgetxattr(p->fd, "security.capability", NULL, 0) > 0)
		return "has capabilities of its own";
	return NULL;
}

static bool asan_is_told(void)
{
	const char *options = getenv("ASAN_OPTIONS");

	return options && strstr(options, "verify_asan_link_order=0");
}

static void judge(const struct program *p)
{
	static const char *const asan[] = { "libasan.so", "libclang_rt.asan", NULL };
	const char *why = secure(p), *base = strrchr(p->interpreter, '/');

	base = base ? base + 1 : p->interpreter;
	if (!*base)
		tool_error("warning: %s is a static program, with no dynamic linker to load libanonname.so: its memory gets "
		           "no names. Link it dynamically", p->path);
	else if (why)
		tool_error("warning: %s %s, so the dynamic linker ignores LD_PRELOAD: its memory gets no names. Run it as a "
		           "user who gains nothing by it, or link it with -lanonname", p->path, why);
	else if (needs(p, asan) && !asan_is_told())
		tool_error("warning: %s was built with AddressSanitizer, which refuses to start behind a preloaded library. "
		           "Set ASAN_OPTIONS=verify_asan_link_order=0", p->path);
	else if (!strncmp(base, "ld-musl", 7))
		tool_error("warning: the C library of %s is musl: what it maps itself and its threads' stacks get names, "
		           "what malloc maps inside does not. Use a build for glibc", p->path);
	else if (strncmp(base, "ld-linux", 8))
		tool_error("warning: the dynamic linker of %s is %s, not glibc's: libanonname.so may not load. Use a build "
		           "for glibc", p->path, p->interpreter);
}

/* --- on the way to it ----------------------------------------------------------------- */

/* false: the end of the way, where there was something to say it was said. */
static bool step(const struct command *from, struct command *to)
{
	char path[PATH_MAX], line[MAX_LINE + 1] = "";
	struct program p = { .path = path };
	const char *base, *lost;
	bool more = false;
	ssize_t len;

	if (!find_command(from->word[0], path, sizeof(path)))
		return false;
	/* A FIFO or a device will not be executed, and must not be waited for. */
	p.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (p.fd < 0)
		return false;
	len = file_stat_of(p.fd, &p.st) || !S_ISREG(p.st.st_mode) ? 0 : pread(p.fd, line, MAX_LINE, 0);
	base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	if (len > 2 && line[0] == '#' && line[1] == '!') {
		line[strcspn(line, "\n")] = '\0';
		script_command(line + 2, path, to);
		add_rest(to, from, 1);
		more = true;
	} else if (len >= (ssize_t)sizeof(p.head) && !memcmp(line, ELFMAG, SELFMAG)) {
		memcpy(&p.head, line, sizeof(p.head));
		if (line[EI_CLASS] != ELFCLASS64 || p.head.e_machine != __ehdr_start.e_machine) {
			tool_error("warning: %s is made for another machine or word size than libanonname.so: its memory gets no "
			           "names. Use a build for this machine", path);
		} else if (!strncmp(base, "ld-", 3) || !strncmp(base, "ld.so", 5)) {
			/* A dynamic linker that is called by its name; its options are left aside. */
			for (size_t i = 1; i < from->words && !more; i++)
				if (from->word[i][0] != '-') {
					add_rest(to, from, i);
					more = true;
				}
		} else if (read_segments(&p)) {
			judge(&p);
			if (!strcmp(base, "env")) {
				lost = env_command(from, to);
				if (lost)
					tool_error("warning: env %s takes LD_PRELOAD away, so memory gets no names. Leave it out, "
					           "or call anonname run behind it", lost);
				more = !lost;
			}
		}
		free(p.segments);
	}
	close(p.fd);
	return more && to->words;
}

void program_warn(char *const *argv)
{
	struct command *now = calloc(1, sizeof(*now)), *next = calloc(1, sizeof(*next));

	for (; now && next && *argv; argv++)
		add_word(now, *argv, strlen(*argv));
	for (unsigned i = 0; i < MAX_STEPS && now && next && now->words && step(now, next); i++) {
		struct command *old = now;

		now = next;
		next = old;
		next->words = next->used = 0;
	}
	free(now);
	free(next);
}
