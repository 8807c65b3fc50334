#!/bin/sh
# SPDX-License-Identifier: MIT
# From a fresh clone to the labelled memory of a real program: installs what
# the build needs, builds, runs a Python with threads under libanonname, and
# shows its memory by name.
# usage: tools/quickstart.sh   (BUILD=DIR: where to build, default build/)
set -e

cd "$(dirname "$0")/.."
source=$PWD
build=${BUILD:-$source/build}

tools/install-packages tools/packages.build
[ -x configure ] || ./autogen.sh >/dev/null 2>&1
mkdir -p "$build"
cd "$build"
echo "building in $build"
[ -f Makefile ] || "$source/configure" --quiet >configure.log 2>&1 || { cat configure.log; exit 1; }
make -s -j"$(nproc)"

cat >demo.py <<'PYTHON'
# Three workers with memory of their own, a large buffer, and a direct mapping.
import mmap, sys, threading

done = threading.Event()
ready = threading.Barrier(4)

def work():
    keep = [bytes(200) for _ in range(50000)]
    ready.wait()
    done.wait()

for i in range(3):
    threading.Thread(target=work, daemon=True).start()
ready.wait()
buffer = bytearray(b'x' * (8 << 20))
mapping = mmap.mmap(-1, 4 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
mapping.write(b'x' * (4 << 20))
print('ready', flush=True)
sys.stdin.read()
PYTHON

rm -f demo.in demo.out
mkfifo demo.in
tools/anonname run -- /usr/bin/python3 demo.py <demo.in >demo.out &
pid=$!
exec 9>demo.in
tries=0
until grep -q ready demo.out; do
	tries=$((tries + 1))
	[ $tries -lt 600 ] && kill -0 $pid || { echo "quickstart: the demonstration did not start" >&2; exit 1; }
	sleep 0.1
done
echo
echo "\$ anonname run -- python3 demo.py &"
echo "\$ anonname maps $pid | grep anon:"
tools/anonname maps $pid | grep anon: | cut -c1-120
echo
echo "\$ anonname report -h --by name $pid | head -20"
tools/anonname report -h $pid | head -20
echo
echo "\$ anonname check $pid"
tools/anonname check $pid
exec 9>&-
wait $pid
rm -f demo.in demo.out
echo
echo "Try it on a program of your own:  $build/tools/anonname run -- PROGRAM"
