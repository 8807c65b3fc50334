#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""report --pprof, read by Go's pprof and by Python's gzip: the same stacks and bytes as --folded has.

usage: pprof.py   (in the build directory)
"""
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile

from folded import folded, smaps
from common import TOOL, Family, check, done, run

NAMES = [("[anon:glibc:arena2:4711]", 64), ("[anon:glibc:arena3:4712]", 16), ("[anon:a;b: c d:e;f]", 8), ("[heap]", 4),
         ("/usr/lib/x;\\012y.so", 12), ("[anon:tcmalloc_region_NORMAL]", 20), ("", 28), ("[anon:lone]", 32), ("[anon::x]", 36)]


def profile(*args, **options):
    result = subprocess.run([TOOL, "report", "--pprof", *map(str, args)], capture_output=True, timeout=120, **options)
    check(result.returncode == 0, f"report --pprof {' '.join(map(str, args))} ends well: {result.stderr}")
    return result


def go(directory, data):
    """What Go's pprof reads: a list of stacks, the outermost frame first, their bytes, and the process ids."""
    path = os.path.join(directory, "profile.pb.gz")
    with open(path, "wb") as file:
        file.write(data)
    raw = subprocess.run(["go", "tool", "pprof", "-raw", path], capture_output=True, text=True, timeout=120)
    check(raw.returncode == 0, f"Go's pprof reads it: {raw.stderr.strip()}")
    samples, locations = raw.stdout.split("\nLocations\n")
    names = dict(re.findall(r"^ *(\d+): 0x0 (?:M=\d+ )?(.*) :0 s=0", locations, re.M))
    found = [(tuple(names[number] for number in reversed(ids.split())), int(size)) for size, ids in re.findall(r"^ *(\d+): ([\d ]+)$", samples, re.M)]
    return found, set(re.findall(r"pid:\[(\d+)\]", samples)), samples


def as_folded(found):
    """Frames as --folded writes them, which has no other way for a semicolon."""
    sums = {}
    for frames, size in found:
        frames = tuple(frame.replace(";", "\\x3b") for frame in frames)
        sums[frames] = sums.get(frames, 0) + size
    return sums


def check_stacks(directory):
    path = os.path.join(directory, "smaps")
    with open(path, "w") as file:
        file.write(smaps(NAMES))
    for more in ([], ["--fold"], ["--sort", "size"]):
        wanted, _ = folded(*more, "--smaps", path)
        found, _, _ = go(directory, profile(*more, "--smaps", path).stdout)
        check(as_folded(found) == wanted and len(found) >= 7, f"{' '.join(more)}: {len(found)} stacks as --folded has them")
    result = profile("--sort", "pss_dirty", "--smaps", path)
    check(b"9 stacks are missing" in result.stderr, f"an unknown figure has no stack, and that is said: {result.stderr}")
    check(not go(directory, result.stdout)[0], "and what is left is a profile")


def check_many(directory):
    """More than one block of gzip's, and than the first table of strings."""
    path = os.path.join(directory, "smaps")
    with open(path, "w") as file:
        file.write(smaps([(f"[anon:owner{chr(97 + i % 26)}:thing{i}:detail{i}]", 4 + i % 5) for i in range(3000)]))
    data = profile("--smaps", path).stdout
    check(len(gzip.decompress(data)) > 3 * 65536, f"{len(gzip.decompress(data))} bytes, their sum is right")
    found, _, _ = go(directory, data)
    check(sum(size for _, size in found) == sum(4 + i % 5 for i in range(3000)) * 1024 and len(set(found)) == 3000, f"{len(found)} stacks, all bytes")


def check_live(directory):
    with Family("locked") as family:
        found, pids, said = go(directory, profile("--sort", "rss", family.pid).stdout)
        check(pids == {str(family.pid)} and "rss/bytes" in said, f"the process is a label, the figure is said: {pids}")
        check(found and all(frames[0] == "family" for frames, _ in found), "each stack begins with the process")


def check_usage():
    check(run("report", "--pprof", "--json", os.getpid()).returncode == 2, "two formats")
    check(run("report", "--pprof", "--sort", "name", os.getpid()).returncode == 2, "a figure that is no number")
    check(run("report", "--pprof", "--by", "owner", os.getpid()).returncode == 2, "rows that it does not have")


def main():
    if not shutil.which("go"):
        print("SKIPPED no profile is read: there is no Go (package golang-go)")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as directory:
        check_stacks(directory)
        check_many(directory)
        check_live(directory)
    check_usage()
    done()


main()
