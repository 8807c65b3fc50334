#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""anonname record, read by Python's own SQLite: what it holds is what report says, at any moment that it is killed.

usage: recording.py [KILLS]   (in the build directory)
"""
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "replay"))
from common import MIB, TOOL, check, done, report, run, skip

FIGURES = ("vmas", "size", "rss", "pss", "uss", "swap")

# Maps a MiB for each line that it reads, and gives the first one back at "less".
GROWING = """
import mmap, sys
held = []
print("ready", flush=True)
for line in sys.stdin:
    if line.strip() == "less":
        held.pop(0).close()
    else:
        held.append(mmap.mmap(-1, 1 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        held[-1].write(b"x" * (1 << 20))
    print("done", flush=True)
"""


class Growing:
    def __enter__(self):
        self.process = subprocess.Popen([sys.executable, "-c", GROWING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.process.stdout.readline()
        self.pid = self.process.pid
        return self

    def say(self, what="more"):
        print(what, file=self.process.stdin, flush=True)
        self.process.stdout.readline()

    def __exit__(self, *unused):
        self.process.kill()
        self.process.wait()


def record(path, *args):
    return subprocess.Popen([TOOL, "record", "-o", path, *map(str, args)], stderr=subprocess.PIPE, text=True)


def rows(path, sql, *values):
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return db.execute(sql, values).fetchall()


def moments(path):
    try:
        return rows(path, "SELECT count(*) FROM moment")[0][0]
    except sqlite3.OperationalError:
        return 0


def wait_for(what, seconds=30):
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.02)
    return what()


def wait_more(path, more=2):
    before = moments(path)
    return wait_for(lambda: moments(path) >= before + more)


def end(recorder, how=signal.SIGTERM):
    recorder.send_signal(how)
    _, said = recorder.communicate(timeout=60)
    return recorder.returncode, said


def latest(path):
    """By name and kind: what the figures are now."""
    return {(name, kind): dict(zip(FIGURES, values)) for name, kind, *values in
            rows(path, "SELECT name, kind, vmas, size, rss, pss, uss, swap FROM latest")}


def check_same(path, pid, what):
    """How many share a page of a file is a matter of the moment: others come and go."""
    now = {(one["name"], one["kind"]): {figure: one[figure] for figure in FIGURES} for one in report(pid)["names"]}
    held = latest(path)
    wrong = [key for key in now.keys() | held.keys() if key not in now or key not in held or any(
        now[key][figure] != held[key][figure] for figure in FIGURES if key[1] != "file" or figure not in ("pss", "uss"))]
    check(not wrong, f"{what}: the recording holds what report says: {[(key, now.get(key), held.get(key)) for key in wrong[:3]]}")


def check_growth(room):
    path = os.path.join(room, "growth.db")
    with Growing() as growing:
        recorder = record(path, "-i", "50ms", growing.pid)
        wait_for(lambda: moments(path) >= 2)
        for _ in range(3):
            growing.say()
        wait_for(lambda: rows(path, "SELECT max(rss) FROM moment")[0][0] - rows(path, "SELECT rss FROM moment LIMIT 1")[0][0] >= 3 * MIB)
        wait_more(path)
        check_same(path, growing.pid, "while it is recorded")
        growing.say("less")
        first, most = rows(path, "SELECT min(rss), max(rss) FROM moment")[0]
        wait_for(lambda: rows(path, "SELECT rss FROM moment ORDER BY id DESC LIMIT 1")[0][0] <= most - MIB)
        code, said = end(recorder)
        check(code == 0 and not said, f"SIGTERM ends it well: {code} {said}")
        check_same(path, growing.pid, "at the end")
        grown = rows(path, "SELECT sum(growth), sum(peak) - sum(first) FROM growth WHERE kind <> 'file'")[0]
        check(2 * MIB <= grown[0] < 3 * MIB <= grown[1], f"select from growth: 2 MiB more, 3 MiB at most: {grown}")
        check_readers(path, first)
        check_again(path, growing.pid)


def check_readers(path, first):
    """view and diff against the tables."""
    result = run("view", "--json", path)
    seen = json.loads(result.stdout)
    check(len(seen["moments"]) == moments(path) and seen["moments"][0]["rss"] == first, "view has every moment")
    last = {}
    for name, kind, bytes_ in rows(path, "SELECT name, kind, sum(pss) FROM latest GROUP BY name, kind"):
        last[name, kind] = bytes_
    check({(one["name"], one["kind"]): one["last"] for one in seen["names"] if one["last"]} == {key: value for key, value in last.items() if value},
          "its last figures are the latest changes")
    at = {}
    for when in ("start", "peak", "end", "+0s", "-0s"):
        result = run("view", "--at", when, path)
        at[when] = json.loads(result.stdout)["total"]["rss"] if result.returncode == 0 else result.stderr
    check(at["start"] == first and at["peak"] - first >= 3 * MIB and first + 2 * MIB <= at["end"] < at["peak"], f"view --at: {at}")
    difference = json.loads(run("diff", "--json", path + "@start", path + "@peak").stdout)
    check(difference["total"]["rss"] == at["peak"] - at["start"], "diff FILE@start FILE@peak is their difference")
    check(run("diff", path + "@start", path).returncode == 0, "without a time it is the end")
    for wrong in ("noon", "+", "99:99", ""):
        result = run("diff", path + "@" + wrong, path)
        check(result.returncode == 1 and "is no" in result.stderr, f"@{wrong} is refused: {result.stderr.strip()}")
    text = run("view", "-n", "3", path).stdout
    check("highest PSS" in text and "NAME, by growth of its PSS" in text and text.count("\n") <= 22, "the text has moments and growth")


def check_again(path, pid):
    """One that is there goes on, and is one's own."""
    before = moments(path)
    recorder = record(path, "-i", "50ms", pid)
    wait_more(path)
    other = record(path, pid)
    _, said = other.communicate(timeout=60)
    check(other.returncode == 1 and "another anonname record" in said, f"two cannot write one: {said.strip()}")
    end(recorder)
    check(moments(path) > before, "a recording goes on")
    check_same(path, pid, "after it went on")


def check_names(path):
    names = rows(path, "SELECT name, kind, count(*) FROM name GROUP BY name, kind HAVING count(*) > 1")
    check(not names, f"each name is there once: {names}")
    check(rows(path, "PRAGMA integrity_check") == [("ok",)] and rows(path, "PRAGMA user_version") == [(1,)], "the file is whole")


def check_kept(room):
    path = os.path.join(room, "kept.db")
    with Growing() as growing:
        recorder = record(path, "-i", "20ms", "--keep", "1s", growing.pid)
        wait_for(lambda: moments(path) >= 2)
        growing.say()
        wait_for(lambda: rows(path, "SELECT min(id) FROM moment")[0][0] > 1)
        wait_more(path)
        end(recorder)
        check(rows(path, "SELECT min(id) FROM moment")[0][0] > 1, f"--keep forgets what is older")
        check_same(path, growing.pid, "after that")
        check_names(path)


def check_killed(room, times):
    path = os.path.join(room, "killed.db")
    wrong, written = [], 0
    with Growing() as growing:
        for i in range(times):
            recorder = record(path, "-i", "1ms", "-f", growing.pid, os.getpid())
            time.sleep(random.uniform(0, 0.3))
            growing.say("more" if i % 2 else "less" if i else "more")
            recorder.kill()
            recorder.communicate()
            if not os.path.exists(path):
                continue
            copy = os.path.join(room, "copy.db")
            for ending in ("", "-wal"):
                if os.path.exists(path + ending):
                    shutil.copy(path + ending, copy + ending)
            with contextlib.closing(sqlite3.connect(copy)) as db:
                whole = db.execute("PRAGMA integrity_check").fetchone()[0]
                count = db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'moment'").fetchone()[0] and db.execute("SELECT count(*) FROM moment").fetchone()[0]
            if whole != "ok" or count < written:
                wrong.append((whole, count, written))
            written = count
            for ending in ("", "-wal", "-shm"):
                if os.path.exists(copy + ending):
                    os.unlink(copy + ending)
    check(not wrong and written > 0, f"killed {times} times, the file is whole and has what it had: {written} moments {wrong}")


def check_full(room):
    where = os.path.join(room, "small")
    os.mkdir(where)
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", where], stderr=subprocess.DEVNULL).returncode:
        skip("a full disk: a file system cannot be mounted here")
        return
    try:
        path = os.path.join(where, "full.db")
        with Growing() as growing:
            recorder = record(path, "-i", "1ms", "-d", "60s", growing.pid)
            end_at = time.monotonic() + 50
            while recorder.poll() is None and time.monotonic() < end_at:
                growing.say("more")
                growing.say("less")
            _, said = recorder.communicate(timeout=60)
        check(recorder.returncode == 1 and "full" in said, f"a full disk ends it with a message: {recorder.returncode} {said.strip()}")
        check(moments(path) > 5 and run("view", path).returncode == 0, f"what was recorded is kept: {moments(path)} moments")
    finally:
        subprocess.run(["umount", where])


def check_command(room):
    path = os.path.join(room, "command.db")
    result = run("record", "-o", path, "-i", "20ms", "--", "/bin/sh", "-c", "sleep 1 & wait")
    check(result.returncode == 0 and {"sh", "sleep"} <= {name for name, in rows(path, "SELECT comm FROM process")}, f"a command and what it starts: {result.stderr}")
    check(rows(path, "SELECT count(*) FROM process WHERE comm LIKE 'anonname%'") == [(0,)], "and not the recorder")


def check_refused(room):
    path = os.path.join(room, "other")
    with open(path, "w") as file:
        file.write("a text\n")
    before = open(path).read()
    result = run("record", "-o", path, "-d", "1s", os.getpid())
    check(result.returncode == 1 and open(path).read() == before, f"another file is left alone: {result.stderr.strip()}")
    with sqlite3.connect(path + ".db") as db:
        db.execute("CREATE TABLE a(b)")
    result = run("record", "-o", path + ".db", "-d", "1s", os.getpid())
    check(result.returncode == 1 and "no recording" in result.stderr, f"so is another database: {result.stderr.strip()}")
    check(run("view", path + ".db").returncode == 1 and run("view", path + ".none").returncode == 1, "which view does not take either")
    check(run("record", "-o", path + "2", 2 ** 31 - 1).returncode == 42, "no such process")
    result = run("record", "-o", path + "3", "-d", "1s", "--", "/no/such/program")
    check(result.returncode == 1 and result.stderr.count("cannot be run") == 1, f"no such command: {result.stderr.strip()}")
    check(run("record").returncode == 2 and run("view").returncode == 2, "nothing given")


def main():
    if not os.path.exists(os.path.join(os.path.dirname(TOOL), "anonname-record")):
        print("SKIP: anonname record is not built (SQLite)")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as directory:
        check_growth(directory)
        check_names(os.path.join(directory, "growth.db"))
        check_kept(directory)
        check_killed(directory, int(sys.argv[1]) if len(sys.argv) > 1 else 20)
        check_full(directory)
        check_command(directory)
        check_refused(directory)
    done()


if __name__ == "__main__":
    main()
