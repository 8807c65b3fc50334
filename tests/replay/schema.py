#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every JSON document against doc/anonname.schema.json, and every CSV against itself."""
import csv
import io
import json
import os
import sys
import tempfile

from common import LIBRARY, SOURCE, TOOL, Family, check, done, run, skip

try:
    import jsonschema
except ImportError:
    print("SKIPPED no schema is checked: Python's jsonschema is missing (package python3-jsonschema)")
    sys.exit(77)

with open(os.path.join(SOURCE, "doc", "anonname.schema.json")) as schema_file:
    SCHEMA = json.load(schema_file)
jsonschema.Draft7Validator.check_schema(SCHEMA)


def valid(what, text):
    try:
        value = json.loads(text)
        # Against the definition of its format: a clearer message than that of oneOf.
        name = value["format"].replace("anonname-", "")
        jsonschema.validate(value, SCHEMA)
        jsonschema.validate(value, dict(SCHEMA, oneOf=[{"$ref": f"#/definitions/{name}"}]))
        check(True, f"{what} is valid")
        return value
    except (ValueError, KeyError, jsonschema.ValidationError) as error:
        check(False, f"{what}: {str(error)[:400]}")
        return None


def refused(what, change):
    """The schema must be able to say no."""
    value = json.loads(run("report", "--json", os.getpid()).stdout)
    change(value)
    try:
        jsonschema.validate(value, SCHEMA)
        check(False, f"the schema refuses {what}")
    except jsonschema.ValidationError:
        check(True, f"the schema refuses {what}")


def table(*args):
    """The rows that a command prints as CSV, each as long as the header."""
    result = run(*args)
    rows = list(csv.DictReader(io.StringIO(result.stdout or result.stderr)))
    check(result.returncode == 0 and rows and all(None not in row and None not in row.values() for row in rows),
          f"{' '.join(map(str, args))}: {len(rows)} whole rows")
    return rows


def tables(pid):
    """CSV says what the JSON says."""
    names = [one["name"] for one in json.loads(run("report", "--json", pid).stdout)["names"]]
    rows = table("report", "--csv", "-o", "name,owner,kind,rss,pss", pid)
    check([row["name"] for row in rows] == names and all(int(row["rss"]) >= 0 for row in rows), "report --csv has the rows of --json")
    check(sorted(row["name"] for row in table("snapshot", "--csv", pid)) == sorted(names), "snapshot --csv has them, too")
    rows = table("top", "--csv", "-n", "2", "-d", "0.1", pid)
    check(len({row["at_seconds"] for row in rows}) == 2 and {row["name"] for row in rows} == set(names), "top --csv has them twice")
    check(all(int(row["growth"]) == 0 for row in rows if row["at_seconds"] == rows[0]["at_seconds"]), "top --csv begins with no growth")
    regions = json.loads(run("maps", "--json", pid).stdout)["regions"]
    rows = table("maps", "--csv", pid)
    check([(int(row["start"]), row["perms"], row["name"] or None, row["source"] or None) for row in rows] ==
          [(one["start"], one["perms"], one["name"], one["source"]) for one in regions], "maps --csv has the regions of --json")
    values = {row["member"]: row["value"] for row in table("check", "--csv", pid)}
    check(values["format"] == "anonname-check" and values["pid"] == str(pid) and values["library.state"] in ("ready", "absent") and
          any(member.startswith("advice.") for member in values) == bool(json.loads(run("check", "--json", pid).stdout)["advice"]),
          "check --csv has the members of --json")


def documents(pid):
    for args in (["report"], ["report", "-g"], ["report", "--by", "owner"], ["report", "--by", "process"], ["report", "--fold", "-n", "3"],
                 ["maps"], ["heap"], ["heap", "--sizes"], ["check"], ["snapshot"], ["top", "-n", "1"], ["top", "-n", "1", "--by", "process"]):
        command = args[:1] + ["--json"] + args[1:] + [pid]
        valid(" ".join(map(str, command)), run(*command).stdout)
    check(run("snapshot", pid).stdout.startswith("{"), "snapshot is JSON without --json, too")
    readings = run("top", "--json", "-n", "2", "-d", "0.1", pid).stdout.splitlines()
    check(len(readings) == 2 and all(valid("a line of top --json", line) for line in readings), "top --json: a line for each reading")
    if os.path.exists(os.path.join(os.path.dirname(TOOL), "anonname-record")):
        with tempfile.TemporaryDirectory() as room:
            path = os.path.join(room, "a.db")
            run("record", "-o", path, "-d", "1ms", pid)
            valid("view --json", run("view", "--json", path).stdout)
            valid("view --at", run("view", "--at", "end", path).stdout)
            check({row["name"] for row in table("view", "--csv", path)} >= {"[heap]"}, "view --csv has the names")
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(run("snapshot", pid).stdout)
        file.flush()
        valid("diff --json", run("diff", "--json", file.name, pid).stdout)
        rows = table("diff", "--csv", file.name, os.getpid())
        check(all(row["state"] in ("new", "gone", "") for row in rows), "diff --csv knows what is new and what is gone")


with Family("mixed", os.path.exists(LIBRARY)) as family:
    documents(family.pid)
    tables(family.pid)
valid("report --all", run("report", "--all", "--json").stdout)
valid("check", run("check", "--json").stdout)
if os.path.exists(LIBRARY):
    valid("run --peak", run("run", "--peak", "--json", "sleep", "0.5").stderr)
    valid("run --peak of nothing", run("run", "--peak", "--json", "true").stderr)
    check({row["moment"] for row in table("run", "--peak", "--csv", "sleep", "0.5")} == {"peak", "end"}, "run --peak --csv has both moments")
else:
    skip("run --peak: no library in the build tree")
trees = os.path.join(SOURCE, "tests", "replay", "trees")
for tree in sorted(os.listdir(trees)):
    root = os.path.join(trees, tree)
    pid = os.listdir(os.path.join(root, "proc"))[0]
    for command in (["report", "--json"], ["maps", "--json"], ["snapshot"], ["check", "--json"], ["top", "--json", "-n", "1"]):
        valid(f"{tree}: {command[0]}", run(*command, "--root", root, pid).stdout)

refused("a figure below 0", lambda value: value["total"].update(rss=-1))
refused("a missing figure", lambda value: value["names"][0].pop("swap_pss"))
refused("a share above 1", lambda value: value["total"].update(labelled=1.5))
refused("another version", lambda value: value.update(version=2))
refused("a name with a control character", lambda value: value["names"][0].update(name="a\x1bb"))
done()
