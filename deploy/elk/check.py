#!/usr/bin/env python3
"""check.py FIELDS.CSV: checks names and types of fields against the complete list of the Elastic Common Schema.

Those are checked that log lines use (an extract of a newer version of the list) and those that index-template.json maps: each must
be in the list, with the same type. `object` holds others and has no type of its own in an index.
"""

import csv
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
EXTRACT = HERE / "../../raftnode/tests/ecs-9.4.0.csv"


def mapped(properties, before=""):
    for name, field in properties.items():
        if "properties" in field:
            yield from mapped(field["properties"], f"{before}{name}.")
        else:
            yield f"{before}{name}", field["type"]


with open(sys.argv[1], newline="") as file:
    rows = list(csv.DictReader(file))
known = {row["Field"]: row["Type"] for row in rows}
used = [line.split(",") for line in EXTRACT.read_text().splitlines() if not line.startswith("#")]
template = json.loads((HERE / "index-template.json").read_text())
used += mapped(template["template"]["mappings"]["properties"])
problems = [f"{name}: {kind}, but the schema has {known.get(name, 'no such field')}" for name, kind in used if known.get(name) != kind]
if len(known) < 1000 or len(used) < 30:
    problems.append(f"{len(known)} fields of the schema and {len(used)} to check: those are not all")
print("\n".join(problems) or f"{len(used)} fields are among the {len(known)} of ECS {rows[0]['ECS_Version']}")
sys.exit(bool(problems))
