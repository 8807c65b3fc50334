#!/bin/bash
# SPDX-License-Identifier: MIT
#
# Shows that vm-run is a faithful messenger (output, status, signals, limits on
# writing) and that of two 6.1 kernels one names memory and Debian's own does not.

set -u
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

# check NAME EXPECTED ACTUAL
check() {
	if [ "$2" = "$3" ]; then
		echo "ok: $1"
	else
		echo "FAILED: $1: expected '$2', got '$3'"
		failed=1
	fi
}

mkdir "$tmp/share"

# A boot is the expensive part, so one guest answers many questions.
cat >"$tmp/share/probe.py" <<'EOF'
import ctypes, os, re, socket, sys

def writable(directory):
    try:
        path = os.path.join(directory, "vm-selftest")
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        os.unlink(path)
        return "writable"
    except OSError as e:
        return e.strerror

server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname()).close()
print("loopback up")
for directory in "/usr", "/tmp", "/var/tmp", "/dev/shm", "/run", os.getcwd():
    print(directory == os.getcwd() and "." or directory, writable(directory))
print("uid", os.getuid(), "cpus", os.cpu_count())
print("args", sys.argv[1:])
print("env", os.environ["GREETING"], os.environ["HOME"], os.environ["PATH"].count(":") > 2)

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p] + [ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
p = libc.mmap(None, 8192, 3, 0x22, -1, 0)
PR_SET_VMA, PR_SET_VMA_ANON_NAME = 0x53564d41, 0
r = libc.prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, ctypes.c_ulong(p), ctypes.c_ulong(8192), b"self:test")
print("naming", r, os.strerror(ctypes.get_errno()))
with open("/proc/self/maps") as maps:
    print("maps", re.findall(r"\[anon:.*\]", maps.read()))
with open(sys.argv[0][:-len("probe.py")] + "result", "w") as f:
    f.write("from the guest\n")
sys.stderr.write("to stderr\r\n")
sys.exit(7)
EOF

# First, so that what a first build says is not taken for what a command says.
for kernel in linux-6.1 debian-6.1-plain; do
	./build-kernel "$kernel" >/dev/null || exit 1
done

for kernel in linux-6.1 debian-6.1-plain; do
	./vm-run -k $kernel -w "$tmp/share" -e GREETING='it'\''s "here"' -- \
		python3 "$tmp/share/probe.py" 'one two' '*' "it's" '' $'a\nb\\c$d' \
		>"$tmp/out" 2>"$tmp/err"
	check "$kernel: exit status" 7 $?
	check "$kernel: standard error, byte for byte" $'to stderr\r\n.' "$(cat "$tmp/err"; echo .)"
	if [ $kernel = linux-6.1 ]; then
		naming="naming 0 Success"
		maps="maps ['[anon:self:test]']"
	else
		naming="naming -1 Invalid argument"
		maps="maps []"
	fi
	check "$kernel: output" "loopback up
/usr Read-only file system
/tmp writable
/var/tmp writable
/dev/shm writable
/run writable
. Read-only file system
uid 0 cpus 2
args ['one two', '*', \"it's\", '', 'a\\nb\\\\c\$d']
env it's \"here\" /tmp True
$naming
$maps" "$(cat "$tmp/out")"
	check "$kernel: -w reaches the host" "from the guest" "$(cat "$tmp/share/result")"
	rm -f "$tmp/share/result"
done

# Every byte value, 8 MiB on each of the two outputs at once.
python3 -c 'import sys; sys.stdout.buffer.write(bytes(range(256)) * 32768)' >"$tmp/bytes"
cp "$tmp/bytes" "$tmp/share/bytes"
./vm-run -w "$tmp/share" -- sh -c "cat $tmp/share/bytes & cat $tmp/share/bytes >&2; wait" >"$tmp/out" 2>"$tmp/err"
check "8 MiB of output: status" 0 $?
cmp "$tmp/bytes" "$tmp/out"; check "8 MiB of standard output" 0 $?
cmp "$tmp/bytes" "$tmp/err"; check "8 MiB of standard error" 0 $?

out=$(./vm-run -- sh -c 'echo last words; sleep 1000 & kill -SEGV $$' 2>&1)
check "death by signal, with a child left behind: status" 139 $?
check "death by signal: output" "last words" "$out"
out=$(echo from the host | ./vm-run -- sh -c 'cat; ls /proc/self/fd' 2>&1)
check "standard input is empty, and no descriptor is left open" $'0\n1\n2\n3' "$out"
out=$(./vm-run -- no-such-command 2>&1)
check "command not found" 127 $?

out=$(./vm-run -t 20 -- sh -c 'echo before; sleep 1000' 2>"$tmp/err")
check "hang: status" 124 $?
check "hang: output so far" before "$out"
check "hang: message" 1 "$(grep -c 'no end after 20 s' "$tmp/err")"
./vm-run -- sh -c 'echo c >/proc/sysrq-trigger' 2>"$tmp/err"
check "panic: status" 123 $?
check "panic: the log is shown" yes "$(grep -q 'sysrq triggered crash' "$tmp/err" && echo yes)"
out=$(./vm-run -k linux-0.0 -- true 2>"$tmp/err")
check "no such kernel" 125 $?
check "no such kernel: message" yes "$(grep -q "no kernel 'linux-0.0'" "$tmp/err" && echo yes)"
out=$(./vm-run -k "$(dirname "$(./build-kernel linux-6.1)")" -- uname -r 2>"$tmp/err")
check "a kernel of one's own, in a directory" "0 6.1" "$? ${out:0:3}"
./vm-run -k "$tmp/" -- true 2>"$tmp/err"
check "a directory without a kernel: status" 125 $?
check "a directory without a kernel: message" yes "$(grep -q 'there is no bzImage in it' "$tmp/err" && echo yes)"

# Guest nanoseconds are instructions, of kernel and user together.  In C and for
# some 120 million of them: a stray kernel thread costs about 0.1 million.
cat >"$tmp/share/count.c" <<'EOF'
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

static long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

int main(void)
{
	long start = 0;
	for (int i = -100; i < 3000; i++) {
		if (i == 0)
			start = now();
		char *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		for (int page = 0; page < 4; page++)
			p[page * 4096] = 1;
		munmap(p, 65536);
	}
	printf("%ld\n", now() - start);
}
EOF
gcc -O1 -o "$tmp/share/count" "$tmp/share/count.c" || failed=1
a=$(./vm-run --icount -w "$tmp/share" -- "$tmp/share/count")
b=$(./vm-run --icount -w "$tmp/share" -- "$tmp/share/count")
echo "instructions: $a and $b"
check "--icount repeats within 0.5 %" yes \
	"$(awk -v a="$a" -v b="$b" 'BEGIN { d = a - b; if (d < 0) d = -d; print (a > 1000000 && d < a * 0.005 ? "yes" : "no") }')"
./vm-run --icount -c 2 -- true 2>/dev/null
check "--icount refuses two processors" 125 $?

[ $failed = 0 ] && echo "vm-selftest: all passed"
exit $failed
