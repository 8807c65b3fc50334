#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Malloc by library, as a user sees it: anonname run --by-library and anonname report.

A program with known sizes in two libraries; Python with sqlite3 and ssl; more
libraries than there are arenas; a program that brings its own malloc.
usage: by_library.py   (in the build directory)
"""
import ctypes.util
import json
import os
import shutil
import subprocess
import sys
import tempfile

TOOL = os.path.abspath(os.path.join("tools", "anonname"))
LIVE = os.path.abspath(os.path.join("tests", "live"))
MIB = 1 << 20
failed = False


def check(title, right, text=""):
    global failed
    failed = failed or not right
    print(("ok    " if right else "FAIL  ") + title + (": " + text if text else ""))


def report_of(process):
    text = subprocess.run([TOOL, "report", "--json", str(process.pid)], capture_output=True, text=True, check=True).stdout
    return {row["name"]: row for row in json.loads(text)["names"]}


def started(*command, **settings):
    """A process that has printed a line, and what that says."""
    process = subprocess.Popen([TOOL, "run", "--by-library", "--", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True, env={**os.environ, **settings})
    return process, process.stdout.readline().strip()


def known_sizes():
    process, said = started(os.path.join(LIVE, "by_library"), "hold")
    rows = report_of(process)
    text = subprocess.run([TOOL, "report", "--csv", "-o", "name,live", str(process.pid)], capture_output=True, text=True, check=True).stdout
    live = dict(line.rsplit(",", 1) for line in text.split("\n")[1:] if "," in line)
    process.communicate("\n")
    for name, mib in (("libask1.so", 40), ("libask2.so", 20)):
        bytes_ = int(live.get("mimalloc:lib:" + name) or 0)
        # A block may be used up to the next size that mimalloc has, an eighth more at most.
        check(f"what is live of {name}'s {mib} MiB", mib * MIB <= bytes_ <= mib * MIB * 1.125, f"{bytes_ / MIB:.2f} MiB")
    check("the program with known sizes ended well", process.returncode == 0 and said == "ready", f"{process.returncode} {said!r}")
    for name, mib in (("libask1.so", 40), ("libask2.so", 20)):
        pss = rows.get("mimalloc:lib:" + name, {}).get("pss", 0)
        check(f"PSS of {name}'s {mib} MiB", mib * MIB <= pss <= mib * MIB * 1.04, f"{pss / MIB:.2f} MiB")
    rest = sum(row["pss"] for name, row in rows.items() if name.startswith("mimalloc:") and "libask" not in name)
    check("what is under other names of mimalloc's", rest < MIB, f"{rest / MIB:.2f} MiB")


PYTHON = """
import json, sqlite3, ssl, sys
context = [ssl.create_default_context() for i in range(4)]
db = sqlite3.connect(":memory:")
db.execute("create table t(a, b)")
db.executemany("insert into t values(?, ?)", ((i, "x" * 100) for i in range(200000)))
kept = [json.loads(json.dumps({"a": list(range(50)), "b": "y" * 2000})) for i in range(3000)]
print("ready", flush=True)
sys.stdin.read()
"""


def python():
    process, said = started(shutil.which("python3"), "-c", PYTHON, PYTHONMALLOC="malloc")
    rows = report_of(process)
    process.communicate("")
    check("Python ended well", process.returncode == 0 and said == "ready", f"{process.returncode} {said!r}")
    of = {name: row["pss"] for name, row in rows.items() if name.startswith(("mimalloc:", "glibc:", "[heap]"))}
    by_library = sum(pss for name, pss in of.items() if name.startswith("mimalloc:lib:") and name != "mimalloc:lib:other")
    total = sum(of.values())
    for name, pss in sorted(of.items(), key=lambda item: -item[1])[:6]:
        print(f"      {pss / MIB:8.2f} MiB {name}")
    check("share of Python's malloc memory under a library's name", by_library >= 0.95 * total, f"{100 * by_library / total:.1f} %")
    for library, mib in (("libsqlite3.so.0", 20), ("libcrypto.so.3", 1)):
        pss = of.get("mimalloc:lib:" + library, 0)
        check(f"{library} has its own", pss >= mib * MIB, f"{pss / MIB:.2f} MiB")


MANY = """
import ctypes, sys
for path in sys.argv[1:]:
    ask = ctypes.CDLL(path).ask
    ask.restype = ctypes.c_void_p
    ask.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
    assert ask(0, None, 10000)
print("ready", flush=True)
sys.stdin.read()
"""


def too_many():
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(LIVE, "libask1.so"), "rb") as file:
            library = file.read()
        paths = []
        for i in range(70):
            paths.append(os.path.join(folder, f"libz{i:03}.so"))
            with open(paths[-1], "wb") as file:
                file.write(library.replace(b"libask1.so\0", f"libz{i:03}.so\0".encode()))
        process, said = started(shutil.which("python3"), "-c", MANY, *paths)
        rows = report_of(process)
        process.communicate("")
    names = [name for name in rows if name.startswith("mimalloc:lib:")]
    check("70 libraries more than Python's own", process.returncode == 0 and said == "ready", f"{process.returncode} {said!r}")
    check("64 of them have names, of which one is other", len(names) == 64 and "mimalloc:lib:other" in names, str(len(names)))


THREADS = """
import ctypes, json, sys, threading
asks = [ctypes.CDLL(path).ask for path in sys.argv[1:]]
for ask in asks:
    ask.restype = ctypes.c_void_p
    ask.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
end, sizes, kept = threading.Event(), {}, []
def work(mib):
    blocks = [ask(0, None, 4000) for ask in asks for _ in range(mib * 262)]
    for block in blocks: ctypes.memset(block, 1, 4000)
    sizes[threading.get_native_id()] = mib
    end.wait()
threads = [threading.Thread(target=work, args=(mib,)) for mib in (4, 8, 40)]
for thread in threads: thread.start()
while len(sizes) < len(threads): pass
print(json.dumps(sizes), flush=True)
sys.stdin.read()
end.set()
"""


def threads():
    """ANONNAME_MALLOC=thread,library: each library's memory apart for each thread."""
    paths = [os.path.join(LIVE, name) for name in ("libask1.so", "libask2.so")]
    process, said = started(shutil.which("python3"), "-c", THREADS, *paths, ANONNAME_MALLOC="thread,library")
    rows = report_of(process)
    by_thread = subprocess.run([TOOL, "report", "--csv", "--by", "thread", "-o", "name,pss", str(process.pid)], capture_output=True, text=True, check=True).stdout
    by_library = subprocess.run([TOOL, "report", "--csv", "--by", "library", "-o", "name,pss", str(process.pid)], capture_output=True, text=True, check=True).stdout
    process.communicate("")
    check("a program with threads ended well", process.returncode == 0, f"{process.returncode} {said!r}")
    for tid, mib in json.loads(said or "{}").items():
        for name in ("libask1.so", "libask2.so"):
            pss = rows.get(f"mimalloc:lib:{name}:{tid}", {}).get("pss", 0)
            check(f"PSS of {name}'s {mib} MiB in a thread", mib * MIB <= pss <= mib * MIB * 1.04 + MIB / 4, f"{pss / MIB:.2f} MiB")
        check("and report --by thread has both", any(line.startswith(f"{tid},") and int(line.split(",")[1]) >= 2 * mib * MIB for line in by_thread.split("\n")))
    check("and report --by library all threads", any(line.startswith("libask1.so,") and int(line.split(",")[1]) >= 52 * MIB for line in by_library.split("\n")))
    rest = sum(row["pss"] for name, row in rows.items() if name in ("mimalloc:lib:libask1.so", "mimalloc:lib:libask2.so"))
    check("and nothing is left without a thread", rest == 0, str(rest))


def plain_library():
    """The other libanonname.so has no malloc, and says what to do."""
    result = subprocess.run(["/bin/echo"], capture_output=True, text=True, check=True,
                            env={**os.environ, "LD_PRELOAD": os.path.abspath(".libs/libanonname.so.0"), "ANONNAME_MALLOC": "library"})
    check("the library without a malloc says one sentence", result.stderr.count("\n") == 1 and "anonname run --by-library" in result.stderr, result.stderr)


def own_malloc():
    library = ctypes.util.find_library("jemalloc")
    if not library:
        print("SKIP  a program that brings its own malloc: install libjemalloc2")
        return
    process, said = started("sh", "-c", "echo ready; read line", LD_PRELOAD=library)
    rows = report_of(process)
    text = subprocess.run([TOOL, "check", str(process.pid)], capture_output=True, text=True, check=False).stdout
    process.communicate("\n")
    check("a program that brings its own malloc is left alone", process.returncode == 0 and said == "ready" and
          not any(name.startswith("mimalloc:lib") for name in rows), f"{process.returncode} {said!r}")
    check("and anonname check says so", "a malloc of its own" in text)


if not os.path.exists("malloc/.libs/libanonname.so.0"):
    print("SKIP: built without mimalloc: install libmimalloc-dev")
    sys.exit(77)
for variable in [name for name in os.environ if name.startswith("ANONNAME_")]:
    del os.environ[variable]
known_sizes()
python()
too_many()
threads()
plain_library()
own_malloc()
sys.exit(failed)
