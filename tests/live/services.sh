#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Services of a real systemd, one for each setting that shuts a service in and
# one with all that `systemd-analyze security` asks for: each lives, and its
# memory has names without a word in the unit. systemd runs in namespaces of its
# own, with this machine's file system, and knows no unit but what is written here:
# the machine's own would clear its /tmp and set its sysctls. Run as root from the
# build directory.
set -u
build=${SERVICES_BUILD:-$PWD}
here=$(cd "$(dirname "$0")" && pwd)
systemd=/lib/systemd/systemd
room=/run/services              # ours alone: /run is a new one

skip() { echo "SKIP: $*"; exit 77; }

# --- 1: outside, makes the namespaces
outside() {
	[ "$(id -u)" = 0 ] || skip "only root can run a systemd of its own"
	[ -x $systemd ] || skip "no $systemd"
	unshare --pid --fork --mount --mount-proc --ipc --uts --cgroup --kill-child true 2>/dev/null ||
		skip "no namespaces here"
	local out status
	out=$(mktemp -d)
	trap 'rm -rf "$out"' EXIT
	SERVICES_BUILD=$build SERVICES_OUT=$out timeout 300 unshare --pid --fork --mount --mount-proc --ipc --uts --cgroup \
		--kill-child "$here/services.sh" boot >"$out/log" 2>&1
	[ -e "$out/began" ] || { tail -5 "$out/log"; skip "systemd did not come up"; }
	cat "$out/said"
	status=$(cat "$out/status" 2>/dev/null)
	[ -n "$status" ] || { echo "FAIL: systemd ended early"; tail -20 "$out/log"; status=1; }
	exit "$status"
}

# --- 2: the first process in them, becomes systemd
boot() {
	local target

	# Before /run and /tmp are hidden: the services see what lies in our room.
	mount --make-rprivate / && mount -t tmpfs -o mode=755 tmpfs /run && mount -t tmpfs tmpfs /etc/systemd/system &&
		mount -t tmpfs tmpfs /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit 1
	mkdir -p $room /run/systemd/system /run/lock
	cp "$build/.libs/libanonname.so" "$build/tests/live/service" "$build/tools/anonname" $room/
	cp "$here/services.sh" "$here/../../contrib/prometheus/anonname-export.service" $room/
	printf '[Unit]\nRequires=drive.service\n' >/run/systemd/system/services.target
	# What units need by default, with nothing in it.
	for target in sysinit basic shutdown; do
		printf '[Unit]\nDefaultDependencies=no\n' >/run/systemd/system/$target.target
	done
	cat >/run/systemd/system/drive.service <<-UNIT
		[Unit]
		DefaultDependencies=no
		[Service]
		Type=oneshot
		Environment=SERVICES_OUT=$SERVICES_OUT
		ExecStart=/bin/bash $room/services.sh drive
		StandardOutput=append:$SERVICES_OUT/said
		StandardError=append:$SERVICES_OUT/said
		ExecStopPost=/bin/systemctl exit --force
	UNIT
	SYSTEMD_UNIT_PATH=/run/systemd/system container=services \
		exec $systemd --system --unit=services.target --show-status=no --log-target=console --log-level=warning
}

# --- 3: a service of that systemd, starts the others
wrong=0

# service NAME "named" | "partly" LINE...: it lives, all its memory has names or only what libc did not map, and memory
# called as `also` says is among it.
service() {
	local name=$1 wanted=$2 unit=/run/systemd/system/x-$1.service pid share alive why
	shift 2
	printf '%s\n' '[Unit]' DefaultDependencies=no '[Service]' "Environment=LD_PRELOAD=$room/libanonname.so" "$@" >"$unit"
	grep -q ^ExecStart= "$unit" || echo "ExecStart=$room/service" >>"$unit"
	systemctl daemon-reload
	systemctl start "x-$name"
	pid=$(systemctl show -P MainPID "x-$name")
	# It may still be at work; what is right once stays so.
	for _ in $(seq 1 100); do
		why=
		alive=$(systemctl is-active "x-$name")
		[ "$alive" = active ] || why+=" it is $alive;"
		share=$($room/anonname check --names kernel,registry --csv "$pid" 2>/dev/null | sed -n 's/^labelled,//p')
		case $wanted$share in named0.99* | named1.0* | partly0.[0-8]*) ;; *) why+=" named: ${share:-unknown};" ;; esac
		$room/anonname maps --names kernel,registry "$pid" >$room/maps 2>/dev/null
		for memory in $also; do
			grep -qE "anon:$memory\]" $room/maps || why+=" no $memory;"
		done
		[ -n "$why" ] || break
		sleep 0.1
	done
	if [ -z "$why" ]; then
		echo "ok    $name: ${share:0:5} named"
	else
		echo "FAIL  $name:$why"
		grep -o 'anon:.*' $room/maps | sort | uniq -c
		wrong=1
	fi
	systemctl kill -s KILL "x-$name"
}

# The unit of contrib/, as it is but for where things are: what shuts it in leaves what it needs, another user's memory too.
exporter() {
	local out=/run/textfile other
	mkdir -p $out
	sed -e "s|/usr/bin/anonname|$room/anonname|" -e "s|/var/lib/prometheus/node-exporter|$out|" $room/anonname-export.service \
		>/run/systemd/system/anonname-export.service
	systemctl daemon-reload
	setpriv --reuid=65534 --clear-groups sleep 1000 &
	other=$!
	systemctl start anonname-export
	if grep -q 'anonname_rss_bytes{name="\[heap\]".*process="sleep"' $out/anonname.prom; then
		echo "ok    anonname-export.service: reads the memory of others"
	else
		echo "FAIL  anonname-export.service: $(systemctl status anonname-export 2>&1 | tail -5)"
		wrong=1
	fi
	kill $other
}

drive() {
	touch "$SERVICES_OUT/began"
	also='glibc:large:service glibc:arena[12]:[0-9]+ stack:[0-9]+:service service:mmap:[0-9]+'
	service plain named
	service MemoryDenyWriteExecute named MemoryDenyWriteExecute=yes
	service SystemCallFilter named SystemCallFilter=@system-service
	service SystemCallErrorNumber named SystemCallFilter=@system-service SystemCallErrorNumber=EPERM
	service deny-list named 'SystemCallFilter=~@clock @debug @module @mount @raw-io @reboot @swap @privileged @resources'
	service SystemCallArchitectures named SystemCallArchitectures=native
	service RestrictNamespaces named RestrictNamespaces=yes
	service ProtectKernelTunables named ProtectKernelTunables=yes
	service PrivateDevices named PrivateDevices=yes
	service DynamicUser named DynamicUser=yes
	local all=(
		MemoryDenyWriteExecute=yes SystemCallFilter=@system-service 'SystemCallFilter=~@privileged @resources'
		SystemCallArchitectures=native RestrictNamespaces=yes RestrictAddressFamilies=none RestrictRealtime=yes
		RestrictSUIDSGID=yes LockPersonality=yes ProtectKernelTunables=yes ProtectKernelModules=yes ProtectKernelLogs=yes
		ProtectControlGroups=yes ProtectClock=yes ProtectHostname=yes ProtectHome=yes ProtectSystem=strict
		ProtectProc=invisible ProcSubset=pid PrivateTmp=yes PrivateDevices=yes PrivateUsers=yes DynamicUser=yes
		NoNewPrivileges=yes CapabilityBoundingSet= UMask=0077
	)
	service everything named "${all[@]}"
	service everything-told-to-try named "${all[@]}" Environment=ANONNAME_SINK=both
	# Made from what the service calls itself: no prctl, no clone, no gettid, no munmap but libc's.
	also='glibc:large:service service:mmap.*'
	service tight named "ExecStart=$room/service alone" \
		'SystemCallFilter=execve brk access openat read close newfstatat fstat mmap mprotect munmap mremap pread64 arch_prctl' \
		'SystemCallFilter=set_tid_address set_robust_list rseq prlimit64 getrandom futex pause exit_group'
	# Not what systemd started itself: who knows what other filters are there.
	also='service:mmap.*'
	service child partly "ExecStart=/bin/sh -c 'SYSTEMD_EXEC_PID=1 exec $room/service'" MemoryDenyWriteExecute=yes
	exporter
	echo "services: $([ $wrong = 0 ] && echo all live and are named || echo some fail), systemd $(systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p')"
	echo $wrong >"$SERVICES_OUT/status"
}

case ${1-} in
boot) boot ;;
drive) drive ;;
*) outside ;;
esac
