#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What reading processes costs, against plain reads of the same files and against other tools.

Each pair runs interleaved. The figure is CPU time (user and kernel), the least
of all rounds: what others do on the machine makes a run longer, never shorter.
Wall time is printed beside it.

    bench/read.py [ROUNDS [PART...]]

With ANONNAME_BENCH_MILLION=1, as root, vm.max_map_count is raised for the
process with a million VMAs, and set back.
"""
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time

BUILD = os.environ.get("abs_top_builddir") or os.getcwd()
TOOL = os.path.join(BUILD, "tools", "anonname")
TARGET = os.path.join(BUILD, "bench", "read_target")
LIBRARY = os.path.join(BUILD, ".libs", "libanonname.so")
ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 9


class Process:
    def __init__(self, *args, library=False):
        environment = dict(os.environ)
        environment.pop("LD_PRELOAD", None)
        if library:
            environment["LD_PRELOAD"] = LIBRARY
        self.process = subprocess.Popen([TARGET, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        line = self.process.stdout.readline()
        self.pid = int(line) if line else None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.end()

    def end(self):
        self.process.kill()
        self.process.communicate()


def once(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    code = subprocess.run([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if code:
        print(f"  {command[0]} failed with {code}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, wall


def interleaved(commands, rounds=ROUNDS):
    """name -> (least CPU seconds, median wall seconds)."""
    results = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            results[name].append(once(command))
    return {name: (min(cpu for cpu, _ in runs), statistics.median(wall for _, wall in runs)) for name, runs in results.items()}


def verdict(what, figure, limit, at_least=False):
    ok = figure >= limit if at_least else figure <= limit
    print(f"{'reached' if ok else 'MISSED '}  {what}: {figure:.2f} ({'at least' if at_least else 'at most'} {limit})", flush=True)


def show(results):
    for name, (cpu, wall) in results.items():
        print(f"    {name:30} CPU {1000 * cpu:8.1f} ms   wall {1000 * wall:8.1f} ms")


def many_vmas():
    with Process("vmas", 20000) as target:
        pid = target.pid
        python = next((p for p in (sys.executable, "/usr/bin/python3")
                       if subprocess.run([p, "-c", "import psutil"], stderr=subprocess.DEVNULL).returncode == 0), None)
        commands = {"read of smaps": [TARGET, "drain", f"/proc/{pid}/smaps"], "anonname report": [TOOL, "report", pid]}
        peers = {
            "pmap -X": ["pmap", "-X", pid], "smem": ["smem", "-P", "^read_target$"], "smemstat": ["smemstat", "-p", pid],
            "psutil": [python or "", "-c", f"import psutil; psutil.Process({pid}).memory_maps(grouped=True)"],
        }
        present = {}
        for name, command in peers.items():
            found = python if name == "psutil" else shutil.which(command[0])
            if found:
                present[name] = command
            else:
                print(f"SKIPPED {name}: not installed")
        results = interleaved(commands)
        results.update(interleaved(present, 3))
        results["anonname report"] = min(results["anonname report"], interleaved({"x": commands["anonname report"]}, 3)["x"])
        print("20,000 VMAs")
        show(results)
        verdict("report, against one read of smaps", results["anonname report"][0] / results["read of smaps"][0], 1.10)
        if subprocess.run([TARGET, "query", str(pid)]).returncode:
            print("SKIPPED PROCMAP_QUERY: this kernel has it not (Linux 6.11)")
        else:
            ways = interleaved({"read of maps": [TARGET, "drain", f"/proc/{pid}/maps"], "PROCMAP_QUERY for each VMA": [TARGET, "query", pid]})
            show(ways)
            quotient = ways["PROCMAP_QUERY for each VMA"][0] / ways["read of maps"][0]
            print(f"    --gentle reads maps: PROCMAP_QUERY is {quotient:.1f} times the CPU")
        for name in present:
            verdict(f"{name}, against report", results[name][0] / results["anonname report"][0], 5, at_least=True)


def ranges():
    if not os.path.exists(LIBRARY):
        print("SKIPPED 10,000 named ranges: no library in the build tree")
        return
    with Process("ranges", 10000, 4096, library=True) as target:
        results = interleaved({"read of pagemap": [TARGET, "pagemap", target.pid], "anonname report": [TOOL, "report", target.pid]})
        print("10,000 named ranges over 4 GiB")
        show(results)
        verdict("report, against one read of pagemap", results["anonname report"][0] / results["read of pagemap"][0], 1.5)


def machine():
    targets = [Process("vmas", 100) for _ in range(300)]
    pids = [name for name in os.listdir("/proc") if name.isdigit()]
    results = interleaved({"read of all smaps": [TARGET, "drain", *[f"/proc/{pid}/smaps" for pid in pids]],
                           "anonname report --all": [TOOL, "report", "--all"]})
    print(f"{len(pids)} processes")
    show(results)
    verdict("report --all, against one read of each smaps", results["anonname report --all"][0] / results["read of all smaps"][0], 1.15)
    for target in targets:
        target.end()


LATENCY_MIB = 4096


def latency_with(command, beside):
    process = subprocess.Popen([TARGET, "latency", str(LATENCY_MIB), "4"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    pid = int(process.stdout.readline())
    reader = subprocess.Popen(["sh", "-c", command.format(pid=pid, beside=beside)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              start_new_session=True)
    time.sleep(0.5)
    process.stdin.write("\n")
    process.stdin.flush()
    line = process.stdout.readline().split()
    os.killpg(reader.pid, 9)
    reader.wait()
    process.kill()
    process.communicate()
    return [float(value) for value in line[1:]]


def latency():
    """
    Interleaved; of each way the round with the lowest p99.9: what others do on the machine only adds to it.
    A reader takes a processor's time, too, whoever it reads: what reading does to the target is what is
    more than with the same loop on a process beside it.
    """
    print(f"a process of {LATENCY_MIB >> 10} GiB that maps and unmaps 64 KiB, while it is read without a pause (ms)")
    ways = {"alone": "sleep 100", "smaps in a loop": f"exec {TARGET} drain-loop /proc/{{pid}}/smaps",
            "report in a loop": f"while :; do {TOOL} report {{pid}}; done",
            "report --gentle in a loop": f"while :; do {TOOL} report --gentle {{pid}}; done",
            "the same of a process beside it": f"while :; do {TOOL} report --gentle {{beside}}; done"}
    rounds = {name: [] for name in ways}
    with Process("memory", LATENCY_MIB) as beside:
        for _ in range(min(ROUNDS, 3)):
            for name, command in ways.items():
                rounds[name].append(latency_with(command, beside.pid))
    best = {name: min(runs, key=lambda run: run[1]) for name, runs in rounds.items()}
    for name, (median, most, longest) in best.items():
        print(f"    {name:31} median {median:.4f}  p99.9 {most:.4f}  longest {longest:.4f}   p99.9 of each round "
              + " ".join(f"{run[1]:.4f}" for run in rounds[name]))
    verdict("p99.9 of mmap with --gentle, ms", best["report --gentle in a loop"][1], 1.9)


def million():
    name = "/proc/sys/vm/max_map_count"
    with open(name) as file:
        before = file.read()
    if int(before) < 1000100 and not os.environ.get("ANONNAME_BENCH_MILLION"):
        print("SKIPPED 1,000,000 VMAs: vm.max_map_count is lower; ANONNAME_BENCH_MILLION=1 raises it for the moment")
        return
    try:
        if int(before) < 1000100:
            with open(name, "w") as file:
                file.write("1100000")
        sizes = {}
        for vmas in (1000, 1000000):
            with Process("vmas", vmas) as target:
                began = time.perf_counter()
                child = subprocess.Popen([TOOL, "report", str(target.pid)], stdout=subprocess.PIPE, text=True)
                output = child.stdout.read()
                _, status, usage = os.wait4(child.pid, 0)
                child.returncode = status
                sizes[vmas] = usage.ru_maxrss
                counted = int(output.splitlines()[-2].split()[0])
                print(f"{vmas} VMAs: {time.perf_counter() - began:.2f} s, {usage.ru_maxrss} KiB, {counted} counted")
                if status or counted < vmas:
                    raise SystemExit("report failed")
        verdict("memory of report with 1,000,000 VMAs against 1,000", sizes[1000000] / sizes[1000], 1.2)
    finally:
        with open(name, "w") as file:
            file.write(before)


def peak():
    if not os.path.exists(LIBRARY):
        return
    script = "import time\nb = []\nend = time.monotonic() + 4\nwhile time.monotonic() < end:\n    b.append(bytes(200000))\n    if len(b) > 500: b.clear()\n"
    result = subprocess.run([TOOL, "run", "--peak", "-J", sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    import json
    value = json.loads(result.stderr)
    verdict("run --peak: CPU of watching, % of the command's time", 100 * value["cost_seconds"] / value["seconds"], 1)


def chunks():
    with Process("chunks", 1024) as target:
        def state():
            with open(f"/proc/{target.pid}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            return int(fields[7]), int(fields[21])

        before = state()
        results = interleaved({"anonname heap": [TOOL, "heap", target.pid]})
        print("1 GiB of chunks of 32 to 64 bytes")
        show(results)
        verdict("heap of 1 GiB of small chunks, ms of CPU", 1000 * results["anonname heap"][0], 400)
        verdict("faults and resident pages that it changed", sum(abs(a - b) for a, b in zip(before, state())), 0)


PARTS = {"many_vmas": many_vmas, "ranges": ranges, "machine": machine, "latency": latency, "million": million, "peak": peak, "chunks": chunks}
for part in sys.argv[2:] or PARTS:
    PARTS[part]()
