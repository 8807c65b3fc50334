/* SPDX-License-Identifier: MIT */
/* Messages, arguments and output that every subcommand needs. See tool.h. */
#include "tool.h"

#include "../src/read/core.h"
#include "../src/recognise/recognise.h"
#include "../src/read/files.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <linux/capability.h>
#include <locale.h>
#include <malloc.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

const char *tool_name = "";

void tool_begin(void)
{
	/*
	 * How characters are written, and the language of strerror(). Not all: each of
	 * the twelve is a file to open, and numbers in our output are for scripts, too.
	 */
	setlocale(LC_CTYPE, "");
	setlocale(LC_MESSAGES, "");
	/* Each process is read with the same few buffers: giving them back in between costs a tenth. */
#ifdef M_TRIM_THRESHOLD /* not musl */
	mallopt(M_TRIM_THRESHOLD, 16 << 20);
	mallopt(M_MMAP_THRESHOLD, 16 << 20);
	mallopt(M_TOP_PAD, 1 << 20);
#endif
}

bool tool_directory(char *path, size_t size)
{
	ssize_t len = readlink("/proc/self/exe", path, size - 1);
	const char *started = (const char *)getauxval(AT_EXECFN);
	char *slash;

	path[len > 0 ? len : 0] = '\0';
	/* In a /proc where we are not ourselves: as it was started. */
	if (len <= 0 && started)
		snprintf(path, size, "%s", started);
	slash = strrchr(path, '/');
	if (slash)
		*slash = '\0';
	return slash != NULL;
}

void tool_start(const char *program, char **argv)
{
	char directory[PATH_MAX], path[PATH_MAX + 32];

	/* A build tree has it beside this one. */
	if (tool_directory(directory, sizeof(directory))) {
		snprintf(path, sizeof(path), "%s/%s", directory, program);
		execv(path, argv);
	}
	snprintf(path, sizeof(path), "%s/%s", ANONNAME_LIBEXECDIR, program);
	execv(path, argv);
	tool_error(errno == ENOENT && !strcmp(program, "anonname-record")
	           ? "cannot start %s: %s. It is installed together with anonname where that was built with SQLite."
	           : "cannot start %s: %s. It is installed together with anonname.", path, strerror(errno));
}

void tool_error(const char *format, ...)
{
	char raw[2 * PATH_MAX], safe[2 * PATH_MAX];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(raw, sizeof(raw), format, args);
	va_end(args);
	/* It may say what was given, or what is another process's. */
	text_clean(safe, sizeof(safe), (struct text){ raw, len < 0 ? 0 : strlen(raw) });
	fflush(stdout);
	fprintf(stderr, "anonname%s%s: %s\n", *tool_name ? " " : "", tool_name, safe);
}

int tool_usage_error(void)
{
	fprintf(stderr, "Try 'anonname %s%s--help'.\n", tool_name, *tool_name ? " " : "");
	return EXIT_USAGE;
}

int tool_version(void)
{
	puts("anonname " PACKAGE_VERSION);
	return tool_finish(EXIT_DONE);
}

/* The second word of a set holds the higher numbers, see capget(2). */
static bool may_trace(void)
{
	const unsigned cap_sys_ptrace = 19;
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

	return !syscall(SYS_capget, &head, sets) && sets[0].effective & 1U << cap_sys_ptrace;
}

#define NEEDS_CAPABILITY "Root needs CAP_SYS_PTRACE in its user namespace, which a container may not have."
#define NEEDS_ANOTHER    "It belongs to another user namespace, or a security module (SELinux, AppArmor) forbids it."

const char *tool_denied_advice(void)
{
	if (geteuid())
		return "Run as its owner or as root. A set-user-ID program can be read by root only.";
	return may_trace() ? NEEDS_ANOTHER : NEEDS_CAPABILITY;
}

const char *tool_nameless_advice(void)
{
	if (geteuid())
		return "Run as root, or set kernel.yama.ptrace_scope to 0.";
	return may_trace() ? NEEDS_ANOTHER : NEEDS_CAPABILITY;
}

int tool_process_error(pid_t pid, int error)
{
	switch (error) {
	case PROCESS_IS_KERNEL:
		tool_error("process %d is a kernel thread: it has no memory of its own", (int)pid);
		return EXIT_FAILED;
	case PROCESS_IS_ENDED:
		tool_error("process %d has ended: it has no memory any more, and only waits for its parent to see that", (int)pid);
		return EXIT_NO_PROCESS;
	case PROCESS_IS_EMPTY:
		tool_error("process %d was recorded without a VMA: its smaps or maps is empty", (int)pid);
		return EXIT_FAILED;
	case PROC_NO_FILE:
		tool_error("process %d was recorded with a pipe, a device or a directory where one of its files belongs", (int)pid);
		return EXIT_FAILED;
	case -ESRCH:
	case -ENOENT:
		tool_error("no process %d: it does not exist, or ended while it was read", (int)pid);
		return EXIT_NO_PROCESS;
	case -EACCES:
	case -EPERM:
		tool_error("process %d may not be read: %s. %s", (int)pid, strerror(-error), tool_denied_advice());
		return EXIT_FAILED;
	case -ETIME:
		tool_error("process %d could not be read in time: it keeps whoever reads its memory or its maps waiting. "
		           "Ask again, or give --gentle where a command has it.", (int)pid);
		return EXIT_FAILED;
	default:
		tool_error("process %d could not be read: %s", (int)pid, strerror(-error));
		return EXIT_FAILED;
	}
}

const char *tool_names_error(int error)
{
	return error == -EFAULT ? "they are said to lie where the process has no memory of its own" : strerror(-error);
}

bool tool_number(const char *text, uint64_t most, const char *what, uint64_t *number)
{
	struct text rest = { text, strlen(text) };

	if (text_u64(&rest, 10, number) && !rest.len && *number && *number <= most)
		return true;
	tool_error("'%s' is not %s", text, what);
	return false;
}

pid_t tool_pid(const char *text)
{
	uint64_t pid;

	return tool_number(text, INT_MAX, "a process id. Give a number from 1 to 2147483647.", &pid) ? (pid_t)pid : 0;
}

static const char *core_path;          /* --core */

int tool_one_process(int argc, char **argv, const char *root, pid_t *pid, struct proc *proc)
{
	int error;

	if (optind + !core_path != argc) {
		tool_error(core_path ? "--core takes the place of a process id" : "give one process id");
		return tool_usage_error();
	}
	*pid = core_path ? 0 : tool_pid(argv[optind]);
	if (!core_path && !*pid)
		return EXIT_USAGE;
	if (!tool_proc(proc, root))
		return EXIT_FAILED;
	error = core_path ? 0 : proc_bind(proc, proc, *pid);
	if (core_path)
		*pid = core_pid(proc->core);
	if (error)
		proc_close(proc);
	return error ? tool_process_error(*pid, error) : EXIT_DONE;
}

bool tool_time(const char *text, uint64_t *ns)
{
	static const struct {
		const char *name;
		uint64_t ns;
	} units[] = {
		{ "", 1000000000 }, { "ms", 1000000 }, { "s", 1000000000 }, { "m", 60000000000 },
		{ "h", 3600000000000 }, { "d", 86400000000000 },
	};
	struct text rest = { text, strlen(text) };
	uint64_t number;

	if (text_u64(&rest, 10, &number) && number)
		for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
			if (text_is(rest, units[i].name) && !__builtin_mul_overflow(number, units[i].ns, ns))
				return true;
	tool_error("'%s' is not a time. Give seconds, or a number with ms, s, m, h or d, such as 500ms or 7d.", text);
	return false;
}

bool tool_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	struct text rest = { text, strlen(text) };
	const char *unit;
	unsigned shift = 0;
	uint64_t number;

	if (!text_u64(&rest, 10, &number))
		goto bad;
	if (rest.len && (unit = strchr(units, *rest.at >= 'a' ? *rest.at - 32 : *rest.at))) {
		shift = 10 * (unsigned)(unit - units + 1);
		rest.at++;
		rest.len--;
	}
	if (rest.len || number > UINT64_MAX >> shift)
		goto bad;
	*bytes = number << shift;
	return true;
bad:
	tool_error("'%s' is not a size. Give bytes, or a number with K, M, G or T, such as 10M.", text);
	return false;
}

static unsigned unwanted_names;

bool tool_choose_names(const char *list)
{
	struct text rest = { list, strlen(list) };
	unsigned wanted = 0;

	for (bool more = true; more;) {
		const char *comma = memchr(rest.at, ',', rest.len);
		struct text word = { rest.at, comma ? (size_t)(comma - rest.at) : rest.len };
		enum name_source source = source_named(word);

		more = comma != NULL;
		if (source == NAME_NONE) {
			tool_error("'%.*s' is no source of names; there are kernel, registry and outside", (int)word.len, word.at);
			return false;
		}
		wanted |= NAME_BIT(source);
		rest.at += word.len + more;
		rest.len -= word.len + more;
	}
	unwanted_names = NAMES_ALL & ~wanted;
	return true;
}

bool tool_choose_core(const char *path)
{
	core_path = path;
	return true;
}

bool tool_has_core(void)
{
	return core_path != NULL;
}

static bool open_core(struct proc *proc)
{
	int error = proc_init_core(proc, core_path);
	uint64_t missing = error ? 0 : core_missing(proc->core);

	if (error == CORE_NONE)
		tool_error("%s is no core file of x86-64 or aarch64", core_path);
	else if (error == -ENODATA)
		tool_error("%s ends before the list of what was in memory does", core_path);
	else if (error)
		tool_error("%s cannot be opened: %s", core_path, strerror(-error));
	if (missing)
		tool_error("%s is cut off: %llu KiB are missing, and with them names and figures", core_path,
		           (unsigned long long)(missing + 1023) / 1024);
	return !error;
}

static bool open_proc(struct proc *proc, const char *root)
{
	int error;

	if (core_path && root)
		tool_error("give one of: --root, --core");
	if (core_path)
		return !root && open_core(proc);
	error = proc_init(proc, root);
	if (error)
		tool_error("%s cannot be opened: %s", root ? root : "/proc", strerror(-error));
	return !error;
}

bool tool_proc(struct proc *proc, const char *root)
{
	if (open_proc(proc, root)) {
		proc->recognise = recognise;
		proc->unwanted = unwanted_names;
		return true;
	}
	return false;
}

bool tool_own_proc(struct proc *proc)
{
	if (!tool_proc(proc, NULL))
		return false;
	if (proc_is_own(proc))
		return true;
	tool_error("/proc is that of another PID namespace. Mount it: mount -t proc proc /proc");
	proc_close(proc);
	return false;
}

bool tool_is_device(int fd)
{
	struct stat st;

	return !file_stat_of(fd, &st) && (S_ISBLK(st.st_mode) || (S_ISCHR(st.st_mode) && !isatty(fd)));
}

/* Of a pipe that has no end no more than this is kept. */
#define COPY_MAX (1U << 30)

int tool_rewindable(int fd)
{
	static char buffer[65536];
	size_t all = 0;
	ssize_t len = 0;
	int copy;

	if (lseek(fd, 0, SEEK_SET) == 0)
		return dup(fd);
	copy = file_in_memory("anonname");
	while (copy >= 0 && (len = read(fd, buffer, sizeof(buffer))) > 0) {
		all += (size_t)len;
		if (all > COPY_MAX)
			errno = EFBIG;
		if (all > COPY_MAX || write(copy, buffer, (size_t)len) != len)
			len = -1;
		if (len < 0)
			break;
	}
	if (copy < 0 || len < 0 || lseek(copy, 0, SEEK_SET)) {
		int error = errno;

		if (copy >= 0)
			close(copy);
		return -error;
	}
	return copy;
}

static uint64_t usage_ns(int who)
{
	struct rusage usage;

	getrusage(who, &usage);
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000U +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000U;
}

uint64_t tool_cpu_ns(void)
{
	return usage_ns(RUSAGE_SELF) + usage_ns(RUSAGE_CHILDREN);
}

bool tool_takes_bytes(const char *option)
{
	if (!isatty(STDOUT_FILENO))
		return true;
	tool_error("%s is not text: send it to a file or a pipe", option);
	return false;
}

int tool_finish(int code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	/* The reader of a pipe that has seen enough is no failure of ours. */
	if (errno != EPIPE)
		tool_error("standard output: %s", strerror(errno));
	return EXIT_FAILED;
}

int tool_print_json(json_t *json)
{
	int failed = !json || json_dumpf(json, stdout, JSON_INDENT(1) | JSON_PRESERVE_ORDER);

	json_decref(json);
	if (!failed)
		putchar('\n');
	else if (!ferror(stdout))
		tool_error("not enough memory");
	return failed ? tool_finish(EXIT_FAILED) : tool_finish(EXIT_DONE);
}

const char *tool_human(uint64_t bytes, char *buffer)
{
	static const char units[] = "BKMGTPE";
	double value = (double)bytes;
	unsigned unit = 0;

	while (value >= 999.5 && unit + 2 < sizeof(units)) {
		value /= 1024;
		unit++;
	}
	snprintf(buffer, 16, unit && value < 99.95 ? "%.1f%c" : "%.0f%c", value, units[unit]);
	return buffer;
}

const char *tool_duration(uint64_t ns, char *buffer)
{
	double ms = (double)ns / 1e6;

	snprintf(buffer, 24, ms < 10 ? "%.2f ms" : ms < 1000 ? "%.1f ms" : "%.0f ms", ms);
	return buffer;
}
