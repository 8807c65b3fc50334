#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""view --perfetto, decoded by protoc with the public field numbers: what it holds is what the recording holds.

usage: perfetto.py   (in the build directory)
"""
import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile

from recording import Growing, end, moments, record, rows, wait_for, wait_more
from common import BUILD, TOOL, check, done, run

HERE = os.path.dirname(os.path.abspath(__file__))


def parsed(lines):
    """protoc's text as dictionaries of lists."""
    found = {}
    for line in lines:
        line = line.strip()
        if line == "}":
            return found
        if line.endswith("{"):
            found.setdefault(line[:-2], []).append(parsed(lines))
        else:
            key, value = line.split(": ", 1)
            found.setdefault(key, []).append(json.loads(value) if value[0] == '"' and "\\" not in value else value if value[0] == '"' else int(value))
    return found


def trace(path):
    """Its packets, and that protoc knows all that is in it."""
    result = subprocess.run([TOOL, "view", "--perfetto", path], capture_output=True, timeout=120)
    check(result.returncode == 0 and not result.stderr, f"view --perfetto ends well: {result.stderr}")
    text = subprocess.run(["protoc", f"--proto_path={HERE}", "--decode=Trace", "perfetto.proto"], input=result.stdout, capture_output=True, timeout=120)
    check(text.returncode == 0, f"protoc reads it: {text.stderr}")
    unknown = re.findall(rb"^ *\d+:.*", text.stdout, re.M)
    check(not unknown, f"no field that it does not know: {unknown[:3]}")
    return parsed(iter(text.stdout.decode().splitlines()))["packet"]


def with_body(packets, name):
    return [(packet["time"][0], packet[name][0]) for packet in packets if name in packet]


def check_counters(path, packets):
    """Replayed, they are the sums by owner that SQL finds in the recording at its end, and at any moment its PSS in all."""
    names = {track["id"][0]: track["name"][0] for _, track in with_body(packets, "track")}
    check(all(track["counter"][0]["unit"] == [3] for _, track in with_body(packets, "track")), "the counters are of bytes")
    wanted = dict(rows(path, "SELECT owner, sum(pss) FROM latest GROUP BY owner"))
    now, totals = {}, {}
    for time, event in with_body(packets, "event"):
        check(event["type"] == [4], "an event of a counter") if event["type"] != [4] else None
        now[names[event["track"][0]]] = event["value"][0]
        totals[time] = sum(now.values())
    check({name: value for name, value in now.items() if value} == {f"{owner}, PSS": size for owner, size in wanted.items() if size},
          f"the last values of {len(names)} counters are those of the recording")
    sums = {at * 1000000: pss for at, pss in rows(path, "SELECT at, pss FROM moment")}
    wrong = [(time, value, sums.get(time)) for time, value in totals.items() if sums.get(time) != value]
    check(not wrong and len(totals) > 2, f"at {len(totals)} moments they add up to all: {wrong[:3]}")


def check_smaps(path, packets, pid):
    smaps = with_body(packets, "smaps")
    last = smaps[-1][1]
    packed = last["packed"][0]
    columns = {"count": "vmas", "size": "size", "rss": "rss", "pss": "pss", "swap": "swap"}
    check(last["pid"] == [pid] and packed["type"] == [1] and packed["name"][0] == "", f"packed smaps of {pid}, the first name is the empty one")
    check(all(len(packed[column]) == len(packed["name"]) for column in columns), "all columns have the same length")
    found = {}
    for i, name in enumerate(packed["name"]):
        values = tuple(packed[column][i] for column in columns)
        found.setdefault(name, []).append(values)
    wanted = {}
    for name, *values in rows(path, f"SELECT name, {', '.join(columns.values())} FROM latest"):
        wanted.setdefault("" if name == "[anon]" else name, []).append(tuple(value if i == 0 else value // 1024 for i, value in enumerate(values)))
    wanted.setdefault("", [(0,) * len(columns)])
    check({name: sorted(values) for name, values in found.items()} == {name: sorted(values) for name, values in wanted.items()},
          f"{len(found)} names with their figures as the recording has them")
    check(len(smaps) in (2, 3), f"at the start, the peak and the end: {len(smaps)}")


def check_hostile(path):
    """Figures that are unknown, and times and texts that nobody wrote."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE change SET swap = NULL, pss = NULL")
        db.execute("UPDATE moment SET at = -5 WHERE id = (SELECT min(id) FROM moment)")
        db.execute("UPDATE moment SET at = 9223372036854775807 WHERE id = (SELECT max(id) FROM moment)")
        db.execute("UPDATE process SET comm = char(27) || 'x' || char(10), pid = -1")
        db.commit()
    packets = trace(path)
    packed = with_body(packets, "smaps")[-1][1]["packed"][0]
    check("swap" not in packed and "pss" not in packed and "rss" in packed, "an unknown figure has no column")
    times = [packet["time"][0] for packet in packets]
    check(min(times) == 0 and max(times) == 2 ** 63 - 1, f"times are cut: {min(times)} {max(times)}")


def main():
    if not shutil.which("protoc"):
        print("SKIPPED no trace is decoded: there is no protoc (package protobuf-compiler)")
        sys.exit(77)
    if not os.path.exists(os.path.join(BUILD, "tools", "anonname-record")):
        print("SKIPPED there is no anonname-record: it was built without SQLite")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as room:
        path = os.path.join(room, "one.db")
        with Growing() as growing:
            recorder = record(path, "-i", "50ms", growing.pid)
            wait_for(lambda: moments(path) >= 2)
            for _ in range(3):
                growing.say()
                wait_more(path)
            growing.say("less")
            wait_more(path)
            end(recorder)
            packets = trace(path)
            processes = with_body(packets, "processes")
            check(len(processes) == 1 and processes[0][1]["process"][0]["pid"] == [growing.pid] and
                  processes[0][1]["process"][0]["command"][0].startswith("python3"), f"the process: {processes}")
            check([clock["id"][0] for clock in with_body(packets, "clocks")[0][1]["clock"]] == [1, 6], "clocks")
            check_counters(path, packets)
            check_smaps(path, packets, growing.pid)
        check_hostile(path)
    check(run("view", "--perfetto").returncode == 2, "no recording")
    done()


main()
