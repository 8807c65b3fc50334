/* SPDX-License-Identifier: MIT */
/* Where nobody has written how a thread of another process makes a call: see remote.c and src/arch/x86_64/remote_registers.h. */
#include "remote.h"

int remote_label(const struct proc *proc, pid_t pid, const struct remote_name *names, size_t count, struct remote_result *result)
{
	(void)proc, (void)pid, (void)names, (void)count;
	*result = (struct remote_result){ .why = "runs on an architecture that this is not written for; x86-64 is the one" };
	return 0;
}
