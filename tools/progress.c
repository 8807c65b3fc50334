/* SPDX-License-Identifier: MIT */
/* How far the work is, and Ctrl-C. See progress.h. */
#include "progress.h"

#include "tool.h"

#include <signal.h>
#include <unistd.h>

#define SILENT_NS 1000000000ULL         /* what is quicker needs no line */
#define SHOWN_NS  200000000ULL          /* how often it changes */

static volatile sig_atomic_t stopped;
static struct sigaction before;
static uint64_t began, next;            /* ns; next: when the line is due */
static bool shown;

static void stop(int signal)
{
	(void)signal;
	stopped = 1;
}

void progress_begin(void)
{
	/* Once: the handler is gone when the second Ctrl-C comes. */
	struct sigaction action = { .sa_handler = stop, .sa_flags = SA_RESETHAND };

	stopped = 0;
	shown = false;
	began = clock_ns();
	next = began + SILENT_NS;
	sigemptyset(&action.sa_mask);
	/* Somebody who ignores it for us (nohup, a shell's background) goes on doing so. */
	if (!sigaction(SIGINT, NULL, &before) && before.sa_handler != SIG_IGN)
		sigaction(SIGINT, &action, NULL);
}

bool progress_stopped(void)
{
	return stopped;
}

void progress_show(size_t done, size_t all)
{
	uint64_t now = clock_ns();

	if (now < next || !isatty(STDERR_FILENO))
		return;
	next = now + SHOWN_NS;
	shown = true;
	fprintf(stderr, "\r%zu of %zu processes read, %.0f s; Ctrl-C prints what is there\033[K", done, all,
	        (double)(now - began) / 1e9);
}

void progress_end(void)
{
	if (shown)
		fputs("\r\033[K", stderr);
	sigaction(SIGINT, &before, NULL);
}
