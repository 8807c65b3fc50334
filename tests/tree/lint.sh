#!/bin/sh
# SPDX-License-Identifier: MIT
# What other programs find in the source: cppcheck in the C code, shellcheck's errors, and
# misspelt words by codespell. usage: lint.sh   (make lint; srcdir: the source tree, default .)
cd "${srcdir:-.}" || exit 1
status=0

# have PROGRAM: or says that this part is left out.
have() {
	command -v "$1" >/dev/null && return
	echo "SKIP: no $1 (apt-get install $1)"
	return 1
}

# Not what cppcheck 2.10 itself cannot follow: attributes behind a pointer to a function, an initializer by #include,
# bytes that are handed on with their number, a loop that ends where a pointer is NULL.
if have cppcheck; then
	cppcheck -q -j2 --error-exitcode=1 --enable=warning,performance,portability --std=c11 -D_GNU_SOURCE \
		-DANONNAME_LIBDIR='""' -I src -I src/arch/x86_64 -I include --suppress=syntaxError:src/hook/hook.h \
		--suppress=internalAstError:src/label/rules.c --suppress=uninitvar:src/base/text.c \
		--suppress=arrayIndexOutOfBoundsCond:src/heap/chunks.c --suppress=negativeIndex:src/label/thread.h \
		--suppress=shiftNegativeLHS:src/arch/aarch64/detour.c --suppress=nullPointerRedundantCheck:tools/program.c \
		src tools || status=1
fi
files() { git ls-files "$@" 2>/dev/null || find . -type f | sed 's,^\./,,'; }
if have shellcheck; then
	# tests/vm/init waits for the one device that the pattern means.
	files | xargs grep -lIE '^#!.*(bash|/sh)' | xargs shellcheck -S error -e SC2144 || status=1
fi
if have codespell; then
	files src tools include doc tests/tree tests/unit README.md CONTRIBUTING.md NEWS SECURITY.md |
		xargs codespell -q 3 -L upto,reserv,iif,bu,te,ba || status=1
fi
exit $status
