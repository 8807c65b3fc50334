#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Threaded live programs in a build whose library and programs are made for
ThreadSanitizer; nothing is to be reported that stands not below with its reason.

    ../configure CC=gcc CFLAGS="-O1 -g -fsanitize=thread" && make && make check-races

Only reports count. ThreadSanitizer's runtime brings its own malloc and starts
later than our hooks, so names and figures are not the usual ones there. It
must not resolve addresses itself: that would call our hooks before it is up. Nor
may it look for colours: isatty() changes errno when a report comes in a handler.

In a thread that ThreadSanitizer does not know, or takes for ended, our hooks die,
being instrumented. So for threads libc keeps all stacks (it would unmap old ones
as the last thing in a thread), and threads makes none with thrd_create.

Malloc by library leaves a program with a malloc of its own alone, and that is what
ThreadSanitizer brings. So its runtime is loaded under a name that passes for
mimalloc's, and early_malloc.c serves malloc where ours would die as above. What
mimalloc hands from thread to thread it does with atomics that nobody instrumented:
there only accesses from our own code count, and not what is done to blocks."""

import concurrent.futures, os, re, shutil, subprocess, sys

BUILD = os.getcwd()
LIBRARY = os.path.join(BUILD, ".libs", "libanonname.so")
BY_LIBRARY = os.path.join(BUILD, "malloc", ".libs", "libanonname.so")
EARLY = os.path.join(BUILD, "tests", "live", "libmimalloc.so.early")
RUNTIME = os.path.join(BUILD, "tests", "live", "libmimalloc.so.runtime")
PROGRAMS = ["busy 60", "api", "handlers", "heaps 40", "arenas",
            f"GLIBC_TUNABLES=glibc.pthread.stack_cache_size={1 << 40} threads", "extents", "ANONNAME_JEMALLOC=hooks extents"]
# The others bring jemalloc, and are left alone, or allocate where ThreadSanitizer takes a thread for ended.
if os.path.exists(BY_LIBRARY):
    PROGRAMS += [f"ANONNAME_MALLOC={by} {program}" for by in ("library", "thread,library") for program in ("by_library", *PROGRAMS[:3])]
SECONDS = 60            # one that takes longer is ended, and what it reported by then counts
OPTIONS = ("symbolize=0:color=never:history_size=7:detect_deadlocks=0:report_signal_unsafe=0:"
           "use_sigaltstack=0:handle_segv=0:handle_sigbus=0:handle_abort=0:handle_sigfpe=0:handle_sigill=0:exitcode=0")

# A function of ours, and why a report that has it on a stack is none.
BY_DESIGN = {
    "registry_next": "reads without the lock, and looks afterwards whether what it read was changed meanwhile",
    "registry_name_at": "the test programs' own reader, which looks again as registry_next does",
    "stack_thread_renamed": "two that rename one thread at the same moment may mix the two names; the kernel's own is the same",
}

# While a thread is inside its own pthread_create and fork, ThreadSanitizer does not see that thread's atomics. Who
# frees a note there leaves no trace, and the next who writes that note seems to race with the one before.
NOTE = "submit_note"

# Of an access that lies too far back, ThreadSanitizer no longer knows where it was; it may be one of those above.
HALF = "[failed to restore the stack]"

FRAME = re.compile(r"#\d+ \S+ \S+ \((\S+?)\+(0x[0-9a-f]+)\)")


def resolve(objects, name, offset):
    """The functions at a return address, innermost first."""
    if name not in objects:
        return [f"{name}+{offset}"]
    out = subprocess.run(["addr2line", "-fie", objects[name], hex(int(offset, 16) - 1)], capture_output=True, text=True)
    lines = out.stdout.split("\n")
    return [f"{f} ({os.path.basename(at)})" for f, at in zip(lines[0::2], lines[1::2])]


def reports(said, objects):
    """(text, functions, where the two accesses are, whether one is in the library) of each report."""
    for block in said.split("WARNING: ThreadSanitizer: ")[1:]:
        text, functions, accesses, fresh, inside = [], set(), set(), False, False
        for line in block.split("SUMMARY:")[0].split("\n"):
            frame = FRAME.search(line)
            found = resolve(objects, os.path.basename(frame[1]), frame[2]) if frame else []
            names = [f.split(" ")[0].split(".")[0] for f in found]
            functions.update(names)
            if frame and os.path.basename(frame[1]) == os.path.basename(RUNTIME):
                continue        # memset and the like, for whoever calls it
            if fresh and names:
                accesses.add(names[0])
                inside = inside or "libanonname" in frame[1]
            fresh = bool(re.search(r"(write|read) of size", line, re.I))
            text += [f"    {f}" for f in found] or [line.rstrip()]
        yield "\n".join(t for t in text if t.strip(" =")), functions, accesses, inside


def preloads(settings):
    """What is to be preloaded, and the library in it."""
    if "ANONNAME_MALLOC" not in settings:
        return LIBRARY, LIBRARY
    settings["ANONNAME_DEBUG"] = "on"
    return f"{EARLY}:{BY_LIBRARY}:{RUNTIME}", BY_LIBRARY


def wrong_in(command):
    """Runs one and prints its reports; how much is wrong."""
    words = command.split()
    settings = dict(w.split("=", 1) for w in words if "=" in w)
    name, *args = [w for w in words if "=" not in w]
    path = os.path.join(BUILD, "tests", "live", name)
    preload, library = preloads(settings)
    env = {k: v for k, v in os.environ.items() if not k.startswith("ANONNAME_")}
    # On this file system: what a test started must not keep a pipe open.
    with open(os.path.join(BUILD, f"races-{PROGRAMS.index(command)}.log"), "w+") as log:
        try:
            status = subprocess.run([path, *args], stdout=log, stderr=subprocess.STDOUT, timeout=SECONDS,
                                    env=dict(env, **settings, LD_PRELOAD=preload, TSAN_OPTIONS=OPTIONS)).returncode
            ended = ""
        except subprocess.TimeoutExpired:
            status, ended = 0, f", ended after {SECONDS} s"
        log.seek(0)
        said = log.read()
    objects = {"libanonname.so": library, os.path.basename(os.path.realpath(library)): library, name: path}
    expected, half, blocks, seen = 0, 0, 0, set()
    for text, functions, accesses, inside in reports(said, objects):
        if library == BY_LIBRARY and not inside:
            blocks += 1
        elif functions & BY_DESIGN.keys() or accesses == {NOTE}:
            expected += 1
        elif HALF in text:
            half += 1
        else:
            seen.add(re.sub(r"0x[0-9a-f]+", "...", text))
    for text in sorted(seen):
        print(text, end="\n\n")
    if status < 0:
        print(f"{command} died of signal {-status}:\n{said[-2000:]}")
    idle = library == BY_LIBRARY and "by_library: active" not in said
    if idle:
        print(f"{command}: another malloc served it")
    print(f"{command}: {len(seen)} reports, {expected} by design, {half} with one side forgotten, "
          f"{blocks} of blocks that mimalloc gave on{ended}", flush=True)
    return len(seen) + (status < 0) + idle


def main():
    if not shutil.which("addr2line"):
        print("SKIP: no addr2line here (apt-get install binutils)")
        return 77
    if b"__tsan_func_entry" not in open(os.path.realpath(LIBRARY), "rb").read():
        print("SKIP: this build is not made for ThreadSanitizer")
        return 77
    # What hangs only waits, so some run beside it.
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        return any(list(pool.map(wrong_in, PROGRAMS)))


if __name__ == "__main__":
    sys.exit(main())
