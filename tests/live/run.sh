#!/bin/bash
# SPDX-License-Identifier: MIT
#
# `anonname run` looks at the program that it starts: one line says why the
# library will not be in it, and what to do; the program starts all the same.
# Run from the build directory.

set -u
anonname=$PWD/tools/anonname
source=$(dirname "${BASH_SOURCE[0]}")
out=$(mktemp -d "${TMPDIR:-/tmp}/run.XXXXXX")
trap 'rm -rf "$out" ${placed:+"$placed"}' EXIT
unset "${!ANONNAME_@}" LD_PRELOAD ASAN_OPTIONS
passed=0 failed=0 skipped=0

# says TITLE WORDS STATUS COMMAND...: one line has these words ("": there is no line), the status is STATUS, and with 0 the program printed `fine`.
says() {
	local title=$1 words=$2 wanted=$3 status lines
	shift 3
	timeout 60 "$@" >"$out/stdout" 2>"$out/stderr"
	status=$?
	lines=$(grep -c "^anonname run: .*$words" "$out/stderr")
	if [ "$lines" = $((${#words} > 0)) ] &&
	   { [ "$wanted" = any ] || [ "$status" = "$wanted" ]; } &&
	   { [ "$status" != 0 ] || grep -q '^fine' "$out/stdout"; } && ! grep -q '[[:cntrl:]]' <(LC_ALL=C tr -d '\n\t' <"$out/stderr"); then
		echo "ok    $title"
		passed=$((passed + 1))
	else
		echo "FAIL  $title (status $status, not $wanted; the line should have: ${words:-nothing})"
		sed 's/^/      /' "$out/stdout" "$out/stderr" | head -20
		failed=$((failed + 1))
	fi
}

skip() { echo "SKIP  $1: $2"; skipped=$((skipped + 1)); }

build() { # COMPILER FILE FLAG...
	local compiler=$1 file=$2
	shift 2
	command -v "$compiler" >/dev/null &&
		"$compiler" -g -O1 -pthread -D_GNU_SOURCE -I"$source/../../include" "$@" -o "$out/$file" "$source/sanitized.c" 2>"$out/stderr"
}

run=("$anonname" run)
build gcc sanitized || { skip "everything" "gcc does not build: $(head -1 "$out/stderr")"; exit 77; }
cp "$out/sanitized" "$out/plain"
says "a program for glibc" "" 0 "${run[@]}" "$out/sanitized"

# --- no dynamic linker, another one, another machine
if build gcc static -static; then
	says "a static program" "static program.*Link it dynamically" 0 "${run[@]}" "$out/static"
	build gcc static-pie -static-pie && says "a static PIE" "static program" 0 "${run[@]}" "$out/static-pie"
else
	skip "a static program" "there is no static libc"
fi
mkdir "$out/musl"
if build musl-gcc musl/sanitized; then
	# It looks at its names itself.
	says "a program for musl" "is musl.*Use a build for glibc" 0 "${run[@]}" "$out/musl/sanitized"
	says "a program for musl, names off" "is musl" 0 env SANITIZED_OFF=1 ANONNAME_SINK=off "${run[@]}" "$out/musl/sanitized"
else
	skip "a program for musl" "apt-get install musl-tools"
fi
# Not executable: what the kernel cannot run would be given to the shell.
forge() { # FILE OFFSET BYTES
	cp "$out/plain" "$out/$1" && chmod -x "$out/$1"
	printf "$3" | dd of="$out/$1" bs=1 seek="$2" conv=notrunc status=none
}
forge foreign 18 '\26\0' # e_machine: EM_S390
says "another machine's program" "another machine.*Use a build for this machine" 126 "${run[@]}" "$out/foreign"
forge narrow 4 '\1' # ELFCLASS32
says "a 32-bit program" "word size" 126 "${run[@]}" "$out/narrow"
forge many 56 '\377\377' # e_phnum
truncate -s 100 "$out/many"
says "a cut program" "cannot be run" 126 "${run[@]}" "$out/many"
loader=$(LC_ALL=C readelf -lW "$out/plain" | sed -n 's/.*interpreter: \(.*\)\]/\1/p')
says "a program by its dynamic linker" "" 0 "${run[@]}" "$loader" "$out/sanitized"
[ ! -e "$out/static" ] || says "a static program by the dynamic linker" "static program" any "${run[@]}" "$loader" "$out/static"

# --- AddressSanitizer
if build gcc asan -fsanitize=address; then
	says "AddressSanitizer's library refuses" "refuses to start.*ASAN_OPTIONS=verify_asan_link_order=0" 1 "${run[@]}" "$out/asan"
	mkdir "$out/a" && cp "$out/asan" "$out/a/sanitized"
	says "and is not asked" "" 0 env ASAN_OPTIONS=verify_asan_link_order=0 "${run[@]}" "$out/a/sanitized"
else
	skip "AddressSanitizer" "gcc has no libasan"
fi

# --- the dynamic linker trusts nobody
if [ "$(id -u)" = 0 ]; then
	for place in "$out" /var/lib /run; do
		placed=$(mktemp -d "$place/run.XXXXXX") && findmnt -no OPTIONS -T "$placed" 2>/dev/null | grep -qv nosuid && break
		rm -rf "$placed"
		placed=
	done
fi
if [ -n "${placed:-}" ]; then
	chmod 755 "$out" "$placed"
	cp "$out/plain" "$placed/suid" && chown nobody "$placed/suid" && chmod 4755 "$placed/suid"
	says "a set-user-ID program" "is set-user-ID.*ignores LD_PRELOAD.*-lanonname" 0 "${run[@]}" "$placed/suid"
	cp "$out/plain" "$placed/sgid" && chgrp nogroup "$placed/sgid" && chmod 2755 "$placed/sgid"
	says "a set-group-ID program" "is set-group-ID" 0 "${run[@]}" "$placed/sgid"
	mkdir "$placed/n" && cp "$out/plain" "$placed/n/sanitized" && chown nobody "$placed/n/sanitized" && chmod 4755 "$placed/n/sanitized"
	says "one that gains nothing: no new privileges" "" 0 setpriv --no-new-privs "${run[@]}" "$placed/n/sanitized"
	cp "$out/plain" "$placed/capable"
	# cap_net_raw=ep, version 2 (include/uapi/linux/capability.h).
	if python3 -c 'import os, struct, sys; os.setxattr(sys.argv[1], "security.capability", struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0))' \
		"$placed/capable" 2>/dev/null; then
		cp -L "$anonname" "$placed/anonname" && cp -L .libs/libanonname.so "$placed/libanonname.so"
		says "a program with capabilities" "has capabilities of its own" any \
			setpriv --reuid nobody --clear-groups env ANONNAME_LIBRARY="$placed/libanonname.so" "$placed/anonname" run "$placed/capable"
	else
		skip "a program with capabilities" "no extended attributes here"
	fi
else
	skip "set-user-ID programs" "only root can make one, where the file system is not nosuid"
fi

# --- on the way to the program
target=$out/foreign words="another machine"
[ ! -e "$out/static" ] || { target=$out/static words="static program"; }
script() { # FILE LINE
	printf '%s\n' "$2" >"$out/$1"
	chmod +x "$out/$1"
}
script s1 "#!$target"
script s2 "#! $out/s1 an argument"
script s3 "#!/usr/bin/env -S -u SOMETHING A=b $target -x"
script s4 "#!/usr/bin/env -S -i $target"
for s in s1 s2 s3; do says "a script: $(head -1 "$out/$s" | cut -c1-18)" "$words" any "${run[@]}" "$out/$s"; done
says "env -i in a script" "env -i takes LD_PRELOAD away" any "${run[@]}" "$out/s4"
says "env" "$words" any "${run[@]}" env A=b B=c "$target"
says "env -S" "$words" any "${run[@]}" env -S "A=b $target"
says "env -i" "env -i takes LD_PRELOAD away" any "${run[@]}" env -i "$target"
script s5 '#!/bin/sh
echo fine'
says "a script for a shell" "" 0 "${run[@]}" "$out/s5"
PATH=$out:$PATH says "a script found by PATH" "$words" any "${run[@]}" s1
script loop "#!$out/loop"
says "a script that is its own interpreter" "cannot be run" 126 "${run[@]}" "$out/loop"

# --- what is no file is not waited for, and nothing that was given moves the terminal
mkfifo "$out/fifo"
says "a FIFO as command" "cannot be run" 126 "${run[@]}" "$out/fifo"
says "a FIFO as library" "is no file" 125 "${run[@]}" -l "$out/fifo" "$out/plain"
says "a FIFO as ANONNAME_LIBRARY" "is no file" 125 env ANONNAME_LIBRARY="$out/fifo" "${run[@]}" "$out/plain"
says "a command with control characters" 'x1b\[31m.* cannot be run' 127 "${run[@]}" $'no\e[31m\r such'
says "an option with control characters" 'x1b\[31m.* is no option' 2 "${run[@]}" $'--no\e[31m'
says "a letter that is a control character" 'no option .-.x1b' 2 "${run[@]}" $'-\e'

echo "run: $passed passed, $failed failed, $skipped skipped"
[ "$failed" -eq 0 ] || exit 1
