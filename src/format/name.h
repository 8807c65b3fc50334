/* SPDX-License-Identifier: MIT */
/*
 * What a name may hold, for those who give names from inside and from outside:
 * mm/madvise.c and kernel/sys.c (is_valid_name_char), printable ASCII without
 * \ ` $ [ ]. We also leave out /, because pmap cuts names at it.
 */
#ifndef ANONNAME_FORMAT_NAME_H
#define ANONNAME_FORMAT_NAME_H

#include <stdbool.h>

static inline bool name_kernel_takes(unsigned char c)
{
	return c >= 0x20 && c < 0x7f && c != '\\' && c != '`' && c != '$' && c != '[' && c != ']';
}

static inline char name_clean_char(char c)
{
	return name_kernel_takes((unsigned char)c) && c != '/' ? c : '_';
}

#endif
