#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Processes that want to hurt whoever reads them: forged registries, memory that never comes, planted files."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

from common import BUILD, MIB, TOOL, check, done, run, skip

FORGED = os.path.join(BUILD, "tests", "replay", "libanonname-forged.so")
FUSE = os.path.join(BUILD, "tests", "replay", "silent_fuse")
MISLEADING = os.path.join(BUILD, "tests", "replay", "misleading")
# No command needs ten seconds; this is how long a machine at work may make of them.
LONGEST = 120
COMMANDS = (["maps"], ["maps", "--json"], ["report"], ["report", "--json"], ["report", "--gentle"], ["check"],
            ["snapshot"], ["top", "--batch", "-n", "1"])


class Forged:
    """cat under the forged library: it answers when the registry is there."""

    def __init__(self, how):
        self.process = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env=dict(os.environ, LD_PRELOAD=FORGED, FORGED=how), start_new_session=True)
        self.pid = self.process.pid
        self.process.stdin.write(b"x")
        self.process.stdin.flush()
        self.there = self.process.stdout.read(1) == b"x"

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.kill()
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def measured(*args):
    """How a command ended (None: it had to be killed), its output as a file, and the most memory of it and its children, in MiB."""
    out = tempfile.TemporaryFile("w+", errors="replace")
    tool = subprocess.Popen([TOOL, *map(str, args)], stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
    end = time.monotonic() + LONGEST
    pid, status = 0, 0
    while not pid and time.monotonic() < end:
        pid, status, usage = os.wait4(tool.pid, os.WNOHANG)
        time.sleep(0.01)
    if not pid:
        os.killpg(tool.pid, signal.SIGKILL)
        return None, out, 0
    tool.returncode = os.waitstatus_to_exitcode(status)
    out.seek(0)
    return tool.returncode, out, usage.ru_maxrss * 1024 / MIB


def bounded(what, process):
    """All commands; their output. None is read here: what we take ourselves counts as theirs until they run."""
    output = {}
    for command in COMMANDS:
        line = " ".join(command)
        code, output[line], memory = measured(*command, process.pid)
        check(code == 0 and memory < 256, f"{what}: {line} ends with {code} and took {memory:.0f} MiB")
    return output


def names_in(out):
    return [one["name"] for one in json.load(out)["names"]]


def many():
    with Forged("restless") as process:
        bounded("a registry that is another at each look", process)
    with Forged("many 20000") as process:
        output = bounded("840,000 names", process)
    check(any("[anon:[667968 more ranges]]" in line for line in output["maps"]), "840,000 names: maps says how many ranges it has not read")
    rows = names_in(output["report --json"])
    check(len(rows) <= 65536 + 16 and sum(name.endswith(" more regions]") for name in rows) == 1,
          f"840,000 names: {len(rows)} rows, and one that says how many more there are")
    with Forged("many 1500") as process:
        _, out, _ = measured("report", "--json", process.pid)
        check(sum(name.startswith("forged:") for name in names_in(out)) == 63000, "63,000 names are all shown")


def misled(*how):
    """Memory from which names are told from outside, made to keep whoever looks at it."""
    process = subprocess.Popen([MISLEADING, *how], stdout=subprocess.PIPE)
    try:
        if not process.stdout.readline():
            return skip(f"misleading {how[0]}: libc has not what it takes, or the memory is not to be had")
        for command in (["maps"], ["report"], ["check"], ["snapshot"]):
            code, out, memory = measured(*command, process.pid)
            text = out.read()
            check(code == 0 and memory < 256, f"misleading {how[0]}: {command[0]} ends with {code} and took {memory:.0f} MiB")
            check("arena1" not in text and "[anon:stack" not in text, f"misleading {how[0]}: {command[0]} believes none of it")
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def misleading():
    for how in ("ring", "arenas", "sparse", "endless"):
        misled(how)


def recorded_cut(pid):
    with tempfile.TemporaryDirectory() as directory:
        file = os.path.join(directory, "cut.db")
        result = run("record", "-o", file, "--duration", "100ms", pid)
        check(result.returncode == 0, f"record of what is cut short: {result.stderr.strip()}")
        for command in (["view", "-J", file], ["view", "-J", "--at", "end", file]):
            result = run(*command)
            check("names from outside may be missing" in result.stderr and json.loads(result.stdout).get("names_cut") is True,
                  f"{' '.join(command[:-1])} says that names may be missing: {result.stderr.strip()}")


def cut_short():
    """What is not looked through to its end says so."""
    process = subprocess.Popen([MISLEADING, "endless"], stdout=subprocess.PIPE)
    try:
        if not process.stdout.readline():
            return skip("64 TiB of addresses are not to be had")
        for command in ("maps", "report"):
            says = run(command, process.pid)
            check("names from outside may be missing" in says.stderr, f"{command} says that it was cut short")
            says = json.loads(run(command, "--json", process.pid).stdout)
            check((says if command == "maps" else says["processes"][0]).get("names_cut") is True, f"{command} --json has names_cut")
        for command in (["heap"], ["report", "--heap"]):
            check("figures may be missing" in run(*command, process.pid).stderr, f"{' '.join(command)} says that it was cut short")
        one = ["--iterations", "1", process.pid]
        check("not looked through to the end" in run("top", "--batch", "--heap", *one).stdout, "top --heap says that it was cut short")
        for command in (["report", "-J", "--heap", process.pid], ["top", "-J", "--heap", *one]):
            check(json.loads(run(*command).stdout).get("arenas_cut") is True, f"{command[0]} --json --heap has arenas_cut")
        recorded_cut(process.pid)
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


def answered(what, process):
    for command in COMMANDS:
        code, _, _ = measured(*command, process.pid)
        check(code is not None, f"{what}: {' '.join(command)} answers")
    code, out, _ = measured("maps", process.pid)
    text = out.read()
    check(code == 0 and "[stack]" in text and "could not be read" in text, f"{what}: maps shows the kernel's names and says so")


def interrupted(what, process):
    tool = subprocess.Popen([TOOL, "report", str(process.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    time.sleep(1)
    os.killpg(tool.pid, signal.SIGINT)
    try:
        check(tool.wait(LONGEST) is not None, f"{what}: Ctrl-C ends report")
    except subprocess.TimeoutExpired:
        check(False, f"{what}: Ctrl-C ends report")
        os.killpg(tool.pid, signal.SIGKILL)


def faults():
    with Forged("fault") as process:
        if not process.there:
            return skip("pages at a userfaultfd: there is none here (not root, or a kernel without it)")
        answered("pages at a userfaultfd that nobody serves", process)


def fuse():
    with tempfile.TemporaryDirectory() as directory:
        server = subprocess.Popen([FUSE, directory], stdout=subprocess.PIPE)
        try:
            if not server.stdout.readline():
                return skip("a FUSE server that never answers: FUSE cannot be mounted here")
            with Forged(f"file {directory}/silent") as process:
                answered("pages in a FUSE file that never come", process)
            misled("object", f"{directory}/silent")
            locked(directory)
        finally:
            # With the server its connection ends, and with that whatever waits for it.
            server.kill()
            server.wait()
            server.stdout.close()
            subprocess.run(["umount", "-l", directory], stderr=subprocess.DEVNULL)


def locked(directory):
    """The lock of the address space is held by a fault that never ends: pagemap waits for it, and so does everybody's ps."""
    if not os.environ.get("ANONNAME_WHOLE_MACHINE"):
        return skip("a held address space: in the virtual machine only (tests/replay/live-vm.sh)")
    process = Forged(f"lock {directory}/silent")
    process.process.send_signal(signal.SIGUSR1)
    time.sleep(2)
    interrupted("a held address space", process)
    code, out, _ = measured("report", process.pid)
    text = out.read()
    check(code == 1 and "in time" in text, f"a held address space: report gives up: {text.strip()[:100]}")
    # It hangs until the server is gone.
    process.process.kill()
    process.process.stdin.close()
    process.process.stdout.close()


def recorded(directory):
    """What was recorded is a tree of files. A pipe would keep its reader waiting, and a device has no end."""
    tree = os.path.join(directory, "tree", "77")
    os.makedirs(tree)
    for name in ("maps", "smaps", "stat", "status"):
        os.mkfifo(os.path.join(tree, name))
    for command in ("report", "maps", "check", "snapshot"):
        result = run(command, "--root", os.path.dirname(tree), 77, timeout=LONGEST)
        check(result.returncode == 1 and "a pipe" in result.stderr, f"a recorded pipe: {command} says so: {result.stderr.strip()[:90]}")
    result = run("report", "--root", os.path.dirname(tree), "--all", timeout=LONGEST)
    check("a pipe" in result.stderr, f"a recorded pipe: report --all says so: {result.stderr.strip()[:90]}")
    for command in (["report", "--smaps", "/dev/zero"], ["diff", "/dev/zero", "/dev/zero"]):
        result = run(*command, timeout=LONGEST)
        check(result.returncode == 1 and "is a device" in result.stderr, f"{' '.join(command)}: {result.stderr.strip()[:90]}")


def planted():
    """A number is a process id, whatever lies in the directory; what others put there is not written to."""
    with tempfile.TemporaryDirectory() as directory:
        pid = os.getpid()
        os.mkfifo(os.path.join(directory, str(pid)))
        result = run("diff", pid, pid, cwd=directory, timeout=LONGEST)
        check(result.returncode == 0 and "TOTAL" in result.stdout, f"diff takes a number for a process id: {result.stderr.strip()}")
        os.chmod(directory, 0o1777)
        precious, link = os.path.join(directory, "precious"), os.path.join(directory, "link")
        with open(precious, "w") as file:
            file.write("kept")
        os.symlink(precious, link)
        os.mkfifo(os.path.join(directory, "fifo"))
        for name in ("link", "fifo", "sub/file"):
            if name == "sub/file":
                os.symlink(directory, os.path.join(directory, "sub"))
            result = run("run", "--peak", "-o", os.path.join(directory, name), "true", timeout=LONGEST)
            check(result.returncode == 125 and "others may write" in result.stderr, f"run -o {name} in a directory of all: {result.stderr.strip()[:90]}")
        with open(precious) as file:
            check(file.read() == "kept", "what the link leads to is left alone")
        recorded(directory)
        for again in range(2):
            result = run("run", "--peak", "-o", os.path.join(directory, "new"), "true", timeout=LONGEST)
            check(result.returncode == 0 and os.path.getsize(os.path.join(directory, "new")), f"run -o of a file of ours: {result.stderr.strip()}")


# hostile.py [PART...]: all parts, or these.
PARTS = {"planted": planted, "many": many, "misleading": misleading, "cut_short": cut_short, "faults": faults, "fuse": fuse}
for part in sys.argv[1:] or PARTS:
    PARTS[part]()
done()
