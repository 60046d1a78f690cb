"""Functional coverage of a bench: what has to happen in it, said before, and what did.

A bench declares bins in groups (a message type in a byte lane, a reason to refuse, a distance at
which a value is forwarded) and counts what it sees.  Its last test writes the counts beside the
results (`FILE`) and fails where a bin was never hit, so a bench cannot come to pass by no longer
doing what it was made for.  A bin that cannot be hit is declared with the reason; it fails the
bench if it is hit after all.  Beside the bins stand figures that were measured, cycles and
nanoseconds (`Coverage.measured`), which `tickpath hdl report` shows.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tickpath_backends.hdl.error import HdlError

SCHEMA = "tickpath.hdl.coverage/1"
FILE = "coverage.json"
"""In the directory in which a bench runs."""


class Coverage:
    """The bins of one bench, their counts, and what it measured."""

    def __init__(self, block: str):
        self.block = block
        self._bins: dict[str, dict[str, int]] = {}
        self._unreachable: dict[str, dict[str, str]] = {}
        self._measured: dict[str, tuple[str, Counter[float]]] = {}

    def declare(
        self, group: str, bins: Iterable[Any], unreachable: Mapping[Any, str] | None = None
    ) -> None:
        """Add bins to a group, by their text; ``unreachable`` ones have a reason instead."""
        counts = self._bins.setdefault(group, {})
        for each in bins:
            counts.setdefault(str(each), 0)
        reasons = {str(name): reason for name, reason in (unreachable or {}).items()}
        if bare := [name for name, reason in reasons.items() if not reason]:
            raise HdlError(f"coverage of {self.block}: {group}: {bare[0]} is unreachable, but why?")
        self._unreachable.setdefault(group, {}).update(reasons)
        for name in reasons:
            counts.pop(name, None)

    def hit(self, group: str, name: Any, times: int = 1) -> None:
        """Count a bin.  Raises `HdlError` for one that was not declared, or as unreachable."""
        counts, text = self._bins.get(group, {}), str(name)
        if text in self._unreachable.get(group, {}):
            why = self._unreachable[group][text]
            raise HdlError(f"coverage of {self.block}: {group}: {text} was hit, but {why}")
        if text not in counts:
            raise HdlError(f"coverage of {self.block}: no bin {text!r} in {group!r}")
        counts[text] += times

    def measured(self, what: str, value: float, unit: str = "cycles", times: int = 1) -> None:
        """Note a figure; of each its least, its most and how many there were are kept."""
        self._measured.setdefault(what, (unit, Counter()))[1][value] += times

    def missing(self) -> list[str]:
        """Bins that nothing hit."""
        return [
            f"{group}: {name}"
            for group, counts in self._bins.items()
            for name, count in counts.items()
            if not count
        ]

    def report(self) -> dict[str, Any]:
        """All of it, as `FILE` has it."""
        return {
            "schema": SCHEMA,
            "block": self.block,
            "groups": {
                group: {"bins": counts, "unreachable": self._unreachable[group]}
                for group, counts in self._bins.items()
            },
            "missing": self.missing(),
            "measured": {
                what: {
                    "unit": unit,
                    "least": min(values),
                    "most": max(values),
                    "usual": values.most_common(1)[0][0],
                    "count": values.total(),
                }
                for what, (unit, values) in self._measured.items()
            },
        }

    def finish(self, directory: str | Path = ".") -> None:
        """Write `FILE`; the bench's last test.  Raises `AssertionError` where a bin is missing."""
        Path(directory, FILE).write_text(json.dumps(self.report(), indent=1) + "\n")
        missing = self.missing()
        assert not missing, f"{len(missing)} bins were not hit: {', '.join(missing[:20])}"


def read(directory: str | Path) -> dict[str, Any] | None:
    """What a bench that ran in a directory covered; None where it wrote nothing.

    Raises `HdlError` for a file that is none of ours.
    """
    path = Path(directory, FILE)
    if not path.exists():
        return None
    try:
        found = json.loads(path.read_text())
        is_ours = found["schema"] == SCHEMA
    except (ValueError, KeyError, TypeError):
        is_ours = False
    if not is_ours:
        raise HdlError(f"{path}: not a {SCHEMA} object; run: tickpath hdl sim")
    return dict(found)


def totals(found: Mapping[str, Any]) -> tuple[int, int, int]:
    """Of a report: bins that were hit, all bins, and those that cannot be hit."""
    counts = [n for group in found["groups"].values() for n in group["bins"].values()]
    beyond = sum(len(group["unreachable"]) for group in found["groups"].values())
    return sum(n > 0 for n in counts), len(counts), beyond
