/* SPDX-License-Identifier: MIT */
/* The system calls that are more than one instruction. */
#include "base/sys.h"

#include <fcntl.h>
#include <sys/auxv.h>

#include "base/text.h"

uintptr_t page_size = 4096;

void sys_init(void)
{
	unsigned long size = getauxval(AT_PAGESZ);

	if (size)
		page_size = size;
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
