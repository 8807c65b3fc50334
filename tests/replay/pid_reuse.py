#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A process ends while it is read, and another gets its number: what is printed is all of the one, or all of the other, or an error.

    pid_reuse.py [WORD]    only the commands that hold WORD

Before each file that a command opens below /proc the one is ended, and the other gets its number (clone3 with
set_tid, in a pid namespace of ours), so every place between two reads is tried.
"""
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

from common import BUILD, FAMILY, MIB, TOOL, check, done, skip

ASK_OPEN = os.path.join(BUILD, "tests", "replay", "ask_open.so")
CLONE3 = {"x86_64": 435, "aarch64": 435}.get(os.uname().machine)
COMMANDS = (["report", "-J"], ["report", "-J", "--gentle"], ["report", "-J", "-o", "name,dirty,page_tables"],
            ["report", "-J", "--heap"], ["report", "-J", "--by", "cgroup"], ["snapshot"], ["top", "-b", "-J", "-n", "1", "--heap"],
            ["check", "-J"], ["maps", "-J"], ["heap", "-J"])
libc = ctypes.CDLL(None, use_errno=True)


def enter():
    """Starts this again as the first process of a pid namespace."""
    if os.environ.get("ANONNAME_REUSE"):
        return
    if os.geteuid():
        print("SKIP: only root can say which number a process gets")
        sys.exit(77)
    command = ["unshare", "-pmf", "--kill-child", "--mount-proc"]
    probe = subprocess.run([*command, "true"], stderr=subprocess.PIPE, text=True)
    if probe.returncode:
        print(f"SKIP: no pid namespace can be had here: {probe.stderr.strip()}")
        sys.exit(77)
    command += [sys.executable, *sys.argv]
    sys.exit(subprocess.run(command, env=dict(os.environ, ANONNAME_REUSE="1")).returncode)


def start(number, command):
    """Runs command as the process of this number, until it has printed a line."""
    out, into = os.pipe()
    numbers = (ctypes.c_int * 1)(number)
    # struct clone_args: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup
    args = (ctypes.c_uint64 * 11)(0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(numbers), 1, 0)
    pid = libc.syscall(CLONE3, args, ctypes.sizeof(args))
    if pid == 0:
        os.dup2(into, 1)
        # A heap that is larger than the other's.
        os.execve(command[0], command, {"GLIBC_TUNABLES": "glibc.malloc.top_pad=4194304"} if "second" in command[0] else {})
    os.close(into)
    if pid < 0:
        os.close(out)
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.read(out, 64)
    os.close(out)
    return pid


def end(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    # Its children are ours now.
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


class Pair:
    """The one and the other, by files of their own so that each mapping says whose it is."""

    number = 5000

    def __init__(self, directory):
        # Standard input must last as long as they do.
        held, self.held = os.pipe()
        os.dup2(held, 0)
        self.first, self.second = ([os.path.join(directory, name), what] for name, what in (("first", "mixed"), ("second", "zero")))
        shutil.copy(FAMILY, self.first[0])
        shutil.copy(FAMILY, self.second[0])

    def begin(self):
        start(self.number, self.first)

    def swap(self):
        end(self.number)
        start(self.number, self.second)


def run(pair, command, at):
    """The command's output, its status and how often it asked; at its at-th question the processes are swapped."""
    pair.begin()
    ask, asked = os.pipe()
    answered, answer = os.pipe()
    environment = dict(os.environ, LD_PRELOAD=ASK_OPEN, ASK_FD=str(asked), ANSWER_FD=str(answered))
    with tempfile.TemporaryFile("w+") as out:
        tool = subprocess.Popen([TOOL, *command, str(pair.number)], stdout=out, stderr=subprocess.DEVNULL, env=environment,
                                pass_fds=(asked, answered))
        os.close(asked)
        os.close(answered)
        paths = []
        while True:
            # Who asks waits, and only children of the tool that run beside one another ask at once.
            text = os.read(ask, 4096)
            if not text:
                break
            for path in text.decode().split("\0")[:-1]:
                paths.append(path)
                if len(paths) == at:
                    pair.swap()
                os.write(answer, b"x")
        code = tool.wait()
        os.close(ask)
        os.close(answer)
        end(pair.number)
        out.seek(0)
        return code, out.read(), paths


def whose(command, text):
    """All that says whose it is."""
    value = json.loads(text.splitlines()[0] if command[0] == "top" else text)
    seen = {one["comm"] if "error" not in one else "error" for one in value.get("processes", [])}
    rows = [value[key] for key in ("regions", "names") if isinstance(value.get(key), list)]
    for one in (one for each in rows for one in each):
        base = str(one["name"]).rsplit("/", 1)[-1].split(":")[0]
        seen |= {base} & {"first", "second"}
    rss = value["total"]["rss"] if "total" in value else value.get("anon_rss")
    if rss:
        seen.add("first" if rss > 4 * MIB else "second")
    for arena in value.get("arenas", []):
        seen.add("first" if arena["system"] < MIB else "second")
    return seen


def tried(pair, command):
    title = " ".join(command)
    code, text, paths = run(pair, command, 0)
    seen = whose(command, text)
    check(code == 0 and seen <= {"first"} and len(paths) > 3, f"{title}: left alone it is the first, in {len(paths)} files: {code} {seen}")
    ends = {"first": 0, "second": 0, "error": 0}
    for at in range(1, len(paths) + 1):
        code, text, _ = run(pair, command, at)
        if code or not text:
            ends["error"] += 1
            if code not in (1, 42):
                check(False, f"{title}, before {at}, {paths[at - 1]}: ends with {code}")
            continue
        # Whose name came too late has none.
        seen = whose(command, text) - {"?"}
        if len(seen) != 1:
            check(False, f"{title}, before {at}, {paths[at - 1]}: it is of {' and '.join(sorted(seen)) or 'nobody'}")
        else:
            ends[seen.pop()] += 1
    print(f"        {title}: {ends}")
    check(sum(ends.values()) == len(paths), f"{title}: each of {len(paths)} times it is one process or none")


if __name__ == "__main__":
    enter()
    if not CLONE3 or not os.path.exists(ASK_OPEN):
        print("SKIP: clone3 of this machine is not known")
        sys.exit(77)
    with tempfile.TemporaryDirectory() as directory:
        pair = Pair(directory)
        try:
            pair.begin()
        except OSError as error:
            print(f"SKIP: a process cannot be given its number here: {error}")
            sys.exit(77)
        end(pair.number)
        for command in COMMANDS:
            if not sys.argv[1:] or sys.argv[1] in " ".join(command):
                tried(pair, command)
    done()
