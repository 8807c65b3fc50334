#!/bin/bash
# SPDX-License-Identifier: MIT
#
# What a program is called, however it was started: by the name of its file, or
# of a symbolic link to it.  Run from the build directory.
build=$PWD
library=$build/.libs/libanonname.so
called=$build/tests/live/called
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
wrong=0
unset "${!ANONNAME_@}" LD_PRELOAD

# is TITLE NAME COMMAND...: the program's memory is called NAME:mmap.
is() {
	local title=$1 name=$2
	shift 2
	if LD_PRELOAD=$library "$@" "$name" >"$work/said" 2>&1; then
		echo "ok    $title: $name"
	else
		echo "FAIL  $title: not $name"
		sed 's/^/      /' "$work/said"
		wrong=1
	fi
}

[ -x "$called" ] || { echo "program.sh: no $called: run make check TESTS= first"; exit 99; }
ln -s "$called" "$work/link"
ln -s link "$work/link-to-link"
ln "$called" "$work/hard" 2>/dev/null || cp "$called" "$work/hard"
# The kernel starts it with the script's path, before the other arguments.
printf '#!%s\n' "$work/link" >"$work/script"
chmod +x "$work/script"

is "by its path" called "$called"
is "from its folder" called env -C "$build/tests/live" ./called
is "by a link" link "$work/link"
is "by a link to a link" link-to-link "$work/link-to-link"
is "by a hard link" hard "$work/hard"
is "by PATH" link env PATH="$work:$PATH" link
is "a shell's argv[0]" called bash -c 'exec -a -bash "$0" "$@"' "$called"
is "a hostile argv[0]" called bash -c 'exec -a "postgres: writer" "$0" "$@"' "$called"
is "another program's path as argv[0]" called bash -c 'exec -a /bin/true "$0" "$@"' "$called"
is "no argv[0] to speak of" called bash -c 'exec -a "" "$0" "$@"' "$called"
is "by a link with another argv[0]" link bash -c 'exec -a -bash "$0" "$@"' "$work/link"
is "by /proc/self/exe" called bash -c 'exec 9<"$0"; exec /proc/self/fd/9 "$@"' "$called"
is "by /dev/fd" called bash -c 'exec 9<"$0"; exec /dev/fd/9 "$@"' "$called"
is "by the dynamic linker" called "$(ls /lib64/ld-linux-x86-64.so.2 /lib/ld-linux-aarch64.so.1 2>/dev/null | head -n 1)" "$called"
is "the interpreter of a script" link "$work/script"
exit $wrong
