#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Figures of live processes against the kernel's own counters, and processes that do not hold still.

    live.py [ROUNDS]    ROUNDS: how often processes that exit, exec and fork are read

ANONNAME_WHOLE_MACHINE=1: the machine is for this test alone. KSM is switched
on, swap is expected to be there, and a kernel that names memory must be seen to.
"""
import json
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import time

from common import (LIBRARY, MIB, TOOL, Family, check, done, report, row, run, skip)

SUMS = ("vmas", "size", "rss", "pss", "uss", "cow", "ksm", "zero", "swap", "swap_pss", "thp", "locked")


def rollup(pid):
    values = {}
    with open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            key, _, rest = line.partition(":")
            if rest.endswith("kB\n"):
                values[key] = int(rest.split()[0]) * 1024
    return values


def reads_take_pages():
    """Some hypervisors turn a read of untouched memory into a write: there is no zero page then."""
    memory = mmap.mmap(-1, 16 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    before = rollup(os.getpid())["Rss"]
    for i in range(0, 16 * MIB, 4096):
        memory[i]
    return rollup(os.getpid())["Rss"] - before > 8 * MIB


def near(a, b, tolerance):
    return a is not None and abs(a - b) <= tolerance


def sums_match(result, what):
    for key in SUMS:
        values = [one[key] for one in result["names"]]
        total = result["total"][key]
        if total is None:
            check(None in values, f"{what}: {key} is unknown in the total only where it is in a row")
        elif None not in values:
            check(sum(values) == total, f"{what}: sum of {key} over names is the total, {total}")
    for one in result["names"]:
        if None not in (one["uss"], one["pss"], one["rss"]):
            # Each figure is cut to KiB by the kernel, VMA by VMA.
            slack = one["vmas"] * 1024
            check(one["uss"] <= one["pss"] + slack and one["pss"] <= one["rss"] + slack,
                  f"{what}: USS <= PSS <= RSS of {one['name']}")


def against_rollup(library, mode):
    what = f"{'registry' if library else 'plain'} {' '.join(mode)}"
    with Family("mixed", library) as family:
        result = report(*mode, family.pid)
        kernel = rollup(family.pid)
        total = result["total"]
        sums_match(result, what)
        tolerance = total["vmas"] * 1024
        for key, name in (("rss", "Rss"), ("pss", "Pss"), ("swap", "Swap")):
            if total[key] is None:
                check(mode == ["--gentle"], f"{what}: {key} is unknown only with --gentle")
            else:
                # The tool itself maps the same libc while it reads, and that lowers their PSS.
                allowed = tolerance + (kernel["Pss_File"] if key == "pss" else 0)
                check(near(total[key], kernel[name], allowed),
                      f"{what}: {key} {total[key]} is smaps_rollup's {kernel[name]} but for {allowed}")
        unique = kernel["Private_Clean"] + kernel["Private_Dirty"]
        check(near(total["uss"], unique, tolerance + kernel["Pss_File"]), f"{what}: USS {total['uss']} is {unique}")


def parts(mode):
    """One VMA with four names: only pagemap can tell them apart."""
    what = "parts " + " ".join(mode)
    with Family("mixed", library=True) as family:
        result = report(*mode, family.pid)
        full, half = row(result, "test:full"), row(result, "test:half")
        none, zero = row(result, "test:none"), row(result, "test:zero")
        check(all((full, half, none, zero)), f"{what}: all four names are there")
        if not all((full, half, none, zero)):
            return
        check(full["rss"] == 4 * MIB and full["uss"] == MIB and full["cow"] == 3 * MIB,
              f"{what}: full rss {full['rss']} uss {full['uss']} cow {full['cow']}")
        check(half["rss"] == 2 * MIB and half["uss"] == 0 and half["cow"] == 2 * MIB,
              f"{what}: half rss {half['rss']} uss {half['uss']} cow {half['cow']}")
        check(none["rss"] == 0 and none["zero"] in (0, None), f"{what}: none rss {none['rss']} zero {none['zero']}")
        check((zero["rss"] == 0 and zero["zero"] in (4 * MIB, None)) or no_zero_page, f"{what}: zero rss {zero['rss']} zero {zero['zero']}")
        if full["pss"] is not None:
            check(near(full["pss"], 5 * MIB // 2, 4096), f"{what}: full PSS {full['pss']} is 2.5 MiB")
            check(near(half["pss"], MIB, 4096), f"{what}: half PSS {half['pss']} is 1 MiB")
        else:
            check(mode == ["--gentle"] and os.geteuid() != 0, f"{what}: PSS is unknown only without privilege")


def after_others():
    """The library is found late, when its file goes by, in a process that comes after others without it."""
    others = [subprocess.Popen(["sleep", "60"]) for _ in range(6)]
    with Family("mixed", library=True) as family, Family("mixed", library=True) as second:
        result = report(*[one.pid for one in others], family.pid, second.pid)
        full = row(result, "test:full")
        check(full is not None and full["rss"] == 8 * MIB and full["uss"] == 2 * MIB and full["cow"] == 6 * MIB,
              f"after others without the library: {full}")
        check(len(result["processes"]) == 8, "after others: each process once")
    for one in others:
        one.kill()
        one.wait()


def golden(library):
    what = "golden " + ("with the library" if library else "without")
    with Family("golden", library, 3) as family:
        parent, idle, writer = family.pids
        for pid, pss, uss, cow in ((parent, 27306, 0, 65536), (idle, 27306, 0, 65536), (writer, 43690, 32768, 32768)):
            result = report(pid)
            one = row(result, "test:golden")
            tolerance = 1024
            if not one:
                # Nobody names here: the rest of a small program's anonymous memory is in the row, too.
                one, tolerance = row(result, "[anon]"), 96 * 1024
            for key, expected in (("rss", 65536), ("pss", pss), ("uss", uss), ("cow", cow)):
                check(near(one[key], expected * 1024, tolerance), f"{what}: {key} of {pid} is {expected} KiB: {one[key]}")
        result = report(*family.pids)
        one = row(result, "test:golden") or row(result, "[anon]")
        check(near(one["pss"], 96 * MIB, 300 * 1024), f"{what}: the family's pages count once, 96 MiB: {one['pss']}")
        result = report("--tree", parent)
        check({p["pid"] for p in result["processes"]} == set(family.pids), f"{what}: --tree finds the family")


def zero_pages(library):
    if no_zero_page:
        skip("zero pages: on this machine a page that was only read is a page of its own")
        return
    with Family("zero", library) as family:
        result = report(family.pid)
        one = row(result, "test:zero") or row(result, "[anon]")
        if one["zero"] is None:
            skip("zero pages: neither PAGEMAP_SCAN nor privilege here")
            return
        check(near(one["zero"], 32 * MIB, 128 * 1024), f"zero pages: {one['zero']} is 32 MiB")
        check(one["rss"] < 256 * 1024, f"zero pages: not in RSS, {one['rss']}")


def kernel_names():
    """Whether this kernel takes names; without the library."""
    with Family("zero") as family, open(f"/proc/{family.pid}/maps") as maps:
        return "[anon:test:zero]" in maps.read()


def sparse(library):
    """An address space of 8 TiB with next to nothing in it is not looked at piece by piece."""
    for mode in ([], ["--gentle"]):
        what = " ".join(["sparse", "with the library" if library else "without", *mode])
        if mode and tuple(map(int, os.uname().release.split(".")[:2])) < (6, 7):
            skip(what + ": without PAGEMAP_SCAN every entry of pagemap has to be read")
            continue
        with Family("sparse", library) as family:
            result = report(*mode, family.pid)
            one = row(result, "test:sparse") or row(result, "[anon]")
            check(one["size"] >= 8 << 40 and 8 * 4096 <= one["rss"] <= 4 * MIB, f"{what}: size {one['size']}, rss {one['rss']}")
            check(result["cost"]["reads"] < 5000, f"{what}: {result['cost']['reads']} reads")


def put(name, value):
    with open(name, "w") as file:
        file.write(str(value))


def number(name):
    with open(name) as file:
        return int(file.read())


def both_ways(what, pid, name, expected):
    """The row of a name read from smaps, and from maps and pagemap: key -> (bytes, tolerance)."""
    for mode in ([], ["--gentle"]):
        one = row(report(*mode, pid), name)
        check(one is not None, f"{what} {' '.join(mode)}: the name is there")
        for key, (value, tolerance) in expected.items() if one else ():
            if one[key] is None:
                # Without smaps and PAGEMAP_SCAN nobody tells.
                check(mode and key in ("thp", "swap_pss", "locked"), f"{what} {' '.join(mode)}: {key} is unknown")
            else:
                check(near(one[key], value, tolerance), f"{what} {' '.join(mode)}: {key} {one[key]} is {value}, give or take {tolerance}")


def huge_pages():
    with Family("huge") as family:
        both_ways("huge pages", family.pid, "test:huge", {"rss": (8 * MIB, 0), "uss": (8 * MIB, 0), "thp": (8 * MIB, 0), "cow": (0, 0)})


def reserved_pages():
    """hugetlbfs: not in the fields of smaps that all other memory is in."""
    pool = "/proc/sys/vm/nr_hugepages"
    put(pool, 4)
    check(number(pool) >= 2, f"the kernel reserved {number(pool)} huge pages")
    with Family("hugetlb") as family:
        expected = {"rss": (4 * MIB, 0), "pss": (2 * MIB, 0), "uss": (0, 0), "cow": (4 * MIB, 0), "thp": (4 * MIB, 0)}
        both_ways("hugetlb", family.pid, "/anon_hugepage (deleted)", expected)
    put(pool, 0)


def same_pages():
    ksm = "/sys/kernel/mm/ksm/"
    with Family("alike") as family:
        put(ksm + "pages_to_scan", 10000)
        put(ksm + "run", 1)
        wanted = 16 * MIB // 4096 * 95 // 100
        for _ in range(600):
            if number(ksm + "pages_sharing") >= wanted:
                break
            time.sleep(0.1)
        put(ksm + "run", 0)
        merged = (number(ksm + "pages_sharing") + number(ksm + "pages_shared")) * 4096
        check(merged >= wanted * 4096, f"KSM merged {merged} bytes")
        # Whoever owns them alone: shared by count, but copied on nobody's behalf.
        both_ways("KSM", family.pid, "test:alike", {"rss": (16 * MIB, 0), "ksm": (merged, 0), "cow": (0, 0), "uss": (16 * MIB - merged, 0),
                                                    "pss": (16 * MIB - merged + number(ksm + "pages_shared") * 4096, 64 * 1024)})
        put(ksm + "run", 2)


def swapped():
    with open("/proc/swaps") as file:
        check(len(file.readlines()) > 1, "there is swap")
    with Family("swapped") as family:
        result = row(report(family.pid), "test:swapped")
        # The kernel may leave out a page that somebody holds.
        both_ways("swap", family.pid, "test:swapped", {"rss": (8 * MIB, 128 * 1024), "swap": (8 * MIB, 128 * 1024),
                                                       "swap_pss": (8 * MIB, 128 * 1024), "uss": (8 * MIB, 128 * 1024)})
        check(result and result["rss"] + result["swap"] == 16 * MIB, f"swap: what is not here is there: {result}")
        kernel = rollup(family.pid)
        total = report(family.pid)["total"]
        check(total["swap"] == kernel["Swap"], f"swap: {total['swap']} is smaps_rollup's {kernel['Swap']}")


def restless(rounds):
    """Processes that exit, exec and fork under the reader's hands."""
    with Family("churn", count=0) as family, Family("churn", count=0) as other:
        bad = []
        for i in range(rounds):
            for args in (["report", "--all", "--json"], ["maps", family.pid], ["report", other.pid],
                         ["report", "--gentle", family.pid], ["check", family.pid], ["report", "--tree", os.getpid()]):
                if args[0] == "report" and args[1] == "--all" and i % 10:
                    continue
                result = run(*args)
                if result.returncode not in (0, 42) or (args[1] == "--all" and result.returncode):
                    bad.append((args, result.returncode, result.stderr))
        check(not bad, f"restless processes never make it fail {bad[:2]}")


def pipes():
    for args in (["report", "--all"], ["maps", os.getpid()], ["top", "-b", "-n", "50", "-d", "0.1"],
                 ["report", "--all", "--json"]):
        process = subprocess.Popen([TOOL, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdout.read(1)
        process.stdout.close()
        error = process.stderr.read()
        code = process.wait(timeout=60)
        # Who may not be read is said all the same.
        said = [line for line in error.splitlines() if b"may not be read" not in line]
        check(code in (0, 1, -signal.SIGPIPE) and not said, f"{args[0]} {args[1]}: a pipe closed early, {code} {said}")
    result = subprocess.run(f"{TOOL} report {os.getpid()} >/dev/full", shell=True, capture_output=True, text=True)
    check(result.returncode == 1 and "space" in result.stderr, f"a full disk is an error: {result.stderr.strip()}")


def as_nobody():
    if os.geteuid() != 0:
        skip("as nobody: needs root to become it")
        return

    def become():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)

    probe = subprocess.run([TOOL, "--version"], preexec_fn=become, capture_output=True)
    own = subprocess.Popen(["sleep", "60"], preexec_fn=become)
    time.sleep(0.2)
    try:
        if probe.returncode:
            skip("as nobody: the build tree cannot be read by it")
            return
    except PermissionError:
        skip("as nobody: the build tree cannot be read by it")
        return
    finally:
        if probe.returncode:
            own.kill()
    result = run("report", "--json", own.pid, preexec_fn=become)
    check(result.returncode == 0, f"nobody reads its own process: {result.stderr.strip()}")
    result = run("report", "-g", own.pid, preexec_fn=become)
    check(result.returncode == 0, f"nobody reads its own process gently: {result.stderr.strip()}")
    result = run("report", "--json", own.pid)
    check(result.returncode == 0 and json.loads(result.stdout)["total"]["rss"] > 0, f"root reads nobody's process: {result.stderr.strip()}")
    result = run("report", os.getpid(), preexec_fn=become)
    check(result.returncode == 1 and "may not be read: Permission denied. Run as its owner or as root" in result.stderr,
          f"nobody may not read root's: {result.stderr.strip()}")
    result = run("report", "--all", preexec_fn=become)
    check(result.returncode == 0 and result.stderr.count("\n") == 1 and "may not be read" in result.stderr,
          f"--all says in one line who could not be read: {result.stderr.strip()}")
    own.kill()
    own.wait()


def refused_memory():
    """What Yama does: smaps may be read, the memory with the names may not."""
    if os.geteuid() != 0 or not os.path.exists(LIBRARY):
        skip("memory that is refused: needs root and the library")
        return
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    own = subprocess.Popen([*nobody, "sh", "-c", "echo; exec sleep 60"], stdout=subprocess.PIPE, env=dict(os.environ, LD_PRELOAD=LIBRARY))
    own.stdout.readline()
    with tempfile.NamedTemporaryFile() as closed:
        os.chmod(closed.name, 0)
        for command in ("maps", "report", "snapshot", "diff", "check"):
            pids = [str(own.pid)] * (2 if command == "diff" else 1)
            result = subprocess.run(["unshare", "-m", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"', closed.name,
                                     f"/proc/{own.pid}/mem", *nobody, TOOL, command, *pids], capture_output=True, text=True)
            if "mount" in result.stderr or "unshare" in result.stderr:
                skip(f"memory that is refused: {result.stderr.strip()}")
                break
            said = result.stdout if command == "check" else result.stderr
            check(result.returncode in ((0, 1) if command == "check" else (0,)) and "Permission denied" in said and
                  "Run as root" in said and "ptrace_scope" in said, f"{command} says what is refused, why, and what to do: {' '.join(said[-300:].split())}")
    own.kill()
    own.communicate()


def errors():
    for args, code, text in (
            (["report"], 2, "--help"), (["report", "x"], 2, "not a process id"), (["report", "999999999"], 42, "no process"),
            (["report", "-o", "nonsense", "1"], 2, "column"), (["report", "--by", "moon", "1"], 2, "--help"),
            (["report", "--smaps", "/nonexistent"], 1, "No such file"), (["report", "--smaps", "/etc/passwd"], 1, "no VMA"),
            (["maps"], 2, "process id"), (["maps", "999999999"], 42, "no process"), (["check", "999999999"], 42, "no process"),
            (["nonsense"], 2, "no command"), (["diff", "/etc/passwd", "/etc/passwd"], 1, "passwd"),
            (["snapshot", "999999999"], 42, "no process"), (["top", "-d", "0", "1"], 2, "interval"),
            (["run"], 2, "command"), (["run", "-a", "nonsense", "true"], 125, "jemalloc"), (["run", "-i", "5", "true"], 2, "--peak"),
            (["top", "-b", "-n", "1", "999999999"], 42, "no process"), (["report", "-n", "1x", "1"], 2, "'1x' is not a number of lines"),
            (["top", "-n", "2 ", "1"], 2, "number of readings"), (["diff", "-w", "1.5", "1"], 2, "number of seconds"),
            (["run", "--peak", "-i", "1s", "true"], 2, "interval")):
        result = run(*args)
        check(result.returncode == code and text in result.stderr,
              f"{' '.join(args)}: {result.returncode} {result.stderr.splitlines()[:1]}")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        for text, message in (('{"format": "anonname-snapshot", "version": 1, "names": [{"na', "no whole file of anonname snapshot"),
                              ("\033[31mred", "neither JSON"), ('{"format": "anonname-\\u001b[31m", "version": 1, "names": []}', "no file of anonname snapshot"),
                              ('{"format": "anonname-snapshot", "version": 2, "names": []}', "another version")):
            file.truncate(0)
            file.seek(0)
            file.write(text)
            file.flush()
            result = run("diff", file.name, file.name)
            check(result.returncode == 1 and message in result.stderr and "\033" not in result.stderr, f"diff says what is wrong: {result.stderr.strip()}")
    check("No such file" in run("diff", "/nonexistent", "1").stderr, "diff of a file that is not there says so")
    for command in ("run", "maps", "report", "top", "snapshot", "diff", "check"):
        result = run(command, "--help")
        check(result.returncode == 0 and result.stdout.startswith("Usage: anonname " + command), command + " --help")
        check(run(command, "--version").stdout.startswith("anonname "), command + " --version")


def one_answer(pid, code, sentence):
    """Every command says the same of a process without memory, and nothing else."""
    users = [{}]
    if os.geteuid() == 0:
        users.append({"user": 65534, "group": 65534, "extra_groups": []})
    for command in (["report"], ["report", "--gentle"], ["report", "--json"], ["maps"], ["maps", "--json"], ["maps", "--csv"], ["check"],
                    ["snapshot"], ["top", "-b", "-n", "1"], ["diff", "-w", "1"], ["heap"], ["heap", "--json"], ["export", "--textfile", "/"],
                    ["record", "-o", "/nowhere", "-d", "1ms"]):
        for user in users:
            result = run(*command, pid, **user)
            said = f"anonname {command[0]}: process {pid} {sentence}"
            check(result.returncode == code and not result.stdout and result.stderr.startswith(said) and result.stderr.count("\n") == 1,
                  f"{' '.join(command)}: {result.returncode} {result.stdout[:80]} {result.stderr.strip()}")


def other_ids():
    """The ids of threads and of kernel threads, one that ended, and those of another namespace."""
    thread = subprocess.Popen([sys.executable, "-c", "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\n"
                               "print(threading.enumerate()[1].native_id, flush=True)"], stdout=subprocess.PIPE, text=True)
    tid = int(thread.stdout.readline())
    result = report(tid, thread.pid, tid)
    check([one["pid"] for one in result["processes"]] == [thread.pid], f"a process and its thread are one: {result['processes']}")
    check(run("top", "-b", "-n", "1", tid, thread.pid).stdout.splitlines()[1].startswith("1 process"), "top: a process and its thread are one")
    check(report(tid)["total"]["rss"] > 0 and run("maps", tid).returncode == 0, "the id of a thread is that of its process")
    thread.kill()
    os.waitid(os.P_PID, thread.pid, os.WEXITED | os.WNOWAIT)
    one_answer(thread.pid, 42, "has ended: it has no memory any more")
    thread.communicate()
    if os.path.exists("/proc/2/stat") and "kthreadd" in open("/proc/2/stat").read():
        one_answer(2, 1, "is a kernel thread: it has no memory of its own")
    else:
        skip("kernel threads: none are seen here")
    for command in (["run", "--peak", "--", "true"], ["check"]):
        result = subprocess.run(["unshare", "-pf", TOOL, *command], capture_output=True, text=True)
        if "unshare" in result.stderr:
            skip(f"another PID namespace: {result.stderr.strip()}")
            break
        check(result.returncode in (1, 125) and "another PID namespace" in result.stderr, f"{command[0]}: /proc of another PID namespace: {result.stderr.strip()}")


def growth():
    grower = subprocess.Popen([sys.executable, "-c", "import sys\nsys.stdin.readline()\na = bytearray(30 << 20)\nprint('x', flush=True)\n"
                               "sys.stdin.readline()\n"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    time.sleep(0.5)
    handle, name = tempfile.mkstemp(suffix=".json")
    with os.fdopen(handle, "w") as file:
        file.write(run("snapshot", grower.pid).stdout)
    grower.stdin.write("\n")
    grower.stdin.flush()
    grower.stdout.readline()
    try:
        result = run("diff", "--fail-above", "10M", name, grower.pid)
        check(result.returncode == 1 and "grew by" in result.stderr, "diff --fail-above sees 30 MiB of growth")
        result = run("diff", "--fail-above", "100M", name, grower.pid)
        check(result.returncode == 0, "diff --fail-above lets 30 MiB pass")
        check(run("diff", name, name, "--fail-above", "0").returncode == 0, "a snapshot does not differ from itself")
    finally:
        os.unlink(name)
        grower.kill()
        grower.communicate()


def peak():
    if not os.path.exists(LIBRARY):
        skip("run --peak: no library in the build tree")
        return
    script = """if True:
        import os, time

        def reads():
            with open(f"/proc/{os.getppid()}/io") as file:
                return int(file.readline().split()[1])

        def until_read():
            # When a reading is due depends on what it costs here. It takes many KiB, a look at statm some bytes.
            before = reads()
            while True:
                time.sleep(0.02)
                now = reads()
                if now - before > 8192:
                    return
                before = now

        a = bytearray(40 << 20)
        # The first may have begun before.
        until_read()
        until_read()
        time.sleep(0.1)
        del a
        until_read()
        time.sleep(0.1)
    """
    if os.path.exists("/proc/self/io"):
        result = run("run", "--peak", "-J", "-i", "10", "--", sys.executable, "-c", script)
        value = json.loads(result.stderr)
        check(result.returncode == 0 and value["peak"]["total"]["pss"] > 40 * MIB, f"run --peak sees 40 MiB: {value['peak']['total']['pss']}")
        check(value["end"]["total"]["pss"] < value["peak"]["total"]["pss"] - 30 * MIB, "run --peak sees the end without them")
        print(f"        run --peak took {value['cost_seconds'] / value['seconds']:.4f} of the time")
    else:
        skip("run --peak: this kernel does not count what a process reads, so the test cannot see when it was read")
    for command, code in (("exit 7", 7), ("kill -9 $$", 137)):
        check(run("run", "--peak", "sh", "-c", command).returncode == code, f"run --peak passes on: {command}")
    check(run("run", "--", "sh", "-c", "exit 9").returncode == 9, "run passes the exit status on")
    result = run("run", "--", "sh", "-c", "echo $LD_PRELOAD", env=dict(os.environ, LD_PRELOAD="/nonexistent-before.so"))
    check(result.stdout.strip().endswith("libanonname.so.0.0.0:/nonexistent-before.so"), f"run keeps LD_PRELOAD: {result.stdout.strip()}")
    check(run("run", "/nonexistent").returncode == 127, "run: not found is 127")
    check(run("run", "/").returncode == 126, "run: not executable is 126")


have_library = os.path.exists(LIBRARY)
no_zero_page = reads_take_pages()
if os.environ.get("ANONNAME_WHOLE_MACHINE"):
    check(kernel_names(), "the kernel takes names")
    huge_pages()
    reserved_pages()
    same_pages()
    swapped()
else:
    skip("huge pages, KSM and swap: they need a machine of their own (live-vm.sh)")
for library in (False, True):
    if library and not have_library:
        skip("the registry's figures: no library in the build tree")
        continue
    golden(library)
    zero_pages(library)
    sparse(library)
    for mode in ([], ["--gentle"]):
        against_rollup(library, mode)
        if library:
            parts(mode)
            after_others()
restless(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
pipes()
as_nobody()
refused_memory()
errors()
other_ids()
growth()
peak()
done()
