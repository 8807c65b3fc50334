/* SPDX-License-Identifier: MIT */
/* Evaluates seccomp filters for our own calls. See sandbox.h. */
#include "base/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/maps.h"
#include "base/root.h"
#include "base/sys.h"
#include "base/text.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

uint32_t sandbox_rights = MAY_ALL;

/* The probe makes these calls in earnest: on no file of the program's. */
#define NO_FILE 1000000
#define SOME_MEMORY 0x7f0000000000
#define SOME_STRUCT 0x7f0000001000

/* Every call that we make on our own account, with the arguments that a filter may look at. */
static const struct our_call {
	int nr;
	uint32_t right;
	uint64_t args[6];
} our_calls[] = {
	{ SYS_prctl, MAY_NAME, { PR_SET_VMA, PR_SET_VMA_ANON_NAME, SOME_MEMORY, 4096, SOME_STRUCT, 0 } },
	{ SYS_gettid, MAY_ASK_TID, { 0 } },
	{ SYS_prctl, MAY_ASK_NAME, { PR_GET_NAME, SOME_STRUCT, 0, 0, 0, 0 } },
	{ SYS_getpid, MAY_ASK_PID, { 0 } },
	{ SYS_openat, MAY_OPEN, { (uint64_t)AT_FDCWD, SOME_STRUCT, O_RDONLY | O_CLOEXEC, 0, 0, 0 } },
	{ SYS_openat, MAY_OPEN_TO_WRITE, { (uint64_t)AT_FDCWD, SOME_STRUCT, O_RDWR | O_CLOEXEC, 0, 0, 0 } },
	{ SYS_read, MAY_READ, { NO_FILE, SOME_STRUCT, 4096, 0, 0, 0 } },
	{ SYS_close, MAY_CLOSE, { NO_FILE, 0, 0, 0, 0, 0 } },
	{ SYS_newfstatat, MAY_STAT, { (uint64_t)AT_FDCWD, SOME_STRUCT, SOME_STRUCT + 16, 0, 0, 0 } },
	{ SYS_pwrite64, MAY_WRITE_AT, { NO_FILE, SOME_STRUCT, 14, SOME_MEMORY, 0, 0 } },
	{ SYS_pread64, MAY_READ_AT, { NO_FILE, SOME_STRUCT, 4096, 4096, 0, 0 } },
	{ SYS_getdents64, MAY_LIST, { NO_FILE, SOME_STRUCT, 1024, 0, 0, 0 } },
	{ SYS_ioctl, MAY_ASK_VMA, { NO_FILE, PROCMAP_QUERY, SOME_STRUCT, 0, 0, 0 } },
	{ SYS_mmap, MAY_MAP, { 0, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, (uint64_t)-1, 0 } },
	{ SYS_mmap, MAY_MAP_CODE, { 0, 65536, PROT_READ | PROT_EXEC, MAP_PRIVATE, NO_FILE, 0 } },
	{ SYS_munmap, MAY_UNMAP, { SOME_MEMORY, 65536, 0, 0, 0, 0 } },
	{ SYS_mprotect, MAY_PROTECT, { SOME_MEMORY, 4096, PROT_READ, 0, 0, 0 } },
	{ SYS_mprotect, MAY_PROTECT_DATA, { SOME_MEMORY, 4096, PROT_READ | PROT_WRITE, 0, 0, 0 } },
	{ SYS_mprotect, MAY_PROTECT_CODE, { SOME_MEMORY, 4096, PROT_READ | PROT_EXEC, 0, 0, 0 } },
	{ SYS_madvise, MAY_ADVISE, { SOME_MEMORY, 4096, MADV_WIPEONFORK, 0, 0, 0 } },
	{ SYS_sched_yield, MAY_YIELD, { 0 } },
	{ SYS_process_vm_readv, MAY_READ_MEMORY, { 4711, SOME_STRUCT, 1, SOME_STRUCT + 16, 1, 0 } },
	{ SYS_rt_sigprocmask, MAY_TEST_MEMORY, { SANDBOX_NO_HOW, SOME_STRUCT, 0, SANDBOX_SIGSET_SIZE, 0, 0 } },
	{ SYS_get_robust_list, MAY_WATCH_TASK, { 0, SOME_STRUCT, SOME_STRUCT + 16, 0, 0, 0 } },
	{ SYS_set_robust_list, MAY_WATCH_TASK, { SOME_STRUCT, 24, 0, 0, 0, 0 } },
};

/*
 * The classic BPF machine as seccomp allows it (kernel/seccomp.c,
 * seccomp_check_filter): loads are 32-bit words of struct seccomp_data.
 * Anything else means that the kernel will refuse the filter: say "kill".
 */
static uint32_t run_filter(const struct sock_fprog *filter, const struct seccomp_data *data)
{
	const struct sock_filter *code = filter->filter;
	uint32_t a = 0, x = 0, mem[BPF_MEMWORDS] = { 0 };

	for (uint32_t pc = 0; pc < filter->len; pc++) {
		const struct sock_filter *i = &code[pc];
		uint32_t operand = BPF_SRC(i->code) == BPF_X ? x : i->k;
		bool jump;

		switch (BPF_CLASS(i->code)) {
		case BPF_LD:
		case BPF_LDX: {
			uint32_t value;

			switch (BPF_MODE(i->code)) {
			case BPF_ABS:
				if (i->k % 4 || i->k > sizeof(*data) - 4)
					return SECCOMP_RET_KILL_PROCESS;
				__builtin_memcpy(&value, (const char *)data + i->k, 4);
				break;
			case BPF_IMM: value = i->k; break;
			case BPF_LEN: value = sizeof(*data); break;
			case BPF_MEM:
				if (i->k >= BPF_MEMWORDS)
					return SECCOMP_RET_KILL_PROCESS;
				value = mem[i->k];
				break;
			default: return SECCOMP_RET_KILL_PROCESS;
			}
			if (BPF_CLASS(i->code) == BPF_LD)
				a = value;
			else
				x = value;
			break;
		}
		case BPF_ST:
		case BPF_STX:
			if (i->k >= BPF_MEMWORDS)
				return SECCOMP_RET_KILL_PROCESS;
			mem[i->k] = BPF_CLASS(i->code) == BPF_ST ? a : x;
			break;
		case BPF_ALU:
			switch (BPF_OP(i->code)) {
			case BPF_ADD: a += operand; break;
			case BPF_SUB: a -= operand; break;
			case BPF_MUL: a *= operand; break;
			case BPF_DIV: a = operand ? a / operand : 0; break;
			case BPF_AND: a &= operand; break;
			case BPF_OR: a |= operand; break;
			case BPF_XOR: a ^= operand; break;
			case BPF_LSH: a = operand < 32 ? a << operand : 0; break;
			case BPF_RSH: a = operand < 32 ? a >> operand : 0; break;
			case BPF_NEG: a = -a; break;
			default: return SECCOMP_RET_KILL_PROCESS;
			}
			break;
		case BPF_JMP:
			switch (BPF_OP(i->code)) {
			case BPF_JA:
				if (i->k >= filter->len)
					return SECCOMP_RET_KILL_PROCESS;
				pc += i->k;
				continue;
			case BPF_JEQ: jump = a == operand; break;
			case BPF_JGT: jump = a > operand; break;
			case BPF_JGE: jump = a >= operand; break;
			case BPF_JSET: jump = a & operand; break;
			default: return SECCOMP_RET_KILL_PROCESS;
			}
			pc += jump ? i->jt : i->jf;
			break;
		case BPF_RET:
			return BPF_RVAL(i->code) == BPF_A ? a : i->k;
		case BPF_MISC:
			if (BPF_MISCOP(i->code) == BPF_TAX)
				x = a;
			else
				a = x;
			break;
		}
	}
	return SECCOMP_RET_KILL_PROCESS;
}

uint32_t sandbox_evaluate(const struct sock_fprog *filter)
{
	uint32_t rights = MAY_ALL;

	for (size_t i = 0; i < ARRAY_SIZE(our_calls); i++) {
		const struct our_call *call = &our_calls[i];
		struct seccomp_data data = {
			.nr = call->nr, .arch = ARCH_AUDIT, .instruction_pointer = (uintptr_t)sandbox_evaluate,
		};
		__builtin_memcpy(data.args, call->args, sizeof(data.args));

		uint32_t action = run_filter(filter, &data) & SECCOMP_RET_ACTION_FULL;

		if (action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_LOG)
			rights &= ~call->right;
	}
	return rights;
}

uint32_t sandbox_restrict(uint32_t rights)
{
	uint32_t before = __atomic_fetch_and(&sandbox_rights, rights | SANDBOX_GUESTS, __ATOMIC_SEQ_CST);

	root.sandbox = !(load_relaxed(&sandbox_rights) & MAY_NAME);
	return before & MAY_ALL;
}

void sandbox_restore(uint32_t rights)
{
	__atomic_fetch_or(&sandbox_rights, rights, __ATOMIC_SEQ_CST);
	root.sandbox = !(load_relaxed(&sandbox_rights) & MAY_NAME);
}

/* --- guests: children that share our memory --------------------------------------- */

/*
 * Nobody tells us when such a child has ended or become another program, and
 * where its filter kills for getpid it cannot even be asked who calls: a vfork
 * child has its maker's thread-local memory, too. But then the kernel goes
 * through the task's list of robust futexes, as its memory is let go
 * (kernel/futex/core.c, futex_exec_release), and takes the task's id out of
 * those it held. A child that shares memory begins without such a list.
 */
static struct guest {
	struct robust_list_head list;
	struct robust_list entry;
	uint32_t futex;                 /* the task's id while it lives */
	uint32_t rights;
} guests[16] COLD_BSS;

/* The guest that is, or was, on this thread's memory. */
static THREAD_LOCAL struct guest *my_guest;
static THREAD_LOCAL uint32_t my_guest_task;

static uint32_t own_pid;

static struct guest *living_guest(void)
{
	struct guest *g = my_guest;

	if (g && (load_acquire(&g->futex) & FUTEX_TID_MASK) != my_guest_task)
		my_guest = g = NULL;
	return g;
}

bool sandbox_allows_guest(uint32_t rights)
{
	const struct guest *g = living_guest();
	uint32_t all = load_relaxed(&sandbox_rights);

	return ((g ? all & load_relaxed(&g->rights) : all) & rights) == rights;
}

uint32_t sandbox_pid(void)
{
	return load_relaxed(&own_pid);
}

void sandbox_remember_pid(void)
{
	store_relaxed(&own_pid, sandbox_allows(MAY_ASK_PID) ? (uint32_t)sys_getpid() : 0);
}

bool sandbox_is_guest(void)
{
	uint32_t pid = sandbox_pid();

	return pid && sandbox_allows(MAY_ASK_PID) && (uint32_t)sys_getpid() != pid;
}

static struct guest *take_guest(uint32_t task)
{
	for (size_t i = 0; i < ARRAY_SIZE(guests); i++) {
		uint32_t was = load_relaxed(&guests[i].futex);

		if (!(was & FUTEX_TID_MASK) &&
		    __atomic_compare_exchange_n(&guests[i].futex, &was, task, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return &guests[i];
	}
	return NULL;
}

/* Hands the kernel a list that holds the guest's futex. false: the task has a list already. */
static bool watch(struct guest *g)
{
	struct robust_list_head *there = NULL;
	size_t size;

	g->list.list.next = &g->entry;
	g->list.futex_offset = (long)(offsetof(struct guest, futex) - offsetof(struct guest, entry));
	g->entry.next = &g->list.list;
	return sys_call6(SYS_get_robust_list, 0, SYS_ARG(&there), SYS_ARG(&size), 0, 0, 0) == 0 && !there &&
	       sys_call6(SYS_set_robust_list, SYS_ARG(&g->list), sizeof(g->list), 0, 0, 0, 0) == 0;
}

bool sandbox_restrict_guest(uint32_t rights, uint32_t *before)
{
	struct guest *g = living_guest();

	if (!g) {
		uint32_t task = (uint32_t)sys_getpid();

		g = sandbox_allows(MAY_WATCH_TASK) ? take_guest(task) : NULL;
		if (!g)
			return false;
		if (!watch(g)) {
			store_release(&g->futex, 0U);
			return false;
		}
		store_relaxed(&g->rights, (uint32_t)MAY_ALL);
		my_guest_task = task;
		my_guest = g;
		__atomic_fetch_or(&sandbox_rights, SANDBOX_GUESTS, __ATOMIC_SEQ_CST);
	}
	*before = load_relaxed(&g->rights);
	store_relaxed(&g->rights, *before & rights);
	return true;
}

void sandbox_restore_guest(uint32_t rights)
{
	struct guest *g = living_guest();

	if (g)
		store_relaxed(&g->rights, rights);
}

void sandbox_fork_child(uint32_t pid)
{
	struct guest *g = living_guest();

	if (g)
		sandbox_restrict(g->rights);
	my_guest = NULL;
	for (size_t i = 0; load_relaxed(&sandbox_rights) & SANDBOX_GUESTS && i < ARRAY_SIZE(guests); i++)
		store_relaxed(&guests[i].futex, 0U);
	store_relaxed(&own_pid, pid);
	if (!pid)
		sandbox_remember_pid();
}

/* --- started under a filter ------------------------------------------------------ */

/* What /proc/PID/status says. proc_pid_status(5). */
struct status {
	char name[16];
	uint64_t pid;
	uint64_t parent;
	uint64_t threads;
	uint64_t mode;          /* 0: no filter */
	uint64_t filters;       /* how many; 0 before Linux 5.9, which does not say */
};

/* A line of status that counts; NULL: not this one. */
static uint64_t *field_of(struct status *s, const char *line, size_t *key)
{
	static const struct {
		char key[18];
		uint8_t at;
	} fields[] = {
		{ "Pid:\t", offsetof(struct status, pid) }, { "PPid:\t", offsetof(struct status, parent) },
		{ "Threads:\t", offsetof(struct status, threads) }, { "Seccomp:\t", offsetof(struct status, mode) },
		{ "Seccomp_filters:\t", offsetof(struct status, filters) },
	};

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		if (*line != *fields[i].key || !text_begins(line, fields[i].key))
			continue;
		*key = text_length(fields[i].key);
		return (uint64_t *)((char *)s + fields[i].at);
	}
	return NULL;
}

/* true: that was the last line that counts, where the kernel has it. */
static bool take_line(struct status *s, const char *line, const char *end)
{
	size_t key = 0;
	uint64_t *field = field_of(s, line, &key);
	const char *digits = line + key;

	if (text_begins(line, "Name:\t"))
		text_copy(s->name, sizeof(s->name), line + 6);
	return field && text_read_number(&digits, end, 10, field) && field == &s->filters;
}

/* false: it cannot be read. What is behind the first KiB of a line, a long list of groups, is numbers and taken for nothing. */
static bool read_status(const char *path, struct status *out)
{
	char buf[1024];      /* more would be another page of the stack */
	size_t have = 0;
	long fd = sys_open(path, O_CLOEXEC), n = 1;
	bool complete = false;

	if (sys_failed(fd))
		return false;
	*out = (struct status){ .mode = 0 };
	while (!complete && (n = sys_read((int)fd, buf + have, sizeof(buf) - have)) > 0) {
		size_t done = 0;

		have += (size_t)n;
		for (size_t i = have - (size_t)n; i < have && !complete; i++) {
			if (buf[i] != '\n')
				continue;
			buf[i] = '\0';
			complete = take_line(out, buf + done, buf + i);
			done = i + 1;
		}
		if (done == 0 && have == sizeof(buf))
			done = have;
		have -= done;
		__builtin_memmove(buf, buf + done, have);
	}
	sys_close((int)fd);
	return complete || n == 0;
}

/* Filters are inherited and never lost: a parent with as many as we have made us under these very ones. */
static bool children_allowed(const struct status *own)
{
	struct status parent;
	struct text_buffer path;
	char buf[40];

	text_init(&path, buf, sizeof(buf));
	text_add(&path, "/proc/");
	text_add_number(&path, own->parent);
	text_add(&path, "/status");
	return own->filters && own->parent && read_status(buf, &parent) && parent.filters == own->filters;
}

/*
 * The call in a child, which is not one that the program could notice: it has
 * no exit signal, and only a wait with __WCLONE sees it. We go on when it has
 * ended (CLONE_VFORK). It shares our open file: if it lived, the first byte is
 * read. So to learn that takes no call that the dynamic linker has not made.
 */
static bool survives(const struct our_call *call, long *child)
{
	char byte = 0;
	long fd = sys_open("/proc/self/status", O_CLOEXEC);

	*child = -1;
	if (sys_failed(fd))
		return false;
	*child = sys_call6(SYS_clone, CLONE_VFORK, 0, 0, 0, 0, 0);
	if (*child == 0) {
		struct rlimit64 none = { 0, 0 };

		/* To die of a filter dumps core. */
		sys_call6(SYS_prlimit64, 0, RLIMIT_CORE, SYS_ARG(&none), 0, 0, 0);
		long r = sys_call6(call->nr, SYS_ARG(call->args[0]), SYS_ARG(call->args[1]), SYS_ARG(call->args[2]),
				   SYS_ARG(call->args[3]), SYS_ARG(call->args[4]), SYS_ARG(call->args[5]));

		/* What filters that do not kill answer. */
		if (r != -EPERM && r != -ENOSYS)
			sys_read((int)fd, &byte, 1);
		sys_call6(SYS_exit_group, 0, 0, 0, 0, 0, 0);
		__builtin_trap();
	}
	sys_read((int)fd, &byte, 1);
	sys_close((int)fd);
	return byte == 'a';     /* "Name:" */
}

static void reap(long child)
{
	while (!sys_failed(child) && sys_call6(SYS_wait4, child, 0, __WCLONE, 0, 0, 0) == -EINTR)
		;
}

/*
 * Of a filter that is in force nothing can be learned without a child, and it
 * may kill for making one. What is safe in any case is what the dynamic linker
 * did, with the same flags, to get us here.
 */
#define SURELY_ALLOWED (MAY_READ_PROC | MAY_MAP)

/*
 * systemd's filters know calls by their numbers. What they do with arguments is
 * to answer with an error (systemd.exec(5): MemoryDenyWriteExecute, RestrictNamespaces
 * and others); only SystemCallFilter may kill, and it takes names of calls. So what
 * the dynamic linker has called is allowed with other arguments, too: mprotect,
 * which it has called for our own library's RELRO. Nothing tells which other names
 * are in the list, and what is not may kill: no child can be made there.
 */
#define SURELY_ALLOWED_TO_SERVICES (SURELY_ALLOWED | MAY_PROTECT | MAY_PROTECT_DATA)

static struct status own;
static bool own_known;                  /* no /proc: perhaps there is a filter */

bool sandbox_look(void)
{
	own_known = read_status("/proc/self/status", &own);
	return own_known && !own.mode;
}

bool sandbox_alone(void)
{
	return own.threads == 1;
}

const char *sandbox_thread_name(void)
{
	return own.name;
}

/* The id that systemd gives to what it has started itself, and its children inherit. */
static bool is_service(const char *service)
{
	const char *p = service;
	uint64_t pid;

	return p && text_read_number(&p, p + text_length(p), 10, &pid) && !*p && pid && pid == own.pid;
}

void sandbox_probe(bool at_any_risk, const char *service)
{
	static const struct our_call wait = { SYS_wait4, 0, { (uint64_t)-1, 0, __WCLONE, 0, 0, 0 } };
	uint32_t rights = MAY_ALL;
	long child;

	if (!own_known) {
		sandbox_restrict(SURELY_ALLOWED);
		return;
	}
	if ((!at_any_risk && !children_allowed(&own)) || !survives(&wait, &child)) {
		/* A child that died of wait4 is left to whoever waits for us. */
		sandbox_restrict(is_service(service) ? SURELY_ALLOWED_TO_SERVICES : SURELY_ALLOWED);
		return;
	}
	reap(child);
	/* One child a call: the first that kills must not hide the others. */
	for (size_t i = 0; i < ARRAY_SIZE(our_calls); i++) {
		if (!survives(&our_calls[i], &child))
			rights &= ~our_calls[i].right;
		reap(child);
	}
	sandbox_restrict(rights);
}
