#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""report --folded, read as flamegraph.pl and inferno read it: frames up to the last blank, apart by semicolons, a number.

usage: folded.py   (in the build directory)
"""
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "replay"))
from common import Family, check, done, report, run

VMA = """{start:x}-{end:x} rw-p 00000000 00:00 0 {name}
Size: {size} kB
Rss: {size} kB
Pss: {size} kB
Private_Dirty: {size} kB
Anonymous: {size} kB
Swap: 0 kB
"""


def smaps(names):
    """A copy of smaps: a name, and its size in KiB."""
    at = 0x7f0000000000
    text = ""
    for name, size in names:
        text += VMA.format(start=at, end=at + size * 1024, size=size, name=name)
        at += size * 2048
    return text


def stacks(text):
    """As in flamegraph.pl: what stands behind the last blank is the number."""
    found = {}
    for line in text.splitlines():
        frames, number = line.rsplit(" ", 1)
        frames = tuple(frames.split(";"))
        found[frames] = found.get(frames, 0) + int(number)
    return found


def folded(*args, **options):
    result = run("report", "--folded", *args, **options)
    check(result.returncode == 0, f"report --folded {' '.join(map(str, args))} ends well")
    return stacks(result.stdout), result.stderr


def check_frames():
    text = smaps([("[anon:glibc:arena2:4711]", 64), ("[anon:glibc:arena3:4712]", 16), ("[anon:a;b: c d:e;f]", 8), ("[heap]", 4),
                  ("/usr/lib/x;\\012y.so", 12), ("[anon:tcmalloc_region_NORMAL]", 20), ("", 28), ("[anon:lone]", 32), ("[anon::x]", 36)])
    with tempfile.NamedTemporaryFile("w", suffix=".smaps") as file:
        file.write(text)
        file.flush()
        found, _ = folded("--smaps", file.name)
        wanted = {("smaps", "glibc", "arena2", "4711"): 64, ("smaps", "glibc", "arena3", "4712"): 16,
                  ("smaps", "a\\x3bb", "c d", "e\\x3bf"): 8, ("smaps", "[heap]"): 4, ("smaps", "[file]", "/usr/lib/x\\x3b\\012y.so"): 12,
                  ("smaps", "tcmalloc", "tcmalloc_region_NORMAL"): 20, ("smaps", "[anon]"): 28, ("smaps", "lone"): 32, ("smaps", "-", "x"): 36}
        check(found == {frames: size * 1024 for frames, size in wanted.items()}, f"frames of a copy of smaps: {found}")
        found, _ = folded("--fold", "--smaps", file.name)
        check(found.get(("smaps", "glibc", "arena*", "*")) == 80 * 1024, "--fold takes two arenas as one")
        found, said = folded("--sort", "pss_dirty", "--smaps", file.name)
        check(not found and "9 lines are missing" in said, f"an unknown figure has no line, and that is said: {said}")


def check_live():
    with Family("locked") as family:
        found, _ = folded("--sort", "rss", family.pid)
        total = report(family.pid)["total"]["rss"]
        check(sum(found.values()) == total, f"the lines add up to the process: {sum(found.values())}, {total}")
        check({frames[0] for frames in found} == {f"family {family.pid}"}, "each begins with the process and its id")


def check_usage():
    for args in (["--json"], ["--by", "owner"], ["--sort", "name"], ["--openmetrics"]):
        result = run("report", "--folded", *args, os.getpid())
        check(result.returncode == 2 and result.stderr.startswith("anonname report: "), f"--folded {' '.join(args)} is refused: {result.stderr.strip()}")


if __name__ == "__main__":
    check_frames()
    check_live()
    check_usage()
    done()
