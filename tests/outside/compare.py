#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What is recognised from outside, against what the library says itself.

Each program runs twice. Without the library: how much of its memory that is
there (RSS, without files) is recognised; looking may not change its faults, its
resident memory or its page tables. With the library, which keeps its names in
the registry, and that is the truth: of the ranges that both name, how many bytes
have the same name. One wrong name fails. Static programs have no library.

    compare.py [--all | PROGRAM...]     a few, all, or these of programs.py
"""
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "replay"))
from common import LIBRARY, TOOL, check, done, skip, state_of

import programs
from programs import panel

def maps(pid, names):
    """The regions with a name from there. What the library has for itself is in no other process."""
    text = subprocess.run([TOOL, "maps", "--json", "--names", names, str(pid)], check=True, stdout=subprocess.PIPE).stdout
    return [r for r in json.loads(text)["regions"] if r["anonymous"] and r["source"] in names.split(",") and not r["name"].startswith("anonname:")]


def same(truth, seen):
    """The library knows more (who asked for a chunk), and names some memory before it is known what it is for."""
    if truth.startswith("v8:") or truth.startswith("jvm:"):
        part, other = truth.split(":")[1], seen.split(":")[1]
        return truth.split(":")[0] == seen.split(":")[0] and (part in (other, "cage", "reserve", "heap") or truth == seen)
    # From 8.2 on PHP names its own memory, and that name wins inside.
    return truth == seen or truth.startswith(seen + ":") or (truth, seen) == ("zend_alloc", "php:heap")


def compare(truth, seen):
    right, wrong = 0, []
    for s in seen:
        for t in truth:
            low, high = max(s["start"], t["start"]), min(s["end"], t["end"])
            if low < high and same(t["name"], s["name"]):
                right += high - low
            elif low < high:
                wrong.append(f"{low:x}-{high:x} is {t['name']}, recognised as {s['name']}")
    return right, wrong


def unchanged(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    with open(f"/proc/{pid}/status") as file:
        tables = re.search(r"VmPTE:\s*(\d+)", file.read())[1]
    return {"minor faults": fields[7], "resident pages": fields[21], "page tables": tables}


def misplaced(pid):
    """What the program says of its own addresses, and is not recognised as that."""
    seen = maps(pid, "outside") if programs.places.get(pid) else []
    names = [(name, at, [r["name"] for r in seen if r["start"] <= at < r["end"]]) for name, at in programs.places.pop(pid, [])]
    return [f"{at:x} is {name}, recognised as {found}" for name, at, found in names if found != [name]]


def share(pid):
    """How much of its anonymous memory has a name that no registry gave; looking may change nothing in it."""
    os.kill(pid, signal.SIGSTOP)
    while state_of(pid) != "T":
        time.sleep(0.01)
    before = unchanged(pid)
    text = subprocess.run([TOOL, "report", "--json", "--names", "kernel,outside", str(pid)], check=True, stdout=subprocess.PIPE).stdout
    after = unchanged(pid)
    os.kill(pid, signal.SIGCONT)
    check(before == after, f"process {pid} is unchanged when it was looked at: {before}, {after}")
    wrong = misplaced(pid)
    check(not wrong, f"process {pid}: its own addresses have the right names {wrong[:5] or ''}")
    total = json.loads(text)["total"]
    return total["anon_rss"], total["named_rss"], json.loads(text)["cost"]["seconds"]


def of_panel(begin, library, look):
    """What look says of each process of the program that has memory."""
    panel.LIBRARY = library
    with tempfile.TemporaryDirectory() as tmp, contextlib.closing(begin(tmp)) as steps:
        return [answer for answer in (unless_gone(look, pid) for pid in panel.with_children(next(steps))) if answer]


def unless_gone(look, pid):
    """A server's workers come and go; one that was stopped stays."""
    try:
        return look(pid)
    except ProcessLookupError:
        return None


def both(pid):
    """Names change while a program works."""
    os.kill(pid, signal.SIGSTOP)
    while state_of(pid) != "T":
        time.sleep(0.01)
    answer = compare(maps(pid, "registry"), maps(pid, "outside"))
    os.kill(pid, signal.SIGCONT)
    return answer


def look(name, begin, least):
    shares = of_panel(begin, "", share)
    rss, named = (sum(s[i] for s in shares) for i in (0, 1))
    known = of_panel(begin, LIBRARY, both)
    right, wrong = sum(r for r, _ in known), [w for _, more in known for w in more]
    print(f"{name:14} {len(shares):9} {rss >> 10:10} {named / rss:10.2%} {right >> 10:10} {len(wrong):6} {(rss - named) >> 10:11} {1000 * max(s[2] for s in shares):6.1f}", flush=True)
    check(not wrong, f"{name}: no name is wrong {wrong[:5] or ''}")
    check(named >= least * rss, f"{name}: at least {least:.0%} are named")


def main():
    words = [w for w in sys.argv[1:] if w != "--all"]
    os.environ["ANONNAME_SINK"] = "registry"
    print(f"{'program':14} processes    RSS KiB  recognised  right KiB  wrong unnamed KiB cost ms")
    for name, begin, least, daily in programs.PROGRAMS:
        if words and name not in words or not (words or daily or "--all" in sys.argv):
            continue
        try:
            look(name, begin, least)
        except panel.Missing as missing:
            skip(f"{missing} is not installed")


main()
done()
