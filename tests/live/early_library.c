/* SPDX-License-Identifier: MIT */
/* A library whose constructor runs before ours and maps, allocates, starts threads and forks. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

void *unseen_mapping, *early_mapping, *early_chunk;
int early_errors;

/* Threads that begin at once, and what they have allocated. */
void *early_at_once[4];

static void *at_once(void *place)
{
	*(void **)place = malloc(1 << 20);
	return NULL;
}

static void *body(void *arg)
{
	char *p = malloc(1000);

	p[0] = 1;
	early_chunk = malloc(2 << 20);
	if (!early_chunk)
		early_errors++;
	return arg;
}

__attribute__((constructor)) static void early(void)
{
	pthread_t t, more[4];
	int status = 1;
	pid_t child;
	/* libc's own, past ours, which has not started. */
	void *(*libc_mmap)(void *, size_t, int, int, int, off_t) =
		(void *(*)(void *, size_t, int, int, int, off_t))dlsym(RTLD_NEXT, "mmap");

	/* Read-only, so that it does not become one VMA with the first thread's TLS. */
	unseen_mapping = libc_mmap(NULL, 65536, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	early_mapping = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (early_mapping == MAP_FAILED)
		early_errors++;
	if (pthread_create(&t, NULL, body, NULL) || pthread_join(t, NULL))
		early_errors++;
	for (int i = 0; i < 4; i++)
		if (pthread_create(&more[i], NULL, at_once, &early_at_once[i]))
			early_errors++;
	for (int i = 0; i < 4; i++)
		pthread_join(more[i], NULL);
	child = fork();
	if (child == 0) {
		void *p = mmap(NULL, 65536, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		_exit(p == MAP_FAILED);
	}
	if (waitpid(child, &status, 0) != child || status)
		early_errors++;
}
