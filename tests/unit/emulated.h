/* SPDX-License-Identifier: MIT */
/* Whether somebody is between the test and its memory: an emulator, whose mappings are not the program's alone, or a sanitizer. */
#ifndef ANONNAME_TESTS_UNIT_EMULATED_H
#define ANONNAME_TESTS_UNIT_EMULATED_H

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A sanitizer has a malloc of its own, so there is nothing of glibc's to look into or to recognise. */
#if defined(__has_feature)
#define SANITIZED __has_feature(address_sanitizer)
#elif defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

/* qemu-user answers for the process itself; of a child /proc shows the emulator. */
static inline bool is_emulated(void)
{
	char path[32], program[64];
	pid_t pid = fork();
	ssize_t len;

	if (!pid)
		for (;;)
			pause();
	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	len = readlink(path, program, sizeof(program) - 1);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	program[len > 0 ? len : 0] = '\0';
	return strstr(program, "/qemu-");
}

#endif
