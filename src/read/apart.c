/* SPDX-License-Identifier: MIT */
/* Children that read, and what they send. See apart.h. */
#include "apart.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MS           1000000ULL
/* With the time to print what was found, no process takes more than 10 s. */
#define ITEM_NS      (8000 * MS)
/* An item that took this long is slow: another child goes on with the rest. */
#define SLOW_NS      (1000 * MS)
#define STOP_NS      (200 * MS)     /* how often stop() is asked */
#define LANES        4              /* children at work at one time */
#define RING         (256U << 10)    /* bytes; a multiple of ALIGN */
#define ALIGN        16U
#define MESSAGE_MAX  (1U << 20)
#define KIND_DONE    UINT32_MAX

/* What a child and we share. Only the child writes head, only we write tail. */
struct lane {
	_Atomic uint64_t head, tail;        /* bytes ever sent, ever taken */
	_Atomic uint32_t taken;             /* a futex: changes with tail */
	_Atomic uint64_t item;
	_Atomic uint64_t began;             /* ns; 0: between items, or nothing that can hang */
	_Alignas(64) unsigned char ring[RING];
};

struct shared {
	_Atomic uint64_t next;              /* the item that nobody has begun */
	struct lane lane[LANES];
};

/* The child's end. */
struct apart {
	struct lane *lane;
	uint64_t woke_at;                   /* the head when we last said that there is something */
	int wake;
};

struct message {
	uint32_t kind, size;
	uint64_t item;
};

/* Our end of a lane. pid 0: not in use. */
struct child {
	pid_t pid;
	int wake;                           /* a byte: look; its end: the child has ended */
	unsigned char *bytes;               /* of messages that are not whole yet */
	size_t len, room;
};

struct run {
	const struct apart_job *job;
	struct shared *shared;
	bool stopping;                      /* stop() has said so */
	int error;                          /* of the one item of a job without done() */
	struct child child[LANES];
};

static void wake(struct apart *out)
{
	const char byte = 0;

	out->woke_at = out->lane->head;
	/* The pipe is full: then we are awake. */
	if (write(out->wake, &byte, 1) < 0)
		return;
}

/* Waits until something was taken. That time is not the item's. */
static void wait_for_room(struct apart *out, uint32_t seen)
{
	const struct timespec moment = { .tv_nsec = 100 * 1000 * 1000 };
	uint64_t waited = clock_ns();

	wake(out);
	syscall(SYS_futex, &out->lane->taken, FUTEX_WAIT, seen, &moment, NULL, 0);
	waited = clock_ns() - waited;
	if (out->lane->began)
		out->lane->began += waited;
}

static void put(struct apart *out, const void *data, size_t size)
{
	const unsigned char *from = data;
	struct lane *lane = out->lane;
	uint64_t head = lane->head;

	while (size) {
		uint32_t seen = lane->taken;
		size_t room = RING - (size_t)(head - lane->tail), at = head % RING;
		size_t piece = size < room ? size : room;

		if (piece > RING - at)
			piece = RING - at;
		if (!piece) {
			wait_for_room(out, seen);
			continue;
		}
		memcpy(lane->ring + at, from, piece);
		head += piece;
		from += piece;
		size -= piece;
		atomic_store_explicit(&lane->head, head, memory_order_release);
	}
	if (head - out->woke_at >= RING / 2)
		wake(out);
}

static size_t padding(size_t size)
{
	return (ALIGN - size % ALIGN) % ALIGN;
}

void apart_send(struct apart *out, uint32_t kind, const void *head, size_t head_size, const void *rest,
                size_t rest_size)
{
	static const unsigned char zero[ALIGN];
	struct message message = { kind, (uint32_t)(head_size + rest_size), out->lane->item };

	put(out, &message, sizeof(message));
	put(out, head, head_size);
	put(out, rest, rest_size);
	put(out, zero, padding(message.size));
}

void apart_safe(struct apart *out)
{
	out->lane->began = 0;
}

/* The child: takes items until there is none. */
_Noreturn static void work(const struct run *run, struct apart *out, pid_t parent)
{
	const struct apart_job *job = run->job;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	uint64_t item;

	/* Left behind it must keep no pipe open that somebody reads to its end. */
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (null < 0 || dup2(null, fd) < 0)
			close(fd);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* Ctrl-C is for the parent, which says what is still to be done. */
	signal(SIGINT, SIG_IGN);
	while (getppid() == parent && (item = run->shared->next++) < job->items) {
		int error;

		out->lane->item = item;
		out->lane->began = clock_ns();
		error = job->work(job->context, item, out);
		apart_safe(out);
		apart_send(out, KIND_DONE, &error, sizeof(error), NULL, 0);
	}
	_exit(0);
}

static int start(struct run *run, struct child *child)
{
	struct lane *lane = &run->shared->lane[child - run->child];
	struct apart out = { .lane = lane };
	pid_t parent = getpid();
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	lane->head = lane->tail = lane->began = 0;
	child->len = 0;
	child->wake = ends[0];
	out.wake = ends[1];
	child->pid = fork();
	if (child->pid == 0)
		work(run, &out, parent);
	close(ends[1]);
	if (child->pid > 0)
		return 0;
	close(ends[0]);
	child->pid = 0;
	return -EAGAIN;
}

/* Killed, and perhaps not dead yet: one that hangs in the kernel stays until what it waits for is gone. */
static pid_t left[16];
#define LEFT (sizeof(left) / sizeof(*left))

static void reap_left(void)
{
	for (size_t i = 0; i < LEFT; i++)
		if (left[i] && waitpid(left[i], NULL, WNOHANG))
			left[i] = 0;
}

static void leave_behind(pid_t pid)
{
	size_t i = 0;

	kill(pid, SIGKILL);
	while (i < LEFT && left[i])
		i++;
	if (i < LEFT)
		left[i] = pid;
	reap_left();
}

/* The end of a child that has closed its pipe, or has to. */
static void finish(struct child *child, bool ended)
{
	close(child->wake);
	/* The pipe is closed after the memory is given back: there is nothing more to hang in. */
	if (!ended || waitpid(child->pid, NULL, 0) < 0)
		leave_behind(child->pid);
	child->pid = 0;
}

/* Copies what is in the ring. */
static int collect(struct child *child, struct lane *lane)
{
	uint64_t head = atomic_load_explicit(&lane->head, memory_order_acquire);
	size_t more = (size_t)(head - lane->tail), at = lane->tail % RING, first = RING - at;

	if (!more)
		return 0;
	if (child->len + more > child->room) {
		size_t room = child->len + 2 * RING;
		unsigned char *grown = realloc(child->bytes, room);

		if (!grown)
			return -ENOMEM;
		child->bytes = grown;
		child->room = room;
	}
	first = first < more ? first : more;
	memcpy(child->bytes + child->len, lane->ring + at, first);
	memcpy(child->bytes + child->len + first, lane->ring, more - first);
	child->len += more;
	lane->tail = head;
	lane->taken++;
	syscall(SYS_futex, &lane->taken, FUTEX_WAKE, 1, NULL, NULL, 0);
	return 1;
}

static int item_ends(struct run *run, uint64_t item, int error)
{
	if (run->job->done)
		return run->job->done(run->job->context, item, error);
	run->error = error;
	return 0;
}

static int deliver(struct run *run, const struct message *message, const void *data)
{
	const struct apart_job *job = run->job;
	int error;

	if (message->kind != KIND_DONE)
		return job->take(job->context, message->item, message->kind, data, message->size);
	memcpy(&error, data, sizeof(error));
	return item_ends(run, message->item, error);
}

/* Everything that a child has sent so far. */
static int take_messages(struct run *run, struct child *child)
{
	struct lane *lane = &run->shared->lane[child - run->child];
	int stop = 0, more;

	while (!stop && (more = collect(child, lane))) {
		size_t at = 0;

		if (more < 0)
			return more;
		while (!stop && child->len - at >= sizeof(struct message)) {
			const struct message *message = (const void *)(child->bytes + at);
			size_t whole = sizeof(*message) + message->size + padding(message->size);

			if (message->size > MESSAGE_MAX)
				return -EBADMSG;
			if (whole > child->len - at)
				break;
			stop = deliver(run, message, message + 1);
			at += whole;
		}
		memmove(child->bytes, child->bytes + at, child->len - at);
		child->len -= at;
	}
	return stop;
}

/* The child has ended, or is given up: what it was at is lost, if it was at something. */
static int give_up(struct run *run, struct child *child, bool ended, int error)
{
	const struct lane *lane = &run->shared->lane[child - run->child];
	bool busy = lane->began;
	uint64_t item = lane->item;

	finish(child, ended);
	return busy ? item_ends(run, item, error) : 0;
}

static bool is_slow(const struct run *run, unsigned i, uint64_t now)
{
	uint64_t began = run->shared->lane[i].began;

	return began && now > began + SLOW_NS;
}

/* A child more when there is work, and nobody who will soon take it. */
static int start_more(struct run *run)
{
	uint64_t now = clock_ns();
	struct child *unused = NULL;
	bool any = false;
	int error;

	if (run->shared->next >= run->job->items)
		return 0;
	for (unsigned i = 0; i < LANES; i++) {
		if (!run->child[i].pid) {
			unused = &run->child[i];
		} else {
			any = true;
			if (!is_slow(run, i, now))
				return 0;
		}
	}
	error = unused ? start(run, unused) : 0;
	return any ? 0 : error;
}

/* How long nothing needs to be looked at, in ms. */
static int patience(const struct run *run)
{
	uint64_t now = clock_ns(), until = now + (run->job->stop ? STOP_NS : SLOW_NS);

	for (unsigned i = 0; i < LANES; i++) {
		uint64_t began = run->child[i].pid ? run->shared->lane[i].began : 0;

		if (began && began + ITEM_NS < until)
			until = began + ITEM_NS;
	}
	return until > now ? (int)((until - now) / MS) + 1 : 0;
}

static int look_at(struct run *run, unsigned i, short events)
{
	struct child *child = &run->child[i];
	uint64_t began = run->shared->lane[i].began;
	bool ended = false;
	char bytes[64];
	int stop;

	if (events) {
		ssize_t got;

		while ((got = read(child->wake, bytes, sizeof(bytes))) > 0)
			;
		ended = got == 0;
	}
	stop = take_messages(run, child);
	if (stop)
		return stop;
	if (ended)
		return give_up(run, child, true, -EIO);
	if (began && began == run->shared->lane[i].began && (run->stopping || clock_ns() > began + ITEM_NS))
		return give_up(run, child, false, run->stopping ? -EINTR : -ETIME);
	return 0;
}

static bool is_at_work(const struct run *run)
{
	for (unsigned i = 0; i < LANES; i++)
		if (run->child[i].pid)
			return true;
	return false;
}

/* One round of waiting. */
static int turn(struct run *run)
{
	struct pollfd poll_fd[LANES];
	int stop = 0;

	for (unsigned i = 0; i < LANES; i++)
		poll_fd[i] = (struct pollfd){ .fd = run->child[i].pid ? run->child[i].wake : -1, .events = POLLIN };
	if (poll(poll_fd, LANES, patience(run)) < 0)
		return errno == EINTR ? 0 : -errno;
	for (unsigned i = 0; !stop && i < LANES; i++)
		if (run->child[i].pid)
			stop = look_at(run, i, poll_fd[i].revents);
	return stop;
}

/* What a child has read to its end is still taken: it sends all of an item, or nothing. */
static void ask_to_stop(struct run *run)
{
	if (run->stopping || !run->job->stop || !run->job->stop(run->job->context))
		return;
	run->stopping = true;
	run->shared->next = run->job->items;
}

int apart_run(const struct apart_job *job)
{
	/* An item whose child died before it began has no end. */
	struct run run = { .job = job, .error = job->done ? 0 : -EIO };
	int stop = 0;

	if (!job->items)
		return 0;
	run.shared = mmap(NULL, sizeof(*run.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (run.shared == MAP_FAILED)
		return -errno;
	reap_left();
	do {
		ask_to_stop(&run);
		stop = start_more(&run);
		if (!stop && is_at_work(&run))
			stop = turn(&run);
	} while (!stop && (is_at_work(&run) || run.shared->next < job->items));
	for (unsigned i = 0; i < LANES; i++) {
		if (run.child[i].pid)
			finish(&run.child[i], false);
		free(run.child[i].bytes);
	}
	munmap(run.shared, sizeof(*run.shared));
	return stop ? stop : run.stopping ? -EINTR : run.error;
}
