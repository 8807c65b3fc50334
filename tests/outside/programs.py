# SPDX-License-Identifier: MIT
"""The programs that compare.py looks at, beside those of tests/panel: each with
a workload, and how much of its memory is to be recognised.

Each row is a generator as tests/panel/panel has them: it starts the program,
gives it its work, yields the processes to look at, and stops when it is resumed."""
import contextlib
import importlib.machinery
import importlib.util
import os
import subprocess
import textwrap

HERE = os.path.dirname(os.path.realpath(__file__))
loader = importlib.machinery.SourceFileLoader("panel", os.path.join(HERE, "..", "panel", "panel"))
panel = importlib.util.module_from_spec(importlib.util.spec_from_loader("panel", loader))
loader.exec_module(panel)

PYTHON = """
import threading, time
kept = [str(i) for i in range(200000)]; large = bytearray(20 << 20)
def work():
    own = [str(i) for i in range(1000)]; ready.release(); time.sleep(1000)
ready = threading.Semaphore(0)
for i in range(3): threading.Thread(target=work, daemon=True).start()
for i in range(3): ready.acquire()
print("ready", flush=True); time.sleep(1000)
"""
# Threads end, and those that come after them get their arenas.
CHURN = """
import threading, time
def work():
    own = [bytearray(3000) for i in range(200)]; here.release(); go.wait()
for last in (False, False, False, True):
    here, go = threading.Semaphore(0), threading.Event()
    threads = [threading.Thread(target=work, daemon=True) for i in range(4)]
    for t in threads: t.start()
    for t in threads: here.acquire()
    if not last:
        go.set()
        for t in threads: t.join()
print("ready", flush=True); time.sleep(1000)
"""
NODE = "let a = []; for (let i = 0; i < 300000; i++) a.push({i}); console.log('ready'); setTimeout(() => a, 1e6)"
JAVA = """
public class Ready { public static void main(String[] a) throws Exception {
    var kept = new java.util.ArrayList<String>(); for (int i = 0; i < 300000; i++) kept.add("x" + i);
    for (int i = 0; i < 3; i++) { var t = new Thread(() -> { try { Thread.sleep(1000000); } catch (Exception e) {} }); t.setDaemon(true); t.start(); }
    Thread.sleep(2000); System.out.println("ready"); Thread.sleep(1000000); } }
"""
GO = r"""
package main
import ("fmt"; "os"; "runtime"; "time"; "unsafe")
type node struct { next *node; text [100]byte }
func at(name string, p uintptr) { fmt.Fprintf(os.Stdout, "at %s 0x%x\n", name, p) }
func deep(n int, c chan bool) int { var a [256]byte; if n == 0 { at("go:stack", uintptr(unsafe.Pointer(&a))); c <- true; time.Sleep(time.Hour); return 0 }; a[n] = 1; return deep(n-1, c) + int(a[n]) }
func main() {
    var first *node
    for i := 0; i < 200000; i++ { first = &node{next: first} }
    large := make([]byte, 20<<20); for i := range large { large[i] = 1 }
    c := make(chan bool)
    for i := 0; i < 200; i++ { go deep(100, c) }
    for i := 0; i < 200; i++ { <-c }
    at("go:heap", uintptr(unsafe.Pointer(first))); at("go:heap", uintptr(unsafe.Pointer(&large[10<<20])))
    fmt.Println("ready"); time.Sleep(time.Hour)
    runtime.KeepAlive(first); runtime.KeepAlive(large)
}
"""
STATIC = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static char *kept[20000], bss[1 << 20];
static pthread_barrier_t here;
#ifdef __GLIBC__
#define LIBC "glibc"
#else
#define LIBC "musl"
#endif
static void *work(void *nothing) {
    char own[20000]; memset(own, 1, sizeof(own));
    char *some[1000]; for (int i = 0; i < 1000; i++) memset(some[i] = malloc(500), 1, 500);
    printf("at stack:%d:program 0x%lx\n", gettid(), (long)own);
    pthread_barrier_wait(&here); pause(); free(some[own[3]]); return nothing; }
int main(void) {
    pthread_t thread; pthread_barrier_init(&here, NULL, 4); memset(bss, 1, sizeof(bss));
    for (int i = 0; i < 20000; i++) memset(kept[i] = malloc(300), 1, 300);
    printf("at " LIBC ":large 0x%lx\nat program:bss 0x%lx\n", (long)memset(malloc(5 << 20), 1, 5 << 20), (long)&bss[4096]);
    for (int i = 0; i < 3; i++) pthread_create(&thread, NULL, work, NULL);
    pthread_barrier_wait(&here); puts("ready"); fflush(stdout); pause(); }
"""
RUBY = """
kept = (1..200000).map { |i| "x#{i}" * 3 }; Thread.new { sleep }
f = (1..20).map { Fiber.new { Fiber.yield 1 } }.each(&:resume); $stdout.sync = true; puts "ready"; sleep
"""
PHP = '$a = []; for ($i = 0; $i < 200000; $i++) $a[] = "x$i"; $b = str_repeat("y", 5000000); echo "ready\\n"; sleep(1000);'
ERLANG = 'L = [integer_to_list(I) || I <- lists:seq(1, 100000)], B = binary:copy(<<"x">>, 5000000), io:format("ready~n"), timer:sleep(1000000), io:format("~p~p", [L, B]).'
HASKELL = '''
import Control.Concurrent
import Data.Array.IO
import qualified Data.Map.Strict as M
import System.IO
main = do
    let small = M.fromList [(i, show i) | i <- [1 .. 100000 :: Int]]
    large <- newArray (0, 2000000) 7 :: IO (IOUArray Int Int)
    _ <- forkIO (threadDelay 1000000000)
    putStrLn ("of " ++ show (M.size small)); putStrLn "ready"; hFlush stdout
    threadDelay 1000000000
    one <- readArray large 5
    print (M.lookup 5 small, one)
'''
LUA = "t = {} for i = 1, 200000 do t[i] = {i, tostring(i)} end large = string.rep('x', 3000000) for i = 1, #t, 2 do t[i] = nil end " \
      "collectgarbage() print('ready') io.flush() io.read()"
LISP = '(progn (defvar *kept* (loop for i below 500000 collect (format nil "x~a" i))) (format t "ready~%") (finish-output) (sleep 1000))'
CSHARP = '''
class Program { static void Main() {
    var kept = new System.Collections.Generic.List<string>(); for (int i = 0; i < 300000; i++) kept.Add("x" + i);
    var text = new string('y', 1500001); var bytes = new byte[3000001]; var grid = new byte[100, 90]; System.Array.Fill(bytes, (byte)1); kept.Add(text + grid[0, 0]);
    System.Console.WriteLine("ready"); System.Threading.Thread.Sleep(1000000); System.Console.WriteLine(kept.Count + bytes.Length + text); } }
'''
PERL = 'my @a = map { "x$_" } 1 .. 200000; $| = 1; print "ready\\n"; sleep 1000'


places = {}     # process: [(name, address)] that the program itself says: "at NAME 0x..."


def says_ready(*command, feed=""):
    """A program that prints ready, and waits."""
    def begin(tmp):
        panel.need(command[0])
        with panel.started(*(c.replace("TMP", tmp) for c in command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as p:
            p.stdin.write(feed)
            p.stdin.flush()
            places[p.pid] = []
            for line in p.stdout:
                if line.strip() == "ready":
                    break
                if line.startswith("at "):
                    places[p.pid].append((line.split()[1], int(line.split()[2], 16)))
            else:
                raise RuntimeError(f"{command[0]} ended: status {p.wait()}")
            yield [p.pid]
    return begin


def compiled(source, name, compiler, *command):
    """The same, but it is compiled first."""
    def begin(tmp):
        panel.need(compiler[0])
        with open(os.path.join(tmp, name), "w") as file:
            file.write(textwrap.dedent(source))
        panel.run(*(c.replace("TMP", tmp) for c in compiler), env=dict(os.environ, HOME=tmp, GOCACHE=tmp + "/cache", GOFLAGS="-mod=mod", CGO_ENABLED="0"))
        yield from says_ready(*(c.replace("TMP", tmp) for c in command))(tmp)
    return begin


def built(source, name, *compiler):
    return compiled(source, name, compiler, "TMP/program")


def alone(begin):
    """Never with the library."""
    def begin_alone(tmp):
        panel.LIBRARY = ""
        yield from begin(tmp)
    return begin_alone


def java(*options):
    def begin(tmp):
        panel.need("javac")
        with open(os.path.join(tmp, "Ready.java"), "w") as file:
            file.write(JAVA)
        panel.run("javac", "-d", tmp, os.path.join(tmp, "Ready.java"))
        yield from says_ready("java", "-Xmx256m", *options, "-cp", tmp, "Ready")(tmp)
    return begin


def memcached(tmp):
    server, = panel.need("memcached")
    port = panel.free_port()
    with panel.started(server, "-u", "root", "-l", "127.0.0.1", "-p", str(port)) as p:
        panel.wait_for("memcached did not answer", panel.answers(port))
        with panel.socket.create_connection(("127.0.0.1", port)) as s:
            for i in range(20000):
                s.sendall(b"set key%d 0 0 500 noreply\r\n%s\r\n" % (i, b"x" * 500))
            s.sendall(b"get key1\r\n")
            s.recv(100)
        yield [p.pid]


def mariadb(tmp):
    install, server, client = panel.need("mariadb-install-db", "mariadbd", "mariadb")
    port = str(panel.free_port())
    panel.run(install, "--no-defaults", "--user=root", "--auth-root-authentication-method=normal", "--datadir=" + tmp + "/data", "--skip-test-db")
    with panel.started(server, "--no-defaults", "--user=root", "--datadir=" + tmp + "/data", "--socket=" + tmp + "/socket", "--port=" + port,
                       start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as p:
        panel.wait_for("mariadb did not answer", lambda: os.path.exists(tmp + "/socket"))
        panel.run(client, "--no-defaults", "-S", tmp + "/socket", "-u", "root", "-e",
                  "create database d; use d; create table t(i int primary key, s text); insert into t select seq, repeat('x', 200) from seq_1_to_50000; "
                  "select count(*) from t where s like '%xy%'")
        yield [p.pid]


def php_fpm(tmp):
    server, = panel.need("php-fpm8.2")
    with open(tmp + "/fpm.conf", "w") as file:
        file.write(f"[global]\nerror_log={tmp}/log\ndaemonize=no\n[www]\nuser=root\ngroup=root\nlisten={tmp}/socket\npm=static\npm.max_children=2\n")
    with panel.started(server, "-n", "-R", "-F", "-y", tmp + "/fpm.conf", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as p:
        panel.wait_for("php-fpm did not start", lambda: os.path.exists(tmp + "/socket"))
        panel.time.sleep(1)
        yield [p.pid]


# name, program, the share that is recognised at least, and whether each make check looks at it
PROGRAMS = [
    ("python", says_ready("python3", "-c", PYTHON), 0.95, True),
    ("system python", says_ready("/usr/bin/python3", "-c", PYTHON), 0.95, False),
    ("numpy", panel.python, 0.94, False),
    ("node", says_ready("node", "-e", NODE), 0.95, True),
    ("java G1", java("-XX:+UseG1GC"), 0.95, True),
    ("java Parallel", java("-XX:+UseParallelGC"), 0.95, False),
    ("java Serial", java("-XX:+UseSerialGC"), 0.95, False),
    ("java ZGC", java("-XX:+UseZGC"), 0.95, False),
    ("python churn", says_ready("/usr/bin/python3", "-c", CHURN), 0.95, False),
    ("perl", says_ready("perl", "-e", PERL), 0.95, True),
    ("bash", says_ready("bash", "-c", "a=$(printf %0900000d 1); echo ready; read x"), 0.95, True),
    ("go", built(GO, "program.go", "go", "build", "-o", "TMP/program", "TMP/program.go"), 0.95, False),
    ("static", built(STATIC, "program.c", "cc", "-static", "-pthread", "-o", "TMP/program", "TMP/program.c"), 0.95, False),
    ("static PIE", built(STATIC, "program.c", "cc", "-static-pie", "-pthread", "-o", "TMP/program", "TMP/program.c"), 0.95, False),
    ("musl shared", built(STATIC, "program.c", "musl-gcc", "-pthread", "-o", "TMP/program", "TMP/program.c"), 0.95, False),
    ("musl", built(STATIC, "program.c", "musl-gcc", "-static", "-pthread", "-o", "TMP/program", "TMP/program.c"), 0.95, False),
    ("redis", panel.redis, 0.95, False),
    ("nginx", panel.nginx, 0.95, False),
    ("postgresql", panel.postgresql, 0.95, False),
    ("mariadb", mariadb, 0.95, False),
    ("memcached", memcached, 0.95, False),
    ("sqlite", panel.sqlite, 0.95, False),
    ("ruby", says_ready("ruby", "-e", RUBY), 0.95, False),
    ("php", says_ready("php8.2", "-r", PHP), 0.95, False),
    ("php-fpm", php_fpm, 0.95, False),
    ("haskell", built(HASKELL, "program.hs", "ghc", "-v0", "-threaded", "-O", "TMP/program.hs", "-o", "TMP/program"), 0.95, False),
    ("luajit", says_ready("luajit", "-e", LUA), 0.95, False),
    ("sbcl", says_ready("sbcl", "--noinform", "--eval", LISP), 0.95, False),
    ("mono", compiled(CSHARP, "program.cs", ["mcs", "-out:TMP/program.exe", "TMP/program.cs"], "mono", "TMP/program.exe"), 0.95, False),
    ("erlang", says_ready("erl", "-noshell", "-eval", ERLANG), 0.95, False),
]
