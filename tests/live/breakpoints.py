#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""gdb's breakpoints on libc's memory calls, set before our start and while the program runs.

Each is hit as often as without the library, the program ends well, and its names are right (it looks itself).
Run from the build directory. gdb runs this file again, inside.
"""
import os
import shutil
import subprocess
import sys

FUNCTIONS = ("mmap", "munmap", "mremap", "mprotect")


def inside(gdb):
    """In gdb: breaks at libc's functions at the moment that WHEN says, and prints how often each was hit."""
    def libc_base(pid):
        with open(f"/proc/{pid}/maps") as maps:
            return next(int(line.split("-")[0], 16) for line in maps if "/libc.so.6" in line)

    # Before our start: libc has just been mapped and no constructor has run.
    gdb.execute("catch load libc.so.6" if os.environ["WHEN"] == "before" else "tbreak main")
    gdb.execute(f"run < {os.environ['ROUNDS']}")
    gdb.execute("delete")
    base = libc_base(gdb.selected_inferior().pid)
    points = [gdb.Breakpoint(f"*{base + int(offset, 16)}") for offset in os.environ["OFFSETS"].split()]
    for point in points:
        point.ignore_count = 1 << 30
    # What the start itself asks for with the library is more than without it.
    if os.environ["WHEN"] == "before":
        gdb.execute("tbreak main")
        gdb.execute("continue")
    started = [point.hit_count for point in points]
    gdb.execute("continue")
    gdb.execute("python print('status', gdb.parse_and_eval('$_exitcode'))")
    print("hits", *(point.hit_count - before for point, before in zip(points, started)))


def hits(when, library, program, out):
    """What gdb printed of hits and status, and all that it printed."""
    libc = next(line.split()[2] for line in subprocess.check_output(["ldd", program], text=True).splitlines() if "libc.so.6" in line)
    symbols = subprocess.check_output(["readelf", "-W", "--dyn-syms", libc], text=True).splitlines()
    offsets = {name.split("@")[0]: value for _, value, *_, name in (line.split()[:8] for line in symbols if len(line.split()) >= 8)}
    environment = dict(os.environ, WHEN=when, ROUNDS=out, OFFSETS=" ".join(offsets[name] for name in FUNCTIONS))
    gdb = subprocess.run(["gdb", "-nx", "-batch", "-ex", "set startup-with-shell on", "-ex", "set breakpoint pending on",
                          "-ex", f"set exec-wrapper env LD_PRELOAD={library}", "-x", os.path.abspath(__file__), program],
                         env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300)
    lines = gdb.stdout.splitlines()
    return [line for line in lines if line.startswith(("hits ", "status "))], gdb.stdout


def main():
    build = os.environ.get("abs_top_builddir") or os.getcwd()
    library, program = os.path.join(build, ".libs", "libanonname.so"), os.path.join(build, "tests", "live", "probed")
    if not shutil.which("gdb"):
        print("SKIP: there is no gdb")
        return 77
    for name in [name for name in os.environ if name.startswith(("ANONNAME_", "LD_PRELOAD"))]:
        del os.environ[name]
    rounds = os.path.join(build, "tests", "live", "breakpoints.rounds")
    with open(rounds, "w") as file:
        file.write("\n" * 3)
    failed = 0
    for when in ("before", "while"):
        without, said = hits(when, "", program, rounds)
        if len(without) != 2 or " 0" in without[1] or without[0] != "status 0":
            print(f"SKIP: gdb does not work here without the library: {said[-500:]}")
            return 77
        with_us, said = hits(when, library, program, rounds)
        if with_us == without:
            print(f"ok    breakpoints set {when} the program runs: {with_us[1]}")
        else:
            failed += 1
            print(f"FAIL  breakpoints set {when} the program runs: {with_us}, without us {without}\n{said[-2000:]}")
    os.unlink(rounds)
    return failed


if "WHEN" in os.environ:
    import gdb
    inside(gdb)
else:
    sys.exit(main())
