#!/bin/sh
# SPDX-License-Identifier: MIT
# The tarball of make dist holds every file of the repository. Run from the build directory.
: "${abs_top_srcdir:=$PWD}"

git -C "$abs_top_srcdir" rev-parse --git-dir >/dev/null 2>&1 || { echo "SKIP: not a git checkout"; exit 77; }
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT

# Not what says how this repository is kept.
git -C "$abs_top_srcdir" ls-files | grep -vE '^(\.ci/run|\.gitignore)$' | sort >"$work/tree"
make -s dist >"$work/log" 2>&1 || { tail -5 "$work/log"; exit 1; }
tarball=$(ls -t libanonname-*.tar.xz | head -n 1)
tar tf "$tarball" | sed -n 's#^[^/]*/\(.*[^/]\)$#\1#p' | sort >"$work/tarball"
rm -f "$tarball"
missing=$(comm -23 "$work/tree" "$work/tarball")
[ -n "$missing" ] || exit 0
echo "dist: the tarball lacks these files; add them to EXTRA_DIST in Makefile.am:"
echo "$missing"
exit 1
