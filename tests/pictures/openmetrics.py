#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""report --openmetrics and anonname export, read by others: promtool, the OpenMetrics parser of Prometheus' Python
client, and a real Prometheus that scrapes a real node_exporter, both on loopback with their data in a folder of
the test. The rules and the dashboard of contrib/ are asked of it.

usage: openmetrics.py   (in the build directory)
"""
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "replay"))
from common import SOURCE, TOOL, check, done, report, run, skip
from folded import smaps

CONTRIB = os.path.join(SOURCE, "contrib", "prometheus")
PROMTOOL = shutil.which("promtool")


def parsed(text):
    """Samples by metric, as an OpenMetrics parser reads them: a list of labels and value."""
    from prometheus_client.openmetrics import parser
    return {family.name: [(sample.labels, sample.value) for sample in family.samples] for family in parser.text_string_to_metric_families(text)}


def metrics(*args):
    result = run("report", "--openmetrics", *args)
    check(result.returncode == 0, f"report --openmetrics {' '.join(map(str, args))} ends well: {result.stderr}")
    if PROMTOOL:
        said = subprocess.run([PROMTOOL, "check", "metrics"], input=result.stdout, text=True, capture_output=True)
        check(said.returncode == 0, f"promtool finds nothing wrong: {said.stderr}")
    return parsed(result.stdout)


def with_smaps(names, *args):
    with tempfile.NamedTemporaryFile("w", suffix=".smaps") as file:
        file.write(smaps(names))
        file.flush()
        return metrics(*args, "--smaps", file.name)


def check_labels():
    found = with_smaps([("[anon:glibc:arena2:4711]", 64), ("[anon:glibc:arena3:4712]", 16), ('[anon:a"b\\c]', 8), ("/lib/x.so", 12), ("/lib/y.so", 4), ("", 20)])
    values = {labels["name"]: (labels["owner"], labels["kind"], value) for labels, value in found["anonname_pss_bytes"]}
    check(values == {"glibc:arena*:*": ("glibc", "arena", 80 * 1024), 'a"b\\c': ('a"b\\c', "other", 8 * 1024),
                     "[file]": ("[file]", "file", 16 * 1024), "[anon]": ("[anon]", "unnamed", 20 * 1024)}, f"names, owners and kinds: {values}")
    check(found["anonname_anonymous_rss_bytes"][0][1] == 108 * 1024 and found["anonname_named_rss_bytes"][0][1] == 88 * 1024, "the share that is named")
    found = with_smaps([("[anon:x]", 4)], "-o", "pss_dirty,vmas")
    check(not found["anonname_pss_dirty_bytes"] and found["anonname_vmas"][0][1] == 1, "an unknown figure has no sample, not 0")


def check_bound():
    names = [(f"[anon:{chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)}]", 4 + 4 * (i % 7)) for i in range(2000)]
    found = with_smaps(names)
    sets = found["anonname_pss_bytes"]
    check(len(sets) == 500, f"2000 names are 500 series a figure: {len(sets)}")
    check(sum(value for _, value in sets) == sum(size for _, size in names) * 1024, "they add up to all")
    check([labels for labels, _ in sets if labels["name"] == "[left out]"] == [{"name": "[left out]"}], "one of them is all others")
    check(found["anonname_left_out"][0][1] == 1501, f"it is {found['anonname_left_out'][0][1]} names")
    check(len(with_smaps(names, "-n", "7")["anonname_rss_bytes"]) == 7, "--lines is the limit")


def check_atomic(directory):
    path = os.path.join(directory, "anonname.prom")
    writer = subprocess.Popen([TOOL, "export", "--textfile", directory, "-i", "1ms", str(os.getpid())])
    read = 0
    end = time.monotonic() + 30
    while read < 200 and time.monotonic() < end and writer.poll() is None:
        try:
            with open(path) as file:
                text = file.read()
        except FileNotFoundError:
            continue
        if not text.endswith("# EOF\n"):
            break
        read += 1
    check(read == 200, f"the file is whole whenever it is read: {read} times")
    writer.kill()
    writer.wait()
    result = run("export", "--textfile", directory, os.getpid())
    check(result.returncode == 0 and os.listdir(directory) == ["anonname.prom"], f"nothing is left beside it: {os.listdir(directory)} {result.stderr}")
    check(os.stat(path).st_mode & 0o444 == 0o444 & ~os.umask(os.umask(0)), "and others may read it")


def check_failures(directory):
    result = run("export", "--textfile", os.path.join(directory, "none"), os.getpid())
    check(result.returncode == 1 and "No such file" in result.stderr, f"no directory: {result.stderr.strip()}")
    result = run("export", os.getpid())
    check(result.returncode == 2 and "--textfile" in result.stderr, f"no --textfile: {result.stderr.strip()}")
    for interval in ("0", "x", "1y", "-1"):
        check(run("export", "--textfile", directory, "-i", interval).returncode == 2, f"-i {interval} is refused")
    before = open(os.path.join(directory, "anonname.prom")).read()
    result = run("export", "--textfile", directory, 2 ** 31 - 1)
    check(result.returncode == 42 and open(os.path.join(directory, "anonname.prom")).read() == before, "where a process is gone the old file stays")


# --- a real Prometheus ------------------------------------------------------------

def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def answer(port, path, **parameters):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}?{urllib.parse.urlencode(parameters)}", timeout=10) as reply:
        return json.load(reply)


def ask(port, query):
    return answer(port, "/api/v1/query", query=query)["data"]["result"]


def wait_for(what, seconds=60):
    """Until it returns something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            found = what()
        except OSError:
            found = None
        if found:
            return found
        time.sleep(0.1)
    return None


def start(directory, exporter_port, port):
    config = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [os.path.join(CONTRIB, "anonname.rules.yml")],
              "scrape_configs": [{"job_name": "node", "static_configs": [{"targets": [f"127.0.0.1:{exporter_port}"]}]}]}
    with open(os.path.join(directory, "prometheus.yml"), "w") as file:
        json.dump(config, file)
    return [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=directory) for command in (
        ["prometheus-node-exporter", "--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={directory}/text",
         f"--web.listen-address=127.0.0.1:{exporter_port}"],
        ["prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data", f"--web.listen-address=127.0.0.1:{port}"])]


def expressions(panels):
    with open(os.path.join(CONTRIB, "grafana.json")) as file:
        dashboard = json.load(file)
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$instance", ".*")


def check_scraped(port, text):
    written = parsed(text)["anonname_pss_bytes"]
    by_owner = {}
    for labels, value in written:
        by_owner[labels["owner"]] = by_owner.get(labels["owner"], 0) + value
    found = wait_for(lambda: ask(port, "sum by (owner) (anonname_pss_bytes)")) or []
    check({one["metric"]["owner"]: float(one["value"][1]) for one in found} == by_owner, f"Prometheus has the sums by owner: {len(found)}, {len(by_owner)}")
    check(len(ask(port, "anonname_pss_bytes")) == len(written), f"and every series: {len(written)}")
    check(ask(port, "node_textfile_scrape_error")[0]["value"][1] == "0", "the collector has no error")
    ratio = wait_for(lambda: ask(port, "instance:anonname_unnamed:ratio"))
    named = parsed(text)
    wanted = 1 - named["anonname_named_rss_bytes"][0][1] / named["anonname_anonymous_rss_bytes"][0][1]
    check(ratio and abs(float(ratio[0]["value"][1]) - wanted) < 1e-9, f"the share without a name is recorded: {wanted:.3f}")
    check(bool(wait_for(lambda: ask(port, "instance_owner:anonname_pss_bytes:sum"))), "so are the sums")
    rules = [rule for group in answer(port, "/api/v1/rules")["data"]["groups"] for rule in group["rules"]]
    check(len(rules) == 7 and not [rule["lastError"] for rule in rules if rule.get("lastError")], "all rules are evaluated without an error")
    for title, expression in expressions(None):
        empty_here = "container" in expression or "delta" in expression
        found = ask(port, expression)
        check(bool(found) or empty_here, f"the dashboard's '{title}' has an answer")


def check_prometheus():
    if not shutil.which("prometheus") or not shutil.which("prometheus-node-exporter"):
        skip("a real scrape: prometheus and prometheus-node-exporter are not installed (tests/pictures/packages)")
        return
    with tempfile.TemporaryDirectory() as directory:
        os.mkdir(os.path.join(directory, "text"))
        run("export", "--textfile", os.path.join(directory, "text"), os.getpid())
        exporter_port, port = free_port(), free_port()
        programs = start(directory, exporter_port, port)
        try:
            check(bool(wait_for(lambda: ask(port, "anonname_pss_bytes"))), "Prometheus scrapes it within a minute")
            with open(os.path.join(directory, "text", "anonname.prom")) as file:
                check_scraped(port, file.read())
        finally:
            for program in programs:
                program.kill()
                program.wait()


RULES = """
rule_files: [{rules}]
evaluation_interval: 5m
tests:
  - interval: 5m
    input_series:
      - {{series: 'anonname_pss_bytes{{instance="a", owner="glibc", name="glibc:arena*"}}', values: '1073741824+53687091x60'}}
      - {{series: 'anonname_pss_bytes{{instance="a", owner="stack", name="stack:*"}}', values: '1073741824+0x60'}}
      - {{series: 'anonname_anonymous_rss_bytes{{instance="a"}}', values: '4294967296x60'}}
      - {{series: 'anonname_named_rss_bytes{{instance="a"}}', values: '1073741824x60'}}
      - {{series: 'node_textfile_mtime_seconds{{instance="a", file="/x/anonname.prom"}}', values: '0x60'}}
      - {{series: 'anonname_left_out{{instance="a"}}', values: '0x60'}}
    promql_expr_test:
      - {{expr: 'instance:anonname_unnamed:ratio', eval_time: 3h, exp_samples: [{{labels: 'instance:anonname_unnamed:ratio{{instance="a"}}', value: 0.75}}]}}
    alert_rule_test:
      - {{eval_time: 3h, alertname: AnonnameOwnerGrows, exp_alerts: [{{exp_labels: {{severity: warning, instance: a, owner: glibc}}, exp_annotations: {{
          summary: "glibc on a grew by 614.4MiB in an hour",
          description: 'Its names: topk(10, anonname_pss_bytes{{instance="a", owner="glibc"}})'}}}}]}}
      - {{eval_time: 3h, alertname: AnonnameLeftOut, exp_alerts: []}}
"""


def check_contrib():
    if PROMTOOL:
        rules = os.path.join(CONTRIB, "anonname.rules.yml")
        said = subprocess.run([PROMTOOL, "check", "rules", rules], text=True, capture_output=True)
        check(said.returncode == 0, f"promtool accepts the rules: {said.stdout} {said.stderr}")
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            file.write(RULES.format(rules=os.path.abspath(rules)))
            file.flush()
            said = subprocess.run([PROMTOOL, "test", "rules", file.name], text=True, capture_output=True)
            check(said.returncode == 0, f"the alert of growth fires, and only where it should: {said.stdout} {said.stderr}")
    try:
        import yaml
    except ImportError:
        skip("the manifest for Kubernetes: python3-yaml is not installed")
        return
    with open(os.path.join(SOURCE, "contrib", "kubernetes", "anonname.yaml")) as file:
        pod = yaml.safe_load(file)["spec"]["template"]["spec"]
    command = pod["containers"][0]["command"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    check(set(mounts) == {volume["name"] for volume in pod["volumes"]} and mounts["textfile"] == command[command.index("--textfile") + 1],
          "the manifest mounts what the command writes to")
    options = set(re.findall(r"(?<!\w)--?[a-z]+", run("export", "--help").stdout))
    check({word for word in command if word.startswith("-")} <= options, "and the command takes its options")


if __name__ == "__main__":
    try:
        import prometheus_client.openmetrics.parser
    except ImportError:
        print("SKIP: python3-prometheus-client is not installed (tests/pictures/packages)")
        sys.exit(77)
    check_labels()
    check_bound()
    with tempfile.TemporaryDirectory() as room:
        check_atomic(room)
        check_failures(room)
    check_contrib()
    check_prometheus()
    done()
