#!/usr/bin/env python3
"""Checks kvnode.json against Grafana's types for dashboards, as the package grafana-foundation-sdk carries them.

Its models keep what Grafana knows and drop the rest: what does not come back from them unchanged is misspelt or in the
wrong place. The models do not look at the types of values; wrong_types() does. And what no schema asks for: every panel has
a unit, a description and a query.
"""

import enum
import json
import pathlib
import sys
import typing

from grafana_foundation_sdk.cog import encoder, plugins
from grafana_foundation_sdk.models import dashboard, units

plugins.register_default_plugins()
RAW = json.loads(pathlib.Path(__file__).with_name("kvnode.json").read_text())
UNITS = {value.__args__[0] for value in vars(units).get("__annotations__", {}).values()}


def differences(given, kept, path=""):
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key in kept:
                yield from differences(value, kept[key], f"{path}/{key}")
            else:
                yield f"{path}/{key}: Grafana knows no such field"
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, (one, other) in enumerate(zip(given, kept)):
            yield from differences(one, other, f"{path}[{number}]")
    elif given != kept:
        yield f"{path}: {given!r} became {kept!r}"


def fits(value, expected):
    """Whether a value is of a type; an enumeration's values come as they stand in the JSON."""
    parts = typing.get_args(expected)
    match typing.get_origin(expected):
        case typing.Union:
            return any(fits(value, part) for part in parts)
        case typing.Literal:
            return value in parts
        case builtin if builtin is list:
            return isinstance(value, list) and all(fits(item, parts[0]) for item in value)
        case builtin if builtin is dict:
            return isinstance(value, dict) and all(fits(item, parts[1]) for item in value.values())
    if isinstance(expected, type) and issubclass(expected, enum.Enum):
        return value in {member.value for member in expected}
    if expected is float:
        return isinstance(value, (int, float))
    return isinstance(value, expected)


def wrong_types(value, path="dashboard"):
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from wrong_types(item, f"{path}[{number}]")
    elif hasattr(value, "to_json"):
        for name, expected in typing.get_type_hints(type(value)).items():
            found = getattr(value, name)
            if hasattr(found, "to_json") or isinstance(found, list) and any(hasattr(item, "to_json") for item in found):
                yield from wrong_types(found, f"{path}.{name}")
            elif not isinstance(found, list) and not fits(found, expected):
                yield f"{path}.{name}: {found!r} is no {expected}"


def omissions(panel):
    unit = panel["fieldConfig"]["defaults"].get("unit", "")
    if unit not in UNITS and not unit.startswith(("prefix:", "suffix:")):
        yield f"{panel['title']}: {unit!r} is no unit of Grafana's"
    if not panel.get("description"):
        yield f"{panel['title']}: no description"
    if not panel["targets"] or not all(target["expr"] for target in panel["targets"]):
        yield f"{panel['title']}: no query"


model = dashboard.Dashboard.from_json(RAW)
known = json.loads(json.dumps(model, cls=encoder.JSONEncoder))
panels = [panel for panel in RAW["panels"] if panel["type"] != "row"]
problems = [*differences(RAW, known), *wrong_types(model), *(problem for panel in panels for problem in omissions(panel))]
print("\n".join(problems) or f"kvnode.json: {len(panels)} panels, nothing that Grafana does not know")
sys.exit(bool(problems))
