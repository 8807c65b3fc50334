#!/bin/bash
# SPDX-License-Identifier: MIT
# anonname label, on a kernel that has names: they are there, and a program that
# waits in many ways meanwhile does not notice; nor when the tool is killed.
here=$(cd "$(dirname "$0")" && pwd)
build=${abs_top_builddir:-$PWD}
tool=$build/tools/anonname target=$build/tests/outside/label_target
[ -x "$here/../vm/vm-run" ] || { echo "SKIP: no tests/vm/vm-run"; exit 77; }
[ "$(uname -m)" = x86_64 ] || { echo "SKIP: label is for x86-64"; exit 77; }
"$here/../vm/vm-run" -k linux-6.1 -t 1200 -- "$here/label-guest.sh" "$tool" "$target" "$@"
status=$?
[ "$status" != 125 ] || { echo "SKIP: the virtual machine could not be started"; exit 77; }
exit "$status"
