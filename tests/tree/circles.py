#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The story reads one way: of what was built, no files call each other in a circle.

From room to room there is none at all; inside a room two files may know each
other, more may not, but for the room where calls enter: whichever comes first
starts all, and the start changes libc so that all come here. Looked at are the
symbols of the objects, as the linker does.
usage: circles.py   (in the build directory)
"""
import pathlib
import re
import shutil
import subprocess
import sys

MOST = 2
THE_WAY_IN = {"hook", "arch"}


def objects():
    """{source without its ending: object}: of libtool's, those for a shared library."""
    found = {}
    for path in pathlib.Path("src").rglob("*.o"):
        if path.parent.name != ".libs":
            continue
        match = re.match(r"lib(core|anonname|read)_la-(.*)\.o$", path.name)
        if match:
            found.setdefault(str(path.parent.parent / match.group(2)), path)
    return found


def symbols(path):
    """What it defines for others, and what it asks for."""
    defined, asked = set(), set()
    for line in subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout.splitlines():
        kind, name = line.split()[-2:]
        if kind == "U":
            asked.add(name)
        elif kind.isupper():
            defined.add(name)
    return defined, asked


def circles(edges):
    """Tarjan: groups of which each reaches each."""
    index, low, stack, groups = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for to in edges[node]:
            if to not in index:
                visit(to)
            if to in stack:
                low[node] = min(low[node], low[to])
        if low[node] == index[node]:
            group = [stack.pop()]
            while group[-1] != node:
                group.append(stack.pop())
            groups.append(sorted(group))

    for node in edges:
        if node not in index:
            visit(node)
    return [group for group in groups if len(group) > 1]


if not shutil.which("nm"):
    print("SKIP: no nm (apt-get install binutils)")
    sys.exit(77)
found = {file: symbols(path) for file, path in objects().items()}
if not found:
    print("SKIP: nothing is built")
    sys.exit(77)
# One definition a symbol in the library; src/read and src/recognise are another program's.
owners = {}
for file, (defined, _) in found.items():
    for name in defined:
        owners.setdefault(name, file)
edges = {file: sorted({owners[name] for name in asked if owners.get(name, file) != file}) for file, (_, asked) in sorted(found.items())}
failed = False
for group in circles(edges):
    rooms = {file.split("/")[1] for file in group}
    if (len(group) > MOST or len(rooms) > 1) and not rooms <= THE_WAY_IN:
        print("circles: these call each other in a circle: " + " ".join(group))
        failed = True
sys.exit(failed)
