#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The built-in rules on the real programs. That a name appears says little: each
program tells by other means which memory is what, and that memory is looked at.

  marks    the program fills objects with bytes that nothing else has; those bytes
           are searched for in its memory
  address  it prints "at NAME 0x..." for what it knows the address of
  runs     memory that can be executed
  stack    where the stack pointer is while it sleeps
  nmt      HotSpot's own list of its memory, which it prints when it ends

Run from the build directory. With --all also what is large to install
(tools/packages.runtimes); with words only the cases whose title has one of them."""

import array, fnmatch, mmap, os, re, select, shutil, signal, struct, subprocess, sys, tempfile, time

BUILD = os.getcwd()
LIBRARY = os.path.join(BUILD, ".libs", "libanonname.so")
UNNAMED = os.path.join(BUILD, "tests", "live", "libunnamed.so")
PAGE = mmap.PAGESIZE
SECONDS = 120           # a program that takes longer to come up has failed; a virtual machine is slow
SHARE = 0.9             # that much of the marked bytes at least: some copies lie where they were read or made


class Region:
    def __init__(self, line):
        where, self.perms, _, _, inode, *rest = line.rstrip("\n").split(None, 5)
        self.start, self.end = (int(x, 16) for x in where.split("-"))
        text = rest[0] if rest else ""
        self.name = text[6:-1] if text.startswith("[anon:") else text
        self.anonymous = inode == "0" and not text.startswith(("/", "[v"))


class Running:
    """A program under the library, up to where it says that it is ready."""

    def __init__(self, command, env, ready, stdin):
        self.work = tempfile.mkdtemp()
        self.output = ""
        preload = ":".join(x for x in (env.pop("FIRST", ""), LIBRARY) if x)
        env = {**os.environ, "HOME": self.work, "LD_PRELOAD": preload, **env}
        self.errors = open(os.path.join(self.work, "err"), "w+")
        self.process = subprocess.Popen(command, env=env, cwd=self.work, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, start_new_session=True)
        self.pid = self.process.pid
        if stdin:
            self.process.stdin.write(stdin.encode())
            self.process.stdin.flush()
        self.until = time.monotonic() + SECONDS
        while ready and ready not in self.output and self.read():
            pass
        if ready and ready not in self.output:
            self.errors.seek(0)
            self.end()
            raise RuntimeError(f"it did not get ready: {self.output[-300:]} {self.errors.read()[-300:]}")

    def read(self):
        if not select.select([self.process.stdout], [], [], max(0, self.until - time.monotonic()))[0]:
            return False
        data = os.read(self.process.stdout.fileno(), 1 << 16)
        self.output += data.decode(errors="replace")
        return bool(data)

    def maps(self, pid=None):
        out = subprocess.run(["tools/anonname", "maps", "--names", "kernel,registry", str(pid or self.pid)], capture_output=True, text=True).stdout
        return [Region(line) for line in out.splitlines()]

    def end(self):
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            try:
                stream.close()
            except BrokenPipeError:
                pass
        shutil.rmtree(self.work, ignore_errors=True)


def name_at(regions, addr):
    return next((r.name for r in regions if r.start <= addr < r.end), "nothing mapped")


def is_called(name, wanted):
    return any(fnmatch.fnmatchcase(name, w) for w in wanted.split())


def present(pagemap, region):
    """The parts of a region that are in memory: to read others would put them there."""
    at = region.start
    while at < region.end:
        upto = min(region.end, at + (64 << 20))
        entries = array.array("Q")
        entries.frombytes(os.pread(pagemap, (upto - at) // PAGE * 8, at // PAGE * 8))
        begin = None
        for i, entry in enumerate(entries):
            if entry >> 63 and begin is None:
                begin = i
            elif not entry >> 63 and begin is not None:
                yield at + begin * PAGE, (i - begin) * PAGE
                begin = None
        if begin is not None:
            yield at + begin * PAGE, (len(entries) - begin) * PAGE
        at = upto


def marked(regions, pid, pattern):
    """How many bytes of the pattern lie under each name."""
    found = {}
    memory, pagemap = os.open(f"/proc/{pid}/mem", os.O_RDONLY), os.open(f"/proc/{pid}/pagemap", os.O_RDONLY)
    for r in regions:
        if not r.anonymous or r.perms[:2] != "rw" or r.end - r.start > 8 << 30:
            continue
        for start, size in present(pagemap, r):
            try:
                n = os.pread(memory, size, start).count(pattern) * len(pattern)
            except OSError:
                continue
            if n:
                found[r.name] = found.get(r.name, 0) + n
    os.close(memory)
    os.close(pagemap)
    return found


# --- checks: each gives a list of what is wrong ---------------------------------------

def marks(pattern, wanted, least=500_000, share=SHARE):
    def check(p):
        found = marked(p.maps(), p.pid, pattern)
        right = sum(n for name, n in found.items() if is_called(name, wanted))
        if right < least or right < share * sum(found.values()):
            return [f"its objects should lie in {wanted}, and lie in {found or 'nothing'}"]
        return []
    return check


def address(least=1):
    def check(p):
        regions, said = p.maps(), re.findall(r"^at (\S+) (?:0x)?([0-9a-fA-F]+)", p.output, re.M)
        wrong = {(w, name_at(regions, int(a, 16))) for w, a in said if not is_called(name_at(regions, int(a, 16)), w)}
        few = [] if len(said) >= least else [f"it gave {len(said)} addresses, {p.output[-300:]}"]
        return few + [f"what it calls {w} is in {n}" for w, n in sorted(wrong)]
    return check


def runs(wanted):
    def check(p):
        regions = [r for r in p.maps() if r.anonymous and "x" in r.perms]
        wrong = {r.name for r in regions if not is_called(r.name, wanted)}
        return [f"{n} can be executed, and should be {wanted}" for n in sorted(wrong)] + \
            ([] if regions else ["it has no memory that can be executed"])
    return check


def stack(wanted):
    def check(p):
        for _ in range(100):
            fields = open(f"/proc/{p.pid}/syscall").read().split()
            if len(fields) == 9:
                break
            time.sleep(0.1)
        name = name_at(p.maps(), int(fields[7], 16))
        return [] if is_called(name, wanted) else [f"its stack is {name}, and should be {wanted}"]
    return check


def functions(wanted, function):
    """perf's list of what V8 has compiled."""
    def check(p):
        path = f"/tmp/perf-{p.pid}.map"
        regions = p.maps()
        lines = [line.split(None, 2) for line in open(path)]
        os.unlink(path)
        names = {name_at(regions, int(at, 16)) for at, _, name in lines if function in name}
        wrong = [n for n in names if not is_called(n, wanted)]
        return [f"{function} is in {n}, and should be in {wanted}" for n in wrong] + ([] if names else [f"{function} is not listed"])
    return check


def nowhere(unwanted):
    def check(p):
        return [f"{r.name} is there" for r in p.maps() if is_called(r.name, unwanted)]
    return check


def somewhere(wanted):
    def check(p):
        return [] if any(is_called(r.name, wanted) for r in p.maps()) else [f"nothing is called {wanted}"]
    return check


PARTS = {"Java Heap": "jvm:heap", "Code": "jvm:code", "GC": "jvm:gc", "Metaspace": "jvm:metaspace", "Class": "jvm:metaspace"}


def nmt(p, files=()):
    """Native memory tracking lists each commit with what it is for. It does so at the end, so maps are read before. Files have no names."""
    regions, before = None, []
    while time.monotonic() < p.until and p.process.poll() is None:
        regions = [r for r in p.maps() if r.anonymous and r.perms.startswith("rw")]
        now = [(r.start, r.end, r.name) for r in regions]
        # It is up, and nothing is changing.
        if now == before and any(r.name == "jvm:metaspace" for r in regions):
            break
        before = now
        time.sleep(0.5)
    if p.process.poll() is not None:
        return [f"it has ended: {p.output[-300:]}"]
    os.kill(p.pid, signal.SIGTERM)
    while p.read():
        pass
    bytes_of, wrong, part = {}, set(), None
    for line in p.output.splitlines():
        found = re.match(r"(\s*)\[0x(\w+) - 0x(\w+)\] (?:reserved|committed|reserved and committed) .*?(?:for (.*) from)?$", line)
        if not found:
            continue
        if not found[1]:
            part = PARTS.get(found[4])
        if not part or "committed" not in line:
            continue
        start, end = int(found[2], 16), int(found[3], 16)
        for r in regions:
            n = min(end, r.end) - max(start, r.start)
            if n > 0 and r.name == part:
                bytes_of[part] = bytes_of.get(part, 0) + n
            elif n > 0:
                wrong.add(f"{r.name} of {n >> 10} KiB is {part}")
    return sorted(wrong) + [f"no memory of {part} was seen" for part in sorted(set(PARTS.values()) - set(bytes_of) - set(files))]


# --- programs -------------------------------------------------------------------------------

CASES = []


def case(title, command, *checks, large=False, ready="ready", env=None, stdin="", make=None):
    CASES.append((title, command, checks, large, ready, env or {}, stdin, make))


PYTHON = """
import sys, time
x = [i * 1.5 for i in range(300000)]
for o in x[::1000]: print('at python:arena', hex(id(o)))
print('ready'); sys.stdout.flush(); time.sleep(1000)"""
case("python", ["/usr/bin/python3", "-c", PYTHON], address(300))
# Debian's is a link to redis-check-rdb: it is called by what it was started as.
case("redis, by its link", ["redis-server", "--port", "0", "--unixsocket", "redis.sock"],
     somewhere("redis-server:bss"), nowhere("redis-check-rdb*"), ready="ready to accept")
# Debian's gdb has Python in it as a library.
case("python in gdb", ["gdb", "-nx", "-q", "-batch", "-ex", "python exec(" + repr(PYTHON) + ")"], address(300))

DOUBLE = struct.pack("d", 1.2345e300)
NODE = """function hot(i) { return Math.sqrt(i) * 3; }
for (let i = 0; i < 1e6; i++) hot(i);
x = new Array(300000).fill(1.2345e300); y = []; for (let i = 0; i < 100000; i++) y.push([1.2345e300, i + .5]);
console.log('ready'); setTimeout(() => { console.log(x, y, hot) }, 1e8)"""
case("node", ["node", "--perf-basic-prof", "-e", NODE], marks(DOUBLE, "v8:heap"), functions("v8:code", "*hot"))

MARK = "aNoNnAmEmArK"
PHP = f"""$m = 'aNoNnA' . 'mEmArK'; $x = str_repeat($m, 100000); for ($i = 0; $i < 30000; $i++) $y[] = "$i$m";
echo 'ready'; fflush(STDOUT); sleep(1000);"""
case("php, which names its heap itself", ["php", "-r", PHP], marks(MARK.encode(), "zend_alloc"))
case("php that cannot", ["php", "-r", PHP], marks(MARK.encode(), "php:heap"), env={"FIRST": UNNAMED})

RUBY = """require 'objspace'
x = (1..300000).map { |i| i.to_s }
x.each_slice(1000) { |a| puts "at ruby:heap " + ObjectSpace.dump(a[0])[/0x\\h+/] }
$stdout.puts 'ready'; $stdout.flush
f = (1..100).map { Fiber.new { Fiber.yield } }.each(&:resume)
Fiber.new { sleep 1000 }.resume"""
case("ruby", ["ruby", "-e", RUBY], address(300), stack("ruby:fiber"))
case("ruby with YJIT", ["ruby", "--yjit", "-e", "def f(n) n + 1 end; 100000.times { |i| f(i) }; puts 'ready'; $stdout.flush; sleep 1000"],
     runs("ruby:jit"))

LUA = """local t, n = {}, 0
for i = 1, 100000 do t[i] = 'aNoNnA' .. 'mEmArK' .. i end
for i = 1, 1e6 do n = n + i % 7 end
local code, at = require('jit.util').tracemc(1)
print('at luajit:code ' .. string.format('0x%x', at))
print('ready') io.stdout:flush() io.stdin:read()"""
case("luajit", ["luajit", "-e", LUA], marks(MARK.encode(), "luajit:heap"), address())

PYPY = """import sys, time
n = 0
for i in range(1000000): n += i % 7
print('ready'); sys.stdout.flush(); time.sleep(1000)"""
case("pypy", ["pypy3", "-c", PYPY], runs("pypy:jit"))

GO = """package main

// #include <stdlib.h>
import "C"
import ("bytes"; "fmt"; "time")

func main() {
	C.free(C.malloc(10))
	x := bytes.Repeat([]byte("aNoNnA" + string([]byte("mEmArK"))), 100000)
	fmt.Println("ready")
	time.Sleep(1000 * time.Second)
	fmt.Println(x)
}
"""


def go_program(work):
    with open(f"{work}/main.go", "w") as f:
        f.write(GO)
    env = {**os.environ, "HOME": work, "GOCACHE": f"{work}/cache", "GO111MODULE": "off", "CGO_ENABLED": "1"}
    subprocess.run(["go", "build", "-o", f"{work}/cgo", f"{work}/main.go"], env=env, check=True)
    return [f"{work}/cgo"]


case("go with C", ["go"], marks(MARK.encode(), "go:heap"), make=go_program)

# A program that Debian's headless Java has, and that waits.
JAVA = ["java", "-XX:NativeMemoryTracking=detail", "-XX:+UnlockDiagnosticVMOptions", "-XX:+PrintNMTStatistics"]
for title, options in {
    "G1": ["-XX:+UseG1GC", "-Xshare:off"],
    "parallel": ["-XX:+UseParallelGC"],
    "serial, wide class pointers": ["-XX:+UseSerialGC", "-XX:-UseCompressedClassPointers"],
    "ZGC": ["-XX:+UseZGC", "-Xmx256m"],
}.items():
    case(f"java, {title}", JAVA + options + ["-m", "java.rmi/sun.rmi.registry.RegistryImpl", "0"],
         (lambda p: nmt(p, ["jvm:heap"])) if title == "ZGC" else nmt,
         nowhere("jvm:mmap* libjvm.so:mmap*"), ready=None)

GUILE = """(define x (let loop ((i 0) (l '())) (if (= i 20000) l
  (loop (+ i 1) (cons (string-append "aNoNnA" "mEmArK" (number->string i) (make-string 40 #\\a)) l)))))
(display "ready") (force-output) (sleep 1000) (display x)"""
case("guile, on libgc", ["guile", "--no-auto-compile", "-c", GUILE], marks(MARK.encode(), "libgc:heap", least=200_000))

SBCL = """(progn
  (defvar *x* (loop for i below 100000 collect (make-string 10)))
  (dolist (o (subseq *x* 0 100)) (format t "at sbcl:heap 0x~x~%" (sb-kernel:get-lisp-obj-address o)))
  (format t "ready~%") (finish-output) (sleep 1000) (print *x*))"""
case("sbcl", ["sbcl", "--noinform", "--disable-debugger", "--eval", SBCL], address(100))

ERLANG = """X = binary:copy(list_to_binary(["aNoNnA", "mEmArK"]), 100000),
Y = [list_to_binary(["aNoNnA", "mEmArK", integer_to_list(I)]) || I <- lists:seq(1, 20000)],
persistent_term:put(y, [list_to_binary(["lItErAl", "mArK", integer_to_list(I)]) || I <- lists:seq(1, 20000)]),
io:format("ready~n"), timer:sleep(1000000), io:format("~p~p", [X, Y])."""
case("erlang", ["erl", "-noshell", "-eval", ERLANG], marks(MARK.encode(), "beam:carrier"),
     marks(b"lItErAlmArK", "beam:literals beam:carrier"), marks(b"lItErAlmArK", "beam:literals", 200_000, share=0.1))

# A server that starts anew has what is in its tables nowhere but in the pool that it reads them into.
MARIADB_FILL = "create database d;\nuse d;\ncreate table t (s varchar(200)) engine=innodb;\n" + \
    "insert into t values (repeat(concat('aNoNnA', 'mEmArK'), 10));\n" + "insert into t select * from t;\n" * 14
MARIADB = "mariadbd --no-defaults --user=root --skip-grant-tables --skip-networking --datadir={0}/data --socket={0}/socket"


def mariadb_server(work):
    server = MARIADB.format(work)
    os.mkdir(f"{work}/data")
    subprocess.run([*server.split(), "--bootstrap"], input=MARIADB_FILL, text=True, check=True, capture_output=True)
    with open(f"{work}/init", "w") as f:
        f.write("select sum(length(s)) from d.t;\n")
    return ["sh", "-c", f"exec {server} --init-file={work}/init 2>&1"]


case("mariadb", ["mariadbd"], marks(MARK.encode(), "innodb:pool", least=1_000_000), somewhere("mariadb:buffer"),
     nowhere("mariadbd:mmap:*"), ready="ready for connections", make=mariadb_server)

QEMU = ["qemu-system-x86_64", "-display", "none", "-M", "pc", "-m", "64", "-accel", "tcg", "-monitor", "stdio", "-serial", "none"]


def guest_memory(p):
    host = re.search(r"Host virtual address for 0x100000 \(pc.ram\) is (0x\w+)", p.output)
    name = name_at(p.maps(), int(host[1], 16)) if host else p.output
    return [] if name == "qemu:ram" else [f"the guest's memory is in {name}"]


case("qemu", QEMU, guest_memory, runs("qemu:code"), ready="pc.ram", stdin="gpa2hva 0x100000\n")

MONO = """using System; using System.Collections.Generic; using System.Threading;
class M { static void Main() {
  var l = new List<object>(); for (int i = 0; i < 300000; i++) l.Add(1.2345e300);
  var b = new double[300000]; for (int i = 0; i < b.Length; i++) b[i] = 1.2345e300;
  Console.WriteLine("ready"); Console.Out.Flush(); Thread.Sleep(1000000); Console.WriteLine(l.Count + b.Length); } }
"""


def mono_program(work):
    with open(f"{work}/m.cs", "w") as f:
        f.write(MONO)
    subprocess.run(["mcs", f"-out:{work}/m.exe", f"{work}/m.cs"], check=True)
    return ["mono", f"{work}/m.exe"]


case("mono", ["mono", "mcs"], marks(DOUBLE, "mono:heap", least=5_000_000), runs("mono:code"), make=mono_program)

HASKELL = """import Control.Concurrent
import Data.Array.Unboxed
import System.IO
main = do
  let a = listArray (0, 200000) (repeat 1.2345e300) :: UArray Int Double
      b = replicate 100000 () `seq` [1.2345e300 * fromIntegral (i `div` i) | i <- [1 .. 100000 :: Int]] :: [Double]
  print (a ! 5, sum b)
  putStrLn "ready"
  hFlush stdout
  threadDelay 1000000000
  print (a ! 6, b)
"""


def haskell_program(*options):
    def make(work):
        with open(f"{work}/h.hs", "w") as f:
            f.write(HASKELL)
        subprocess.run(["ghc", "-v0", *options, f"{work}/h.hs", "-o", f"{work}/h"], check=True)
        return [f"{work}/h"]
    return make


case("ghc", ["ghc"], marks(DOUBLE, "ghc:heap"), large=True, make=haskell_program())
case("ghc, its runtime shared and threaded", ["ghc"], marks(DOUBLE, "ghc:heap"), large=True,
     make=haskell_program("-dynamic", "-threaded"))

RACKET = """(define x (for/list ([i 100000]) (bytes-append #"aNoNnA" #"mEmArK" (string->bytes/utf-8 (number->string i)))))
(display "ready") (flush-output) (sleep 1000) (display x)"""
case("racket", ["racket", "-e", RACKET], marks(MARK.encode(), "racket:heap"), runs("racket:code"), large=True)

PAGE_WITH_ARRAYS = """data:text/html,<script>x = new Array(300000).fill(1.2345e300); y = [];
for (i = 0; i < 100000; i++) y.push([1.2345e300, i + .5]); document.title = "done";</script>"""


def below(pid):
    """All processes below one."""
    children = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()
    return [p for child in children for p in [int(child), *below(child)]]


def page(wanted):
    """A browser's page is in a child."""
    def check(p):
        found = {}
        while time.monotonic() < p.until and sum(found.values()) < 500_000:
            found = {}
            for pid in below(p.pid):
                try:
                    for name, n in marked(p.maps(pid), pid, DOUBLE).items():
                        found[name] = found.get(name, 0) + n
                except OSError:         # it has ended
                    pass
            time.sleep(0.5)
        right = sum(n for name, n in found.items() if is_called(name, wanted))
        return [] if right >= 500_000 and right >= SHARE * sum(found.values()) else [f"the page's objects lie in {found}"]
    return check


case("chromium", ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", PAGE_WITH_ARRAYS],
     page("v8-sandbox"), large=True, ready=None)
case("chromium that cannot name its memory",
     ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", PAGE_WITH_ARRAYS],
     page("v8:sandbox"), large=True, ready=None, env={"FIRST": UNNAMED})

D = """import core.thread, std.stdio;
void main() {
	double[][] a;
	foreach (i; 0 .. 1000) { auto b = new double[300]; b[] = 1.2345e300; a ~= b; }
	writeln("ready"); stdout.flush(); Thread.sleep(dur!"seconds"(1000)); writeln(a); }
"""


def d_program(work):
    with open(f"{work}/d.d", "w") as f:
        f.write(D)
    subprocess.run(["ldc2", f"{work}/d.d", f"-of={work}/d"], check=True)
    return [f"{work}/d"]


case("d", ["ldc2"], marks(DOUBLE, "d:heap"), large=True, make=d_program)


# --- running them -----------------------------------------------------------------------------

def ruby_has_yjit():
    return subprocess.run(["ruby", "--yjit", "-e", "1"], capture_output=True).returncode == 0


def missing(title, command, make):
    needed = command if make else command[:1]
    absent = [c for c in needed if not shutil.which(c)]
    if not absent and title == "ruby with YJIT" and not ruby_has_yjit():
        return "a ruby with YJIT"
    return " ".join(absent)


def run(title, command, checks, ready, env, stdin, make):
    with tempfile.TemporaryDirectory() as work:
        p = Running(make(work) if make else command, dict(env), ready, stdin)
        try:
            return [w for check in checks for w in check(p)]
        finally:
            p.end()


def bad_rules():
    """A rule that cannot be read is told with its line and column."""
    rules = {
        "lob=x name=y": 1, "lib=cat* size>=1Q name=x": 10, "": 0, "lib=* prot=none name=my:%q": 17,
        "lib=* flags=stack,far name=x": 7, "lib=* at=17 name=x": 7, "lib=* at=0x17-18 name=x": 7, "lib=* pieces=no name=x": 7,
        "lib=* part=gc name=x": 7, "lib=* size= name=x": 7,
    }
    said = subprocess.run(["cat", "/dev/null"], capture_output=True, text=True,
                          env={**os.environ, "LD_PRELOAD": LIBRARY, "ANONNAME_RULES": ";".join(rules)}).stderr
    return [f"nothing said of {rule}: {said}" for line, (rule, column) in enumerate(rules.items(), 1)
            if column and f"ANONNAME_RULES:{line}:{column}: " not in said]


def main():
    everything = "--all" in sys.argv
    words = [a for a in sys.argv[1:] if not a.startswith("-")]
    skipped, failed, tried = [], 0, 0
    for title, command, checks, large, ready, env, stdin, make in CASES:
        if words and not any(w in title for w in words):
            continue
        if large and not everything and not words:
            continue
        absent = missing(title, command, make)
        if absent:
            skipped.append(f"{title} ({absent})")
            continue
        tried += 1
        try:
            wrong = run(title, command, checks, ready, env, stdin, make)
        except (RuntimeError, OSError, subprocess.CalledProcessError) as e:
            wrong = [str(e)]
        print("FAIL " if wrong else "ok   ", title, flush=True)
        for w in wrong[:8]:
            print("     ", w)
        failed += bool(wrong)
    if not words:
        wrong = bad_rules()
        print("FAIL " if wrong else "ok   ", "rules that cannot be read", *wrong)
        failed += bool(wrong)
    if skipped:
        print("SKIP: not installed:", ", ".join(skipped))
    if not everything and not words:
        print("Not tried: what is large to install; make check-runtimes does that.")
    sys.exit(1 if failed else 0 if tried else 77)


main()
