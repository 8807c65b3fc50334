#!/bin/bash
# SPDX-License-Identifier: MIT
# What was built asks libc for nothing newer than glibc 2.17, so that one build loads in old containers, too.
# Of the tools, what the compiler's own start-up code asks for does not count.
: "${abs_top_builddir:=$PWD}"
command -v objdump >/dev/null || { echo "SKIP: no objdump (apt-get install binutils)"; exit 77; }
failed=0

# newer FILE: each symbol of a version that is too new
newer() {
	objdump -T "$1" | sed -nE 's/.*\*UND\*.*GLIBC_([0-9.]+)\) +(\S+)$/\1 \2/p' | grep -v ' __libc_start_main$' |
	while read -r version symbol; do
		[ "$(printf '%s\n' "$version" 2.17 | sort -V | tail -n 1)" = 2.17 ] || echo "$symbol of glibc $version"
	done
}

# renamed FILE: what glibc 2.38 and later give to who is built there under a new name, known on an older one already
renamed() {
	objdump -T "$1" | sed -nE 's/.*\*UND\*.* ((__isoc99_)?[a-z]*scanf|(str|wcs)to(l|ul|ll|ull|imax|umax))$/\1, renamed since glibc 2.38/p'
}

for file in .libs/libanonname.so tools/.libs/anonname tools/anonname tools/.libs/anonname-top tools/anonname-top; do
	file=$abs_top_builddir/$file
	[ -f "$file" ] && [ "$(head -c 4 "$file")" = $'\177ELF' ] || continue
	if objdump -T "$file" | grep -q 'U __asan\|__tsan\|__ubsan'; then
		echo "SKIP: ${file##*/} is built with a sanitizer"
		continue
	fi
	asked=$(newer "$file"; renamed "$file")
	if [ -n "$asked" ]; then
		echo "${file##*/} asks for ${asked//$'\n'/, }: src/base/old.h and src/read/files.h say what to do"
		failed=1
	fi
done
exit $failed
