#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""anonname watch, beside a control group that a program really drives into its limit, and beside recorded files.

usage: watch.py [real]   (in the build directory; as root for the control group, of version 1 or 2, whichever is there)
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "replay"))
from common import MIB, SOURCE, TOOL, check, done, run, skip

GROUPS = "/sys/fs/cgroup"
OLD = os.path.join(GROUPS, "memory")

# Joins the group, says so, waits, takes so many MiB, waits again, then takes more until it is killed.
EATER = """
import sys
open(sys.argv[1] + "/cgroup.procs", "w").write("0")
print("in", flush=True)
held = []
while True:
    if len(held) in (0, int(sys.argv[2])):
        sys.stdin.readline()
    held.append(bytearray(b"x") * (1 << 20))
"""


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w") as file:
        file.write(str(text))
    os.rename(path + ".new", path)


def snapshots(directory):
    """All that have their own name, by it: each must be whole."""
    found = {}
    for name in sorted(os.listdir(directory)):
        if not re.fullmatch(r"anonname-\d{8}-\d{6}\.\d{3}-.*\.json", name):
            continue
        with open(os.path.join(directory, name)) as file:
            found[name] = json.load(file)
    return found


def check_schema(snapshot):
    try:
        import jsonschema
    except ImportError:
        skip("the snapshot is not held against the schema: Python's jsonschema is missing (python3-jsonschema)")
        return
    with open(os.path.join(SOURCE, "doc", "anonname.schema.json")) as file:
        jsonschema.validate(snapshot, json.load(file))


class Watch:
    """anonname watch, in a directory of its own."""

    def __init__(self, *args):
        self.directory = tempfile.mkdtemp()
        self.process = subprocess.Popen([TOOL, "watch", "-o", self.directory, "-i", "20ms", *map(str, args)], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.directory)

    def said(self, timeout=60):
        """What it said, once it has ended by itself."""
        try:
            return self.process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.communicate()

    def wait_for(self, count, timeout=60):
        end = time.monotonic() + timeout
        while len([name for name in os.listdir(self.directory) if name.endswith(".json")]) < count and time.monotonic() < end:
            time.sleep(0.02)
        return snapshots(self.directory)

    def stays_at(self, count):
        """Nothing is written in a time in which it looks many times."""
        time.sleep(1)
        return len(snapshots(self.directory)) == count


# --- recorded files ------------------------------------------------------------------

class Tree:
    """What --root reads: this test's own process in one group of version 2."""

    def __init__(self):
        self.root = tempfile.mkdtemp()
        pid = str(os.getpid())
        for name in ("stat", "status", "smaps", "maps", "cgroup", "cmdline"):
            with open(f"/proc/{pid}/{name}") as file:
                write(os.path.join(self.root, "proc", pid, name), file.read())
        self.group("a.slice", current=0, high="max", max="max", procs="")
        self.group("a.slice/b.service", current=10 * MIB, high="max", max=100 * MIB, procs=pid + "\n")
        self.stat(0)
        self.pressure(0)

    def group(self, name, procs=None, **values):
        where = os.path.join(self.root, "sys", "fs", "cgroup", name)
        for key, value in values.items():
            write(os.path.join(where, "memory." + key), f"{value}\n")
        if procs is not None:
            write(os.path.join(where, "cgroup.procs"), procs)

    def stat(self, inactive):
        self.group("a.slice/b.service", stat=f"anon 1\nfile 2\ninactive_file {inactive}\nactive_file 3")

    def pressure(self, percent):
        text = f"some avg10={percent:.2f} avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
        write(os.path.join(self.root, "proc", "pressure", "memory"), text)
        self.group("a.slice/b.service", pressure=text)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        shutil.rmtree(self.root)


def check_limits():
    with Tree() as tree, Watch("--root", tree.root, "--cool-down", "1ms") as watch:
        check(watch.stays_at(0), "nothing is written while all is well")
        tree.group("a.slice/b.service", current=95 * MIB)
        found = list(watch.wait_for(1).items())
        check(len(found) == 1 and found[0][0].endswith("-b.service.json"), f"a group near memory.max: {[name for name, _ in found]}")
        check(found and found[0][1]["reason"] == "/a.slice/b.service uses 95.0M, 95 % of its memory.max of 100M", f"the reason: {found and found[0][1]['reason']}")
        check(found and [one["pid"] for one in found[0][1]["processes"]] == [os.getpid()], "it is of the group's processes")
        check_schema(found[0][1])
        check(watch.stays_at(1), "it is written once")
        tree.group("a.slice/b.service", current=96 * MIB)
        check(len(watch.wait_for(2)) == 2, "and again when it is worse and the cool-down is over")
        tree.group("a.slice/b.service", current=10 * MIB)
        check(watch.stays_at(2), "not when it is well again")
        tree.stat(20 * MIB)
        tree.group("a.slice/b.service", current=99 * MIB)
        check(watch.stays_at(2), "file pages that nobody used lately do not count")
        tree.stat(0)
        check(len(watch.wait_for(3)) == 3, "the rest does")
        tree.group("a.slice/b.service", current=60 * MIB, high=50 * MIB)
        check("memory.high of 50.0M" in list(watch.wait_for(4).values())[-1]["reason"], "memory.high is a limit, too")
        watch.process.terminate()
        out, error = watch.said()
        check(watch.process.returncode == 0 and not error and [line.split(":")[0] for line in out.splitlines()] ==
              [os.path.join(watch.directory, name) for name in sorted(os.listdir(watch.directory))], f"it says where: {out} {error}")


def check_cooldown():
    with Tree() as tree, Watch("--root", tree.root, "--near", "50") as watch:
        for used in (55, 60, 10, 70):
            tree.group("a.slice/b.service", current=used * MIB)
            watch.wait_for(1)
            check(watch.stays_at(1), f"one snapshot in five minutes, with {used} MiB of 100")


def check_pressure():
    with Tree() as tree, Watch("--root", tree.root, "--pressure", "20") as watch:
        tree.pressure(19.5)
        check(watch.stays_at(0), "a pressure below")
        tree.pressure(20)
        reasons = {one["reason"] for one in watch.wait_for(2).values()}
        check(reasons == {"tasks of the machine waited for memory 20 % of the last ten seconds",
                          "tasks of /a.slice/b.service waited for memory 20 % of the last ten seconds"}, f"pressure rises: {reasons}")


def check_choice():
    with Tree() as tree:
        tree.group("c.slice", current=99, max=100, procs="", stat="")
        with Watch("--root", tree.root, "--cgroup", "a.slice") as watch:
            check(watch.stays_at(0), "--cgroup: another group is not looked at")
            tree.group("a.slice/b.service", current=95 * MIB)
            check(len(watch.wait_for(1)) == 1, "but those below it are")
        name = "evil\n\x1b[31m$(x)"
        tree.group("a.slice/" + name, current=99, max=100, procs="", stat="")
        with Watch("--root", tree.root, "-n", "2", "--cgroup", "a.slice") as watch:
            out, _ = watch.said()
            check("\x1b" not in out and len(out.splitlines()) == 2, f"a hostile name is shown safely: {out!r}")
            check(all(re.fullmatch(r"[\w.@-]+", one) for one in os.listdir(watch.directory)), f"and in files: {os.listdir(watch.directory)}")


# --- processes, live --------------------------------------------------------------------

def check_processes():
    grower = subprocess.Popen([sys.executable, "-c", "import sys\nheld=[]\nfor line in sys.stdin:\n held.append(bytearray(b'x') * (int(line) << 20))\n"
                               " print('ok', flush=True)\n"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def grow(mib):
        grower.stdin.write(f"{mib}\n")
        grower.stdin.flush()
        grower.stdout.readline()

    grow(1)
    with Watch("--grows", "64M", "-n", "1", grower.pid) as watch:
        time.sleep(0.5)
        grow(20)
        check(watch.stays_at(0), "it has grown by less")
        grow(60)
        out, error = watch.said()
        found = snapshots(watch.directory)
        check(len(found) == 1 and "has grown from" in out and not error, f"a process that grows: {out} {error}")
        check(all(f".{grower.pid}.json" in name and one["total"]["rss"] >= 80 * MIB for name, one in found.items()), "its snapshot")
        for path in found:
            check(run("diff", os.path.join(watch.directory, path), grower.pid).returncode == 0, "anonname diff reads it")
    with Watch("--above", "200M", "-n", "1", "--name", "python3*") as watch:
        check(watch.stays_at(0), "it is smaller")
        grow(150)
        out, _ = watch.said()
        check(f"process {grower.pid} (" in out and "resident" in out, f"a process that passes a size: {out}")
    with Watch("--above", "2T", grower.pid) as watch:
        time.sleep(0.3)
        grower.kill()
        grower.wait()
        watch.said()
        check(watch.process.returncode == 0, "where who was given has ended, it ends")


def check_usage():
    check(run("watch", "--near", "101").returncode == 2 and run("watch", "--near", "0").returncode == 2, "a share is 1 to 100")
    check(run("watch", str(os.getpid())).returncode == 2, "a process without a size to pass")
    result = run("watch", "-o", "/nonexistent/x")
    check(result.returncode == 1 and "/nonexistent/x" in result.stderr, f"no directory: {result.stderr.strip()}")
    with tempfile.TemporaryDirectory() as empty:
        os.makedirs(os.path.join(empty, "proc"))
        check(run("watch", "--root", empty).returncode == 1, "no control groups")


# --- a real control group -----------------------------------------------------------------

def new_group(limit):
    """A group of this test's own with a limit; None where there can be none."""
    mount = OLD if os.path.exists(os.path.join(OLD, "memory.limit_in_bytes")) else GROUPS
    path = os.path.join(mount, f"anonname-test-{os.getpid()}")
    try:
        if mount == GROUPS:
            write_to(os.path.join(mount, "cgroup.subtree_control"), "+memory")
        os.mkdir(path)
        write_to(os.path.join(path, "memory.limit_in_bytes" if mount == OLD else "memory.max"), limit)
        for name in ("memory.swap.max", "memory.memsw.limit_in_bytes"):
            if os.path.exists(os.path.join(path, name)):
                write_to(os.path.join(path, name), 0 if name == "memory.swap.max" else limit)
    except OSError as error:
        if os.path.isdir(path):
            os.rmdir(path)
        skip(f"no real control group is driven into its limit: {error}")
        return None
    return path


def write_to(path, text):
    with open(path, "w") as file:
        file.write(str(text))


def remove_group(path):
    for _ in range(100):
        try:
            os.rmdir(path)
            return
        except OSError:
            time.sleep(0.05)


def check_real():
    path = new_group(64 * MIB)
    if not path:
        return
    name = os.path.basename(path)
    eater = subprocess.Popen([sys.executable, "-c", EATER, path, "50"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        eater.stdout.readline()
        with Watch("--cgroup", name, "--near", "75") as watch:
            time.sleep(1)
            eater.stdin.write("go\n")
            eater.stdin.flush()
            found = watch.wait_for(1)
            check(len(found) == 1 and eater.poll() is None, f"one snapshot was written: {list(found)}")
            eater.stdin.write("go\n")
            eater.stdin.flush()
            check(eater.wait(120) == -9 and len(snapshots(watch.directory)) == 1, f"then the group ran into its limit, and the program was killed: {eater.returncode}")
            for one in found.values():
                check(f"/{name} uses" in one["reason"], one["reason"])
                here = [process for process in one["processes"] if process["pid"] == eater.pid]
                check(here and here[0].get("rss", 0) > 40 * MIB, f"the program that was killed later is in it: {here and here[0].get('rss')}")
    finally:
        eater.kill()
        eater.wait()
        remove_group(path)


def check_real_pressure():
    """Above memory.high the kernel lets tasks wait, and says how much. Version 2 alone has both."""
    if not os.path.exists("/proc/pressure/memory") or os.path.exists(os.path.join(OLD, "memory.limit_in_bytes")):
        skip("no real pressure: no control groups of version 2, or a kernel without PSI")
        return
    path = new_group("max")
    if not path:
        return
    write_to(os.path.join(path, "memory.high"), 16 * MIB)
    eater = subprocess.Popen([sys.executable, "-c", EATER, path, "-1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        eater.stdout.readline()
        with Watch("--near", "100", "--pressure", "10", "-n", "2") as watch:
            eater.stdin.write("go\n")
            eater.stdin.flush()
            out, error = watch.said(120)
            reasons = [one["reason"] for one in snapshots(watch.directory).values()]
            print(f"        {open(os.path.join(path, 'memory.pressure')).readline().strip()}")
            check(any("memory.high" in one for one in reasons), f"a group above its memory.high: {reasons}")
            check(any("waited for memory" in one for one in reasons), f"tasks that wait are a reason: {out} {error}")
    finally:
        eater.kill()
        eater.wait()
        remove_group(path)


def main():
    if sys.argv[1:] != ["real"]:
        check_limits()
        check_cooldown()
        check_pressure()
        check_choice()
        check_processes()
        check_usage()
    check_real()
    check_real_pressure()
    done()


main()
