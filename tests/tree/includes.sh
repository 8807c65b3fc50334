#!/bin/sh
# SPDX-License-Identifier: MIT
# The rooms of src/ include one way only, from where a call enters to where a name is seen:
# hook and api -> event -> owner -> label -> sink -> base -> format, arch;
# tools -> heap -> recognise -> read -> format, and recognise -> base; tools -> arch.
# Paths are followed to the file that they mean, "../" too.
# usage: includes.sh   (srcdir: the source tree, default .)
cd "${srcdir:-.}" || exit 1
status=0

# Each #include "..." below a directory, as "file:line file-that-is-meant".
includes() {
	grep -rnE '^[[:space:]]*#[[:space:]]*include[[:space:]]+"' "$1" --include='*.[chS]' --include='*.def' |
		while IFS=: read -r file line text; do
			named=${text#*\"}
			named=${named%%\"*}
			case $named in arch.h | registers.h | remote_registers.h) echo "$file:$line src/arch/NAME/$named"; continue ;; esac
			for found in "${file%/*}/$named" "src/$named" "$named"; do
				[ -e "$found" ] && break
			done
			echo "$file:$line $(realpath -m --relative-to=. "$found")"
		done
}
all=$(includes src; includes tools)

# room, and the rooms that it may include besides itself
while read -r room allowed; do
	for include in $(echo "$all" | grep "^$room/" | tr ' ' '='); do
		meant=${include#*=}
		meant=${meant#src/}
		case " ${room#src/} include $allowed " in *" ${meant%%/*} "*) continue ;; esac
		echo "includes: ${include%=*}: $room must not include ${meant%%/*}" >&2
		status=1
	done
done <<ROOMS
src/format
src/arch format base hook
src/base arch format
src/sink arch base format
src/label arch base format sink
src/owner arch base format sink label
src/event base format sink label owner
src/hook arch base format sink label event
src/malloc arch base format sink label owner event hook
src/api base format sink label owner event
src/read format
src/recognise arch base format read
src/heap read recognise
tools arch read format recognise heap
ROOMS

for file in $(grep -rlE '^[[:space:]]*#.*(__x86_64__|__aarch64__)' src tools --include='*.[chS]'); do
	case $file in src/arch/*) continue ;; esac
	echo "includes: $file asks for the architecture, which src/arch/NAME answers" >&2
	status=1
done
exit $status
