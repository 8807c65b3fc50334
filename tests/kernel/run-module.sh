#!/bin/bash
# SPDX-License-Identifier: MIT
#
# run-module.sh [LOADS [SECONDS [SEED]]]: patches/module on Debian's own kernel
# image: it loads or says why not, names in all ways, cannot go while a name
# lives, and leaves the kernel as it was.  LOADS (default 10) loads and unloads
# while programs name memory, then stress.c for SECONDS (default 15).
# CPUS: the guest's processors (default 2).  They run by turns, because QEMU 7.2 loses what the
# kernel writes into code that another processor is just about to run (patches/module/README.md).
# What it does with names is compared with upstream by run-conformance.sh.
#
# Exit status: 0 all as expected, 1 not, 77 nothing could be run.

set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$here/lib.sh"
loads=${1:-10} seconds=${2:-15} seed=${3:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
[[ $loads$seconds$seed =~ ^[0-9]+$ ]] || fail "usage: run-module.sh [LOADS [SECONDS [SEED]]]"

compile named
compile stress
compile called32
have_kernel debian-6.1
cp "$(dirname "$(cat "$build/kernel.path")")"/modules/*-anonname.ko "$build/anonname.ko"
# The same under another name: somebody else who hooks these functions.
sed 's/anonname/stranger/g' "$build/anonname.ko" >"$build/stranger.ko"
echo "module: $loads loads, $seconds s of stress, seed $seed"
in_vm debian-6.1-plain --by-turns -c "${CPUS:-2}" -m 1G -t $((900 + 10 * loads + 2 * seconds)) -- \
	bash "$here/module-guest.sh" "$build" "$loads" "$seconds" "$seed"
