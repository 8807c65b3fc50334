/* SPDX-License-Identifier: MIT */
/* The system calls that are more than one instruction. */
#include "base/sys.h"

#include <sys/auxv.h>
#include <sys/uio.h>

uintptr_t page_size = 4096;

void sys_init(void)
{
	unsigned long size = getauxval(AT_PAGESZ);

	if (size)
		page_size = size;
}

long sys_copy(void *to, const void *from, size_t len)
{
	struct iovec local = { .iov_base = to, .iov_len = len };
	struct iovec remote = { .iov_base = (void *)(uintptr_t)from, .iov_len = len };

	return sys_call6(SYS_process_vm_readv, sys_getpid(), SYS_ARG(&local), 1, SYS_ARG(&remote), 1, 0);
}
