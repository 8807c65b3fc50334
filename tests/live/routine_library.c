/* SPDX-License-Identifier: MIT */
/*
 * Starts threads in a function that it does not export, with the caller's
 * function first in the argument, as OpenMP's library does. See routines.c.
 */
#include <pthread.h>
#include <stdlib.h>

struct start {
	void (*function)(const char *);
	const char *argument;
};

static void *proxy(void *arg)
{
	struct start *s = arg;

	s->function(s->argument);
	free(s);
	return 0;
}

pthread_t start_thread(void (*function)(const char *), const char *argument);
pthread_t start_thread(void (*function)(const char *), const char *argument)
{
	struct start *s = malloc(sizeof(*s));
	pthread_t thread = 0;

	s->function = function;
	s->argument = argument;
	pthread_create(&thread, 0, proxy, s);
	return thread;
}
