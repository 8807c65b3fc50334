#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What is recognised from outside, against what the library says itself.

Each program runs with the library, which keeps its names in the registry: that
is the truth. The same process is then looked at from outside alone, and both
are compared range by range. A line a program: how much of its anonymous memory
that is there (RSS) is recognised, and of the ranges that both name how many
bytes have the same name. One wrong name fails.

Then the process is stopped, and is told the same; and neither reading may
change its faults, its resident memory or its page tables.
    compare.py [PROGRAM]...     only these, by their first word
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "replay"))
from common import LIBRARY, TOOL, check, done, skip

PYTHON = """
import threading, time
kept = [str(i) for i in range(200000)]; large = bytearray(20 << 20)
def work():
    own = [str(i) for i in range(1000)]; ready.release(); time.sleep(1000)
ready = threading.Semaphore(0)
for i in range(3): threading.Thread(target=work, daemon=True).start()
for i in range(3): ready.acquire()
print("ready", flush=True); time.sleep(1000)
"""
NODE = "let a = []; for (let i = 0; i < 300000; i++) a.push({i}); console.log('ready'); setTimeout(() => a, 1e6)"
JAVA = """
public class Ready { public static void main(String[] a) throws Exception {
    var kept = new java.util.ArrayList<String>(); for (int i = 0; i < 300000; i++) kept.add("x" + i);
    Thread.sleep(2000); System.out.println("ready"); Thread.sleep(1000000); } }
"""
PANEL = {
    "python3": (["-c", PYTHON], 0.95),
    "node": (["-e", NODE], 0.95),
    "java": (["-Xmx256m", "Ready.java"], 0.70),
    "perl": (["-e", "my @a = map { \"x$_\" } 1 .. 200000; $| = 1; print \"ready\\n\"; sleep 1000"], 0.95),
    "bash": (["-c", "a=$(printf %0900000d 1); echo ready; read x"], 0.80),
}

NEEDS = {"java": "javac"}       # it compiles its program


def maps(pid, names):
    """The regions with a name from there. What the library has for itself is in no other process."""
    text = subprocess.run([TOOL, "maps", "--json", "--names", names, str(pid)], check=True, stdout=subprocess.PIPE).stdout
    return [r for r in json.loads(text)["regions"] if r["anonymous"] and r["source"] in names.split(",") and not r["name"].startswith("anonname:")]


def same(truth, seen):
    """The library knows more (who asked for a chunk), and names some memory before it is known what it is for."""
    if truth.startswith("v8:") or truth.startswith("jvm:"):
        part, other = truth.split(":")[1], seen.split(":")[1]
        return truth.split(":")[0] == seen.split(":")[0] and (part in (other, "cage", "reserve", "heap") or truth == seen)
    return truth == seen or truth.startswith(seen + ":")


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


def state(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


def look(name, process, least):
    pid = process.pid
    truth = maps(pid, "registry")
    os.kill(pid, signal.SIGSTOP)
    while state(pid) != "T":
        time.sleep(0.01)
    before = unchanged(pid)
    seen = maps(pid, "outside")
    text = subprocess.run([TOOL, "report", "--json", "--names", "kernel,outside", str(pid)], check=True, stdout=subprocess.PIPE).stdout
    after = unchanged(pid)
    share = json.loads(text)["total"]["labelled"]
    right, wrong = compare(truth, seen)
    print(f"{name:8} {share:6.1%} of anonymous RSS named without the registry, {right >> 10} KiB as the library, {len(wrong)} ranges not")
    check(before == after, f"{name}: looked at, it is unchanged: {before}, {after}")
    check(not wrong, f"{name}: no name is wrong {wrong[:5] or ''}")
    check(right and share >= least, f"{name}: at least {least:.0%} are named")


def main():
    for name, (arguments, least) in PANEL.items():
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        if not shutil.which(NEEDS.get(name, name)):
            skip(f"{NEEDS.get(name, name)} is not installed")
            continue
        folder = os.environ.get("TMPDIR", "/tmp")
        source = os.path.join(folder, "Ready.java")
        with open(source, "w") as file:
            file.write(JAVA)
        process = subprocess.Popen([name] + arguments, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                   env=dict(os.environ, LD_PRELOAD=LIBRARY, ANONNAME_SINK="registry"))
        try:
            check(process.stdout.readline() == "ready\n", f"{name} runs")
            look(name, process, least)
        finally:
            process.kill()
            process.wait()
            os.unlink(source)


main()
done()
