#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a Prometheus pays for the series of a fleet.

A real Prometheus scrapes MACHINES targets ROUNDS times, INTERVAL seconds apart. Each has the series that
anonname export writes for this machine now, with values of its own, of which each fifth changes from scrape to
scrape by up to 64 pages. Printed: series, memory, CPU and log of the head, and the bytes that a sample takes in a
block of two hours (promtool, five machines, a sample a minute). On loopback, data in a temporary folder.

usage: fleet.py [MACHINES [ROUNDS [INTERVAL]]]   (in the build directory; default 1000 5 60; 1000 machines take some 6 GB)
"""
import array
import http.server
import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

TOOL = os.environ.get("ANONNAME_TOOL") or os.path.join(os.getcwd(), "tools", "anonname")
CHANGES = 0.2
PAGES = 64
MACHINES, ROUNDS, INTERVAL = (int(value) for value in sys.argv[1:4] + ["1000", "5", "60"][len(sys.argv) - 1:])


def exported(directory):
    """This machine's series: text before the value, and the value; and the size of the file."""
    subprocess.run([TOOL, "export", "--textfile", directory], check=True, stderr=subprocess.DEVNULL)
    path = os.path.join(directory, "anonname.prom")
    with open(path) as file:
        series = [re.fullmatch(r"(\S+(?:\{.*\})?) ([0-9.e+]+)\n", line) for line in file if not line.startswith("#")]
    return [one.group(1) for one in series if one], [int(float(one.group(2))) for one in series if one], os.path.getsize(path)


class Fleet:
    def __init__(self, names, values, machines):
        self.names = names
        self.values = [array.array("q", values) for _ in range(machines)]
        self.random = random.Random(1)

    def change(self, machine):
        values = self.values[machine]
        for i in self.random.sample(range(len(values)), int(CHANGES * len(values))):
            values[i] = max(0, values[i] + self.random.randint(-PAGES, PAGES) * 4096)
        return values

    def text(self, machine):
        return "".join([f"{name} {value}\n" for name, value in zip(self.names, self.change(machine))])


def serve(fleet):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            text = fleet.text(int(self.path[1:])).encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *unused):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start(directory, generator, port):
    config = {"global": {"scrape_interval": f"{INTERVAL}s", "scrape_timeout": f"{INTERVAL}s"}, "scrape_configs": [
        {"job_name": "fleet", "static_configs": [{"targets": [str(i) for i in range(MACHINES)]}], "relabel_configs": [
            {"source_labels": ["__address__"], "target_label": "__metrics_path__", "replacement": "/$1"},
            {"source_labels": ["__address__"], "target_label": "instance", "replacement": "machine$1"},
            {"target_label": "__address__", "replacement": f"127.0.0.1:{generator}"}]}]}
    path = os.path.join(directory, "prometheus.yml")
    with open(path, "w") as file:
        json.dump(config, file)
    return subprocess.Popen(["prometheus", f"--config.file={path}", f"--storage.tsdb.path={directory}/data", f"--web.listen-address=127.0.0.1:{port}"],
                            stderr=subprocess.DEVNULL)


def own_metrics(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as reply:
        return {name: float(value) for name, value in re.findall(r"^(\w+)(?:{type=\"float\"})? ([0-9.e+-]+)$", reply.read().decode(), re.M)}


def wait_for(port, samples, seconds):
    """Until so many samples were taken; the metrics of that moment."""
    end, now = time.monotonic() + seconds, {}
    while time.monotonic() < end:
        time.sleep(2)
        try:
            now = own_metrics(port)
        except OSError:
            continue
        if now.get("prometheus_tsdb_head_samples_appended_total", 0) >= samples:
            break
    return now


def folder_size(path):
    return sum(os.path.getsize(os.path.join(where, name)) for where, _, names in os.walk(path) for name in names)


def head(directory, names, values):
    port = free_port()
    prometheus = start(directory, serve(Fleet(names, values, MACHINES)), port)
    try:
        once = MACHINES * len(names)
        first = wait_for(port, once, 10 * INTERVAL)
        now = wait_for(port, once * ROUNDS, 10 * INTERVAL * ROUNDS)
        resident, series = now["process_resident_memory_bytes"], now["prometheus_tsdb_head_series"]
        cpu, samples = (now[name] - first[name] for name in ("process_cpu_seconds_total", "prometheus_tsdb_head_samples_appended_total"))
        print(f"{MACHINES} machines: {series:.0f} series, {resident / 2**20:.0f} MiB resident, {resident / series:.0f} bytes a series")
        print(f"CPU after the first scrape: {cpu / samples * 1e6:.1f} us a sample, {cpu / samples * once / 60:.2f} of a CPU at a sample a minute")
        print(f"log on disk: {folder_size(os.path.join(directory, 'data', 'wal')) / 2**20:.0f} MiB")
    finally:
        prometheus.terminate()
        prometheus.wait()


def block(directory, names, values):
    """Bytes a sample when two hours are one block, as Prometheus keeps them."""
    machines, minutes = 5, 120
    fleet = Fleet(names, values, machines)
    path = os.path.join(directory, "samples")
    # Each metric's lines must stand together, so it is written metric by metric.
    history = [[list(fleet.change(machine)) for machine in range(machines)] for _ in range(minutes)]
    with open(path, "w") as file:
        for i, name in enumerate(names):
            metric, _, labels = name.partition("{")
            for machine in range(machines):
                for minute in range(minutes):
                    file.write(f'{metric}{{instance="machine{machine}"{"," + labels if labels else "}"} {history[minute][machine][i]} {1795651200 + 60 * minute}\n')
        file.write("# EOF\n")
    out = os.path.join(directory, "blocks")
    subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", path, out], check=True, stdout=subprocess.DEVNULL)
    samples = machines * minutes * len(names)
    size = folder_size(out)
    print(f"a block of two hours: {size / samples:.2f} bytes a sample with its index; "
          f"{size / samples * len(names) * 1440 * 1000 / 2**30:.1f} GiB a day for 1000 machines at a sample a minute")


def main():
    with tempfile.TemporaryDirectory() as directory:
        names, values, size = exported(directory)
        print(f"this machine: {len(names)} series, a file of {size} bytes")
        block(directory, names, values)
        head(directory, names, values)


if __name__ == "__main__":
    main()
