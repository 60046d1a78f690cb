"""A result as a file: a line for each key and contestant, so that two can be compared."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def _lines(value: Any) -> str:
    """A list of objects with one of them a line, anything else on one line."""
    if isinstance(value, list) and value and all(isinstance(each, Mapping) for each in value):
        return "[\n  " + ",\n  ".join(json.dumps(each) for each in value) + "\n ]"
    return json.dumps(value)


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result object as JSON."""
    body = ",\n ".join(f"{json.dumps(key)}: {_lines(value)}" for key, value in result.items())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{\n " + body + "\n}\n")
