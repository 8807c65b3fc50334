#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""anonname heap against what the program's own allocator says: system bytes equal, live and free within 1 %.

glibc by mallinfo2, jemalloc by mallctl in a program that loads it and by Redis's
INFO, tcmalloc by its MallocExtension. Looking changes nothing in the process.
"""
import contextlib
import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "replay"))
from common import LIBRARY, check, done, run, skip, state_of

# Of chunks of many sizes one in five stays, beside what the interpreter has.
PROGRAM = """
import ctypes, json, sys
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
kept = []
for i in range(60000):
    size = 16 + i * 7919 % 3000
    kept.append(libc.malloc(size))
    libc.memset(kept[-1], 1, size)
for i in range(60000):
    if i % 5: libc.free(kept[i])
"""
GLIBC = PROGRAM + """
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]
libc.mallinfo2.restype = Info
info = libc.mallinfo2()
print(json.dumps({"system": info.arena, "used": info.uordblks, "free": info.fordblks, "large": info.hblkhd}), flush=True)
sys.stdin.read()
"""
JEMALLOC = PROGRAM + """
def ask(name):
    value, size, epoch = ctypes.c_size_t(), ctypes.c_size_t(8), ctypes.c_uint64(1)
    libc.mallctl(b"epoch", None, None, ctypes.byref(epoch), ctypes.c_size_t(8))
    libc.mallctl(name, ctypes.byref(value), ctypes.byref(size), None, ctypes.c_size_t(0))
    return value.value
names = ["allocated", "active"]
for i in range(2): truth = {name: ask(b"stats." + name.encode()) for name in names}
print(json.dumps(truth), flush=True)
sys.stdin.read()
"""


def figures(pid):
    return json.loads(run("heap", "--json", "--sizes", pid).stdout)


def near(value, truth, what):
    check(value is not None and abs(value - truth) <= truth / 100, f"{what}: {value}, the allocator says {truth}")


def unchanged(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    with open(f"/proc/{pid}/status") as file:
        return fields[7], fields[21], re.search(r"VmPTE:\s*(\d+)", file.read())[1]


def stop(pid):
    os.kill(pid, signal.SIGSTOP)
    while state_of(pid) != "T":
        time.sleep(0.01)


def started(code, preload=None):
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    if preload:
        environment["LD_PRELOAD"] = preload
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    said = json.loads(process.stdout.readline() or "{}")
    # What it does on its way to wait for us is not our doing.
    for _ in range(1000):
        with open(f"/proc/{process.pid}/syscall") as file:
            call = file.read().split()
        # A read of standard input.
        if len(call) > 2 and call[1] == "0x0":
            break
        time.sleep(0.01)
    return process, said


def total(arenas, figure):
    return None if any(arena[figure] is None for arena in arenas) else sum(arena[figure] for arena in arenas)


def beside_rows(pid, main):
    """report --heap and top --heap have the same figures, and advice, beside the rows; unknown is empty or -."""
    text = run("report", "--heap", "--csv", "-o", "live,free,trimmable,pinned,name", pid).stdout
    rows = {row["name"]: row for row in csv.DictReader(io.StringIO(text))}
    check(all(rows["[heap]"][figure] == str(main[figure]) for figure in ("live", "free", "trimmable", "pinned")),
          f"report --heap: beside [heap] stands {rows['[heap]']}")
    check(not any(rows["[stack]"][figure] for figure in ("live", "free", "trimmable", "pinned")), f"report --heap: of a stack nothing is known: {rows['[stack]']}")
    value = json.loads(run("report", "--heap", "--json", pid).stdout)
    check({**main, "pid": pid, "sizes": 0} in [{**arena, "sizes": 0} for arena in value["arenas"]], "report --heap --json has the arenas of heap --json")
    check(value["advice"], "report --heap --json has advice")
    value = json.loads(run("top", "--heap", "--json", "-n", 1, pid).stdout)
    check(any(arena["live"] == main["live"] for arena in value["arenas"]), "top --heap --json has the arenas")
    check(re.search(rf" +{main['live'] // 1024}\.?[0-9]*K? .*\[heap\]$|[0-9.]+M .*\[heap\]$", run("top", "--heap", "-n", 1, pid).stdout, re.M), "top --heap has the columns")
    total = run("report", "--bytes", "-o", "name,live", "--by", "process", pid).stdout.split("\n")[1].split()
    check(total[-1] == str(sum(arena["live"] for arena in value["arenas"])), f"a column of arenas asked for by -o: {total}")
    check(run("report", "--heap", "--folded", pid).returncode == 2 and run("report", "--heap", "--root", "/nowhere", pid).returncode == 2,
          "--heap where it cannot be is refused")


def glibc():
    process, truth = started(GLIBC)
    try:
        before = unchanged(process.pid)
        result = figures(process.pid)
        check(unchanged(process.pid) == before, "glibc: looked at, the process is unchanged")
        main = next(arena for arena in result["arenas"] if arena["name"] == "[heap]")
        check(main["system"] == truth["system"], f"glibc: system is {main['system']}, {truth['system']}")
        # mallinfo2 calls what is cached used, but for fastbins.
        near(main["free"] - main["cached"], truth["free"], "glibc: free")
        near(main["live"] + main["cached"], truth["used"], "glibc: live")
        large = next(arena for arena in result["arenas"] if arena["name"] == "glibc:large")
        check(large["system"] == truth["large"], f"glibc: large chunks are {large['system']}, {truth['large']}")
        check(any("malloc_trim" in sentence for sentence in result["advice"]), "glibc: it says what trim would give back")
        beside_rows(process.pid, main)
        text = run("heap", process.pid).stdout
        check("RESIDENT" in text.split("\n")[0] and re.search(r"\[heap\] holds", text) and re.search(r" TOTAL$", text, re.M), "heap prints a table and sentences")
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def looked_at(name, code, library):
    """What the heap of a program with that allocator is, and what the program says of it; None where the library does not load."""
    process, truth = started(code, library)
    try:
        if not truth:
            skip(f"{library} does not load")
            yield None
            return
        before = unchanged(process.pid)
        result = figures(process.pid)
        check(unchanged(process.pid) == before, f"{name}: looked at, the process is unchanged")
        yield result, truth
    finally:
        process.kill()
        process.wait()


def jemalloc():
    with looked_at("jemalloc", JEMALLOC, "libjemalloc.so.2") as seen:
        if seen:
            compare_jemalloc("jemalloc", *seen)


def compare_jemalloc(name, result, truth):
    arenas = [arena for arena in result["arenas"] if arena["allocator"] == "jemalloc"]
    check(arenas, f"{name}: there are arenas")
    near(total(arenas, "live"), truth["allocated"], f"{name}: live")
    near(total(arenas, "live") + total(arenas, "pinned"), truth["active"], f"{name}: active")
    check(all(arena["cached"] is None for arena in arenas), f"{name}: what threads cache is unknown")
    check(all(sum(size["live"] for size in arena["sizes"]) == arena["live"] for arena in arenas), f"{name}: sizes add up")


TCMALLOC = """
import threading
done, end = threading.Barrier(4), threading.Event()
""" + PROGRAM + """
def work(seed):
    mine = [libc.malloc(16 + (i * 7919 + seed) % 500) for i in range(3000)]
    for one in mine[::2]: libc.free(one)
    done.wait()
    end.wait()
for seed in range(3): threading.Thread(target=work, args=(seed,), daemon=True).start()
done.wait()
libc.free(libc.malloc(40 << 20))
names = {"live": b"generic.current_allocated_bytes", "system": b"generic.heap_size", "trimmable": b"tcmalloc.pageheap_free_bytes",
         "central": b"tcmalloc.central_cache_free_bytes", "transfer": b"tcmalloc.transfer_cache_free_bytes", "thread": b"tcmalloc.thread_cache_free_bytes"}
truth = {}
for key, name in names.items():
    value = ctypes.c_size_t()
    libc.MallocExtension_GetNumericProperty(name, ctypes.byref(value))
    truth[key] = value.value
print(json.dumps(truth), flush=True)
sys.stdin.read()
"""


def tcmalloc():
    """Threads have caches of their own, which only the process itself adds up."""
    with looked_at("tcmalloc", TCMALLOC, "libtcmalloc_minimal.so.4") as seen:
        if seen:
            compare_tcmalloc(*seen)


def compare_tcmalloc(result, truth):
    arenas = [arena for arena in result["arenas"] if arena["allocator"] == "tcmalloc"]
    check(len(arenas) == 1 and not [arena for arena in result["arenas"] if arena["allocator"] == "glibc" and arena["name"] != "glibc:large"],
          f"tcmalloc: it has one heap, and glibc none: {[arena['name'] for arena in result['arenas']]}")
    arena = arenas[0]
    check(arena["system"] == truth["system"], f"tcmalloc: system is {arena['system']}, {truth['system']}")
    near(arena["live"], truth["live"], "tcmalloc: live")
    near(arena["free"], truth["system"] - truth["live"], "tcmalloc: free")
    near(arena["cached"], truth["transfer"] + truth["thread"], "tcmalloc: cached")
    check(arena["trimmable"] <= truth["trimmable"], f"tcmalloc: pages that can be given back: {arena['trimmable']}, {truth['trimmable']} with those that were never touched")
    check(sum(size["free"] for size in arena["sizes"]) >= arena["cached"] and 0 < sum(size["live"] for size in arena["sizes"]) <= arena["live"],
          "tcmalloc: sizes add up")


# What the blocks may use is known before and after; a thread that is not theirs frees every third.
MIMALLOC = """
import ctypes, json, sys, threading
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.malloc_usable_size.restype = ctypes.c_size_t
libc.malloc_usable_size.argtypes = [ctypes.c_void_p]
blocks, room = [None] * 40000, (ctypes.c_size_t * 40000)()
def free(): [libc.free(block) for block in blocks[::3]]
other = threading.Thread(target=free)
print(json.dumps({"name": libc.mi_version() // 100}), flush=True)
sys.stdin.readline()
for i in range(40000):
    blocks[i] = libc.malloc(i * 7919 % 3000 + (20 << 20) * (i == 7))
    room[i] = libc.malloc_usable_size(blocks[i])
    ctypes.memset(blocks[i], 1, i * 7919 % 3000)
print(json.dumps({"taken": sum(room), "freed": sum(room[::3])}), flush=True)
sys.stdin.readline()
other.start()
other.join()
print("{}", flush=True)
sys.stdin.readline()
"""


def mimalloc():
    """mimalloc's live bytes change by what is allocated and freed; what other threads free is free at once."""
    process, said = started(MIMALLOC, "libmimalloc.so.2")
    try:
        if said != {"name": 2}:
            return skip("libmimalloc.so.2 does not load")

        def look():
            result = [arena for arena in figures(process.pid)["arenas"] if arena["allocator"] == "mimalloc"]
            return total(result, "live"), total(result, "chunks"), sum(arena["resident"] for arena in result)

        def step():
            process.stdin.write("\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())
        as_it_was, before = unchanged(process.pid), look()
        check(unchanged(process.pid) == as_it_was, "mimalloc: looked at, the process is unchanged")
        truth = step()
        full = look()
        near(full[0] - before[0], truth["taken"], "mimalloc: live grew")
        near(full[1] - before[1], 40000, "mimalloc: blocks")
        step()
        less = look()
        near(full[0] - less[0], truth["freed"], "mimalloc: live shrank by what another thread freed")
    finally:
        process.kill()
        process.wait()


PYTHON = """
import os, sys
kept = [bytes(i % 480) for i in range(300000)]
del kept[::3]
kept = [block for i, block in enumerate(kept) if i % 5]
sys._debugmallocstats()
os.close(2)
print("{}", flush=True)
sys.stdin.read()
"""


def python():
    """CPython's pools against sys._debugmallocstats()."""
    process = subprocess.Popen([sys.executable, "-c", PYTHON], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said = process.stderr.read()
        process.stdout.readline()
        truth = {word: int(re.search(rf"^{words}[^=]*= +([0-9,]+)$", said, re.M)[1].replace(",", "")) for word, words in
                 (("live", "# bytes in allocated blocks"), ("free", "# bytes in available blocks"), ("pools", r"\d+ unused pools"),
                  ("heads", "# bytes lost to pool headers"), ("lost", "# bytes lost to quantization"), ("align", "# bytes lost to arena alignment"),
                  ("system", "Total "))}
        result = figures(process.pid)
        arena = next(arena for arena in result["arenas"] if arena["name"] == "python:arena")
        near(arena["live"], truth["live"], "python: live")
        near(arena["free"], truth["free"] + truth["pools"], "python: free")
        near(arena["metadata"], truth["heads"] + truth["lost"] + truth["align"], "python: metadata")
        check(sum(size["live"] for size in arena["sizes"]) == arena["live"], "python: sizes add up")
        check(any("multiprocessing" in sentence for sentence in result["advice"]), f"python: advice: {result['advice']}")
    finally:
        process.kill()
        process.wait()


# A named heap, of which every fourth block stays, and what anonname_heap_stats says of it.
NAMED = """
import ctypes, json, sys
libc = ctypes.CDLL(None)
for name in "create", "malloc": getattr(libc, "anonname_heap_" + name).restype = ctypes.c_void_p
heap = ctypes.c_void_p(libc.anonname_heap_create(b"shelf"))
blocks = [libc.anonname_heap_malloc(heap, ctypes.c_size_t(16 + i % 3000)) for i in range(20000)]
for i, block in enumerate(blocks):
    ctypes.memset(block, 1, 16 + i % 3000)
    if i % 4: libc.anonname_heap_free(heap, ctypes.c_void_p(block))
stats = (ctypes.c_uint64 * 7)()
assert libc.anonname_heap_stats(heap, stats, ctypes.c_size_t(56)) == 0
print(json.dumps(dict(zip("live free trimmable pinned metadata resident blocks".split(), stats))), flush=True)
sys.stdin.read()
"""


def named():
    """A named heap is called what the program calls it, and its figures from outside are those from inside."""
    process, truth = started(NAMED, f"{LIBRARY} libjemalloc.so.2")
    try:
        if not truth:
            return skip("libjemalloc.so.2 does not load, or libanonname.so is not built")
        arena = next((arena for arena in figures(process.pid)["arenas"] if arena["name"] == "shelf:heap"), None)
        check(arena is not None, "a named heap is there by its name")
        for figure in ("live", "free", "pinned"):
            near(arena[figure], truth[figure], f"shelf:heap: {figure}")
        check(arena["chunks"] == truth["blocks"], f"shelf:heap: {arena['chunks']} blocks, {truth['blocks']}")
        rows = csv.DictReader(io.StringIO(run("report", "--csv", "-o", "live,rss,name", process.pid).stdout))
        check(("shelf:heap", str(arena["live"])) in [(row["name"], row["live"]) for row in rows], "report has it beside its row")
    finally:
        process.kill()
        process.wait()


JAVA = """
public class Keeps {
    public static void main(String[] unused) throws Exception {
        byte[][] kept = new byte[200][];
        for (int i = 0; i < 200; i++) kept[i] = new byte[100000];
        System.gc();
        System.out.println("{}");
        System.in.read();
        System.out.println(kept.length);
    }
}
"""


def hotspot():
    """HotSpot's heap by generation, or all regions, against jcmd GC.heap_info."""
    if not shutil.which("java") or not shutil.which("jcmd"):
        return skip("a JDK (java, jcmd) is not installed")
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "Keeps.java"), "w") as file:
            file.write(JAVA)
        for collector in ("SerialGC", "ParallelGC", "G1GC", "ZGC", "ShenandoahGC"):
            process = subprocess.Popen(["java", f"-XX:+Use{collector}", "-Xmx128m", os.path.join(folder, "Keeps.java")],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            try:
                process.stdout.readline()
                said = subprocess.run(["jcmd", str(process.pid), "GC.heap_info"], stdout=subprocess.PIPE, text=True).stdout
                truth = [int(used) << 10 for used in re.findall(r"^ *(?:def|Def|ten|Ten|PSY|ParO|garbage)[^\n]* used (\d+)K", said, re.M)]
                truth += [int(used) << 10 for used in re.findall(r"committed, (\d+)K used", said)]
                truth += [int(used) << 20 for used in re.findall(r"^ *ZHeap +used (\d+)M", said, re.M)]
                arenas = [arena for arena in figures(process.pid)["arenas"] if arena["allocator"] == "jvm"]
                check(len(truth) == (2 if collector in ("SerialGC", "ParallelGC") else 1), f"{collector}: jcmd says {said[:200]}")
                near(total(arenas, "live"), sum(truth), f"{collector}: used")
                check(all(arena["system"] == arena["live"] + arena["free"] for arena in arenas), f"{collector}: committed is used and free")
                check(all(arena["pinned"] is None for arena in arenas), f"{collector}: what is pinned is unknown")
            finally:
                process.kill()
                process.wait()


# Few packages, as they may have to be compiled.
GO = """
package main
import ("os"; "runtime"; "strconv"; "time")
type node struct { next *node; text [100]byte }
func wait(c chan int, n int) { if n > 0 { wait(c, n - 1) }; <-c }
func main() {
    var first *node
    for i := 0; i < 300000; i++ { if n := (&node{next: first}); i % 3 != 0 { first = n } }
    large := make([][]byte, 20)
    for i := range large { large[i] = make([]byte, 3 << 20); for k := range large[i] { large[i][k] = 1 } }
    for i := 0; i < 20; i += 2 { large[i] = nil }
    c := make(chan int)
    for i := 0; i < 100; i++ { go wait(c, 100) }
    runtime.GC(); runtime.GC()
    var m runtime.MemStats
    runtime.ReadMemStats(&m)
    // Spans that the collector still works with count as its own until it gives them back, in its own time.
    // The heap grows by whole 4 MiB: where these are not all of them are there, some are such.
    for i := 0; i < 500 && (m.HeapSys + m.StackInuse) % (4 << 20) != 0; i++ {
        time.Sleep(10 * time.Millisecond)
        runtime.ReadMemStats(&m)
    }
    text := "{"
    say := func(name string, value uint64) { text += strconv.Quote(name) + ": " + strconv.FormatUint(value, 10) + ", " }
    say("system", m.HeapSys); say("live", m.HeapAlloc); say("in use", m.HeapInuse); say("stacks", m.StackInuse)
    os.Stdout.WriteString(text + strconv.Quote("objects") + ": " + strconv.FormatUint(m.HeapObjects, 10) + "}\\n")
    os.Stdin.Read(make([]byte, 1))
    runtime.KeepAlive(first); runtime.KeepAlive(large)
}
"""


def go():
    """Go's heap and its stacks, against runtime.ReadMemStats, without symbols."""
    if not shutil.which("go"):
        return skip("go is not installed")
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "keeps.go"), "w") as file:
            file.write(GO)
        program = os.path.join(folder, "keeps")
        subprocess.run(["go", "build", "-ldflags=-s -w", "-o", program, os.path.join(folder, "keeps.go")], check=True,
                       env=dict(os.environ, HOME=folder, GOCACHE=folder + "/cache", GOFLAGS="-mod=mod", CGO_ENABLED="0"))
        process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            truth = json.loads(process.stdout.readline())
            stop(process.pid)       # its collector and scavenger work by themselves
            before = unchanged(process.pid)
            arenas = {arena["name"]: arena for arena in figures(process.pid)["arenas"]}
            check(unchanged(process.pid) == before, "go: looking changed nothing")
            heap = arenas["go:heap"]
            # To wait the runtime may start a thread, which has a stack of its own.
            system, said = heap["system"] + arenas["go:stack"]["system"], truth["system"] + truth["stacks"]
            check(system == said, f"go: system bytes with stacks {system}, the runtime says {said}")
            near(heap["system"], truth["system"], "go: system bytes")
            near(heap["live"], truth["live"], "go: live")
            near(heap["live"] + heap["pinned"], truth["in use"], "go: in use")
            near(heap["chunks"], truth["objects"], "go: objects")
            check(heap["system"] == heap["live"] + heap["free"], "go: system is live and free")
            check(heap["resident"] >= heap["live"] and 0 < heap["trimmable"] < heap["free"], "go: what is there and what could be given back")
        finally:
            process.kill()
            process.wait()


# It waits without turning to its event loop, where V8 would collect more.
NODE = """
let kept = []
for (let i = 0; i < 300000; i++) kept.push({i})
gc(); gc()
const v8 = require('v8'), spaces = {}
for (const space of v8.getHeapSpaceStatistics()) spaces[space.space_name] = space.space_used_size
spaces.total = v8.getHeapStatistics().total_heap_size
require('fs').writeSync(1, JSON.stringify(spaces) + '\\n')
require('fs').readSync(0, Buffer.alloc(1))
console.log(kept.length)
"""


def node():
    """V8's heap against its own statistics of spaces."""
    if not shutil.which("node"):
        return skip("node is not installed")
    process = subprocess.Popen(["node", "--expose-gc", "-e", NODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        truth = json.loads(process.stdout.readline())
        stop(process.pid)
        arenas = {arena["name"]: arena for arena in figures(process.pid)["arenas"] if arena["allocator"] == "v8"}
        if not arenas:
            return skip("this node's V8 has chunks of another layout")
        system = sum(arena["system"] for arena in arenas.values())
        check(system == truth["total"], f"node: system bytes {system}, V8 says {truth['total']}")
        old = arenas["v8:heap:old"]
        near(old["live"], sum(used for space, used in truth.items() if space not in ("total", "new_space")), "node: live but for the young")
        check(old["system"] == old["live"] + old["free"] + old["metadata"], "node: system is live, free and metadata")
        check(arenas["v8:heap:young"]["live"] is None, "node: what is live of the young is unknown")
    finally:
        process.kill()
        process.wait()


def redis():
    if not shutil.which("redis-server"):
        return skip("redis-server is not installed")
    with tempfile.TemporaryDirectory() as folder:
        socket = os.path.join(folder, "socket")
        process = subprocess.Popen(["redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--enable-debug-command", "yes"],
                                   stdout=subprocess.DEVNULL, cwd=folder)

        def ask(*words):
            return subprocess.run(["redis-cli", "-s", socket, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
        try:
            for _ in range(600):
                if ask("ping").strip() == "PONG":
                    break
                time.sleep(0.1)
            ask("debug", "populate", "100000", "key", "30")
            ask("eval", "for i = 0, 99999 do if i % 4 ~= 0 then redis.call('del', 'key:' .. i) end end", "0")
            info = ask("info", "memory")
            truth = {name: int(re.search(rf"allocator_{name}:(\d+)", info)[1]) for name in ("allocated", "active")}
            compare_jemalloc("redis", figures(process.pid), truth)
        finally:
            process.kill()
            process.wait()


glibc()
jemalloc()
named()
mimalloc()
tcmalloc()
python()
hotspot()
go()
node()
redis()
done()
