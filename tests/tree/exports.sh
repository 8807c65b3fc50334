#!/bin/sh
# SPDX-License-Identifier: MIT
# libanonname.so exports the functions that it stands in front of, without a
# version, and anonname_*; it needs libc and nothing else.
# usage: exports.sh   (in the build directory)
library=.libs/libanonname.so
status=0

expected="brk dlclose dlmopen dlopen madvise mmap mmap64 mprotect mremap munmap pkey_mprotect prctl pthread_create pthread_exit pthread_setname_np sbrk seccomp sigaltstack syscall thrd_create"
# The 'A' is the version node itself.
got=$(nm -D --defined-only $library | awk '$2 != "A" { print $3 }' | grep -v '^anonname_' | sort | tr '\n' ' ')
if [ "$(echo $got)" != "$expected" ]; then
	echo "exports: expected $expected" >&2
	echo "exports: got      $got" >&2
	status=1
fi
needed=$(readelf -dW $library | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -v -e '^libc\.so' -e '^ld-linux')
if [ -n "$needed" ]; then
	echo "exports: the library needs $needed" >&2
	status=1
fi
exit $status
