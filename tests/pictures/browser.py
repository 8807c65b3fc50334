#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The pages of report --html and view --html in Debian's Chromium: what they show, clicks, hostile names, no requests.

The browser is driven by chromedriver, whose protocol (W3C WebDriver) is JSON over HTTP.
usage: browser.py [RECORDING [ARENAS]]   (in the build directory; where the screenshots of a recording and of a report go)
"""
import base64
import contextlib
import html.parser
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "replay"))
from common import check, done, report, run, skip
from folded import smaps

HOSTILE = ['[anon:</script><script>window.hacked=1</script>]', '[anon:<img src=x onerror=window.hacked=1>]', '[anon:"><svg onload=window.hacked=1>]',
           "[anon:']};window.hacked=1;//]", "[anon:<!--<script>]", "[anon:&amp;&lt;x]", "/lib/<b>x.so", "[anon:\u202eevil]"]


class Browser:
    """A session of chromedriver."""

    def __init__(self):
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            self.port = one.getsockname()[1]
        self.home = tempfile.TemporaryDirectory()
        self.driver = subprocess.Popen(["chromedriver", f"--port={self.port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        options = {"args": ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1400,1200",
                            f"--user-data-dir={self.home.name}"]}
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}}}
        self.session = ""
        end = time.monotonic() + 60
        while True:
            try:
                self.session = "/session/" + self.ask("POST", "/session", wanted)["sessionId"]
                return
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def ask(self, method, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{self.session}{path}", method=method,
                                         data=None if body is None else json.dumps(body).encode(), headers={"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as reply:
            return json.load(reply)["value"]

    def open(self, path):
        self.ask("POST", "/url", {"url": "file://" + os.path.abspath(path)})

    def js(self, script, *args):
        return self.ask("POST", "/execute/sync", {"script": "return " + script, "args": args})

    def count(self, selector):
        return self.js("document.querySelectorAll(arguments[0]).length", selector)

    def text(self, selector):
        return self.js("document.querySelector(arguments[0]).textContent", selector)

    def click(self, selector):
        found = self.ask("POST", "/element", {"using": "css selector", "value": selector})
        self.ask("POST", f"/element/{next(iter(found.values()))}/click", {})

    def key(self, key):
        self.ask("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]}]})

    def drag(self, x0, x1, y):
        at = lambda x: {"type": "pointerMove", "duration": 50, "x": round(x), "y": round(y)}
        self.ask("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": [
            at(x0), {"type": "pointerDown", "button": 0}, at((x0 + x1) / 2), at(x1), {"type": "pointerUp", "button": 0}]}]})

    def picture(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.ask("GET", "/screenshot")))

    def quiet(self, what):
        """No error on the console, and nothing was asked of anyone."""
        said = [one for one in self.ask("POST", "/se/log", {"type": "browser"}) if one["level"] in ("SEVERE", "WARNING")]
        check(not said, f"{what}: nothing is wrong on the console: {said[:2]}")
        check(self.js("performance.getEntriesByType('resource').length") == 0, f"{what}: no request left the page")

    def close(self):
        with contextlib.suppress(OSError):
            self.ask("DELETE", "")
        self.driver.terminate()
        self.driver.wait()
        self.home.cleanup()


class Table(html.parser.HTMLParser):
    """The last cell of each row, as a browser without JavaScript shows it."""

    def __init__(self, text):
        super().__init__()
        self.names, self.cell, self.tags = [], None, set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag == "td":
            self.cell = ""

    def handle_data(self, text):
        if self.cell is not None:
            self.cell += text

    def handle_endtag(self, tag):
        if tag == "td" and self.cell is not None:
            self.last, self.cell = self.cell, None
        elif tag == "tr" and hasattr(self, "last"):
            self.names.append(self.last)


def page(path, *args):
    result = run(*args)
    check(result.returncode == 0, f"{' '.join(map(str, args[:2]))} makes a page of {len(result.stdout) >> 10} KiB: {result.stderr.strip()}")
    with open(path, "w") as file:
        file.write(result.stdout)
    return result.stdout


def check_report(browser, room):
    path = os.path.join(room, "report.html")
    text = page(path, "report", "--html", os.getpid())
    names = {one["name"] for one in report(os.getpid())["names"]}
    check(names <= set(Table(text).names), "without JavaScript there is a table of all names")
    browser.open(path)
    rows, cells = browser.count("#table tbody tr"), browser.count(".cell")
    check(rows >= 20 and cells >= 5, f"{rows} rows, {cells} cells of the treemap")
    check(browser.count(".box") > 30, "the address space is a strip of its regions")
    browser.click("#table tbody tr")
    check(browser.count("#table tr.picked") == 1 and browser.count("#regions tbody tr") >= 1 and browser.count(".box.picked") >= 1,
          "a row that is clicked is marked in the strip, with its regions")
    browser.key("\ue015")
    check(browser.js("document.querySelector('#table tr.picked').rowIndex") == 2, "the arrow goes to the next row")
    # Its head: the cells cover the rest.
    left, top = browser.js("(r => [r.left, r.top])(document.querySelector('.top rect').getBoundingClientRect())")
    browser.drag(left + 9, left + 10, top + 6)
    check(browser.count(".path button") == 2, "a click on an owner goes into it")
    inside = browser.count("#table tbody tr")
    browser.key("\ue00c")
    check(inside < rows == browser.count("#table tbody tr") and browser.count(".path button") == 1, "Esc goes back")
    browser.click("th:last-child button")
    first = browser.js("[...document.querySelectorAll('#table tbody tr td:last-child')].map(cell => cell.title)")
    check(first == sorted(first), "a click on a column sorts by it")
    browser.click("input[type=search]")
    for letter in "libc":
        browser.key(letter)
    found = browser.js("[...document.querySelectorAll('#table tbody tr td:last-child')].map(cell => cell.title)")
    check(found and all("libc" in name.lower() for name in found) and len(found) < rows, f"the search finds {len(found)} names")
    before = browser.js("getComputedStyle(document.body).backgroundColor")
    browser.click("#night")
    check(before != browser.js("getComputedStyle(document.body).backgroundColor"), "it can be dark")
    browser.quiet("the report")


HEAP = """
import sys
held = [bytes(i % 700 + 16) for i in range(200000)]
kept = held[::3]
del held
print("ready", flush=True)
sys.stdin.read()
"""


def check_arenas(browser, room, picture):
    path = os.path.join(room, "arenas.html")
    with subprocess.Popen([sys.executable, "-c", HEAP], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        program.stdout.readline()
        text = page(path, "report", "--html", program.pid)
        arenas = json.loads(run("report", "--heap", "--json", program.pid).stdout)["arenas"]
        program.stdin.close()
    check({one["name"] for one in arenas} <= set(Table(text).names), f"without JavaScript there is a table of {len(arenas)} arenas")
    browser.open(path)
    live = browser.js("[...document.querySelectorAll('#arenas tbody tr')].map(line => line.children[1].textContent)")
    check(len(live) == len(arenas) >= 2 and all(one != "-" for one in live), f"the pictures have them too: {live} live")
    widths = browser.js("[...document.querySelectorAll('#arenas tbody tr:first-child .heap span')].map(part => part.style.width)")
    check(len(widths) >= 2 and 98 < sum(float(width[:-1]) for width in widths) < 102, f"what is live and what is free are parts of a bar: {widths}")
    browser.click("#arenas tbody tr")
    check(browser.count("#table tr.picked") == 1 and browser.count("#arenas tr.picked") == 1, "an arena that is clicked is marked, with its row")
    check("live" in browser.text(".heaps ul"), "the sentences stand below")
    browser.quiet("the arenas")
    if picture:
        browser.picture(picture)


def check_hostile(browser, room):
    with open(os.path.join(room, "hostile.smaps"), "w") as file:
        file.write(smaps([(name, 64 + 8 * i) for i, name in enumerate(HOSTILE)]))
    path = os.path.join(room, "hostile.html")
    seen = Table(page(path, "report", "--html", "--smaps", os.path.join(room, "hostile.smaps")))
    check({"</script><script>window.hacked=1</script>", "/lib/<b>x.so", "&amp;&lt;x"} <= set(seen.names) and not seen.tags & {"img", "svg", "b"},
          "hostile names are text in the table")
    browser.open(path)
    names = browser.js("[...document.querySelectorAll('#table tbody tr td:last-child')].map(cell => cell.title)")
    check("</script><script>window.hacked=1</script>" in names and len(names) == len(HOSTILE), "and in the pictures' one")
    check(browser.js("typeof window.hacked") == "undefined" and browser.count("img, script[src], b") == 0, "none of them runs, or becomes an element")
    browser.quiet("hostile names")


def large(path):
    """2,000 names and 10,000 moments, half of the names changing now and then."""
    run("record", "-o", path, "-d", "1ms", os.getpid())
    with contextlib.closing(sqlite3.connect(path)) as db:
        for table in ("moment", "process", "name", "change"):
            db.execute(f"DELETE FROM {table}")
        db.execute("INSERT INTO process(id, pid, start, comm, first) VALUES(1, 1, 1, 'made', 1)")
        db.executemany("INSERT INTO name VALUES(?, ?, 'mmap', ?, ?, ?)",
                       ((i, f"lib{i % 60}.so:thing{i % 7}:part{i}", f"lib{i % 60}.so", f"thing{i % 7}", f"part{i}") for i in range(1, 2001)))
        db.executemany("INSERT INTO moment VALUES(?, ?, 1, 0, ?, ?, ?, 0)", ((m, 1700000000000 + m * 1000, m << 20, m << 20, m << 20) for m in range(1, 10001)))
        db.executemany("INSERT INTO change VALUES(?, 1, ?, 1, ?3, ?3, ?3, ?3, 0)".replace("?, 1, ?,", "?1, 1, ?2,"),
                       ((m, i, 4096 * (1 + (i * 7919 + m * 104729) % 5000)) for i in range(1, 2001) for m in range(1 + i % 50, 10001, 400 if i % 2 else 5000)))
        db.commit()


def check_large(browser, room):
    database, path = os.path.join(room, "large.db"), os.path.join(room, "large.html")
    large(database)
    text = page(path, "view", "--html", database)
    check(len(text) < 3 << 20, f"2,000 names and 10,000 moments are {len(text) / (1 << 20):.2f} MiB")
    browser.open(path)
    check(browser.count("#timeline path") > 5, "they are drawn")
    print(f"        first picture after {browser.js('document.documentElement.dataset.drawn')} ms")
    browser.quiet("the large recording")


WORK = """
import time, threading, json, random
held = []
def work():
    for i in range(30):
        held.append([str(random.random()) * 20 for _ in range(5000)])
        time.sleep(0.03)
threads = [threading.Thread(target=work, name=name) for name in ("indexer", "packer")]
[one.start() for one in threads]
[one.join() for one in threads]
held.clear()
time.sleep(0.5)
"""


def check_recording(browser, room, picture):
    database, path = os.path.join(room, "work.db"), os.path.join(room, "work.html")
    result = run("record", "-i", "50ms", "-o", database, "--", sys.executable, "-c", WORK)
    check(result.returncode == 0, f"a program is recorded: {result.stderr}")
    page(path, "view", "--html", picture and os.environ.get("RECORDING") or database)
    browser.open(path)
    check(browser.count("#timeline path") >= 3 and browser.count(".legend > span") >= 3, "the timeline is stacked by owner")
    whole = browser.text("#between")
    box = browser.js("(r => [r.left, r.top, r.width, r.height])(document.querySelector('#timeline .overlay').getBoundingClientRect())")
    browser.drag(box[0] + box[2] * 0.05, box[0] + box[2] * (0.28 if picture else 0.5), box[1] + box[3] / 2)
    part = browser.text("#between")
    check(part != whole and browser.count("td.grow") > 0, f"the brush picks two moments: {part}")
    check(browser.js("[...document.querySelectorAll('#table tbody tr')].length > 3"), "the table has the difference")
    browser.quiet("the recording")
    if picture:
        browser.picture(picture)


def speedscope():
    """The directory of npm's package speedscope, fetched once; None where it cannot be had."""
    cache = os.path.join(os.environ.get("ANONNAME_CACHE") or os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "libanonname"), "npm")
    index = os.path.join(cache, "package", "dist", "release", "index.html")
    if not os.path.exists(index) and shutil.which("npm"):
        os.makedirs(cache, exist_ok=True)
        with contextlib.suppress(subprocess.SubprocessError):
            packed = subprocess.run(["npm", "pack", "--silent", "speedscope"], cwd=cache, capture_output=True, text=True, timeout=120, check=True)
            subprocess.run(["tar", "-xzf", packed.stdout.split()[-1]], cwd=cache, timeout=60, check=True)
    return index if os.path.exists(index) else None


def check_speedscope(browser, room):
    """report --folded, opened as the package's own command opens a file; its third view is a table of frames."""
    index = speedscope()
    if not index:
        skip("report --folded is not read by speedscope: npm has no package of it here")
        return
    folded = run("report", "--folded", os.getpid()).stdout
    weights = {}
    for line in folded.splitlines():
        frames, weight = line.rsplit(" ", 1)
        name = frames.split(";")[-1]
        weights[name] = weights.get(name, 0) + int(weight)
    with open(os.path.join(room, "memory.js"), "w") as file:
        file.write(f"speedscope.loadFileFromBase64('memory.folded', '{base64.b64encode(folded.encode()).decode()}')")
    browser.ask("POST", "/url", {"url": f"file://{index}#localProfilePath={room}/memory.js"})
    end = time.monotonic() + 60
    while not browser.js("document.title.startsWith('memory.folded')") and time.monotonic() < end:
        time.sleep(0.1)
    browser.key("3")
    rows = browser.js("[...document.querySelectorAll('tr')].map(row => [...row.children].map(cell => cell.innerText.trim()))")
    # A table as long as the window, of frames with and without bytes of their own.
    own = {row[2]: int(row[1].split(" ")[0].replace(",", "")) for row in rows if len(row) == 3 and row[1][:1].isdigit() and row[1][0] != "0"}
    wrong = [(name, own[name], weights.get(name)) for name in own if own[name] != weights.get(name)]
    check(len(own) >= min(5, len(weights)) and not wrong, f"speedscope reads report --folded: {len(own)} of {len(weights)} frames, with their bytes: {wrong[:2]}")


if not shutil.which("chromedriver") or not (shutil.which("chromium") or shutil.which("google-chrome")):
    print("SKIP: chromium and chromedriver are not installed (tests/pictures/packages.browser)")
    sys.exit(77)
with tempfile.TemporaryDirectory() as directory:
    if "d3js.org" not in run("report", "--html", os.getpid()).stdout:
        print("SKIP: the pages have no pictures: configure found no d3 (node-d3)")
        sys.exit(77)
    chromium = Browser()
    try:
        check_report(chromium, directory)
        check_arenas(chromium, directory, sys.argv[2] if len(sys.argv) > 2 else None)
        check_hostile(chromium, directory)
        check_recording(chromium, directory, sys.argv[1] if len(sys.argv) > 1 else None)
        check_large(chromium, directory)
        check_speedscope(chromium, directory)
    finally:
        chromium.close()
done()
