#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Is each byte under the library that asked for it? Malloc by library against heaptrack, which walks every call's stack.

The same work is done under heaptrack and by library, and stopped at the same moment. Of heaptrack's blocks that are live then
each is given, by its recorded stack and the rules (label/malloc.rules), to who is charged, with the size that mimalloc makes of
it; that must be what is live under the library's name.
usage: charged.py   (in the build directory; needs heaptrack, zstd, nm)
"""
import bisect
import collections
import csv
import ctypes
import fnmatch
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "replay"))
from common import SOURCE, TOOL, check, done

HELD = 123457           # bytes of a block that says: here both are compared
KIB = 1024
SLACK = 8 * KIB, 0.002  # what a library may differ by: bytes, and of its own
PROGRAM = 0.02          # the program itself differs from run to run: its dictionaries, the variables of heaptrack
MOST_INNER = 3


# --- who is charged for a stack ------------------------------------------------------------------

ASK_FOR_OTHERS = ("libc.so.6", "libstdc++.so", "libgcc_s.so", "libheaptrack_preload.so")


def read_rules():
    rules = []
    with open(os.path.join(SOURCE, "src", "label", "malloc.rules"), encoding="ascii") as file:
        for line in file:
            if line.startswith("malloc "):
                words = dict(word.split("=", 1) for word in line.split()[1:])
                rules.append((words["lib"], words["sym"]))
    return rules


class Module:
    """An object that was mapped, and the functions that it exports."""
    rules = read_rules()

    def __init__(self, path):
        self.path, self.name = path, os.path.basename(path)
        self.for_others = self.name.startswith(ASK_FOR_OTHERS)
        self.patterns = [sym for lib, sym in self.rules if fnmatch.fnmatchcase(self.name, lib)]
        self.functions = []
        if self.patterns and not self.for_others and os.path.isabs(path):
            said = subprocess.run(["nm", "-D", "-S", "--defined-only", path], capture_output=True, text=True, check=False).stdout
            rows = [line.split() for line in said.split("\n")]
            self.functions = sorted((int(row[0], 16), int(row[1], 16), row[3].split("@")[0]) for row in rows if len(row) == 4 and row[2] in "TtWwiI")
        self.wraps = any(fnmatch.fnmatchcase(name, sym) for _, _, name in self.functions for sym in self.patterns)

    def charge(self, offset):
        """itself, caller or unknown: a function that is not exported may be a part of one that allocates for others."""
        if self.for_others:
            return "caller"
        if not self.wraps:
            return "itself"
        i = bisect.bisect_right(self.functions, (offset, 1 << 62, "")) - 1
        if i < 0 or offset >= self.functions[i][0] + self.functions[i][1]:
            return "unknown"
        start = self.functions[i][0]
        names = [name for at, _, name in self.functions if at == start]
        return "caller" if any(fnmatch.fnmatchcase(name, sym) for name in names for sym in self.patterns) else "itself"


class Stacks:
    """heaptrack's recording: modules, call paths, blocks."""

    def __init__(self, program, mapped):
        self.program, self.mapped = program, mapped
        self.known, self.where = {}, []         # modules by path; (start, end, base, module)
        self.paths = [(0, 0)]
        self.blocks = {}
        self.answers = {}

    def module(self, words):
        if words[2] == "-":
            self.where = []
            return
        path = self.program if words[2] == "x" else words[2]
        module = self.known.setdefault(path, Module(path))
        base, parts = int(words[3], 16), [int(word, 16) for word in words[4:]]
        for at, size in zip(parts[::2], parts[1::2]):
            bisect.insort(self.where, (base + at, base + at + size, base, path))

    def find(self, ip):
        i = bisect.bisect_right(self.where, (ip, 1 << 62, 0, "")) - 1
        if i < 0 or ip >= self.where[i][1]:
            return None, 0
        return self.known[self.where[i][3]], ip - self.where[i][2]

    def charged(self, path):
        """None: it is heaptrack's own."""
        if path not in self.answers:
            self.answers[path] = None if self.is_heaptracks(path) else self.climb(path)
        return self.answers[path]

    def climb(self, path):
        inner, first = 0, None
        while path:
            ip, path = self.paths[path]
            module, offset = self.find(ip - 1)
            name = module.name if module else os.path.basename(self.program)
            first = first or name
            charge = module.charge(offset) if module else "itself"
            if charge == "itself" or (charge == "unknown" and inner == MOST_INNER):
                return name
            inner += charge == "unknown"
        return first

    def read(self, lines):
        for line in lines:
            words = line.split()
            if not words:
                continue
            if words[0] == "m":
                self.module(words)
            elif words[0] == "t":
                self.paths.append((int(words[1], 16), int(words[2], 16)))
            elif words[0] == "+":
                size, path, at = (int(word, 16) for word in words[1:])
                if self.charged(path):
                    self.blocks[at] = (size, self.charged(path))
                if size == HELD:
                    return
            elif words[0] == "-":
                self.blocks.pop(int(words[1], 16), None)

    def is_heaptracks(self, path):
        """Asked by a library that it brought along: the program itself has none of that name."""
        module, _ = self.find(self.paths[path][0] - 1)
        return module and os.path.isabs(module.path) and os.path.realpath(module.path) not in self.mapped

    def live(self, size_of):
        bytes_ = collections.Counter()
        for size, name in self.blocks.values():
            bytes_[name] += size_of(size)
        return bytes_


# --- both runs -------------------------------------------------------------------------------------

def by_heaptrack(command, mapped, environment):
    with tempfile.TemporaryDirectory() as folder:
        to = os.path.join(folder, "recording")
        subprocess.run(["heaptrack", "--raw", "-o", to, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, env=environment)
        path = os.path.join(folder, os.listdir(folder)[0])
        stacks = Stacks(os.path.realpath(command[0]), mapped)
        with subprocess.Popen(["zstd", "-dc", path], stdout=subprocess.PIPE, text=True) as process:
            stacks.read(process.stdout)
            process.stdout.close()
            process.wait()
    size_of = ctypes.CDLL("libmimalloc.so.2").mi_good_size
    size_of.restype, size_of.argtypes = ctypes.c_size_t, [ctypes.c_size_t]
    return stacks.live(size_of)


def by_library(command, environment):
    with subprocess.Popen([TOOL, "run", "--by-library", "--", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env=environment) as process:
        process.stdout.readline()
        with open(f"/proc/{process.pid}/maps", encoding="ascii") as file:
            mapped = {line.split()[-1] for line in file}
        text = subprocess.run([TOOL, "report", "--csv", "--bytes", "-o", "name,live,pss", str(process.pid)], capture_output=True, text=True, check=True).stdout
        process.stdin.close()
        process.stdout.read()
    prefix = "mimalloc:lib:"
    return {row["name"][len(prefix):]: row for row in csv.DictReader(text.split("\n")) if row["name"].startswith(prefix)}, mapped


def compare(title, command, variables):
    environment = {**os.environ, **variables}
    ours, mapped = by_library(command, environment)
    theirs = by_heaptrack(command, mapped, environment)
    wrong = 0
    for name in sorted(set(ours) | set(theirs), key=lambda name: -theirs.get(name, 0)):
        row, should = ours.get(name, {"live": 0, "pss": 0}), theirs.get(name, 0)
        if row["live"] == "":
            # anonname heap could not add it up; its pages are known, and hold at least that.
            near = should <= int(row["pss"]) <= 2 * should + 1024 * KIB
            check(near, f"{title}: {name}, of which live is not known: PSS {int(row['pss']) / KIB:.0f} KiB, heaptrack {should / KIB:.0f}")
            wrong += 0 if near else should
            continue
        has = int(row["live"])
        near = abs(has - should) <= SLACK[0] + should * (PROGRAM if name == os.path.basename(command[0]) else SLACK[1])
        wrong += 0 if near else abs(has - should)
        if max(has, should) >= SLACK[0]:
            check(near, f"{title}: {name}: {has / KIB:.0f} KiB, heaptrack {should / KIB:.0f}")
    total = sum(theirs.values())
    check(wrong == 0 and total > 1024 * KIB, f"{title}: under a wrong name: {wrong} bytes of {total / KIB:.0f} KiB")


PYTHON = f"""
import ctypes, json, os, sqlite3, ssl
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
context = [ssl.create_default_context() for i in range(4)]
db = sqlite3.connect(":memory:")
db.execute("create table t(a, b)")
db.executemany("insert into t values(?, ?)", ((i, "x" * 100) for i in range(20000)))
kept = [json.loads(json.dumps({{"a": list(range(50)), "b": "y" * 2000}})) for i in range(300)]
libc.malloc({HELD})
os.write(1, b"ready\\n")
os.read(0, 1)
"""


def python():
    program = next((path for path in ("/usr/bin/python3.13", "/usr/bin/python3.11", "/usr/bin/python3") if os.path.exists(path)), sys.executable)
    compare("Python", [os.path.realpath(program), "-c", PYTHON], {"PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"})


def main():
    missing = [name for name in ("heaptrack", "zstd", "nm") if not shutil.which(name)]
    if missing:
        print(f"SKIP: there is no {missing[0]}: install heaptrack, zstd and binutils")
        return 77
    if not os.path.exists("malloc/.libs/libanonname.so.0"):
        print("SKIP: built without mimalloc: install libmimalloc-dev")
        return 77
    for variable in [name for name in os.environ if name.startswith("ANONNAME_")]:
        del os.environ[variable]
    python()
    return done()


sys.exit(main())
