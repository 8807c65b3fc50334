#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Recorded /proc trees against expected outputs, huge ones, and terminals of every width.

The trees were recorded on Linux 6.1 from a program that names its memory as Go,
Android's and Chromium's libraries do; malformed was written by hand.
    replay.py [trees] [huge] [widths] [top]    only these parts

ANONNAME_TOOL=PATH: another build of the command, or a script that runs one.
With UPDATE=1 the expected outputs are written anew: read the difference before
it is committed.
"""
import fcntl
import json
import os
import pty
import resource
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

from common import LIBRARY, SOURCE, TOOL, check, done, run, skip

TREES = os.path.join(SOURCE, "tests", "replay", "trees")
VIEWS = {
    "report.txt": ["report"], "report.json": ["report", "--json"], "report.csv": ["report", "--csv"],
    "owner.txt": ["report", "--by", "owner", "--fold"], "kind.txt": ["report", "--by", "kind", "-o", "vmas,rss,pss,name"],
    "thread.txt": ["report", "--by", "thread", "-o", "rss,name", "--bytes"], "fold.txt": ["report", "--fold", "-o", "name,owner,kind", "--sort", "name"],
    "maps.txt": ["maps"], "maps.json": ["maps", "--json"], "snapshot.json": ["snapshot"],
}


def settled(view, text):
    """Without what a reading cost: it differs each time."""
    if view.endswith("json") and not view.startswith("maps"):
        value = json.loads(text)
        value.pop("cost", None)
        return json.dumps(value, indent=1) + "\n"
    return "".join(line + "\n" for line in text.splitlines() if not line.startswith("# "))


def trees():
    for tree in sorted(os.listdir(TREES)):
        pid = os.listdir(os.path.join(TREES, tree, "proc"))[0]
        for view, command in VIEWS.items():
            result = run(*command, "--root", os.path.join(TREES, tree), pid, env=dict(os.environ, LC_ALL="C.UTF-8"))
            text = settled(view, result.stdout)
            name = os.path.join(TREES, tree, "expected", view)
            if os.environ.get("UPDATE"):
                os.makedirs(os.path.dirname(name), exist_ok=True)
                with open(name, "w") as file:
                    file.write(text)
            with open(name) as file:
                check(result.returncode == 0 and file.read() == text, f"{tree}: {view} is as expected")
            check(not any(ord(c) < 32 and c != "\n" for c in text), f"{tree}: nothing unprintable in {view}")
        copy = os.path.join(TREES, tree, "proc", pid, "smaps")
        direct = settled("report.csv", run("report", "--csv", "--smaps", copy).stdout)
        with open(os.path.join(TREES, tree, "expected", "report.csv")) as file:
            check(file.read() == direct, f"{tree}: --smaps FILE gives the same")
        with open(copy, "rb") as file:
            whole = file.read()
        # Cut at each of many places: never a failure but of an empty list.
        bad = []
        # From where it is no list of process ids any more.
        for cut in range(24, len(whole), max(1, len(whole) // 40)):
            result = subprocess.run([TOOL, "report", "-"], input=whole[:cut], capture_output=True, timeout=60)
            if result.returncode not in (0, 1) or (result.returncode == 1 and b"no VMA" not in result.stderr):
                bad.append((cut, result.returncode, result.stderr))
        check(not bad, f"{tree}: cut anywhere, it is read {bad[:2]}")
    result = run("report", "--root", os.path.join(TREES, "go"), "1")
    check(result.returncode == 42, "a process that was not recorded is 42")
    result = run("report", "--root", os.path.join(TREES, "go"), "--all", "--json")
    check(len(json.loads(result.stdout)["processes"]) == 1, "--all reads the whole tree")


def block(i, name):
    start = 0x100000000 + i * 0x2000
    return (f"{start:x}-{start + 0x1000:x} rw-p 00000000 00:00 0 {name}\nSize: 4 kB\nRss: 4 kB\nPss: 4 kB\nShared_Clean: 0 kB\n"
            "Shared_Dirty: 0 kB\nPrivate_Clean: 0 kB\nPrivate_Dirty: 4 kB\nAnonymous: 4 kB\nSwap: 0 kB\nVmFlags: rd wr\n")


def stream(vmas, names):
    """Peak memory of the tool, in KiB, and its result."""
    process = subprocess.Popen([TOOL, "report", "--json", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for i in range(0, vmas, 1000):
        process.stdin.write("".join(block(k, f"[anon:name{k % names}]") for k in range(i, min(i + 1000, vmas))).encode())
    process.stdin.close()
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss, json.loads(output)


def huge():
    small, result = stream(2000, 50)
    # 11 lines a VMA: 128,000 lines and more.
    for vmas in (12000, 200000):
        size, result = stream(vmas, 50)
        check(result["total"]["vmas"] == vmas and result["total"]["rss"] == vmas * 4096, f"{vmas} VMAs are all counted")
        check(size < small + 2048, f"{vmas} VMAs take no more memory than 2000: {size} and {small} KiB")


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, rows, columns, *args):
        pid, self.fd = pty.fork()
        if pid == 0:
            os.environ["TERM"] = "xterm"
            os.environ["LC_ALL"] = "C.UTF-8"
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execv(TOOL, [TOOL, *map(str, args)])
        self.pid = pid
        self.text = b""

    def wait_for(self, what, seconds=20):
        end = time.monotonic() + seconds
        while what not in self.text and time.monotonic() < end:
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    got = os.read(self.fd, 65536)
                except OSError:
                    break
                if not got:
                    break
                self.text += got
        return what in self.text

    def send(self, keys):
        self.text = b""
        os.write(self.fd, keys)

    def resize(self, rows, columns):
        self.text = b""
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def end(self):
        self.wait_for(b"\0never", 0.5)
        for _ in range(100):
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                os.close(self.fd)
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.1)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        return None


def longest_line(terminal):
    lines = terminal.text.replace(b"\033[1m", b"").replace(b"\033[0m", b"").decode().replace("\r", "").split("\n")
    return max(len(line) for line in lines if not line.startswith("#") and not line.startswith("anonname"))


def widths():
    with tempfile.NamedTemporaryFile("w", suffix=".json") as before, tempfile.NamedTemporaryFile("w", suffix=".json") as after:
        # Two processes that have little in common, so that nearly every name is new or gone.
        for file, tree, pid in ((before, "chromium", 4711), (after, "android", 4711)):
            file.write(run("snapshot", "--root", os.path.join(TREES, tree), pid).stdout)
            file.flush()
        for columns in (40, 80):
            terminal = Terminal(24, columns, "diff", before.name, after.name)
            terminal.wait_for(b"TOTAL")
            code = terminal.end()
            header = terminal.text.decode().split("\r\n")[0]
            check(code == 0 and longest_line(terminal) <= columns and "PSS" in header and header.index("NAME") <= columns - 20,
                  f"diff in {columns} columns: the longest line has {longest_line(terminal)}")
    if os.path.exists(LIBRARY):
        terminal = Terminal(24, 40, "run", "--peak", "sleep", "0.3")
        terminal.wait_for(b"watching took")
        code = terminal.end()
        rows = [line for line in terminal.text.decode().split("\r\n") if line and not line.startswith(("#", "Highest", "Last"))]
        check(code == 0 and rows and max(map(len, rows)) <= 40, f"run --peak in 40 columns: the longest line has {max(map(len, rows or ['']))}")
    else:
        skip("run --peak in a terminal: no library in the build tree")
    for tree, pid in (("chromium", 4711), ("malformed", 1)):
        for columns in (20, 40, 80, 200):
            terminal = Terminal(24, columns, "report", "--root", os.path.join(TREES, tree), pid)
            terminal.wait_for(b"# 1 process")
            code = terminal.end()
            longest = longest_line(terminal)
            check(code == 0 and longest <= columns, f"report of {tree} in {columns} columns: the longest line has {longest}")


def top():
    for rows, columns in ((24, 80), (24, 40), (3, 10)):
        terminal = Terminal(rows, columns, "top", "-d", "0.5", os.getpid())
        ok = terminal.wait_for(b"PSS")
        terminal.send(b"q")
        check(ok and terminal.end() == 0, f"top draws in {columns}x{rows} and q ends it")
    terminal = Terminal(24, 80, "top", "-d", "0.5", os.getpid())
    check(terminal.wait_for(b"GROWTH"), "top shows growth")
    terminal.send(b"h")
    check(terminal.wait_for(b"freeze"), "top: h shows the keys")
    terminal.send(b" ")
    check(terminal.wait_for(b"named"), "top: a key goes back")
    terminal.send(b" ")
    check(terminal.wait_for(b"FROZEN"), "top: space freezes")
    terminal.send(b" b")
    check(terminal.wait_for(b"owner"), "top: b changes what rows are")
    terminal.send(b"/heap\n")
    check(terminal.wait_for(b"filter"), "top: / asks for a filter")
    for key in (b"p", b"r", b"u", b"s", b"g", b"t", b"n", b"f", b"\033[B", b"\033[6~", b"\033[A", b"\033[5~"):
        terminal.send(key)
    for size in ((10, 30), (2, 5), (50, 150)):
        terminal.resize(*size)
        terminal.wait_for(b"\0never", 0.3)
    check(terminal.wait_for(b"filter heap"), "top: still draws, and filters, after resizing")
    terminal.send(b"q")
    code = terminal.end()
    check(code == 0, f"top: q ends it, {code}")
    child = subprocess.Popen(["sleep", "60"])
    terminal = Terminal(24, 80, "top", "-d", "0.2", child.pid)
    terminal.wait_for(b"PSS")
    child.kill()
    child.wait()
    terminal.wait_for(b"ended")
    check(b"ended" in terminal.text and terminal.end() == 0, "top ends with its process")
    result = run("top", "-b", "-n", "2", "-d", "0.1", os.getpid())
    check(result.returncode == 0 and result.stdout.count("PER SEC") == 2, "top in a pipe prints two readings")
    result = run("top", "-b", "-n", "1", "--filter", "no such name", os.getpid())
    check(len(result.stdout.splitlines()) == 3, "top --filter leaves nothing but the header")


for part in sys.argv[1:] or ("trees", "huge", "widths", "top"):
    {"trees": trees, "huge": huge, "widths": widths, "top": top}[part]()
done()
