/* SPDX-License-Identifier: MIT */
/* Reads memory that may not be there. See peek.h. */
#include "base/peek.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>

#include "base/sandbox.h"
#include "base/sys.h"

bool (*peek_known)(uintptr_t from, size_t len);

/* For kernels built without CONFIG_CROSS_MEMORY_ATTACH, and for emulators. */
static long copy_through_proc(void *to, const void *from, size_t len)
{
	long fd, n;

	if (!sandbox_allows(MAY_OPEN | MAY_READ_AT | MAY_CLOSE))
		return -ENOSYS;
	fd = sys_open("/proc/thread-self/mem", O_RDONLY | O_CLOEXEC);
	if (sys_failed(fd))
		return fd;
	n = sys_call6(SYS_pread64, fd, SYS_ARG(to), SYS_ARG(len), SYS_ARG(from), 0, 0);
	sys_close((int)fd);
	return n;
}

/*
 * Returns the number of bytes, or -errno. By the id of this thread: that of the
 * process is its main thread's, which has no memory any more once it has ended.
 */
static long copy(void *to, const void *from, size_t len)
{
	struct iovec local = { .iov_base = to, .iov_len = len };
	struct iovec remote = { .iov_base = (void *)(uintptr_t)from, .iov_len = len };
	long n = sys_call6(SYS_process_vm_readv, sys_gettid(), SYS_ARG(&local), 1, SYS_ARG(&remote), 1, 0);

	return n == -ENOSYS ? copy_through_proc(to, from, len) : n;
}

/*
 * Every sandbox that we know allows rt_sigprocmask, which libc's abort() and
 * many others need. The kernel reads the new mask before it looks at what to do
 * with it (kernel/signal.c), so an impossible `how` changes nothing and tells:
 * EFAULT, or EINVAL. Eight aligned bytes lie in one page and stand for it.
 */
static bool page_can_be_read(uintptr_t addr)
{
	return sys_call6(SYS_rt_sigprocmask, SANDBOX_NO_HOW, SYS_ARG(addr & ~7UL), 0, SANDBOX_SIGSET_SIZE, 0, 0) == -EINVAL;
}

static bool pages_can_be_read(uintptr_t from, size_t len)
{
	for (uintptr_t page = page_down(from); page < from + len; page += page_size)
		if (!page_can_be_read(MAX(page, from)))
			return false;
	return true;
}

long peek_test(const void *from, size_t len)
{
	uintptr_t at = (uintptr_t)from;

	if (at + len < at || (intptr_t)(at + len) < 0)
		return -EFAULT;
	if (sandbox_allows(MAY_TEST_MEMORY))
		return pages_can_be_read(at, len) ? 0 : -EFAULT;
	return peek_known && peek_known(at, len) ? 0 : -EPERM;
}

long peek(void *to, const void *from, size_t len)
{
	long r;

	if (sandbox_allows(MAY_COPY))
		return copy(to, from, len) == (long)len ? 0 : -EFAULT;
	r = peek_test(from, len);
	if (r == 0)
		__builtin_memcpy(to, from, len);
	return r;
}
