#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every JSON document against doc/anonname.schema.json, and every CSV against itself."""
import csv
import io
import json
import os
import sys
import tempfile

from common import LIBRARY, SOURCE, Family, check, done, run, skip

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


def documents(pid):
    for args in (["report"], ["report", "-g"], ["report", "--by", "owner"], ["report", "--by", "process"], ["report", "--fold", "-n", "3"],
                 ["maps"], ["check"], ["snapshot"]):
        command = args[:1] + ([] if args[0] == "snapshot" else ["--json"]) + args[1:] + [pid]
        valid(" ".join(map(str, command)), run(*command).stdout)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(run("snapshot", pid).stdout)
        file.flush()
        valid("diff --json", run("diff", "--json", file.name, pid).stdout)
        rows = list(csv.DictReader(io.StringIO(run("diff", "--csv", file.name, os.getpid()).stdout)))
        check(rows and all(row["state"] in ("new", "gone", "") and None not in row for row in rows), "diff --csv has whole rows")


with Family("mixed", os.path.exists(LIBRARY)) as family:
    documents(family.pid)
    rows = list(csv.DictReader(io.StringIO(run("report", "--csv", "-o", "name,owner,kind,rss,pss", family.pid).stdout)))
    check(rows and all(None not in row and int(row["rss"]) >= 0 for row in rows), "report --csv has whole rows")
valid("report --all", run("report", "--all", "--json").stdout)
valid("check", run("check", "--json").stdout)
if os.path.exists(LIBRARY):
    valid("run --peak", run("run", "--peak", "--json", "sleep", "0.5").stderr)
    valid("run --peak of nothing", run("run", "--peak", "--json", "true").stderr)
else:
    skip("run --peak: no library in the build tree")
trees = os.path.join(SOURCE, "tests", "replay", "trees")
for tree in sorted(os.listdir(trees)):
    root = os.path.join(trees, tree)
    pid = os.listdir(os.path.join(root, "proc"))[0]
    for command in (["report", "--json"], ["maps", "--json"], ["snapshot"], ["check", "--json"]):
        valid(f"{tree}: {command[0]}", run(*command, "--root", root, pid).stdout)

refused("a figure below 0", lambda value: value["total"].update(rss=-1))
refused("a missing figure", lambda value: value["names"][0].pop("swap_pss"))
refused("a share above 1", lambda value: value["total"].update(labelled=1.5))
refused("another version", lambda value: value.update(version=2))
refused("a name with a control character", lambda value: value["names"][0].update(name="a\x1bb"))
done()
