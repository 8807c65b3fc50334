#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Which processes, which rows, which address: what is chosen on the command line, against what is known of live processes."""
import ctypes
import json
import mmap
import os
import pty
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

from common import LIBRARY, MIB, TOOL, Family, check, done, report, row, run, skip

MADV_FREE = 8
ONLY_SMAPS = {"dirty": ("Shared_Dirty", "Private_Dirty", "Shared_Hugetlb", "Private_Hugetlb"),
              "clean": ("Shared_Clean", "Private_Clean"), "lazyfree": ("LazyFree",), "pss_dirty": ("Pss_Dirty",)}


def status(pid, key):
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith(key + ":"):
                return int(line.split()[1])
    return None


def smaps_sum(pid, keys):
    with open(f"/proc/{pid}/smaps") as file:
        return sum(int(line.split()[1]) * 1024 for line in file if line.split(":")[0] in keys)


def named(name, count):
    """Processes whose comm is that name."""
    directory = tempfile.mkdtemp()
    program = os.path.join(directory, name)
    shutil.copy(shutil.which("sleep"), program)
    return directory, [subprocess.Popen([program, "600"]) for _ in range(count)]


def processes_by_name():
    directory, mine = named("anonname-chosen", 3)
    _, other = named("anonname-othr", 1)
    pids = sorted(one.pid for one in mine)
    try:
        for args in (["--name", "anonname-chosen"], ["--name", "anonname-ch*"], ["--name", "nobody-has-it", "--name", "anonname-chos[e]n"],
                     ["--user", pwd.getpwuid(os.getuid()).pw_name, "--name", "anonname-chosen"],
                     ["--user", str(os.getuid()), "--name", "anonname-chosen"], ["--tree", os.getpid(), "--name", "anonname-chosen"]):
            for command in ("report", "snapshot"):
                if command == "snapshot" and "--tree" in args:
                    continue
                result = json.loads(run(command, "-J", *args).stdout)
                check(sorted(one["pid"] for one in result["processes"]) == pids, f"{command} {' '.join(map(str, args))}: these three and no other")
        result = json.loads(run("top", "-J", "-n", "1", "--by", "process", "--name", "anonname-chosen").stdout)
        check(sorted(int(one["name"].split()[0]) for one in result["names"]) == pids, "top --name: these three and no other")
        text = "\n".join(map(str, pids)) + "\n"
        for command in (["report", "-J", "-"], ["snapshot", "-"], ["top", "-J", "-n", "1", "-"]):
            result = json.loads(run(*command, input=text).stdout)
            check(sorted(one["pid"] for one in result["processes"]) == pids, f"{' '.join(command)}: process ids on standard input")
        with open(f"/proc/{pids[0]}/smaps") as file:
            result = json.loads(run("report", "-J", "-", input=file.read()).stdout)
        check(len(result["processes"]) == 1 and result["processes"][0]["pid"] is None, "report -: a copy of smaps on standard input")
        result = run("report", "-", input="12 x\n")
        check(result.returncode != 0 and result.stderr, f"report -: neither ids nor smaps: {result.stderr.strip()}")
        check(run("report", "--name", "nobody-has-it").returncode == 42, "no process of that name: 42")
        check(run("report", "--user", "nobody-has-it").returncode == 2, "no such user: 2")
        check(run("report", "--user", "4294967290", "--name", "anonname-chosen").returncode == 42, "a user without processes: 42")
    finally:
        for one in mine + other:
            one.kill()
            one.wait()
        shutil.rmtree(directory)


def rows_by_place():
    with open("/proc/self/cgroup") as file:
        lines = [line.rstrip("\n").split(":", 2) for line in file]
    unified = [path for number, controllers, path in lines if not controllers]
    memory = [path for number, controllers, path in lines if "memory" in controllers.split(",")]
    mine = memory[0] if memory and (not unified or unified[0] == "/") else unified[0] if unified else "-"
    result = report("--by", "cgroup", os.getpid())
    check([one["name"] for one in result["names"]] == [mine], f"--by cgroup: {mine}")
    result = report("--by", "user", os.getpid(), os.getppid())
    check([one["name"] for one in result["names"]] == [pwd.getpwuid(os.getuid()).pw_name], "--by user: one row for two processes")
    check(result["names"][0]["rss"] == sum(one["rss"] for one in result["processes"]), "--by user: the row is their sum")
    for by in ("unit", "container"):
        check(len(report("--by", by, os.getpid())["names"]) == 1, f"--by {by}")
    if mine != "/" and mine != "-":
        result = report("--cgroup", mine, "--name", "*")
        check(os.getpid() in [one["pid"] for one in result["processes"]], "--cgroup: this process is in its own")
        check(run("report", "--cgroup", mine + "x").returncode == 42, "--cgroup: a longer name is another group")
    else:
        skip("--cgroup: this process is in no control group of its own")


def recorded_places():
    with tempfile.TemporaryDirectory() as tree:
        for pid, uid, cgroup in ((10, 1000, "0::/system.slice/web.service\n"), (11, 1000, "0::/system.slice/web.service/x\n"),
                                 (12, 0, "4:memory:/docker/" + "0123456789abcdef" * 4 + "\n0::/\n"), (13, 0, "0::/evil\x1b[2J\n")):
            os.makedirs(f"{tree}/proc/{pid}")
            for name, text in (("cgroup", cgroup), ("status", f"Name:\tx\nUid:\t{uid}\t0\t0\t0\nVmPTE:\t{pid} kB\n"), ("comm", "x\n"),
                               ("smaps", "1000-2000 rw-p 00000000 00:00 0 \nSize: 4 kB\nRss: 4 kB\nPss: 4 kB\n")):
                with open(f"{tree}/proc/{pid}/{name}", "w") as file:
                    file.write(text)

        def rows(*args):
            return {one["name"]: one["rss"] for one in report("--root", tree, *args)["names"]}
        check(rows("--all", "--by", "user") == {"1000": 8192, "0": 8192}, "recorded: by user, in numbers")
        check(rows("--all", "--by", "unit") == {"web.service": 8192, "-": 8192}, "recorded: by unit")
        check(rows("--all", "--by", "container") == {"docker:0123456789ab": 4096, "-": 12288}, "recorded: by container")
        check(rows("--cgroup", "/system.slice/web.service") == {"[anon]": 8192}, "recorded: a group and those below")
        check(rows("--cgroup", "web.*") == {"[anon]": 8192}, "recorded: a part of the path")
        check(not any(ord(c) < 32 for name in rows("--all", "--by", "cgroup") for c in name), "recorded: a group's name is made safe")
        result = report("--root", tree, "--all", "-o", "name,page_tables")
        check(row(result, "[page tables]")["page_tables"] == 46 << 10 and result["total"]["page_tables"] == 46 << 10, "recorded: page tables are a row")
        check(result["total"]["rss"] == 4 * 4096, "recorded: and not in RSS")
        check(report("--root", tree, "--all")["total"]["page_tables"] is None, "recorded: page tables that nobody asked for are unknown")


def figures_of_smaps():
    memory = mmap.mmap(-1, 8 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    for i in range(0, 8 * MIB, 4096):
        memory[i] = 1
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    ctypes.CDLL(None).madvise(ctypes.c_void_p(address), ctypes.c_size_t(4 * MIB), MADV_FREE)
    with open("/proc/self/smaps") as file:
        has = file.read()
    result = report("-o", "dirty,clean,lazyfree,pss_dirty,page_tables,name", os.getpid())
    for key, fields in ONLY_SMAPS.items():
        if fields[0] + ":" not in has:
            check(result["total"][key] is None, f"{key} is unknown where the kernel has no {fields[0]}")
            continue
        kernel, ours = smaps_sum(os.getpid(), fields), result["total"][key]
        check(ours is not None and abs(ours - kernel) <= 512 * 1024, f"{key} is smaps' {kernel}: {ours}")
    if "LazyFree:" in has:
        check(result["total"]["lazyfree"] > 3 * MIB, f"lazyfree: 4 MiB were freed (the kernel notes the last pages later), {result['total']['lazyfree']}")
    pte = status(os.getpid(), "VmPTE") * 1024
    check(abs(result["total"]["page_tables"] - pte) <= 64 * 1024, f"page_tables is status' {pte}: {result['total']['page_tables']}")


def addresses():
    with Family("mixed") as family:
        with open(f"/proc/{family.pid}/maps") as file:
            lines = [line.rstrip("\n") for line in file]
        ranges = [[int(x, 16) for x in line.split()[0].split("-")] for line in lines]
        heap = next(i for i, line in enumerate(lines) if line.endswith("[heap]"))
        result = run("maps", family.pid, f"{ranges[heap][0] + 24:x}")
        shown = result.stdout.splitlines()
        check(result.returncode == 0 and shown[:3] == lines[heap - 1:heap + 2], f"an address in the heap: it and its neighbours: {shown[:3]}")
        check("is 24 bytes into it" in shown[3] and shown[5].endswith(" [heap]"), f"and how far into it: {shown[3:]}")
        value = json.loads(run("maps", "-J", family.pid, hex(ranges[heap][0] + 24)).stdout)
        check(value["offset"] == 24 and value["figures"]["size"] == ranges[heap][1] - ranges[heap][0] and len(value["regions"]) == 3,
              "the same in JSON")
        gap = next(i for i in range(len(ranges) - 1) if ranges[i][1] < ranges[i + 1][0])
        result = run("maps", family.pid, f"{ranges[gap][1]:x}")
        check(result.returncode == 1 and result.stdout.splitlines() == lines[gap:gap + 2] and "no region" in result.stderr, "an address between regions: 1, and both")
        libc = next(i for i, line in enumerate(lines) if line.split()[-1].split("/")[-1].startswith("libc."))
        name = lines[libc].split("/")[-1]
        value = json.loads(run("maps", "-J", family.pid, f"{name}+0x40").stdout)
        check(value["address"] == ranges[libc][0] + 0x40, f"{name}+40 is where the file begins, and 64")
        check(run("maps", family.pid, "zz").returncode == 2, "what is no address: 2")
        check(run("maps", family.pid, "nofile+10").returncode == 1, "a file that is not mapped: 1")
    if os.path.exists(LIBRARY):
        with Family("mixed", library=True) as family:
            regions = json.loads(run("maps", "-J", family.pid).stdout)["regions"]
            half = next(one for one in regions if one["name"] == "test:half")
            value = json.loads(run("maps", "-J", family.pid, hex(half["start"])).stdout)
            check(value["regions"][1] == half and value["figures"]["rss"] == 2 * MIB, f"a part of a VMA, by the registry: {value}")


def free_addresses():
    """Everything but one hole is reserved, so the hole is the largest free piece."""
    with tempfile.TemporaryDirectory() as tree:
        os.makedirs(f"{tree}/proc/5")
        with open(f"{tree}/proc/5/smaps", "w") as file:
            for start, end in ((0x1000, 0x3000), (0x4000, 0x5000), (0x9000, 0xa000), (0xffffffffff600000, 0xffffffffff601000)):
                file.write(f"{start:x}-{end:x} rw-p 00000000 00:00 0 \nSize: {(end - start) // 1024} kB\nRss: 0 kB\n")
        value = json.loads(run("check", "-J", "--root", tree, 5).stdout)
        check(value["largest_free"] == 0x4000, f"check: the largest free piece: {value['largest_free']}")
    value = json.loads(run("check", "-J", os.getpid()).stdout)
    check(value["largest_free"] > 1 << 40, f"check: of this process: {value['largest_free']}")


def sources():
    """check and report tell alike where the names of a process that nobody prepared come from."""
    with Family("mixed") as family:
        checked, reported = (json.loads(run(command, "-J", "--names", "kernel,outside", family.pid).stdout) for command in ("check", "report"))
        by_source = reported["total"]["by_source"]
        check(checked["by_source"] == by_source and by_source["outside"] > 0 and by_source["registry"] == 0,
              f"check and report: names come from {checked['by_source']}, {by_source}")


def moments():
    """diff takes whatever holds the figures of a process: the same process never differs from itself but in PSS."""
    with Family("mixed") as family, tempfile.TemporaryDirectory() as directory:
        files = {name: os.path.join(directory, name) for name in ("snapshot", "report", "smaps", "cut", "kinds", "text")}
        # A copy of smaps has the kernel's names alone.
        texts = {"snapshot": run("snapshot", "--names", "kernel", family.pid).stdout,
                 "report": run("report", "-J", "--names", "kernel", family.pid).stdout,
                 "cut": run("report", "-J", "-n", "2", family.pid).stdout, "kinds": run("report", "-J", "--by", "kind", family.pid).stdout,
                 "text": "neither\n"}
        with open(f"/proc/{family.pid}/smaps") as file:
            texts["smaps"] = file.read()
        for name, text in texts.items():
            with open(files[name], "w") as file:
                file.write(text)
        for a, b in (("snapshot", "report"), ("report", "smaps"), ("smaps", "snapshot"), ("smaps", "smaps")):
            result = json.loads(run("diff", "-J", files[a], files[b]).stdout)
            check(not any(result["total"][key] for key in ("vmas", "size", "rss", "swap")) and
                  all(one["state"] == "changed" and not one["rss"] for one in result["names"]), f"diff of a {a} and a {b}: nothing but PSS")
        value = json.loads(texts["snapshot"])
        value["names"][0]["rss"] += 8 * MIB
        value["total"]["rss"] += 8 * MIB
        with open(files["snapshot"], "w") as file:
            json.dump(value, file)
        result = json.loads(run("diff", "-J", "--sort", "rss", files["smaps"], files["snapshot"]).stdout)
        check(result["names"][0]["name"] == value["names"][0]["name"] and result["names"][0]["rss"] == 8 * MIB, "diff finds what grew since a copy of smaps")
        for name, word in (("cut", "--lines"), ("kinds", "--by"), ("text", "smaps")):
            refused = run("diff", files["smaps"], files[name])
            check(refused.returncode == 1 and word in refused.stderr, f"diff refuses {name}: {refused.stderr.strip()}")


LONG = 400000


def reader_of(path, tool):
    """The child of the tool that has the file open."""
    while tool.poll() is None:
        for pid in subprocess.run(["pgrep", "-P", str(tool.pid)], capture_output=True, text=True).stdout.split():
            try:
                if any(os.readlink(f"/proc/{pid}/fd/{fd}") == path for fd in os.listdir(f"/proc/{pid}/fd")):
                    return int(pid)
            except OSError:
                pass
    return None


def all_said(master):
    """What was written to a terminal that everybody has closed: it comes in pieces, and ends with an error."""
    said = b""
    try:
        while more := os.read(master, 4096):
            said += more
    except OSError:
        pass
    os.close(master)
    return said.decode()


def interrupted():
    """A process that takes its time comes last; Ctrl-C shows the others. Its maps is long, and who reads it is stopped there."""
    with tempfile.TemporaryDirectory() as tree:
        for pid, regions in ((5, 1), (6, 1), (7, LONG)):
            os.makedirs(f"{tree}/proc/{pid}")
            with open(f"{tree}/proc/{pid}/comm", "w") as file:
                file.write("x\n")
            with open(f"{tree}/proc/{pid}/smaps", "w") as file:
                file.writelines(f"{4096 * i:x}-{4096 * (i + 1):x} rw-p 00000000 00:00 0 \nSize: 4 kB\nRss: 4 kB\nPss: 4 kB\n"
                                for i in range(1, regions + 1))
        master, slave = pty.openpty()
        # A shell's background job ignores the signal, and so would what it starts.
        tool = subprocess.Popen([TOOL, "report", "--json", "--all", "--root", tree], stdout=subprocess.PIPE, stderr=slave, text=True,
                                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        os.close(slave)
        reader = reader_of(f"{tree}/proc/7/smaps", tool)
        check(reader, "it is read by a child")
        if reader:
            os.kill(reader, signal.SIGSTOP)
        time.sleep(2)
        begun = time.monotonic()
        tool.send_signal(signal.SIGINT)
        out = tool.stdout.read()
        code = tool.wait()
        took = time.monotonic() - begun
        said = all_said(master)
        check(took < 4, "Ctrl-C ends the reading at once")
        check("2 of 3 processes read" in said, f"after a second a terminal is told how far it is: {said!r}")
        check(code == 1 and "1 process was not read" in said, "and that some are missing")
        check([one["pid"] for one in json.loads(out)["processes"]] == [5, 6], f"those that were read are printed: {out[:200]}")
        result = run("report", "--all", "--root", tree, timeout=60)
        check("\r" not in result.stderr, "no line of progress where standard error is no terminal")


free_addresses()
sources()
interrupted()
moments()
processes_by_name()
rows_by_place()
recorded_places()
figures_of_smaps()
addresses()
done()
