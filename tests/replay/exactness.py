#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Which figure is exact, estimated or unknown, for each privilege: against pagemap and kpagecount, counted here as root.

    exactness.py [PRIVILEGE...]

A figure that is printed is equal to a page, with ~ within 1 %, or it is -.
At the end stands what was seen, which must be what EXACTNESS of doc/anonname.1 says.

ANONNAME_WHOLE_MACHINE=1: the machine is for this test alone, with swap; KSM is switched on.
"""
import contextlib
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

from common import FAMILY, LIBRARY, MIB, SOURCE, TOOL, check, done, skip, state_of

PAGE = 4096
COUNTED = ("rss", "pss", "uss", "cow", "ksm", "zero", "swap", "thp")
# What pagemap does not have: the kernel's own figures for a VMA are compared.
OF_SMAPS = {"swap_pss": ("SwapPss",), "locked": ("Locked",), "dirty": ("Private_Dirty", "Shared_Dirty"),
            "clean": ("Private_Clean", "Shared_Clean"), "lazyfree": ("LazyFree",), "pss_dirty": ("Pss_Dirty",)}
FIGURES = (*COUNTED, *OF_SMAPS)
ASKED = ("dirty", "clean", "lazyfree", "pss_dirty")     # read where they are asked for
DOCKER = "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,net_raw,sys_chroot,mknod,audit_write,setfcap"
DOCKER_BOUND = ["setpriv", "--bounding-set", "-all," + ",".join("+" + name for name in DOCKER.split(",")), "--inh-caps", "-all"]
OWNER = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "--inh-caps", "-all"]
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps", "-all"]
# A container: its own namespaces and a /proc of its own. Docker's has no user namespace, a rootless one has.
CONTAINER = ["unshare", "-pmiunCf", "--kill-child", "--mount-proc", *DOCKER_BOUND]
ROOTLESS = [*OWNER, "unshare", "-Urpmf", "--kill-child", "--mount-proc", *DOCKER_BOUND]
HIDDEN = ["unshare", "-m", "sh", "-c", 'mount -t proc -o hidepid=2 proc /proc && exec "$@"', "sh"]
# name: column of the document, how the target is started, how the reader is. PID: the target, as it is called here.
PRIVILEGES = {
    "root": ("root", [], []),
    "root, hidepid": ("root", [], HIDDEN),
    "root without CAP_SYS_ADMIN": ("container", [], ["setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin"]),
    "root with Docker's capabilities": ("container", DOCKER_BOUND, DOCKER_BOUND),
    "root with Docker's capabilities and CAP_SYS_PTRACE": ("container", [], [*DOCKER_BOUND[:2], DOCKER_BOUND[2] + ",+sys_ptrace", *DOCKER_BOUND[3:]]),
    "root of a user namespace": ("container", [*OWNER, "unshare", "-Ur"], ["nsenter", "-U", "-t", "PID"]),
    "a container of Docker's": ("container", CONTAINER, ["nsenter", "-a", "-t", "PID", *DOCKER_BOUND]),
    "a rootless container": ("container", ROOTLESS, ["nsenter", "-U", "-p", "-m", "-t", "PID", *DOCKER_BOUND]),
    "owner": ("owner", OWNER, OWNER),
    "owner, hidepid": ("owner", OWNER, HIDDEN + OWNER),
}
# Those that are in the target's own pid namespace.
ENTERED = [PRIVILEGES[name][2] for name in ("a container of Docker's", "a rootless container")]
HEADER = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (....) ")


def words(fd, first, count):
    # Short where memory ends.
    return struct.unpack(f"{count}Q", os.pread(fd, 8 * count, 8 * first).ljust(8 * count, b"\0"))


class Frames:
    """kpagecount and kpageflags. A process's frames mostly follow one another, so 64 are read at once."""

    files = []

    def __init__(self):
        Frames.files = Frames.files or [os.open("/proc/" + name, os.O_RDONLY) for name in ("kpagecount", "kpageflags")]
        self.known = {}

    def look(self, number):
        block = number // 64
        if block not in self.known:
            self.known[block] = [words(fd, block * 64, 64) for fd in self.files]
        uses, flags = self.known[block]
        return uses[number % 64], flags[number % 64]


def count_pages(figures, frames, entries):
    anonymous, ksm, thp, nopage, zero = (1 << bit for bit in (12, 21, 22, 20, 24))
    for entry in entries:
        if entry >> 62 & 1 and not entry >> 63:
            figures["swap"] += PAGE
        if not entry >> 63:
            continue
        uses, flags = frames.look(entry & ((1 << 55) - 1))
        if flags & zero:
            figures["zero"] += PAGE
        elif uses and not flags & nopage:
            figures["rss"] += PAGE
            figures["pss"] += PAGE / uses
            figures["uss"] += PAGE * (uses == 1)
            figures["thp"] += PAGE * (flags & thp != 0 and flags & anonymous != 0)
            if flags & ksm:
                figures["ksm"] += PAGE
            elif flags & anonymous and uses > 1:
                figures["cow"] += PAGE


def smaps(pid):
    """The VMAs: (start, end) -> fields in bytes."""
    vmas, fields = {}, None
    with open(f"/proc/{pid}/smaps") as file:
        for line in file:
            header = HEADER.match(line)
            if header:
                fields = vmas[int(header[1], 16), int(header[2], 16)] = {}
            elif line.endswith(" kB\n"):
                key, value, _ = line.split()
                fields[key[:-1]] = int(value) << 10
    return vmas


def rollup(pid):
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return {line.split()[0][:-1]: int(line.split()[1]) << 10 for line in file if line.endswith(" kB\n")}


def truth(pid):
    """name -> figures, and how much the kernel's cutting to KiB may take from them. "": of the process."""
    frames, rows = Frames(), {}
    regions = json.loads(subprocess.run([TOOL, "maps", "-J", str(pid)], stdout=subprocess.PIPE, check=True).stdout)["regions"]
    vmas = smaps(pid)
    pagemap = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY)
    total = rows[""] = dict.fromkeys(FIGURES, 0)
    total.update(slack=PAGE + 1024 * len(vmas), of="all", anon_rss=0)
    for region in regions:
        start, end = region["start"], region["end"]
        row = rows.setdefault(region["name"] or "[anon]", {**dict.fromkeys(FIGURES, 0), "slack": PAGE, "of": "area"})
        if (start, end) not in vmas:
            row["of"] = "part"
        part = dict.fromkeys(FIGURES, 0)
        for at in range(start, end, 32 * MIB) if start >> 63 == 0 else ():
            count_pages(part, frames, words(pagemap, at // PAGE, (min(end, at + 32 * MIB) - at) // PAGE))
        whole = next(fields for vma, fields in vmas.items() if vma[0] <= start < vma[1])
        for key, names in OF_SMAPS.items():
            value = sum(whole.get(name, 0) for name in names)
            if (start, end) in vmas:
                part[key] = value
            elif key in ("dirty", "swap_pss") and value == whole["Rss" if key == "dirty" else "Swap"]:
                part[key] = part["rss" if key == "dirty" else "swap"]
            elif key == "locked" and value:
                part[key] = part["pss"]
            elif value:
                # A part of a VMA: nothing else knows, and nothing is compared. The sum over the process is.
                part[key] = float("nan")
        for key in FIGURES:
            row[key] += part[key]
        row["slack"] += 1024
        total["anon_rss"] += part["rss"] if region["anonymous"] else 0
    for key in COUNTED:
        total[key] = sum(row[key] for name, row in rows.items() if name)
    for key, names in OF_SMAPS.items():
        total[key] = sum(sum(fields.get(name, 0) for name in names) for fields in vmas.values())
    os.close(pagemap)
    kernel = rollup(pid)
    for key, name in (("rss", "Rss"), ("pss", "Pss"), ("swap", "Swap")):
        check(abs(total[key] - kernel[name]) <= PAGE, f"pages counted here: {key} {total[key]:.0f} is smaps_rollup's {kernel[name]}")
    return rows


class Measured:
    """What was seen: (who, figure) -> of "exact", "~", "-" those that were, and what was wrong."""

    def __init__(self):
        self.seen, self.wrong = {}, []

    def figure(self, what, who, figure, got, right):
        value, slack = got[figure], right["slack"] if figure in ("pss", "locked", "swap_pss", "pss_dirty") else PAGE
        off = abs(value - right[figure]) if value is not None else 0
        mark = "-" if value is None else "~" if figure in got.get("estimate", ()) else "exact"
        if off > (max(right[figure] / 100, slack) if mark == "~" else slack):
            self.wrong.append(f"{what}: {figure} {value} ({mark}) is {right[figure]:.0f}")
        apart = figure == "pss" or (right["of"] == "part" and figure in ("swap_pss", *ASKED))
        self.seen.setdefault((who, f"{figure} {right['of']}" if apart else figure), set()).add(mark)

    def process(self, what, who, got, right, figures):
        for row in [*got["names"], {**got["total"], "name": ""}]:
            if row["name"] not in right:
                self.wrong.append(f"{what}: a name that is not there, {row['name']}")
                continue
            for figure in figures:
                self.figure(f"{what}, {row['name'] or 'all'}", who, figure, row, right[row["name"]])


@contextlib.contextmanager
def own_files(library):
    """The target has a copy of its libraries that no other process maps: else these pages' counts change all the time."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        wanted = {FAMILY} | ({LIBRARY} if library else set())
        listed = "".join(subprocess.run(["ldd", file], stdout=subprocess.PIPE, text=True, check=True).stdout for file in wanted)
        wanted |= set(re.findall(r"(/\S+) \(0x", listed))
        for file in wanted:
            shutil.copy(file, os.path.join(directory, os.path.basename(file)))
        # Dirty pages become clean when they are written: now, not while they are counted.
        os.sync()
        loader = next(name for name in os.listdir(directory) if name.startswith("ld-linux"))
        command = [os.path.join(directory, loader), "--library-path", directory]
        if library:
            command += ["--preload", os.path.join(directory, os.path.basename(LIBRARY))]
        yield [*command, os.path.join(directory, "family")]


def with_descendants(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [pid, *(one for child in file.read().split() for one in with_descendants(int(child)))]


def settle(family):
    """Waits until all of them wait: what they still touch would count."""
    for one in family:
        while state_of(one) != "S":
            time.sleep(0.01)


def inner(pid):
    """What a process is called in its own pid namespace."""
    with open(f"/proc/{pid}/status") as file:
        return next(int(line.split()[-1]) for line in file if line.startswith("NSpid:"))


@contextlib.contextmanager
def target(family, prefix, what, count):
    """The processes that tell who they are, by their numbers here."""
    process = subprocess.Popen([*prefix, *family, what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        told = [int(process.stdout.readline()) for _ in range(count)]
        family = with_descendants(process.pid)
        settle(family)
        known = {inner(one): one for one in reversed(family)}
        yield [known[one] for one in told]
    finally:
        process.kill()
        process.communicate()


def reader(prefix, pid, *args):
    """What a command says of a process, called by the number that it has where the command runs; "--all": of all."""
    known = [] if "--all" in args else [str(inner(pid) if prefix in ENTERED else pid)]
    prefix = [str(pid) if word == "PID" else word for word in prefix]
    result = subprocess.run([*prefix, TOOL, *map(str, args), *known], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
    if result.returncode:
        raise ValueError(f"{' '.join(map(str, args))}: {result.returncode} {result.stderr.strip()}")
    return json.loads(result.stdout)


def compare(measured, name, what, pid, right):
    who, _, prefix = PRIVILEGES[name]
    usual = [figure for figure in FIGURES if figure not in ASKED]
    commands = (["report", "-J"], ["snapshot"], ["top", "-b", "-J", "-n", "1"])
    # What differs between the commands shows in any family.
    for args in commands if "mixed" in what else commands[:1]:
        measured.process(f"{what}, {args[0]}", who, reader(prefix, pid, *args), right, usual)
        measured.process(f"{what}, {args[0]} --gentle", who + ", gentle", reader(prefix, pid, *args, "--gentle"), right, FIGURES)
    got = reader(prefix, pid, "report", "-J", "-o", ",".join(ASKED) + ",name")
    measured.process(f"{what}, report -o dirty", who, got, right, FIGURES)
    if prefix in ENTERED:
        compare_all(measured, name, what, pid, right)
    checked = reader(prefix, pid, "check", "-J")["anon_rss"]
    if checked is not None and abs(checked - right[""]["anon_rss"]) > PAGE:
        measured.wrong.append(f"{what}, check: anonymous RSS {checked} is {right['']['anon_rss']}")


def compare_all(measured, name, what, pid, right):
    """The process among all of its container."""
    who, _, prefix = PRIVILEGES[name]
    for gentle in ([], ["--gentle"]):
        got = reader(prefix, pid, "report", "-J", "--all", *gentle)["processes"]
        of_top = reader(prefix, pid, "top", "-b", "-J", "-n", "1", "--by", "process", "--all", *gentle)["names"]
        rows = [one for one in got if one["pid"] == inner(pid)] + [one for one in of_top if one["name"].split()[0] == str(inner(pid))]
        if len(rows) != 2:
            measured.wrong.append(f"{what}, --all: {len(rows)} rows of it in {len(got)} and {len(of_top)}")
        for row in rows:
            for figure in COUNTED:
                measured.figure(f"{what}, --all {' '.join(gentle)}", who + ", gentle" * len(gentle), figure, row, right[""])


def refused(family):
    """Another user is refused, with the reason and what to do; where it does not see the process, there is none."""
    commands = (["report"], ["report", "-g"], ["snapshot"], ["check"], ["maps"], ["top", "-b", "-n", "1"])
    cases = [("another user", [], NOBODY, 1, "may not be read: Permission denied. Run as its owner or as root"),
             ("another user, hidepid", [], HIDDEN + NOBODY, 42, "no process"),
             ("Docker's root, of a root that has more", [], DOCKER_BOUND, 1, "may not be read: Permission denied. Root needs CAP_SYS_PTRACE")]
    for name, start, prefix, code, sentence in cases:
        why = possible(prefix)
        if why:
            skip(f"{name}: {why}")
            continue
        with target(family, start, "mixed", 1) as (pid,):
            for command in commands:
                result = subprocess.run([*prefix, TOOL, *command, str(pid)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                check(result.returncode == code and not result.stdout and sentence in result.stderr and result.stderr.count("\n") == 1,
                      f"{name}, {' '.join(command)}: {result.returncode} {result.stderr.strip()}")


def possible(prefix):
    """Why this privilege cannot be had here, or nothing."""
    result = subprocess.run([*prefix, TOOL, "--version"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return result.returncode and (result.stderr.strip() or "no reason given")


def merge_pages():
    ksm = "/sys/kernel/mm/ksm/"
    for name, value in (("pages_to_scan", "10000"), ("run", "1")):
        with open(ksm + name, "w") as file:
            file.write(value)
    for _ in range(600):
        with open(ksm + "pages_sharing") as file:
            if int(file.read()) > 16 * MIB // PAGE * 9 // 10:
                break
        time.sleep(0.1)
    with open(ksm + "run", "w") as file:
        file.write("0")


FAMILIES = [("mixed", 1), ("golden", 3), ("shared", 1), ("huge", 1), ("locked", 1), ("nearly", 1)]
WHOLE_MACHINE = os.environ.get("ANONNAME_WHOLE_MACHINE")
if WHOLE_MACHINE:
    FAMILIES += [("alike", 1), ("swapped", 1)]


def measure(measured, names):
    for name in list(names):
        _, start, prefix = PRIVILEGES[name]
        why = possible(start) or ("PID" not in prefix and possible(prefix))
        if why:
            skip(f"{name}: {why}")
            names.remove(name)
    for library in (False, True):
        if library and not os.path.exists(LIBRARY):
            skip("the registry's names: no library in the build tree")
            continue
        with own_files(library) as family:
            if not library:
                refused(family)
            for what, count in FAMILIES:
                for start in {tuple(PRIVILEGES[name][1]): None for name in names}:
                    with target(family, start, what, count) as pids:
                        if what == "alike":
                            merge_pages()
                        pid = pids[-1]
                        right = truth(pid)
                        for name in names:
                            # hidepid is about who sees a process.
                            if tuple(PRIVILEGES[name][1]) != start or ("hidepid" in name and what != "mixed"):
                                continue
                            before = len(measured.wrong)
                            title = f"{name}: {what}{', registry' if library else ''}"
                            compare(measured, name, title, pid, right)
                            check(len(measured.wrong) == before, title)
                            for line in measured.wrong[before:][:20]:
                                print("        " + line)


def documented():
    """The table of the manual page: (who, figure) -> marks. Before Linux 6.7 some rows are others."""
    old = tuple(map(int, os.uname().release.split(".")[:2])) < (6, 7)
    table, columns = {}, ("root", "root, gentle", "owner", "owner, gentle")
    with open(os.path.join(SOURCE, "doc", "anonname.1")) as page:
        section = page.read().split(".SH EXACTNESS\n")[1].split(".SH ")[0].replace("\\-", "-")
    for number, block in enumerate(re.findall(r"\.nf\n(.*?)\.fi", section, re.S)):
        for line in block.splitlines():
            row = re.fullmatch(r"([a-z_]+(?: [a-z]+)*)  +(\S+) +(\S+) +(\S+) +(\S+)", line)
            if row and (number == 0 or old):
                figure = re.sub(r" of( an?\b)?", "", row[1])
                table.update({(who, figure): set(cell.split("/")) for who, cell in zip(columns, row.groups()[1:])})
    return table


def compare_with_page(seen):
    """Root in a container is as the owner is."""
    table = documented()
    for who, figure in seen:
        marks, said = seen[who, figure], table.get((who.replace("container", "owner"), figure), set())
        check(marks <= said, f"{who}: {figure} is {'/'.join(sorted(marks))}, the manual page says {'/'.join(sorted(said))}")
    columns = [who for who in dict.fromkeys(who for who, _ in seen)]
    print(f"{'':20}" + "".join(f"{who:20}" for who in columns))
    for figure in dict.fromkeys(figure for _, figure in seen):
        print(f"{figure:20}" + "".join(f"{'/'.join(mark for mark in ('exact', '~', '-') if mark in seen.get((who, figure), ())):20}" for who in columns))


if __name__ == "__main__":
    if os.geteuid() != 0 or not os.path.exists("/proc/kpagecount"):
        print("SKIP: only root in the first user namespace can count pages")
        sys.exit(77)
    everything = Measured()
    measure(everything, sys.argv[1:] or list(PRIVILEGES))
    compare_with_page(everything.seen)
    done()
