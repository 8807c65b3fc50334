#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""contrib/gdb/anonname.py in a real gdb, beside a live process and its core: the names that anonname maps has.

usage: gdb.py   (in the build directory)
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "replay"))
from common import LIBRARY, SOURCE, check, cores_allowed, done, kernel_core, run

SCRIPT = os.path.join(SOURCE, "contrib", "gdb", "anonname.py")

# Some memory of each kind, and so many names that the registry has more than one leaf and segment.
PROGRAM = """
import ctypes, mmap, sys, threading, time
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
libc = ctypes.CDLL(None)
held = [mmap.mmap(-1, 1 << 20) for _ in range(3)]
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p] + [ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
memory = libc.mmap(None, 4096 * 1000, 3, 0x22, -1, 0)
for i in range(0, 1000, 2):
    name = ctypes.create_string_buffer(b"test:page%d" % i)
    libc.prctl(0x53564d41, 0, memory + 4096 * i, 4096, ctypes.addressof(name))
print(memory, flush=True)
sys.stdin.readline()
"""


def gdb(*commands, target=()):
    arguments = ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-iex", "set pagination off", *target, "-ex", f"source {SCRIPT}"]
    for command in commands:
        arguments += ["-ex", command]
    result = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
    return result.stdout, result.stderr


def regions(text):
    """What the commands print of regions: start, end, name and source."""
    found = re.findall(r"^ *0x([0-9a-f]+) +0x([0-9a-f]+) +0x[0-9a-f]+  (.*) \((kernel|registry)\)$", text, re.M)
    return {(int(start, 16), int(end, 16), name) for start, end, name, _ in found}


def registry_of(pid):
    text = run("maps", "--json", "--names", "registry", pid).stdout
    return {(one["start"], one["end"], one["name"]) for one in json.loads(text)["regions"] if one["source"] == "registry"}


def covered(parts, whole):
    """maps cuts at the edges of VMAs: each of its parts lies in a range of the registry with that name."""
    return [part for part in parts if not any(start <= part[0] and part[1] <= end and name == part[2] for start, end, name in whole)]


def check_one(where, target, wanted, memory):
    out, error = gdb("info anonname", f"info anonname {memory + 4096 * 6 + 100}", f"info anonname {memory + 4096 * 7}", "info proc mappings", target=target)
    found = regions(out)
    missing = covered(wanted, found)
    check(len(wanted) > 500 and not missing, f"{where}: all {len(wanted)} parts that anonname maps shows are named so: {missing[:3]} {error[-300:]}")
    check(len(found) <= len(wanted), f"{where}: and no more: {len(found)}")
    check(out.count("test:page6 (registry)") == 3 and f"{memory + 4096 * 6:#x}" in out, f"{where}: an address in the middle of a page has its name")
    check("Names of anonymous memory:" in out and out.index("Names of anonymous memory:") > out.rindex("objfile" if "objfile" in out else "Start Addr"),
          f"{where}: info proc mappings has the names below")
    check(not re.search(r"Traceback|Python Exception", error), f"{where}: no error: {error[-300:]}")


def main():
    if not shutil.which("gdb"):
        print("SKIP: there is no gdb")
        sys.exit(77)
    environment = dict(os.environ, LD_PRELOAD=LIBRARY, ANONNAME_SINK="registry")
    with tempfile.TemporaryDirectory() as directory:
        program = subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   text=True, cwd=directory, preexec_fn=cores_allowed)
        try:
            memory = int(program.stdout.readline())
            wanted = registry_of(program.pid)
            core = os.path.join(directory, "core.gdb")
            out, error = gdb(f"generate-core-file {core}", target=("-p", str(program.pid)))
            if "ptrace: Operation not permitted" in error:
                print("SKIP: no process may be attached to here")
                sys.exit(77)
            check_one("live", ("-p", str(program.pid)), wanted, memory)
            check_one("gdb's core", (sys.executable, core), wanted, memory)
            core = kernel_core(program, directory)
            if core:
                check_one("the kernel's core", (sys.executable, core), wanted, memory)
        finally:
            program.kill()
            program.wait()
    out, error = gdb("info anonname")
    check("no process" in error, f"without a process: {error.strip()}")
    done()


main()
