#!/bin/bash
# SPDX-License-Identifier: MIT
# The same live programs again, in one boot of a kernel that has names.

here=$(cd "$(dirname "$0")" && pwd)
run=$here/../vm/vm-run
[ -x "$run" ] || { echo "SKIP: no tests/vm/vm-run"; exit 77; }
"$run" -k linux-6.1 -t 900 -m 3G ${ANONNAME_LONG:+-e ANONNAME_LONG=1} -- "$here/live.sh" "$@"
status=$?
case $status in
125) echo "SKIP: the virtual machine could not be started"; exit 77 ;;
*) exit $status ;;
esac
