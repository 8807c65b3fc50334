/* SPDX-License-Identifier: MIT */
/* The system calls that are more than one instruction. */
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/uio.h>

#include "base/sandbox.h"
#include "base/text.h"

uintptr_t page_size = 4096;

void sys_init(void)
{
	unsigned long size = getauxval(AT_PAGESZ);

	if (size)
		page_size = size;
}

/* For kernels built without CONFIG_CROSS_MEMORY_ATTACH, and for emulators. */
static long copy_through_proc(void *to, const void *from, size_t len)
{
	long fd, n;

	if (!sandbox_allows(MAY_ALL))
		return -ENOSYS;
	fd = sys_open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	if (sys_failed(fd))
		return fd;
	n = sys_call6(SYS_pread64, fd, SYS_ARG(to), SYS_ARG(len), SYS_ARG(from), 0, 0);
	sys_close((int)fd);
	/* proc(5): an address that is not mapped is EIO there. */
	return n == -EIO ? -EFAULT : n;
}

long sys_copy(void *to, const void *from, size_t len)
{
	struct iovec local = { .iov_base = to, .iov_len = len };
	struct iovec remote = { .iov_base = (void *)(uintptr_t)from, .iov_len = len };

	long n = sys_call6(SYS_process_vm_readv, sys_getpid(), SYS_ARG(&local), 1, SYS_ARG(&remote), 1, 0);

	return n == -ENOSYS ? copy_through_proc(to, from, len) : n;
}

bool sys_number(const char *path, uint64_t *value)
{
	char buf[32];
	const char *p = buf;
	long fd = sys_open(path, O_RDONLY | O_CLOEXEC), n;

	if (sys_failed(fd))
		return false;
	n = sys_read((int)fd, buf, sizeof(buf));
	sys_close((int)fd);
	return n > 0 && text_read_number(&p, buf + n, 10, value);
}
