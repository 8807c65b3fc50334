#!/bin/bash
# SPDX-License-Identifier: MIT
#
# run-conformance.sh [KERNEL [REFERENCE]]: runs conformance.c on a kernel with
# the series (linux-5.10, the default; linux-5.15) or with the module (debian-6.1), and on one that has
# the feature from upstream, and compares what the two print.  Each difference must stand in differences.txt with its reason,
# and each that stands there must be seen.
#
# Exit status: 0 no other difference, 1 there is one, 77 nothing could be run.
# The two outputs stay in $BUILD when that is set.

set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
patched=${1:-linux-5.10} reference=${2:-linux-6.1}
. "$here/lib.sh"

compile conformance
for kernel in "$reference" "$patched"; do
	in_vm "$kernel" -- "$build/conformance" >"$build/$kernel.txt" ||
		fail "conformance: the program failed on $kernel"
done

# Fact by fact.  The text of a fact ends at the first ": ".
awk -v reference="$reference" -v patched="$patched" '
	function fact(line) { return substr(line, 1, index(line, ": ") - 1) }
	function value(line) { return substr(line, index(line, ": ") + 2) }
	function bad(text) { print "conformance: " text; failed = 1 }

	# differences.txt: paragraphs of "fact", "on", "reference", "patched" and "why".
	FILENAME ~ /differences\.txt$/ {
		if ($1 == "fact:") now = value($0)
		else if ($1 == "on:") here = index(" " value($0) " ", " " patched " ")
		else if (!here) next
		else if ($1 == "reference:") known_reference[now] = value($0)
		else if ($1 == "patched:") known_patched[now] = value($0)
		else if ($1 == "why:") known[now] = 1
		next
	}
	{
		f = fact($0)
		if ((FILENAME, f) in seen) bad("\"" f "\" is printed twice on one kernel")
		seen[FILENAME, f] = 1
	}
	FILENAME == ARGV[2] { expected[f] = value($0); order[n++] = f; next }
	{ found[f] = value($0); if (!(f in expected)) bad("\"" f "\" is printed on " patched " only") }

	END {
		for (i = 0; i < n; i++) {
			f = order[i]
			if (!(f in found)) { bad("\"" f "\" is printed on " reference " only"); continue }
			if (found[f] == expected[f]) { same++; continue }
			if (f in known && known_reference[f] == expected[f] && known_patched[f] == found[f]) {
				listed++
				delete known[f]
				continue
			}
			bad("\"" f "\": " reference " says " expected[f] ", " patched " says " found[f])
		}
		for (f in known) bad("differences.txt lists \"" f "\", which is not seen")
		if (!n) bad(reference " printed nothing")
		printf "conformance: %s against %s: %d facts the same, %d differ as differences.txt says%s\n",
			patched, reference, same, listed, failed ? "; FAILED" : ""
		exit failed
	}
' "$here/differences.txt" "$build/$reference.txt" "$build/$patched.txt"
