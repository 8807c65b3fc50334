#!/bin/bash
# SPDX-License-Identifier: MIT
#
# kernel.sh [KERNEL...]: what names cost in the kernel, in instructions, on each
# KERNEL (default: those of patches/README.md).  The guest's clock counts
# instructions, so one run is enough and two agree.  Prints Markdown tables.

set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$here/../tests/kernel/lib.sh"

[ $# -gt 0 ] || set -- linux-5.10 linux-5.10-copies linux-6.1
vmas=${VMAS:-64000}
compile fork-bench

measure() {
	in_vm "$1" --icount -m 5G -t 3000 -- sh -c '
		for pages in 0 1 10; do
			for names in none equal different; do
				echo "fork $names $pages $("$1" fork $names $pages $2)"
			done
		done
		"$1" calls
		for names in none equal different; do
			echo "maps-$names $("$1" maps $names)"
		done
	' sh "$build/fork-bench" "$vmas"
}

for kernel; do
	measure "$kernel" >"$build/cost.$kernel" || fail "the benchmark on $kernel"
done

echo "Instructions a VMA for fork, and for the child's end, of a process with $vmas VMAs:"
echo
echo "| kernel | pages a VMA | fork, no names | all equal | all different | end, no names | all equal | all different |"
echo "| --- | --- | --- | --- | --- | --- | --- | --- |"
for kernel; do
	awk -v kernel="$kernel" -v vmas="$vmas" '
		function cell(kind, names) {
			if (names == "none") return sprintf("%.1f", v[kind, names] / vmas)
			return sprintf("%.1f (%+.2f %%)", v[kind, names] / vmas,
				(v[kind, names] / v[kind, "none"] - 1) * 100)
		}
		$1 == "fork" {
			v["fork", $2] = $4; v["end", $2] = $5
			if ($2 == "different")
				printf "| %s | %s | %s | %s | %s | %s | %s | %s |\n", kernel, $3,
					cell("fork", "none"), cell("fork", "equal"), cell("fork", "different"),
					cell("end", "none"), cell("end", "equal"), cell("end", "different")
		}' "$build/cost.$kernel"
done

echo
echo "Instructions a call:"
echo
printf '| call |'; printf ' %s |' "$@"; echo
printf '| --- |'; printf ' --- |%.0s' "$@"; echo
for kernel; do
	awk -v kernel="$kernel" '$1 != "fork" { print kernel, $1, $2 }' "$build/cost.$kernel"
done | awk -v kernels="$*" '
	{ if (!($2 in at)) { at[$2] = ++n; call[n] = $2 } v[$1, $2] = $3 }
	END {
		k = split(kernels, kernel, " ")
		for (i = 1; i <= n; i++) {
			printf "| %s |", call[i]
			for (j = 1; j <= k; j++) printf " %s |", (kernel[j], call[i]) in v ? v[kernel[j], call[i]] : "-"
			print ""
		}
	}'
