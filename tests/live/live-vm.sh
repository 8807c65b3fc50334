#!/bin/bash
# SPDX-License-Identifier: MIT
# The same live programs again, in one boot of a test kernel.
# usage: live-vm.sh [-k KERNEL] [WORD...]   (default linux-6.1, which has names)

here=$(cd "$(dirname "$0")" && pwd)
run=$here/../vm/vm-run
kernel=linux-6.1
[ "${1-}" != -k ] || { kernel=$2; shift 2; }
[ -x "$run" ] || { echo "SKIP: no tests/vm/vm-run"; exit 77; }
# The guest is some ten times slower, and what hangs is told from what is slow.
"$run" -k "$kernel" -t 3600 -m 3G -e LIVE_ALARM=900 ${ANONNAME_LONG:+-e ANONNAME_LONG=1} -- "$here/live.sh" "$@"
status=$?
case $status in
125) echo "SKIP: the virtual machine could not be started"; exit 77 ;;
*) exit $status ;;
esac
