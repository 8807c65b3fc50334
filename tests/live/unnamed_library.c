/* SPDX-License-Identifier: MIT */
/* Preloaded before everything: PR_SET_VMA is what it is before Linux 5.17. So a program's own names fail. */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/prctl.h>

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

int prctl(int option, ...)
{
	static int (*next)(int, ...);
	unsigned long arg[4];
	va_list list;

	if (option == PR_SET_VMA) {
		errno = EINVAL;
		return -1;
	}
	va_start(list, option);
	for (int i = 0; i < 4; i++)
		arg[i] = va_arg(list, unsigned long);
	va_end(list);
	if (!next)
		next = (int (*)(int, ...))dlsym(RTLD_NEXT, "prctl");
	return next(option, arg[0], arg[1], arg[2], arg[3]);
}
