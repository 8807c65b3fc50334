/* SPDX-License-Identifier: MIT */
/* System calls in another process. See remote.h. */
#include "remote.h"

#include "remote_registers.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAMES_A_STOP   64
#define TEXTS_SIZE     8192         /* for so many names, in pages */
#define TRIES          200
#define BETWEEN_NS     2000000      /* two tries, and two stops: the process is to get on */
#define STOP_WAIT_NS   300000000ULL
#define UNRELATED_MAX  64           /* stops of other kinds that are passed on */

/* include/uapi/linux/prctl.h and ptrace.h; libc may be older. */
#define SET_VMA             0x53564d41UL
#define SET_VMA_ANON_NAME   0UL
#define GET_RSEQ            0x420f
struct rseq_configuration {
	uint64_t area;
	uint32_t size, signature, flags, pad;
};
#define RSEQ_SECTION        8       /* rseq_cs in struct rseq */

/* include/linux/errno.h: begin again, unless a handler ran. */
#define RESTART_NO_HANDLER  514

/* EVENT_STOP in the upper half of a status. */
#define STATUS_EVENT(status) ((unsigned)(status) >> 16)

struct remote {
	const struct proc *proc;
	pid_t pid, tid;
	struct proc_identity identity;
	uint64_t instruction;       /* a syscall */
	struct remote_registers kept;
	uint64_t mask;
	struct remote_result *result;
};

static bool trace(int request, pid_t tid, uintptr_t address, uintptr_t data)
{
	return ptrace(request, tid, (void *)address, (void *)data) == 0;
}

/* false: it has not stopped in time, or ended. */
static bool wait_stop(pid_t tid, int *status)
{
	const struct timespec moment = { 0, 100000 };
	uint64_t began = clock_ns();
	pid_t got;

	while (!(got = waitpid(tid, status, __WALL | WNOHANG)) && clock_ns() - began < STOP_WAIT_NS) {
		if (clock_ns() - began < 2000000)
			sched_yield();
		else
			nanosleep(&moment, NULL);
	}
	return got == tid && WIFSTOPPED(*status);
}

/* Lets it run until it stops at `wanted`; a signal that stops it on the way (SIGSTOP cannot be kept back) is its own. */
static bool run_until(struct remote *remote, int how, bool event, int wanted)
{
	int status, give = 0;

	for (unsigned i = 0; i < UNRELATED_MAX; i++) {
		if (event && !trace(PTRACE_INTERRUPT, remote->tid, 0, 0))
			return false;
		if ((i || how) && !trace(how ? how : PTRACE_CONT, remote->tid, 0, (uintptr_t)give))
			return false;
		if (!wait_stop(remote->tid, &status))
			return false;
		if (event ? STATUS_EVENT(status) == PTRACE_EVENT_STOP : WSTOPSIG(status) == wanted)
			return true;
		give = STATUS_EVENT(status) || WSTOPSIG(status) & 0x80 ? 0 : WSTOPSIG(status);
	}
	return false;
}

/* What waits with an end of its own says EINTR after a stop, where others begin again. */
static bool waits(uint64_t call)
{
	static const int calls[] = {
		SYS_epoll_wait, SYS_epoll_pwait, SYS_rt_sigtimedwait, SYS_semop, SYS_semtimedop, SYS_msgrcv, SYS_msgsnd,
		SYS_recvfrom, SYS_recvmsg, SYS_io_getevents,
#ifdef SYS_epoll_pwait2
		SYS_epoll_pwait2,
#endif
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if (call == (uint64_t)calls[i])
			return true;
	return false;
}

/* A restartable sequence would be left, and gone on with: only who says that there is none may be taken there. */
static bool in_sequence(const struct remote *remote)
{
	struct rseq_configuration rseq = { 0 };
	uint64_t section = 1;
	struct iovec here = { &section, sizeof(section) }, there;

	if (ptrace(GET_RSEQ, remote->tid, (void *)sizeof(rseq), &rseq) < 0)
		return true;
	there = (struct iovec){ (void *)(uintptr_t)(rseq.area + RSEQ_SECTION), sizeof(section) };
	return rseq.area && (process_vm_readv(remote->pid, &here, 1, &there, 1, 0) != (ssize_t)sizeof(section) || section);
}

/* Whether it can be taken where it is now. */
static bool can_be_taken(struct remote *remote)
{
	struct remote_registers *kept = &remote->kept;
	int64_t under_way;

	if (!remote_registers_get(remote->tid, kept))
		return false;
	if (!remote_runs_64(kept)) {
		remote->result->why = "runs 32-bit code";
		return false;
	}
	under_way = remote_call_under_way(kept);
	if (under_way < 0)
		return !in_sequence(remote);
	if (remote_returned(kept) == -EINTR && waits((uint64_t)under_way))
		remote_return(kept, -RESTART_NO_HANDLER);
	return true;
}

static bool put_back(struct remote *remote)
{
	return remote_registers_set(remote->tid, &remote->kept) &&
	       trace(PTRACE_SETSIGMASK, remote->tid, sizeof(remote->mask), (uintptr_t)&remote->mask);
}

/* A stopped thread whose registers and mask are kept, and that no signal disturbs. */
static bool take(struct remote *remote, pid_t tid)
{
	uint64_t all = UINT64_MAX;

	remote->tid = tid;
	if (!trace(PTRACE_SEIZE, tid, 0, PTRACE_O_TRACESYSGOOD))
		return false;
	/* Who does not stop waits in the kernel, for a vfork's child, say. Our end lets go of it. */
	if (!run_until(remote, 0, true, 0)) {
		remote->result->why = "did not stop: it waits in the kernel";
		_exit(EXIT_FAILURE);
	}
	if (can_be_taken(remote) && trace(PTRACE_GETSIGMASK, tid, sizeof(remote->mask), (uintptr_t)&remote->mask) &&
	    trace(PTRACE_SETSIGMASK, tid, sizeof(all), (uintptr_t)&all))
		return true;
	trace(PTRACE_DETACH, tid, 0, 0);
	return false;
}

/*
 * An end of a system call is not where the kernel begins an interrupted one
 * again; a stop by us is, so there it is brought first.
 */
static void release(struct remote *remote)
{
	if (run_until(remote, PTRACE_CONT, true, 0) && put_back(remote))
		trace(PTRACE_DETACH, remote->tid, 0, 0);
}

/* A negative errno, or what it returned; -ESRCH: it ended. */
static int64_t call(struct remote *remote, int number, const uint64_t arg[6])
{
	struct remote_registers regs = remote->kept;

	remote_prepare(&regs, remote->instruction, number, arg);
	/* Not by single steps: these would reset what the process does at SIGTRAP. */
	if (!remote_registers_set(remote->tid, &regs) || !run_until(remote, PTRACE_SYSCALL, false, SIGTRAP | 0x80) ||
	    !run_until(remote, PTRACE_SYSCALL, false, SIGTRAP | 0x80) || !remote_registers_get(remote->tid, &regs))
		return -ESRCH;
	return remote_returned(&regs);
}

static bool write_texts(const struct remote *remote, uint64_t at, const struct remote_name *names, size_t count)
{
	char texts[NAMES_A_STOP * sizeof(names->name)];
	struct iovec here = { texts, count * sizeof(names->name) }, there = { (void *)(uintptr_t)at, here.iov_len };

	for (size_t i = 0; i < count; i++)
		memcpy(texts + i * sizeof(names->name), names[i].name, sizeof(names->name));
	return process_vm_writev(remote->pid, &here, 1, &there, 1, 0) == (ssize_t)here.iov_len;
}

static void name_some(struct remote *remote, const struct remote_name *names, size_t count)
{
	const uint64_t map[6] = { 0, TEXTS_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, UINT64_MAX, 0 };
	int64_t texts = call(remote, SYS_mmap, map);

	if (texts < 0) {
		remote->result->why = "may not map one more page";
		return;
	}
	if (write_texts(remote, (uint64_t)texts, names, count)) {
		for (size_t i = 0; i < count; i++) {
			const uint64_t set[6] = {
				SET_VMA, SET_VMA_ANON_NAME, names[i].start, names[i].end - names[i].start,
				(uint64_t)texts + i * sizeof(names->name), 0,
			};

			*(call(remote, SYS_prctl, set) ? &remote->result->refused : &remote->result->named) += 1;
		}
	}
	call(remote, SYS_munmap, (const uint64_t[6]){ (uint64_t)texts, TEXTS_SIZE, 0, 0, 0, 0 });
}

/* Its vDSO's own. */
static bool find_instruction(struct remote *remote)
{
	unsigned char code[65536];
	struct iovec here = { code, 0 }, there;
	struct proc_text maps;
	uint64_t start = 0, end = 0;
	struct text range;
	const char *line;
	ssize_t got;

	if (proc_read(remote->proc, remote->pid, "maps", &maps))
		return false;
	line = strstr(maps.text, "[vdso]\n");
	while (line && line > maps.text && line[-1] != '\n')
		line--;
	range = (struct text){ line, line ? strlen(line) : 0 };
	if (!text_u64(&range, 16, &start) || !text_char(&range, '-') || !text_u64(&range, 16, &end))
		start = end = 0;
	proc_text_free(&maps);
	here.iov_len = end - start < sizeof(code) ? end - start : sizeof(code);
	there = (struct iovec){ (void *)start, here.iov_len };
	got = start ? process_vm_readv(remote->pid, &here, 1, &there, 1, 0) : 0;
	for (ssize_t i = 0; i + 1 < got && !remote->instruction; i++)
		if (!memcmp(code + i, remote_instruction, sizeof(remote_instruction)))
			remote->instruction = start + (uint64_t)i;
	return remote->instruction != 0;
}

static const char *why_not(const struct remote *remote)
{
	struct proc_identity now;

	if (proc_identify(remote->proc, remote->pid, &now) || now.start_time != remote->identity.start_time ||
	    now.start_stack != remote->identity.start_stack)
		return "ended, or became another program";
	if (proc_status(remote->proc, remote->pid, "TracerPid"))
		return "is traced by another, a debugger perhaps";
	if (proc_status(remote->proc, remote->pid, "Seccomp"))
		return "has a seccomp filter, which may end it for a call of ours";
	return NULL;
}

/* One that waits, first; later one that runs, too. */
static bool take_any(struct remote *remote, bool running)
{
	pid_t *tids;
	size_t count;
	bool taken = false;

	if (proc_tasks(remote->proc, remote->pid, &tids, &count))
		return false;
	for (size_t i = 0; i < count && !taken && !remote->result->why; i++) {
		struct proc_identity thread;
		char name[48];

		snprintf(name, sizeof(name), "task/%d/stat", (int)tids[i]);
		if (!proc_identify_by(remote->proc, remote->pid, name, &thread) && strchr(running ? "STR" : "ST", thread.state))
			taken = take(remote, tids[i]);
	}
	free(tids);
	return taken;
}

static void stop_once(struct remote *remote, const struct remote_name *names, size_t count)
{
	const struct timespec between = { 0, BETWEEN_NS };
	uint64_t began = 0;
	bool taken = false;

	for (unsigned i = 0; i < TRIES && !taken && !remote->result->why; i++) {
		nanosleep(&between, NULL);
		remote->result->why = why_not(remote);
		began = clock_ns();
		taken = !remote->result->why && take_any(remote, i % 2);
	}
	if (!taken) {
		remote->result->why = remote->result->why ? remote->result->why : "has no thread that can be taken where it is";
		return;
	}
	name_some(remote, names, count);
	release(remote);
	began = clock_ns() - began;
	remote->result->longest_ns = began > remote->result->longest_ns ? began : remote->result->longest_ns;
	remote->result->stops++;
}

/* In the child. Who ended our parent wants no more. */
static void label_all(const struct proc *proc, pid_t pid, const struct remote_name *names, size_t count,
                      struct remote_result *result, pid_t parent)
{
	struct remote remote = { .proc = proc, .pid = pid, .result = result };

	if (proc_identify(proc, pid, &remote.identity))
		result->why = "ended";
	else if (!find_instruction(&remote))
		result->why = "cannot be read, or has no vDSO";
	for (size_t done = 0; done < count && !result->why && getppid() == parent; done += NAMES_A_STOP)
		stop_once(&remote, names + done, count - done < NAMES_A_STOP ? count - done : NAMES_A_STOP);
}

int remote_label(const struct proc *proc, pid_t pid, const struct remote_name *names, size_t count, struct remote_result *result)
{
	struct remote_result *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t parent = getpid(), child;
	sigset_t all, before;

	if (shared == MAP_FAILED)
		return -errno;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	child = fork();
	if (!child) {
		setsid();
		label_all(proc, pid, names, count, shared, parent);
		_exit(EXIT_SUCCESS);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (child > 0)
		while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
			;
	*result = *shared;
	munmap(shared, sizeof(*shared));
	return child > 0 ? 0 : -EAGAIN;
}
