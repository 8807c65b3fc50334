#!/bin/sh
# SPDX-License-Identifier: MIT
# The rooms include one way only: hook -> label -> sink -> base; tools -> read -> base; api -> label, sink, read.
# usage: includes.sh   (srcdir: the source tree, default .)
cd "${srcdir:-.}" || exit 1
status=0

# room, and the rooms that it may include besides itself
while read -r room allowed; do
	for other in base sink label hook read api tools; do
		case " ${room#src/} $allowed " in *" $other "*) continue ;; esac
		if grep -rnE "^[[:space:]]*#[[:space:]]*include \"$other/" "$room" --include='*.[chS]' 2>/dev/null; then
			echo "includes: $room must not include $other" >&2
			status=1
		fi
	done
done <<ROOMS
src/base
src/sink base
src/label sink base
src/hook label sink base
src/read base
src/api label sink read base
tools read base
ROOMS
exit $status
