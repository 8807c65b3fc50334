#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Situations of people who read maps, smaps and pagemap, after public reports: each has a right answer, or is refused with a reason.

    readers.py [WORD]    only the tests whose name holds WORD
"""
import os
import subprocess
import sys
import tempfile

from common import FAMILY, check, done, run, skip

FIELDS = ("Size", "Rss", "Pss", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty", "Referenced", "Anonymous")


def vma(header, *kib, fields=FIELDS, flags="rd wr mr mw me ac"):
    """A VMA of smaps: its header line and the fields, in KiB."""
    lines = [header] + [f"{name + ':':16}{value:8} kB" for name, value in zip(fields, kib)]
    return "\n".join(lines + ([f"VmFlags: {flags} "] if flags else [])) + "\n"


def record(root, pid, comm, smaps=None, maps=None, **files):
    """A process of a recorded tree."""
    directory = os.path.join(root, "proc", str(pid))
    os.makedirs(directory, exist_ok=True)
    files.setdefault("stat", f"{pid} ({comm}) S 1 1 1 0 -1 4194304 " + "0 " * 12 + "7 0 0 0 0 0 0 0 0\n")
    files.update(comm=comm + "\n", smaps=smaps, maps=maps)
    for name, text in files.items():
        if text is not None:
            path = os.path.join(directory, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", newline="") as file:
                file.write(text)


SMALL = vma("7f0000000000-7f0000100000 rw-p 00000000 00:00 0 ", 1024, 4, 4, 0, 0, 0, 4, 4, 4)


def many_children_recorded():
    """A list of children of more than one read, cut where a number would become another process."""
    with tempfile.TemporaryDirectory() as root:
        children = list(range(100000, 102730)) + [1234567]
        record(root, 10, "parent", SMALL, **{"task/10/children": " ".join(map(str, children)) + " "})
        for pid in (12, 100000, 102729, 1234567):
            record(root, pid, "stranger" if pid == 12 else "child", SMALL, **{f"task/{pid}/children": ""})
        result = run("report", "--root", root, "--tree", 10, "--by", "process", "-o", "rss,name")
        names = [line.split(None, 1)[1] for line in result.stdout.splitlines()[1:-2]]
        check(set(names) == {"10 parent", "100000 child", "102729 child", "1234567 child"}, f"many children, recorded: {names}")
        record(root, 10, "parent", SMALL, **{"task/10/children": "100000 x1 1234567 "})
        result = run("report", "--root", root, "--tree", 10)
        check(result.returncode == 1 and "could not be read" in result.stderr, f"a list of children that is none: {result.stderr.strip()}")


def many_children():
    process = subprocess.Popen([FAMILY, "children", "3500"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    pid = int(process.stdout.readline())
    result = run("snapshot", "--tree", pid)
    found = result.stdout.count('"comm": "family"')
    check(found == 3501, f"3,500 children and their parent: {found} {result.stderr.strip()}")
    process.kill()
    process.communicate()


TESTS = [many_children_recorded, many_children]

if __name__ == "__main__":
    for test in TESTS:
        if len(sys.argv) < 2 or sys.argv[1] in test.__name__:
            test()
    done()
