#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Situations of people who read maps, smaps and pagemap, after public reports: each has a right answer, or is refused with a reason.

    readers.py [WORD]    only the tests whose name holds WORD
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

from common import FAMILY, LIBRARY, TOOL, Family, check, done, run, skip

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
        lines = [line for line in result.stdout.splitlines()[1:] if not line.startswith("#") and "TOTAL" not in line]
        names = [line.split(None, 1)[1] for line in lines]
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


def file_report(text, *args):
    """A report of a copy of smaps, given on standard input."""
    return run("report", *args, "-", input=text)


def total(result):
    return json.loads(result.stdout)["total"]


def windows_lines():
    text = vma("12c00000-12d00000 rw-p 00000000 00:00 0      [anon:dalvik-main space]", 1024, 512, 512, 0, 0, 0, 512, 512, 512) + \
        vma("7f0000000000-7f0000100000 rw-p 00000000 00:00 0 ", 1024, 256, 256, 0, 0, 0, 256, 256, 256)
    for what, copy in (("\\n", text), ("\\r\\n", text.replace("\n", "\r\n"))):
        result = file_report(copy, "-o", "rss,kind,name")
        lines = [line.split(None, 2) for line in result.stdout.splitlines()]
        check(["512", "heap", "dalvik-main space"] in lines and ["256", "unnamed", "[anon]"] in lines and "TOTAL, 66.7 %" in result.stdout,
              f"lines that end in {what}: {lines}")
    with tempfile.TemporaryDirectory() as root:
        maps = "1000-2000 rw-p 00000000 00:00 0 \n2000-3000 rw-p 00000000 00:00 0    [heap]\n"
        record(root, 7, "dos", text.replace("\n", "\r\n"), maps.replace("\n", "\r\n"))
        result = run("maps", "--csv", "--root", root, 7)
        check("[heap],kernel" in result.stdout and "\r" not in result.stdout and "/" not in result.stdout, f"recorded maps with them: {result.stdout.split()}")


def rolled_up():
    fields = ("Rss", "Pss", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty", "Referenced", "Anonymous", "LazyFree",
              "AnonHugePages", "Swap", "SwapPss", "Locked")
    one = vma("00400000-ffffffffff601000 ---p 00000000 00:00 0           [rollup]", 120000, 90000, 40000, 10000, 5000, 65000, 120000, 70000,
              16384, 32768, 100, 100, 0, fields=fields, flags=None)
    got = total(file_report(one, "--json"))
    check([got[key] for key in ("rss", "pss", "uss", "swap")] == [120000 << 10, 90000 << 10, 70000 << 10, 100 << 10], f"smaps_rollup: {got}")
    check([got[key] for key in ("size", "vmas", "labelled", "zero")] == [None] * 4, f"smaps_rollup: what it does not say is not known: {got}")
    got = total(file_report(one + one, "--json"))
    check(got["rss"] == 240000 << 10, f"two of them are two processes: {got['rss']}")
    shown = file_report(one).stdout.splitlines()
    check(shown[1].split()[:2] == ["-", "-"] and "TOTAL, - of" in shown[2], f"smaps_rollup: {shown}")


def several_in_one_file():
    with open("/proc/self/smaps") as file:
        text = file.read()
    one, two = (json.loads(file_report(copy, "--json").stdout) for copy in (text, text + text))
    for key in ("vmas", "size", "rss", "pss", "uss"):
        check(two["total"][key] == 2 * one["total"][key], f"two files in one: {key} {two['total'][key]} is twice {one['total'][key]}")
    check(len(one["processes"]) == 1 and len(two["processes"]) == 2 and
          all(p["rss"] == one["total"]["rss"] for p in two["processes"]), "two files are two processes")


def threads_of_old_kernels():
    """Linux 3.4 to 4.4 named the stacks of threads."""
    text = "".join(vma(f"{0x7f0000000000 + i * 0x1000000:x}-{0x7f0000800000 + i * 0x1000000:x} rw-p 00000000 00:00 0 {name}", 8192, kib, kib, 0, 0, 0, kib, kib, kib)
                   for i, (name, kib) in enumerate((("[stack:4711]", 100), ("[stack:4712]", 200), ("[stack]", 16))))
    rows = dict(reversed(line.split(None, 1)) for line in file_report(text, "--by", "thread", "-o", "rss,name").stdout.splitlines()[1:4])
    check(rows == {"4711": "100", "4712": "200", "main": "16"}, f"stacks of threads: {rows}")
    rows = dict(reversed(line.split(None, 1)) for line in file_report(text, "--fold", "-o", "rss,name").stdout.splitlines()[1:3])
    check(rows == {"[stack:*]": "300", "[stack]": "16"}, f"stacks of threads, folded: {rows}")


def old_kernels():
    """What a kernel did not print yet is not known, and not nothing. What it did is right."""
    old = ("Size", "Rss", "Pss", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty", "Referenced", "Swap", "KernelPageSize", "MMUPageSize")
    middle = old[:8] + ("Anonymous", "AnonHugePages") + old[8:] + ("Locked",)
    heap = "00e4d000-00e6e000 rw-p 00000000 00:00 0                                  [heap]"
    data = "00601000-00701000 rw-p 00001000 08:01 5                                  /bin/x"
    values = (1024, 600, 400, 100, 300, 50, 150, 600)
    for what, text, known in (
            ("2.6.32", vma(data, *values, 0, 4, 4, fields=old, flags=None) + vma(heap, 132, 100, 60, 0, 80, 0, 20, 100, 8, 4, 4, fields=old, flags=None),
             {"rss": 700, "pss": 460, "uss": 220, "swap": 8, "cow": None, "ksm": None, "swap_pss": None, "thp": None, "locked": None}),
            ("3.10", vma(data, *values, 200, 0, 0, 4, 4, 0, fields=middle) + vma(heap, 132, 100, 60, 0, 80, 0, 20, 100, 100, 0, 8, 4, 4, 0, fields=middle),
             {"rss": 700, "pss": 460, "uss": 220, "swap": 8, "cow": None, "ksm": 0, "swap_pss": None, "thp": 0, "locked": 0})):
        result = json.loads(file_report(text, "--json").stdout)
        for key, kib in known.items():
            check(result["total"][key] == (None if kib is None else kib << 10), f"smaps of {what}: {key} is {result['total'][key]}")
        row = next(row for row in result["names"] if row["name"] == "[heap]")
        # All of it is anonymous. Linux 2.6.32 had KSM and did not say what it merged.
        check(row["cow"] == (None if what == "2.6.32" else 80 << 10), f"smaps of {what}: COW of the heap is {row['cow']}")


def nothing_anonymous():
    text = vma("00400000-00500000 r-xp 00000000 08:01 5    /bin/x", 1024, 100, 50, 100, 0, 0, 0, 100, 0)
    result = file_report(text)
    check("TOTAL, - of anonymous RSS named" in result.stdout and "100.0 %" not in result.stdout, f"no anonymous memory: {result.stdout.splitlines()[2:3]}")
    got = total(file_report(text, "--json"))
    check(got["labelled"] is None and got["anon_rss"] == 0, f"no anonymous memory: {got['labelled']} of {got['anon_rss']}")


def no_smaps():
    maps = "7f0000000000-7f0000100000 rw-p 00000000 00:00 0   [anon:cache]\n7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0   [stack]\n"
    with tempfile.TemporaryDirectory() as root:
        record(root, 77, "svc", maps=maps)
        for args in (["report", 77], ["report", "--all"], ["snapshot", 77], ["top", "-b", "-n", 1, 77]):
            result = run(*args, "--root", root)
            check(result.returncode == 0 and "cache" in result.stdout + "cache" * (args == ["report", "--all"]) and result.stderr.count("\n") == 1 and
                  "there is no smaps" in result.stderr, f"{args}: no smaps: {result.stderr.strip()}")
        got = total(run("report", "--json", "--root", root, 77))
        check(got["size"] == 0x121000 and got["vmas"] == 2 and {got[key] for key in ("rss", "pss", "uss", "swap", "labelled")} == {None}, f"no smaps: {got}")
        gentle = run("report", "--gentle", "--root", root, 77)
        check([line for line in gentle.stdout.splitlines() if line[0] != "#"] ==
              [line for line in run("report", "--root", root, 77).stdout.splitlines() if line[0] != "#"], "no smaps: what --gentle gives")


def no_maps():
    """A recording of smaps alone has all that maps has."""
    with tempfile.TemporaryDirectory() as root:
        record(root, 6, "alone", SMALL)
        for command in ("maps -J", "report -J", "report -J -g", "check -J", "snapshot"):
            result = run(*command.split(), "--root", root, 6)
            check(result.returncode == 0 and not result.stderr and ("139637976727552" in result.stdout or "1048576" in result.stdout or "check" in command),
                  f"{command} of smaps alone: {result.returncode} {result.stderr.strip()}")


def recorded_without_memory():
    kernel = "9 (kworker/0:1) S 2 0 0 0 -1 69238880 " + "0 " * 20 + "\n"
    with tempfile.TemporaryDirectory() as root:
        record(root, 9, "kworker/0:1", "", "", stat=kernel)
        record(root, 8, "empty", "", "")
        for pid, sentence in ((9, "is a kernel thread"), (8, "was recorded without a VMA")):
            for command in ("report", "maps", "snapshot"):
                result = run(command, "--root", root, pid)
                check(result.returncode == 1 and not result.stdout and sentence in result.stderr, f"{command}: {result.stderr.strip()}")


def main_thread_ended():
    environment = dict(os.environ, LD_PRELOAD=LIBRARY) if NAMES else None
    with subprocess.Popen([FAMILY, "leader"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        pid, tid = (int(process.stdout.readline()) for _ in range(2))
        with open(f"/proc/{pid}/task/{tid}/smaps_rollup") as file:
            rss = next(int(line.split()[1]) << 10 for line in file if line.startswith("Rss:"))
        for args in ([pid], ["--tree", pid], ["--gentle", pid], ["--tree", pid, "--gentle"], [tid]):
            result = run("report", "--json", *args)
            got = total(result) if result.returncode == 0 else {"rss": -1}
            check(abs(got["rss"] - rss) <= 64 << 10, f"main thread ended, report {args}: RSS {got['rss']} is {rss} {result.stderr.strip()}")
        for command in ("maps", "check", "snapshot", "top -b -n 1", "diff -w 1", "heap"):
            result = run(*command.split(), pid)
            check(result.returncode == 0 and ("test:worker" in result.stdout or command in ("check", "diff -w 1", "heap") or not NAMES), f"main thread ended: {command} {result.stderr.strip()}")
        with tempfile.TemporaryDirectory() as root:
            directory = os.path.join(root, "proc", str(pid), "task", str(tid))
            os.makedirs(directory)
            for name in ("smaps", "maps", "stat", "comm"):
                with open(f"/proc/{pid}/task/{tid}/{name}") as file, open(os.path.join(directory, name), "w") as copy:
                    copy.write(file.read())
            for name in ("stat", "comm"):
                with open(f"/proc/{pid}/{name}") as file, open(os.path.join(root, "proc", str(pid), name), "w") as copy:
                    copy.write(file.read())
            for name in ("smaps", "maps"):
                open(os.path.join(root, "proc", str(pid), name), "w").close()
            got = total(run("report", "--json", "--root", root, pid))
            check(abs(got["rss"] - rss) <= 64 << 10, f"main thread ended, recorded: RSS {got['rss']} is {rss}")
        process.kill()


def shared_memory():
    """Kinds against the counters of the process: what status calls RssShmem is of kind shm."""
    with subprocess.Popen([FAMILY, "shared"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        pid = int(process.stdout.readline())
        with open(f"/proc/{pid}/status") as file:
            status = {line.split(":")[0]: int(line.split()[1]) << 10 for line in file if line.startswith("Rss")}
        with open(f"/proc/{pid}/smaps") as file:
            copied = {"file": 0, "shm": 0}
            for line in file:
                if "-" in line.split()[0]:
                    shm = any(word in line for word in ("/memfd:", "/SYSV", "/dev/shm/", "/dev/zero (deleted)"))
                    there = "/" in line
                elif line.startswith("Anonymous:") and there:
                    copied["shm" if shm else "file"] += int(line.split()[1]) << 10
        for mode in ([], ["--gentle"]):
            result = json.loads(run("report", "--json", *mode, "--by", "kind", pid).stdout)
            rss = {row["name"]: row["rss"] for row in result["names"]}
            for kind, key in (("shm", "RssShmem"), ("file", "RssFile")):
                # Copied pages of a private mapping are anonymous for the kernel, and stand with their file here.
                got = rss.get(kind, 0) - copied[kind]
                check(abs(got - status[key]) <= status[key] // 100 + 65536, f"shared memory {mode}: {kind} {got} is {key} {status[key]}")
            anonymous = sum(value for kind, value in rss.items() if kind not in ("shm", "file", "special")) + sum(copied.values())
            check(abs(anonymous - status["RssAnon"]) <= status["RssAnon"] // 100 + 65536, f"shared memory {mode}: anonymous {anonymous} is RssAnon {status['RssAnon']}")
            check(rss.get("shm", 0) >= 20 << 20, f"shared memory {mode}: memfd, System V, POSIX, shared anonymous: {rss.get('shm')}")
        names = {row["name"].split(" ")[0].rstrip("0123456789abcdef"): row["kind"] for row in json.loads(run("report", "--json", pid).stdout)["names"]}
        check({names.get(name) for name in ("/memfd:test", "/SYSV", "/dev/zero")} == {"shm"}, f"shared memory: each is of kind shm: {names}")
        process.kill()


def tmpfs_elsewhere():
    """A file of a tmpfs that is not /dev/shm: only its device says that it is shared memory."""
    script = "d=$(mktemp -d) && mount -t tmpfs tmpfs $d && head -c 8M /dev/zero >$d/file && exec \"$@\" $d/file"
    python = "import mmap, sys\nf = open(sys.argv[1], 'r+b')\nm = mmap.mmap(f.fileno(), 0)\nx = sum(m[::4096])\nprint('ready', flush=True)\nsys.stdin.readline()\n"
    process = subprocess.Popen(["unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-c", python], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if process.stdout.readline() != "ready\n":
        skip(f"a tmpfs of a mount namespace: {process.communicate()[1].strip()}")
        return
    result = json.loads(run("report", "--json", process.pid).stdout)
    rows = [row for row in result["names"] if row["name"].endswith("/file")]
    check([(row["kind"], row["rss"]) for row in rows] == [("shm", 8 << 20)], f"a tmpfs of a mount namespace: {rows}")
    process.kill()
    process.communicate()


def every_command(prefix, pid, *root):
    """What each command that prints rows says of the process: command -> (names, total), and what check says."""
    answers = {}
    for command in ("report -J", "report -J -g", "snapshot", "snapshot -g", "top -b -n 1 -J"):
        result = subprocess.run([*prefix, TOOL, *command.split(), *root, str(pid)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        check(result.returncode == 0 and not result.stderr, f"{command} {' '.join(root)}: {result.returncode} {result.stderr.strip()}")
        if result.returncode == 0:
            answer = json.loads(result.stdout)
            answers[command] = {row["name"]: row for row in answer["names"]}, answer["total"]
    result = subprocess.run([*prefix, TOOL, "check", "-J", *root, str(pid)], stdout=subprocess.PIPE, text=True)
    return answers, json.loads(result.stdout or '{"library": {"state": ""}, "advice": []}')


def same_answers(what, prefix, pid, *root):
    """Of family mixed, with the library."""
    answers, checked = every_command(prefix, pid, *root)
    for command, (names, total) in answers.items():
        full, half = names.get("test:full", {}), names.get("test:half", {})
        check([full.get(key) for key in ("rss", "uss", "cow")] == [4 << 20, 1 << 20, 3 << 20] and half.get("rss") == 2 << 20 and
              full["pss"] in (5 << 19, None), f"{what}: {command}: test:full is {[full.get(key) for key in ('rss', 'pss', 'uss', 'cow')]}")
        check(total["labelled"] == 1, f"{what}: {command}: all is named, {total['labelled']}")
    check(checked["library"]["state"] == "ready" and not any("anonname run" in text for text in checked["advice"]),
          f"{what}: check finds the library: {checked['library']['state']} {checked['advice']}")


def proc_elsewhere():
    """A live /proc at any path: what lies in memory is read by the same path."""
    if not NAMES or os.geteuid() != 0:
        skip("a /proc mounted elsewhere: needs root and the library")
        return
    with Family("mixed", library=True) as family, tempfile.TemporaryDirectory() as host:
        os.mkdir(host + "/proc")
        same_answers("--root /", [], family.pid, "--root", "/")
        mounted = ["unshare", "-m", "sh", "-c", 'mount -t proc proc "$0/proc" && exec "$@"', host]
        same_answers("/proc elsewhere", mounted, family.pid, "--root", host)
        same_answers("/proc elsewhere, itself", mounted, family.pid, "--root", host + "/proc")
        inside = ["unshare", "-pfm", "sh", "-c", 'mount --bind /proc "$0/proc" && mount -t proc proc /proc && exec "$@"', host]
        same_answers("the host's /proc in a container", inside, family.pid, "--root", host)


def foreign_proc():
    """The /proc of another PID namespace: we are not in it, and its processes have numbers of their own."""
    if not NAMES or os.geteuid() != 0:
        skip("a foreign /proc: needs root and the library")
        return
    process = subprocess.Popen(["unshare", "-pf", "--mount-proc", "--kill-child", FAMILY, "mixed"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               env=dict(os.environ, LD_PRELOAD=LIBRARY))
    pid = int(process.stdout.readline() or 0)
    if not pid:
        skip("a foreign /proc: no PID namespace here")
        return
    with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
        outside = file.read().split()[0]
    same_answers("a foreign /proc", ["nsenter", "-m", "-t", outside], pid)
    process.kill()
    process.communicate()


def many_threads():
    """3,000 threads, made before any of them runs: none loses its name, and every command says the same."""
    if not NAMES:
        skip("many threads: no library in the build tree")
        return
    with subprocess.Popen([FAMILY, "threads", "3000"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env=dict(os.environ, LD_PRELOAD=LIBRARY)) as process:
        pid = int(process.stdout.readline())
        wanted = {f"stack:{tid}:family" for tid in os.listdir(f"/proc/{pid}/task") if int(tid) != pid}
        answers, checked = every_command([], pid)
        for command, (names, total) in answers.items():
            stacks = {name for name in names if name.startswith("stack:")}
            check(stacks == wanted and len(wanted) == 3000, f"many threads: {command}: {len(stacks & wanted)} of {len(wanted)} stacks, {sorted(stacks - wanted)[:3]}")
        check(len({(total["vmas"], total["rss"], total["uss"]) for _, total in answers.values()}) == 1, "many threads: one answer")
        maps = run("maps", pid).stdout
        check({f"stack:{part.split(']')[0]}" for part in maps.split("[anon:stack:")[1:]} == wanted, "many threads: maps has each")
        check(checked["library"]["state"] == "ready" and not any("lost" in text for text in checked["advice"]) and checked["library"]["counters"]["dropped"] == 0,
              f"many threads: no name is lost: {checked['advice']}")
        process.kill()


def check_holds_nobody():
    """check of a plain user's process does without smaps, which holds a process up for as long as it is large."""
    plain = {"user": 65534, "group": 65534, "extra_groups": []}
    if os.geteuid() != 0 or not shutil.which("strace"):
        skip("check without smaps: needs root, to become a plain user, and strace")
        return
    if subprocess.run(["test", "-x", TOOL], **plain).returncode:
        skip("check without smaps: a plain user cannot read the build tree")
        return
    with subprocess.Popen([FAMILY, "mixed"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **plain) as process:
        pid = int(process.stdout.readline())
        result = subprocess.run(["strace", "-f", "-e", "trace=%file", TOOL, "check", "-J", str(pid)],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **plain)
        opened = [line.split('"')[1] for line in result.stderr.splitlines() if "open" in line and '"' in line]
        smaps = [name for name in opened if "smaps" in name]
        check(result.returncode == 0 and json.loads(result.stdout)["anon_rss"] is not None and any("pagemap" in name for name in opened),
              f"check of a plain user knows RSS: {result.stdout[:80]}")
        if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 7):
            skip("check without smaps: without PAGEMAP_SCAN zero pages count as resident in pagemap")
        else:
            check(not smaps, f"check of a plain user opens no smaps: {smaps}")
        process.kill()


def peak_after_main():
    """run --peak of a program whose main thread ends: its memory is the other threads'."""
    if not NAMES:
        skip("run --peak after the main thread: no library in the build tree")
        return
    process = subprocess.Popen([TOOL, "run", "--peak", "-J", "-i", "10", "--", FAMILY, "leader"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    for _ in range(2):
        process.stdout.readline()
    # Two readings from here on: each reads many KiB, a look at how much there is only some bytes.
    for _ in range(2):
        before = read_by(process.pid)
        while process.poll() is None and read_by(process.pid) - before < 8192:
            time.sleep(0.01)
    process.stdin.close()
    process.stdin = None
    error = process.communicate()[1]
    peak = {row["name"]: row["rss"] for row in (json.loads(error)["peak"] or {"names": []})["names"]}
    check(process.returncode == 0 and peak.get("test:worker") == 40 << 20, f"run --peak after the main thread: {peak.get('test:worker')} of 40 MiB")


def read_by(pid):
    """What the process and its children that ended have read, in bytes."""
    with open(f"/proc/{pid}/io") as file:
        return int(file.readline().split()[1])


NAMES = os.path.exists(LIBRARY)
TESTS = [many_children_recorded, many_children, windows_lines, rolled_up, several_in_one_file, threads_of_old_kernels, old_kernels,
         nothing_anonymous, no_smaps, no_maps, recorded_without_memory, main_thread_ended, shared_memory, tmpfs_elsewhere, proc_elsewhere,
         foreign_proc, many_threads, check_holds_nobody, peak_after_main]

if __name__ == "__main__":
    for test in TESTS:
        if len(sys.argv) < 2 or sys.argv[1] in test.__name__:
            test()
    done()
