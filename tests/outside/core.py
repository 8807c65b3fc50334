#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""--core against the process that the core is of: what the map, the report and the
snapshot say of it, with names recognised and from the registry. Cores are gcore's
and, where it writes them plainly (as in tests/replay/live-vm.sh), the kernel's;
whole, cut off at many places, and none at all.

usage: core.py [kernel]   (in the build directory; kernel: gdb is not asked)
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "replay"))
from common import LIBRARY, check, cores_allowed, done, kernel_core, run, skip

PROGRAM = """
import sys, threading, time
kept = [str(i) for i in range(200000)]; large = bytearray(b"x" * (20 << 20))
def work():
    own = [str(i) for i in range(1000)]; ready.release(); time.sleep(1000)
ready = threading.Semaphore(0)
for i in range(3): threading.Thread(target=work, daemon=True).start()
for i in range(3): ready.acquire()
print("ready", flush=True); sys.stdin.readline()
"""
CUTS = [0, 1, 63, 64, 100, 1000, 5000, 20000, 100000, 1 << 20, 10 << 20, 20 << 20]


def named(*arguments):
    """
    The parts of the map with a name of that memory, but for the kernel's own; and for threads' names, and
    whether one has ended, which no core has.
    """
    def in_core(r):
        threads = r["name"].startswith("stack:") or (r["source"] == "outside" and r["name"].startswith("glibc:arena"))
        return ":".join(r["name"].split(":")[:2]) if threads else r["name"]
    regions = json.loads(run("maps", "--json", *arguments).stdout)["regions"]
    return {(r["start"], r["end"], in_core(r))
            for r in regions if r["anonymous"] and r["name"] and r["source"] != "kernel"}


def pages(regions):
    """Whoever writes a core joins mappings, and gives a guard other rights."""
    return {(page, name) for start, end, name in regions for page in range(start, end, 4096)}


def kernel_names(*arguments):
    regions = json.loads(run("maps", "--json", *arguments).stdout)["regions"]
    return {(r["start"], r["end"], r["name"]) for r in regions if r["name"] in ("[heap]", "[stack]", "[vdso]")}


def totals(command, *arguments):
    result = json.loads(run(command, "--json", *arguments).stdout)["total"]
    return result["anon_rss"], result["labelled"]


def near(a, b):
    return a is not None and abs(a - b) <= max(a, b) / 50


def compare(what, core, pid, wanted, kernels, live):
    for source, names in wanted.items():
        found, truth = pages(named("--names", source, "--core", core)), pages(names)
        lost = {page for page in truth - found}
        check(found <= truth, f"{what}: no name of {source} is another than in the process {sorted(found - truth)[:3]}")
        check(len(lost) <= len(truth) / 100, f"{what}: and {source} has {len(found)} of {len(truth)} pages")
    check(kernel_names("--core", core) == kernels, f"{what}: [heap], [stack] and [vdso] are where they were")
    for command in ("report", "snapshot"):
        rss, labelled = totals(command, "--core", core)
        check(near(rss, live[0]), f"{what}: anonymous RSS of {command} is {rss}, of the process {live[0]}")
        check((labelled or 0) > 0.95, f"{what}: {labelled} of it is named")
    csv = run("report", "--csv", "-o", "rss,pss,name", "--core", core).stdout.splitlines()
    check(all(line.split(",")[1] == "" for line in csv[1:]), f"{what}: what a core cannot tell is empty")
    text = run("maps", "--core", core, "%x" % next(s for s, e, n in kernels if n == "[heap]")).stdout
    check("[heap]" in text, f"{what}: an address is looked up")
    result = run("maps", "--core", core, pid, "1000")
    check(result.returncode == 2, f"{what}: and a process beside it is refused")


def cut_off(core, directory):
    part = os.path.join(directory, "part")
    for size in CUTS:
        with open(core, "rb") as whole, open(part, "wb") as file:
            file.write(whole.read(size))
        for command in ("maps", "report", "snapshot"):
            result = run(command, "--core", part)
            said = "no core file" in result.stderr or "ends before" in result.stderr or "is cut off" in result.stderr
            if not (said and result.returncode in (0, 1) and bool(result.stdout) == (result.returncode == 0)):
                check(False, f"{command} of the first {size} bytes: {result.returncode} {result.stderr}")
    check(True, f"of {len(CUTS)} cores that are cut off it is said, and what is there is shown")


def refused(directory):
    for path in ("/bin/sh", "/dev/zero", directory, os.path.join(directory, "none")):
        result = run("report", "--core", path)
        check(result.returncode == 1 and result.stderr and not result.stdout, f"{path} is refused: {result.stderr.strip()}")
    check(run("report", "--core", "/bin/sh", "--root", directory).returncode == 1, "--root goes not with it")
    check(run("report", "--core", "/bin/sh", "--heap").returncode == 2, "nor does --heap")


def gdb_core(pid, directory):
    core = os.path.join(directory, "core.gdb")
    result = subprocess.run(["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-p", str(pid), "-ex", f"generate-core-file {core}"],
                            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    if not os.path.exists(core):
        skip("gdb wrote no core: " + result.stderr[-300:])
        return None
    return core


def one(what, environment):
    with tempfile.TemporaryDirectory() as directory:
        program = subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   text=True, cwd=directory, preexec_fn=cores_allowed)
        try:
            program.stdout.readline()
            sources = ("registry", "outside") if "LD_PRELOAD" in environment else ("outside",)
            wanted = {source: named("--names", source, program.pid) for source in sources}
            kernels, live = kernel_names(program.pid), totals("report", program.pid)
            core = gdb_core(program.pid, directory) if "kernel" not in sys.argv and shutil.which("gdb") else None
            if core:
                compare(f"gdb's core of {what}", core, program.pid, wanted, kernels, live)
                cut_off(core, directory)
            core = kernel_core(program, directory)
            if core:
                compare(f"the kernel's core of {what}", core, program.pid, wanted, kernels, live)
                cut_off(core, directory)
            refused(directory)
        finally:
            program.kill()
            program.wait()


def main():
    if "kernel" not in sys.argv and not shutil.which("gdb"):
        skip("there is no gdb, so no gcore")
    one("a process", {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"})
    one("a process with the library", dict(os.environ, LD_PRELOAD=LIBRARY, ANONNAME_SINK="registry"))
    done()


main()
