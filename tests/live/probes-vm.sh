#!/bin/bash
# SPDX-License-Identifier: MIT
# probes.sh in a virtual machine: it needs root, uprobes, and a tracer or two.

here=$(cd "$(dirname "$0")" && pwd)
run=$here/../vm/vm-run
[ -x "$run" ] || { echo "SKIP: no tests/vm/vm-run"; exit 77; }
"$run" -k debian-6.1-plain -t 1800 -- "$here/probes.sh"
status=$?
case $status in
125) echo "SKIP: the virtual machine could not be started"; exit 77 ;;
*) exit $status ;;
esac
