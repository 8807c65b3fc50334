#!/bin/sh
# SPDX-License-Identifier: MIT
# Every source file names its licence, patches alone are GPL-2.0-only, and a file says what it is for.
# usage: files.sh   (srcdir: the source tree, default .)
cd "${srcdir:-.}" || exit 1
status=0

for file in $(find src include tools tests bench doc patches -type f \
	\( -name '*.[chS]' -o -name '*.sh' -o -name '*.awk' -o -name '*.py' -o -name '*.def' -o -name '*.map' \)); do
	licence=$(head -5 "$file" | sed -n 's/.*SPDX-License-Identifier: \([^ ]*\).*/\1/p' | head -1)
	wanted=MIT
	case $file in patches/*) wanted=GPL-2.0-only ;; esac
	if [ "$licence" != $wanted ]; then
		echo "files: $file says '$licence', not $wanted, in its first lines" >&2
		status=1
	fi
done
exit $status
