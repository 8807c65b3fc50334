# SPDX-License-Identifier: MIT
"""What the tests of the anonname command share: finding it, running it, and reporting."""
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time

BUILD = os.environ.get("abs_top_builddir") or os.getcwd()
SOURCE = os.environ.get("abs_top_srcdir") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TOOL = os.environ.get("ANONNAME_TOOL") or os.path.join(BUILD, "tools", "anonname")
FAMILY = os.path.join(BUILD, "tests", "replay", "family")
LIBRARY = os.path.join(BUILD, ".libs", "libanonname.so")
MIB = 1 << 20

failures = 0


def check(condition, what):
    global failures
    print(("ok      " if condition else "NOT OK  ") + what, flush=True)
    failures += not condition


def skip(why):
    print("SKIPPED " + why, flush=True)


def done():
    sys.exit(1 if failures else 0)


def run(*args, **options):
    """Runs anonname; the result has returncode, stdout and stderr."""
    options.setdefault("timeout", 120)
    options.setdefault("text", True)
    return subprocess.run([TOOL, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def report(*args):
    result = run("report", "--json", *args)
    if result.returncode:
        raise SystemExit(f"report {args}: {result.returncode} {result.stderr}")
    return json.loads(result.stdout)


def row(result, name):
    for one in result["names"]:
        if one["name"] == name:
            return one
    return None


def state_of(pid):
    """R, S, T, Z, ... as proc(5) has it."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


def wait_until_it_waits(pid):
    """Who said that it is ready still has a few instructions to its wait, and on a busy machine they take long; some never wait."""
    for _ in range(200):
        if state_of(pid) != "R":
            return
        time.sleep(0.01)


class Family:
    """A process of family.c, and its relatives."""

    def __init__(self, what, library=False, count=1):
        environment = dict(os.environ)
        environment.pop("LD_PRELOAD", None)
        if library:
            environment["LD_PRELOAD"] = LIBRARY
        self.process = subprocess.Popen([FAMILY, what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=environment, start_new_session=True)
        self.pids = [int(self.process.stdout.readline()) for _ in range(count)]
        self.pid = self.pids[0] if count else self.process.pid
        for pid in self.pids:
            wait_until_it_waits(pid)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


PR_SET_THP_DISABLE = 41


def cores_allowed():
    """For preexec_fn: the kernel may write a core of the program, however large; and no page is there that the program never touched."""
    ctypes.CDLL(None).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def kernel_core(program, directory):
    """The core that the kernel writes there when a signal ends the program; None where it gives cores to somebody else."""
    with open("/proc/sys/kernel/core_pattern") as file:
        if file.read().strip() != "core":
            skip("no core of the kernel is read: kernel.core_pattern is not plainly 'core', as it is in tests/replay/live-vm.sh")
            return None
    program.send_signal(signal.SIGSEGV)
    program.wait()
    found = [os.path.join(directory, name) for name in os.listdir(directory) if name.startswith("core") and name != "core.gdb"]
    check(len(found) == 1, f"the kernel wrote a core: {os.listdir(directory)}")
    return found[0] if found else None
